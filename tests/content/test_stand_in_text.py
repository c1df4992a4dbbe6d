"""utils.content.stand_in_text: synopses that depend on title, year and genres, and on nothing else."""

import pytest

from tests.content.test_cards import HOSTILE_TITLES
from utils.content.movie import Movie
from utils.content.stand_in_text import synopsis


def movie(title: str = "Heat", year: int | None = 1995, genres: tuple[str, ...] = ("Crime",)) -> Movie:
    return Movie(1, title, year, genres, "0113277", 949)


@pytest.mark.parametrize("title", HOSTILE_TITLES)
def test_no_title_breaks_a_synopsis(title: str) -> None:
    text = synopsis(movie(title=title))
    assert 40 < len(text) < 1000
    assert text.isprintable()


def test_a_synopsis_states_the_facts_in_words_of_its_genres() -> None:
    text = synopsis(movie("The Matrix", 1999, ("Action", "Sci-Fi", "Thriller")))
    assert text == synopsis(Movie(99, "The Matrix", 1999, ("Action", "Sci-Fi", "Thriller"), None, None))
    assert "The Matrix" in text
    assert "1999" in text
    assert "science-fiction action thriller" in text
    assert text.count(". ") in (1, 2)
    assert text.endswith(".")


@pytest.mark.parametrize(
    ("genres", "year", "phrase"),
    [
        (("Comedy", "Romance"), 1999, "romantic comedy"),
        (("Comedy", "Drama"), 1999, "comedy drama"),
        (("Animation", "Children's", "Musical"), 1999, "animated children's musical"),
        (("Action",), None, "an action film"),
        (("Documentary", "IMAX"), 1999, "documentary shown in IMAX"),
        (("Film-Noir", "Mystery"), 1946, "mystery film noir"),
        (("Documentary",), 1895, ("an 1895 documentary", "Released in 1895")),
        (("unknown",), 1999, "MovieLens lists no genre"),
        ((), None, "MovieLens lists no genre"),
    ],
)
def test_a_synopsis_is_grammatical(genres: tuple[str, ...], year: int | None, phrase: str | tuple[str, ...]) -> None:
    text = synopsis(movie("Heat", year, genres))
    assert any(one in text for one in ([phrase] if isinstance(phrase, str) else phrase)), text
    assert "None" not in text
    for wrong in (" a a", " a e", " a i", " a o", " an c", " an r", " a 18", "  "):
        assert wrong not in text, text


def test_synopses_vary_from_movie_to_movie() -> None:
    texts = {synopsis(movie("Heat", 1990 + n, ("Crime", "Drama"))).replace(str(1990 + n), "") for n in range(20)}
    assert len(texts) > 10
