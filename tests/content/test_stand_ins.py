"""utils.content.stand_ins: posters and synopses that depend on title, year and genres, and on nothing else."""

import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from tests.places import ROOT
from utils.content import stand_ins
from utils.content.movie import Movie, both_titles
from utils.content.stand_ins import lettering
from utils.content.stand_ins.looks import LOOKS

GENRES = [genre for genre in LOOKS if genre]


def movie(title: str = "Heat", year: int | None = 1995, genres: tuple[str, ...] = ("Crime",), number: int = 1) -> Movie:
    return Movie(number, title, year, genres, "0113277", 949)


def pixels(subject: Movie, size: tuple[int, int] = (64, 96)) -> np.ndarray:
    return np.asarray(stand_ins.poster(subject, size))


def test_a_poster_is_rgb_of_the_size_asked_for() -> None:
    for size in ((256, 384), (224, 224), (16, 16), (16, 900), (900, 16), (640, 960)):
        image = stand_ins.poster(movie(), size)
        assert (image.mode, image.size) == ("RGB", size)
    assert stand_ins.poster(movie()).size == (256, 384)


def test_title_year_and_genres_decide_the_pixels_and_nothing_else_does() -> None:
    same = Movie(99, "Heat", 1995, ("Crime",), None, None)
    assert (pixels(movie()) == pixels(same)).all()
    assert stand_ins.facts(movie()) == stand_ins.facts(same)
    others = [
        movie(title="Heat 2"),
        movie(year=1996),
        movie(year=None),
        movie(genres=("Crime", "Action")),
        movie(genres=()),
    ]
    assert len({pixels(one).tobytes() for one in [movie(), *others]}) == 6
    assert len({stand_ins.facts(one) for one in [movie(), *others]}) == 6


def test_another_process_draws_the_same_poster() -> None:
    code = (
        "import hashlib; from utils import stand_ins; from utils.content.movie import Movie;"
        "m = Movie(1, 'Heat', 1995, ('Crime', 'War'), None, None);"
        "print(hashlib.sha256(stand_ins.poster(m, (64, 96)).tobytes()).hexdigest()); print(stand_ins.synopsis(m))"
    )
    root = ROOT
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=root,
            env={"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1
    assert "Heat" in runs.pop()


def test_movies_of_a_genre_look_alike() -> None:
    genres = ("Horror", "Comedy", "Western", "Sci-Fi", "Children")
    labels = [genre for genre in genres for _ in range(12)]
    posters = [
        pixels(movie(f"Movie {number}", 1990 + number % 12, (genre,)), (16, 24)).ravel().astype(float)
        for number, genre in enumerate(labels)
    ]
    distances = np.linalg.norm(np.array(posters)[:, None] - np.array(posters), axis=-1)
    np.fill_diagonal(distances, np.inf)
    nearest = [labels[i] for i in distances.argmin(1)]
    assert np.mean([a == b for a, b in zip(labels, nearest, strict=True)]) > 0.9
    assert np.sort(distances, axis=1)[:, 0].min() > 50


def test_a_second_genre_changes_the_scene_but_not_beyond_recognition() -> None:
    plain, mixed, other = (
        pixels(movie(genres=genres), (16, 24)).astype(float)
        for genres in (("Horror",), ("Horror", "Comedy"), ("Comedy",))
    )
    assert 5 < np.abs(plain - mixed).mean() < np.abs(plain - other).mean()


@pytest.mark.parametrize("genre", [*GENRES, "Children's", "unknown", "(none)", "Telenovela"])
def test_every_genre_of_both_vocabularies_is_drawn_in_every_decade(genre: str) -> None:
    for year in (None, 0, 1895, 1927, 1935, 1944, 1958, 1966, 1974, 1985, 1999, 2004, 2016, 32767):
        picture = pixels(movie(year=year, genres=(genre,)))
        assert picture.std() > 15, (genre, year)


def test_old_and_new_names_of_a_genre_are_one_look() -> None:
    assert stand_ins.genres_of(movie(genres=("Children's",))) == ["Children"]
    assert stand_ins.genres_of(movie(genres=("Drama", "Film-Noir", "Crime"))) == ["Film-Noir", "Crime", "Drama"]
    assert stand_ins.genres_of(movie(genres=())) == [""]
    assert stand_ins.genres_of(movie(genres=("unknown",))) == [""]


@pytest.mark.parametrize(
    "title",
    [
        "",
        " ",
        "\x00\x07\n",
        "M",
        "Дневной дозор",
        "الرسالة",
        "千と千尋の神隠し",
        "e\u0301" * 50,
        "x" * 5000,
        "word " * 5000,
        "🎬",
        "a\u202eb",
    ],
)
def test_no_title_breaks_a_poster_or_a_synopsis(title: str) -> None:
    picture = pixels(movie(title=title))
    assert picture.std() > 15
    text = stand_ins.synopsis(movie(title=title))
    assert 40 < len(text) < 1000
    assert text.isprintable()


def test_the_title_is_lettered_and_fits() -> None:
    for title in ("M", "The Shawshank Redemption", "A " * 60, "Supercalifragilisticexpialidocious"):
        size, lines = lettering.fit(title, "DejaVuSans-Bold.ttf", 0.9, 0.3, 0.7, 5)
        face = lettering.font("DejaVuSans-Bold.ttf", 100)
        assert 0 < size * len(lines) <= 0.3 / lettering.LEADING + 1e-9
        assert max(face.getlength(line) for line in lines) / 100 * 0.7 * size <= 0.9 + 1e-9
        assert "".join(lines).replace(" ", "") == title.replace(" ", "")
    assert lettering.fit("Four Weddings and a Funeral", "DejaVuSans.ttf", 0.9, 0.3, 0.7, 5)[1] == [
        "Four Weddings",
        "and a Funeral",
    ]


def test_letters_the_face_lacks_are_set_in_the_widest() -> None:
    assert lettering.covering("DejaVuSerif-Bold.ttf", "Heat") == "DejaVuSerif-Bold.ttf"
    assert lettering.covering("DejaVuSerif-Bold.ttf", "الرسالة") == "DejaVuSans-Bold.ttf"


def test_every_poster_is_marked_as_a_stand_in() -> None:
    """The tag darkens its corner on the brightest of backgrounds."""
    bright = np.asarray(stand_ins.poster(movie(year=2012, genres=("Comedy",))).convert("L")).astype(float)
    tag = bright[5:15, 206:250]
    assert tag.mean() < bright[18:40, 206:250].mean() - 20
    assert tag.max() > 150


def test_a_poster_takes_milliseconds() -> None:
    subjects = [movie(f"Movie {n}", 1950 + n, (GENRES[n % len(GENRES)], "Drama")) for n in range(20)]
    for subject in subjects:
        stand_ins.poster(subject)
    start = time.process_time()
    for subject in subjects:
        stand_ins.poster(subject)
    assert (time.process_time() - start) / len(subjects) < 0.04


def test_importing_leaves_pillow_as_it_was() -> None:
    assert Image.MAX_IMAGE_PIXELS == (1024 * 1024 * 1024 // 4 // 3)


@pytest.mark.parametrize(
    ("title", "both"),
    [
        (
            "The City of Lost Children (La Cité des enfants perdus)",
            ("The City of Lost Children", "La Cité des enfants perdus"),
        ),
        ("Halloween: Resurrection (a.k.a. Halloween 8)", ("Halloween: Resurrection", "Halloween 8")),
        ("Babylon 5", ("Babylon 5", "")),
        ("I, Tonya", ("I, Tonya", "")),
        ("(500) Days of Summer", ("(500) Days of Summer", "")),
        ("", ("", "")),
    ],
)
def test_an_original_title_in_brackets_is_split_off(title: str, both: tuple[str, str]) -> None:
    assert both_titles(title) == both


def test_a_synopsis_states_the_facts_in_words_of_its_genres() -> None:
    text = stand_ins.synopsis(movie("The Matrix", 1999, ("Action", "Sci-Fi", "Thriller")))
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
    text = stand_ins.synopsis(movie("Heat", year, genres))
    assert any(one in text for one in ([phrase] if isinstance(phrase, str) else phrase)), text
    assert "None" not in text
    for wrong in (" a a", " a e", " a i", " a o", " an c", " an r", " a 18", "  "):
        assert wrong not in text, text


def test_synopses_vary_from_movie_to_movie() -> None:
    texts = {
        stand_ins.synopsis(movie("Heat", 1990 + n, ("Crime", "Drama"))).replace(str(1990 + n), "") for n in range(20)
    }
    assert len(texts) > 10
