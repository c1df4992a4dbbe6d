"""utils.content.titles: which film a movie is by title and year, and which it is not."""

import pytest

from utils.content.movie import Movie
from utils.content.titles import TitleIndex, spellings


def movie(title: str, year: int | None, number: int = 1, imdb: str | None = None) -> Movie:
    return Movie(number, title, year, (), imdb, None)


def found(films: list[tuple[str, int]], *movies: Movie) -> dict[int, str]:
    """Return the film of each movie by movieId; films are named by title and year."""
    return TitleIndex((title, year, f"{title} {year}") for title, year in films).match(movies)


@pytest.mark.parametrize(
    ("title", "names"),
    [
        ("Matrix, The", ["thematrix", "matrixthe"][:1]),
        ("Seven (a.k.a. Se7en)", ["seven", "se7en"]),
        (
            "Cité des enfants perdus, La (The City of Lost Children)",
            ["lacitedesenfantsperdus", "thecityoflostchildren"],
        ),
        ("Blood & Wine", ["bloodandwine"]),
        ("Alien³", ["alien3"]),
        ("Once Upon a Time... When We Were Colored", ["onceuponatimewhenwewerecolored"]),
        ("M*A*S*H", ["mash"]),
        ("七人の侍", ["七人の侍"]),
        ("???", []),
        ("", []),
    ],
)
def test_the_names_in_a_title(title: str, names: list[str]) -> None:
    assert [name for name in spellings(title) if name in names] == names
    assert len(spellings(title)) <= len(names) + 1


@pytest.mark.parametrize(
    "title", ["The Crow", "Crow, The", "Crow, The (1994)", "THE CROW", "Raven (The Crow)", "Thé Crow!"]
)
def test_a_film_is_known_however_it_is_spelled(title: str) -> None:
    assert found([("The Crow", 1994)], movie(title, 1994)) == {1: "The Crow 1994"}


@pytest.mark.parametrize(
    ("title", "year"),
    [
        ("The Crow: Salvation", 1994),
        ("Crow", 1994),
        ("The Crow", 1996),
        ("The Crow", 1992),
        ("The Crow", None),
        ("", 1994),
    ],
)
def test_another_title_or_year_is_another_film(title: str, year: int | None) -> None:
    assert found([("The Crow", 1994)], movie(title, year)) == {}


def test_of_a_film_and_its_remake_the_year_decides() -> None:
    films = [("Sabrina", 1954), ("Sabrina", 1995)]
    assert found(films, movie("Sabrina", 1995), movie("Sabrina", 1954, 2)) == {1: "Sabrina 1995", 2: "Sabrina 1954"}
    assert found(films, movie("Sabrina", 1994)) == {1: "Sabrina 1995"}


def test_a_year_is_off_by_one_only_where_nothing_else_comes_close() -> None:
    assert found([("Emma", 1995)], movie("Emma", 1996)) == {1: "Emma 1995"}
    assert found([("Emma", 1995), ("Emma", 1997)], movie("Emma", 1996)) == {}
    assert found([("Emma", 1996)], movie("Emma", 1996), movie("Emma", 1997, 2)) == {1: "Emma 1996"}
    assert found([("Emma", 1996)], movie("Emma", 1995), movie("Emma", 1997, 2)) == {}


def test_a_movie_that_could_be_two_films_is_neither() -> None:
    assert found([("The Killer", 1989), ("Hard Man", 1989)], movie("The Killer (Hard Man)", 1989)) == {}
    assert TitleIndex([("Saw", 2003, "short"), ("Saw", 2003, "long")]).match([movie("Saw", 2003)]) == {}


@pytest.mark.parametrize("year", [1997, 1998])
def test_a_catalogue_may_list_a_film_twice(year: int) -> None:
    twice = movie("Nightwatch", year), movie("Nightwatch", year, 2)
    assert found([("Nightwatch", 1998)], *twice) == {1: "Nightwatch 1998", 2: "Nightwatch 1998"}


def test_two_films_of_one_title_and_year_are_told_apart_by_their_ids_or_have_none() -> None:
    two = movie("Emma", 1996, imdb="0116191"), movie("Emma", 1996, 2, imdb="0118308")
    assert found([("Emma", 1996)], *two) == {}
    assert found([("Emma", 1996)], two[0], movie("Emma", 1996, 3)) == {1: "Emma 1996", 3: "Emma 1996"}


def test_aliases_go_both_ways_and_hold_for_their_year_only() -> None:
    new_hope = "Star Wars: Episode IV - A New Hope"
    assert found([(new_hope, 1977)], movie("Star Wars", 1977)) == {1: f"{new_hope} 1977"}
    assert found([("Star Wars", 1977)], movie(new_hope, 1977)) == {1: "Star Wars 1977"}
    assert found([(new_hope, 1979)], movie("Star Wars", 1979)) == {}
