"""Stand-ins: the poster and the synopsis that a movie gets when nothing real may be had.

Real posters may not be redistributed, so the series draws its own from three facts that MovieLens
gives: title, year and genres. They look like posters, and movies of like genres look alike, but they
carry nothing beyond those facts. Every table and plot made from them must say so.
"""

import hashlib
import json
import random
from dataclasses import dataclass

from PIL import Image

from utils.content.movie import Movie, both_titles
from utils.content.stand_ins import lettering
from utils.content.stand_ins.looks import LOOKS, Look
from utils.content.stand_ins.sheet import HEIGHT, Colour, Palette, Sheet, mix
from utils.content.stand_ins.synopsis import synopsis

__all__ = ["DRAWING", "POSTER_SIZE", "facts", "genres_of", "poster", "synopsis"]

DRAWING = 1
"""Version of the drawing; raise it when posters change, and existing ones are drawn again."""
POSTER_SIZE = (256, 384)
_SAME_GENRE = {"Children's": "Children", "Musicals": "Musical", "Science Fiction": "Sci-Fi"}
_NEAR_WHITE: Colour = (250, 246, 235)


@dataclass(frozen=True)
class _Decade:
    """How posters were printed in a decade: lettering, where the title stands, ink, paper."""

    face: lettering.Face
    narrow: float
    title: str  # "foot", "head" or "band"
    tint: Colour | None = None
    tinted: float = 0.0
    border: float = 0.0
    grain: float = 0.0
    vignette: float = 0.0
    effect: str = ""  # "shadow", "halo" or nothing
    capitals: bool = True


_DECADES: dict[int, _Decade] = {
    1890: _Decade("DejaVuSerif-Bold.ttf", 0.8, "band", (150, 120, 80), 0.9, 0.055, 0.6, 0.5),
    1920: _Decade("DejaVuSerif-Bold.ttf", 0.72, "band", (160, 125, 75), 0.75, 0.05, 0.5, 0.4),
    1930: _Decade("DejaVuSerif-Bold.ttf", 0.68, "head", (185, 125, 60), 0.4, 0.045, 0.4, 0.3, "shadow"),
    1940: _Decade("DejaVuSerif-BoldItalic.ttf", 0.75, "head", (175, 110, 70), 0.3, 0.04, 0.35, 0.3, "shadow", False),
    1950: _Decade("DejaVuSans-BoldOblique.ttf", 0.7, "head", (200, 120, 60), 0.15, 0.035, 0.25, 0.2, "shadow"),
    1960: _Decade("DejaVuSans-Bold.ttf", 0.8, "band", None, 0.0, 0.0, 0.15, 0.0, "", False),
    1970: _Decade("DejaVuSerif-Bold.ttf", 0.75, "foot", (205, 125, 55), 0.28, 0.03, 0.35, 0.2, "", False),
    1980: _Decade("DejaVuSans-BoldOblique.ttf", 0.72, "foot", None, 0.0, 0.0, 0.15, 0.45, "halo"),
    1990: _Decade("STIXGeneralBol.ttf", 0.85, "foot", None, 0.0, 0.0, 0.0, 0.6),
    2000: _Decade("DejaVuSans-Bold.ttf", 0.58, "foot", (60, 110, 120), 0.15, 0.0, 0.0, 0.5),
    2010: _Decade("DejaVuSans.ttf", 0.7, "foot", None, 0.0, 0.0, 0.0, 0.35),
}


# Places of up to three emblems: x from the middle, y from the middle of the scene, radius.
_ARRANGEMENTS = (
    ((-0.1, -0.06, 0.29), (0.24, 0.24, 0.17), (-0.32, 0.3, 0.12)),
    ((0.0, -0.12, 0.29), (-0.22, 0.3, 0.16), (0.25, 0.3, 0.13)),
    ((0.12, 0.06, 0.3), (-0.24, -0.26, 0.18), (-0.3, 0.27, 0.12)),
    ((0.0, 0.04, 0.31), (0.3, -0.32, 0.15), (-0.31, -0.32, 0.13)),
)


def genres_of(movie: Movie) -> list[str]:
    """Return the genres that have a look of their own, most telling first; [""] where there is none."""
    named = {_SAME_GENRE.get(genre, genre) for genre in movie.genres}
    return [genre for genre in LOOKS if genre and genre in named] or [""]


def facts(movie: Movie) -> str:
    """Return the sha256 of all that a stand-in poster is made from, to know it again without drawing it."""
    known = [DRAWING, movie.title, movie.year, genres_of(movie), list(movie.genres)]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()


def poster(movie: Movie, size: tuple[int, int] = POSTER_SIZE) -> Image.Image:
    """Return the stand-in poster of ``movie`` as an RGB picture of ``size`` (width, height) pixels.

    The same title, year and genres give the same pixels. Drawn at 2:3, twice as large where that is
    affordable, then scaled as a whole to ``size``.
    """
    rng = random.Random(facts(movie))
    genres = genres_of(movie)
    looks = [LOOKS[genre] for genre in genres]
    year = movie.year if movie.year is not None else 1990
    decade = _DECADES[max(start for start in _DECADES if start <= max(year, 1890))]
    colours = _colours(looks, decade, rng)

    wide = max(size[0], round(size[1] / HEIGHT))
    sheet = Sheet(max(2 * wide if wide <= 320 else wide, 256))
    looks[0].backdrop(sheet, colours, rng)
    _emblems(sheet, looks, colours, decade, rng)
    if decade.grain:
        sheet.grain(decade.grain)
    if decade.vignette:
        sheet.vignette(decade.vignette)
    _lettering(sheet, movie, genres, colours, decade)
    return sheet.image.resize(size, Image.Resampling.BOX if sheet.width == 2 * size[0] else Image.Resampling.LANCZOS)


def _colours(looks: list[Look], decade: _Decade, rng: random.Random) -> Palette:
    colours = rng.choice(looks[0].palettes).varied(rng)
    if len(looks) > 1:
        # The second genre colours the first one's scene, so a crime comedy is brighter than a crime drama.
        other = rng.choice(looks[1].palettes)
        colours = Palette(
            mix(colours.top, other.top, 0.22),
            mix(colours.bottom, other.bottom, 0.22),
            colours.dark,
            colours.main,
            colours.light,
        )
    return colours if decade.tint is None else colours.toned(decade.tint, decade.tinted)


def _emblems(sheet: Sheet, looks: list[Look], colours: Palette, decade: _Decade, rng: random.Random) -> None:
    """Draw the first genre's emblem large and up to two others smaller at its sides."""
    middle = 0.82 if decade.title == "head" else 0.58
    side = rng.choice((-1, 1))
    if len(looks) == 1:
        looks[0].emblem(sheet, 0.5 + rng.uniform(-0.05, 0.05), middle, rng.uniform(0.31, 0.35), colours, rng)
        return
    # Under a title at the head only those that leave the sky free.
    arrangements = _ARRANGEMENTS[:2] if decade.title == "head" else _ARRANGEMENTS
    places = [(0.5 + side * x, middle + y, r) for x, y, r in rng.choice(arrangements)]
    for index, (look, (x, y, r)) in enumerate(zip(looks, places, strict=False)):
        own = colours
        if index:
            accent = look.palettes[0] if decade.tint is None else look.palettes[0].toned(decade.tint, decade.tinted)
            own = accent
            sheet.glow(x, y, 1.9 * r, colours.dark, 0.75)
        look.emblem(sheet, x + rng.uniform(-0.03, 0.03), y + rng.uniform(-0.03, 0.03), r, own, rng)


def _lettering(sheet: Sheet, movie: Movie, genres: list[str], colours: Palette, decade: _Decade) -> None:
    """Draw title, other title, credits (year and genres), border and the stand-in mark."""
    title, other = both_titles(movie.title)
    title = title or "Untitled"
    title = title.upper() if decade.capitals else title
    foot, ink = 1.4, mix(colours.light, _NEAR_WHITE, 0.5)
    inset = decade.border + 0.05
    if decade.title == "band":
        sheet.box(0, 1.03, 1, HEIGHT, mix(colours.light, _NEAR_WHITE, 0.4))
        sheet.box(0, 1.03, 1, 1.042, colours.main)
        ink, top, bottom = colours.dark, 1.07, 1.34
    elif decade.title == "head":
        sheet.shade(0, 0.55, colours.dark, 215, 0)
        sheet.shade(1.22, HEIGHT, colours.dark, 0, 230)
        top, bottom = 0.09, 0.42
    else:
        sheet.shade(0.8, 1.12, colours.dark, 0, 225)
        sheet.box(0, round(1.12 * sheet.width) / sheet.width, 1, HEIGHT, colours.dark, 225)
        top, bottom = 1.02, 1.33 - decade.border
    if other:
        bottom -= 0.055
    face = lettering.covering(decade.face, title)
    size, lines = lettering.fit(title, face, 1 - 2 * inset, bottom - top, decade.narrow, 5)
    size = min(size, 0.23)
    start = (top + bottom) / 2 - size * lettering.LEADING * (len(lines) - 1) / 2
    extra = (
        {decade.effect: mix(colours.dark, (0, 0, 0), 0.4) if decade.effect == "shadow" else colours.main}
        if decade.effect
        else {}
    )
    for number, text in enumerate(lines):
        place = (0.5, start + number * size * lettering.LEADING)
        lettering.line(
            sheet, text, face, place, size, ink, narrow=decade.narrow, most_width=1 - decade.border * 2 - 0.04, **extra
        )
    if other:
        text = other[:60]
        lettering.line(
            sheet,
            text,
            lettering.covering("DejaVuSans.ttf", text),
            (0.5, bottom + 0.03),
            0.036,
            ink,
            most_width=1 - 2 * inset,
        )
    _credits(sheet, movie, genres, ink, foot - decade.border, inset)
    _frame(sheet, colours, decade)


def _credits(sheet: Sheet, movie: Movie, genres: list[str], ink: Colour, y: float, inset: float) -> None:
    names = [genre for genre in genres if genre] + sorted(set(movie.genres) - set(LOOKS) - set(_SAME_GENRE))
    text = "  ·  ".join(name.upper() for name in names[:6]) or "GENRE NOT LISTED"
    sheet.stroke([(inset + 0.1, y - 0.035), (1 - inset - 0.1, y - 0.035)], 0.003, ink, 140)
    face = lettering.covering("DejaVuSans.ttf", text)
    lettering.line(sheet, text, face, (0.5, y), 0.04, ink, narrow=0.8, most_width=1 - 2 * inset)
    if movie.year is not None:
        lettering.line(sheet, str(movie.year), "DejaVuSans-Bold.ttf", (0.5, y + 0.05), 0.045, ink, narrow=0.9)


def _frame(sheet: Sheet, colours: Palette, decade: _Decade) -> None:
    paper = mix(colours.light, _NEAR_WHITE, 0.6)
    if decade.border:
        edge = decade.border
        for left, top, right, bottom in (
            (0, 0, 1, edge),
            (0, HEIGHT - edge, 1, HEIGHT),
            (0, 0, edge, HEIGHT),
            (1 - edge, 0, 1, HEIGHT),
        ):
            sheet.box(left, top, right, bottom, paper)
    sheet.box(0.795, 0.016, 0.985, 0.062, (0, 0, 0), 150, r=0.012)
    lettering.line(sheet, "stand-in", "DejaVuSans.ttf", (0.89, 0.038), 0.036, (255, 255, 255), narrow=0.92)
