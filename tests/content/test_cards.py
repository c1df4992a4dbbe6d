"""utils.content.cards: pictures that depend on title and genres, and on nothing else."""

import functools
import itertools
import random
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.places import ROOT
from utils.content import cards
from utils.content.card_looks import CLEAR, LEGIBLE, LOOKS, contrast_of
from utils.content.movie import Movie
from utils.content.providers.offline import Offline

GENRES = [genre for genre in LOOKS if genre]
HOSTILE_TITLES = [
    *("", " ", "\x00\x07\n", "M", "Дневной дозор", "الرسالة", "千と千尋の神隠し", "e\u0301" * 50, "🎬", "a\u202eb"),
    *("x" * 5000, "word " * 5000, "W" * 300, "W" * 16, "$x^2$ \\frac", "half \ud800 a letter"),
]


def pixels(title: str = "Heat", genres: tuple[str, ...] = ("Crime",), size: tuple[int, int] = (64, 96)) -> np.ndarray:
    return np.asarray(cards.card(title, genres, size)).astype(float)


@pytest.mark.parametrize(
    "size", [(256, 384), (224, 224), (16, 16), (16, 2000), (2000, 16), (640, 960), (333, 500), (2000, 2000)]
)
def test_a_card_is_rgb_of_the_size_asked_for(size: tuple[int, int]) -> None:
    image = cards.card("Heat", ("Crime", "Drama"), size)
    assert (image.mode, image.size) == ("RGB", size)


def test_title_and_genres_decide_the_pixels_and_nothing_else_does() -> None:
    this = ("Heat", ("Crime", "Children"))
    for same in (("Children", "Crime"), ("Crime", "Children's"), ("Crime", "Children", "Crime")):
        assert (pixels("Heat", same) == pixels(*this)).all()
        assert cards.fingerprint("Heat", same) == cards.fingerprint(*this)
    others = [this, ("Heat 2", this[1]), ("Heat", ("Crime",)), ("Heat", ()), ("Heat", ("Crime", "Telenovela"))]
    assert len({pixels(*each).tobytes() for each in others}) == 5
    assert len({cards.fingerprint(*each) for each in others} | {cards.fingerprint(*this, (64, 96))}) == 6


def test_the_year_is_not_in_a_card() -> None:
    movies = [Movie(number, "Heat", year, ("Crime",), None, number) for number, year in ((1, 1995), (2, None))]
    posters = [Offline().poster(movie, (64, 96)) for movie in movies]
    assert len({(poster.fingerprint, poster.image().tobytes()) for poster in posters}) == 1


def test_another_process_draws_the_same_card() -> None:
    code = (
        "import hashlib; from utils.content.cards import card, fingerprint; facts = 'Heat', ('Crime', 'War');"
        "print(hashlib.sha256(card(*facts).tobytes()).hexdigest(), fingerprint(*facts))"
    )
    run = functools.partial(subprocess.run, [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    assert len({run(env={"PYTHONHASHSEED": seed}).stdout for seed in ("1", "2")}) == 1


def test_movies_of_a_genre_look_alike_and_none_is_a_copy() -> None:
    labels = [genre for genre in ("Horror", "Comedy", "Western", "Sci-Fi", "Children") for _ in range(12)]
    drawn = [pixels(f"Movie {number}", (genre,), (32, 48)).reshape(-1, 3) for number, genre in enumerate(labels)]
    colours = np.sqrt([np.histogramdd(each, 4, [(0, 256)] * 3)[0].ravel() for each in drawn])
    likeness = colours @ colours.T - 1e9 * np.eye(len(labels))
    assert np.mean([labels[i] == label for i, label in zip(likeness.argmax(1), labels, strict=True)]) > 0.9
    assert len({each.tobytes() for each in drawn}) == len(labels)


def test_each_genre_of_a_movie_changes_its_card() -> None:
    for title in ("Heat", "M", "Crash", "Emma"):
        one, two, three = (pixels(title, tuple(GENRES[:count])) for count in (1, 2, 3))
        assert min(np.abs(one - two).mean(), np.abs(two - three).mean()) > 2


@pytest.mark.parametrize("genre", [*LOOKS, "Children's", "unknown", "Telenovela", "A genre " * 20, "千"])
def test_every_genre_is_drawn_and_its_emblems_and_letters_stand_out(genre: str) -> None:
    for number in range(12):
        assert pixels(f"Movie {number}", (genre,)).std() > 15
    look = LOOKS.get(genre, LOOKS[""])
    for emblem in look.emblems:
        assert np.asarray(cards._emblem(emblem, 48)).mean() > 25
    for seed in range(20):
        ground, shape = look.pair(random.Random(seed))
        assert min(contrast_of(look.on(ground, shape), behind) for behind in (ground, shape)) >= CLEAR - 0.3
    for panel in (look.ground, look.shape, look.paper, look.ink):
        assert contrast_of(look.on(panel, contrast=LEGIBLE), panel) >= LEGIBLE


@pytest.mark.parametrize("title", HOSTILE_TITLES)
def test_every_title_is_drawn_and_keeps_the_margins(title: str) -> None:
    picture = pixels(title, ("Drama", "War"), (256, 384))
    # The title stands on a plain field above or below the square artwork.
    fields = [picture[:127], picture[257:]]
    edges = [np.concatenate([field[:, :14], field[:, -14:]], axis=1).reshape(-1, 3) for field in fields]
    plain = [field for field, edge in zip(fields, edges, strict=True) if not np.ptp(edge, axis=0).any()]
    assert len(plain) == 1
    assert plain[0].std() > 5


def test_every_card_is_marked_as_a_stand_in() -> None:
    """The words are the same on all cards, with the contrast of letters to what is behind them."""
    words = np.empty((0, 0))
    for genre, number in itertools.product(LOOKS, range(6)):
        picture = pixels(f"Movie {number}", (genre,), (256, 384)) @ (0.21, 0.72, 0.07)
        spots = [picture[top : top + 26, 188:238] for top in (6, 352)]
        marks = [abs(spot - spot[0, 0]) / np.ptp(spot) for spot in spots if np.ptp(spot) > 60]
        marks = [mark[mark.any(1)] for mark in marks]
        words = words if words.size else marks[0]
        assert any(mark.shape == words.shape and np.abs(mark - words).max() < 0.05 for mark in marks), (genre, number)
    assert 6 < len(words) < 12 and 0.1 < words.mean() < 0.3


def test_a_card_takes_milliseconds() -> None:
    facts = [(f"Movie {number}", (GENRES[number % len(GENRES)], "Drama")) for number in range(20)]
    for each in facts:
        cards.card(*each)
    start = time.process_time()
    for each in facts:
        cards.card(*each)
    assert (time.process_time() - start) / len(facts) < 0.02


def test_a_missing_icon_font_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    cards._icons.cache_clear()
    monkeypatch.setitem(sys.modules, "fonticon_mdi7", None)
    with pytest.raises(ImportError, match="package fonticon-materialdesignicons7, which is not installed"):
        cards.card("Heat", ())
