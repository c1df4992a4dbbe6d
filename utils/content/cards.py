"""Stand-in cards: the pictures that stand in where a movie has no real poster, which may not be redistributed.

A card is drawn from title and genres, and from nothing else. The genres give its colours and emblems; a hash
of the title picks among compositions, emblems and patterns, so that a wall of cards is varied and still one
series. Every card carries the words "stand-in". Lengths are in widths of the card unless they say pixels.
"""

import functools
import hashlib
import importlib
import json
import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont

from utils.content.card_looks import CALM_PATTERNS, LEGIBLE, LOOKS, Colour, Look, Pattern, contrast_of
from utils.content.movie import both_titles

VERSION = 2
"""Version of the drawing; raise it when cards change, and existing ones are drawn again."""
POSTER_SIZE = (256, 384)
HEIGHT, MARGIN = 1.5, 0.075
TITLE_SIZES = (0.2, 0.175, 0.15, 0.13, 0.112, 0.096, 0.083, 0.071, 0.061, 0.053, 0.045, 0.04)
TITLE_HEIGHT, LEADING = 0.33, 1.02
SMALL_SIZE = 0.042
NARROW = 0.84
"""The share to which letters are squeezed sideways: DejaVu Sans is wide."""
MOST_LETTERS = 160
_BOLD, _REGULAR = "DejaVuSans-Bold.ttf", "DejaVuSans.ttf"
_SAME_GENRE = {"Children's": "Children", "Musicals": "Musical", "Science Fiction": "Sci-Fi"}


@dataclass(frozen=True)
class _Part:
    """One genre of a card: its look and emblem, how the emblem is shown, and where (x, y, longer side)."""

    look: Look
    emblem: str
    style: str = "plain"
    place: tuple[float, float, float] = (0.5, 0.5, 0.66)


def fingerprint(title: str, genres: Sequence[str], size: tuple[int, int] = POSTER_SIZE) -> str:
    """Return the sha256 of all that a card depends on, to know it again without drawing it."""
    return hashlib.sha256(json.dumps([VERSION, title, _names(genres), size]).encode()).hexdigest()


def card(title: str, genres: Sequence[str], size: tuple[int, int] = POSTER_SIZE) -> Image.Image:
    """Return the card of a movie as an RGB picture of ``size`` (width, height) pixels.

    The same title and genres, these in any order, give the same pixels. At most three genres show their emblems.
    Letters that the font lacks are left out. Drawn at 2:3, at least 256 pixels wide, and scaled as a whole to
    ``size``. Raises ImportError where the icon font is not installed.
    """
    # As JSON, because a title may hold halves of letters (surrogates), from which no seed can be made.
    rng = random.Random(json.dumps(title))
    looks = [LOOKS[name] for name in _names(genres) if name in LOOKS][:3] or [LOOKS[""]]
    parts = [_Part(look, rng.choice(look.emblems)) for look in looks]
    # The title stands on a colour of the second genre, so that a crime comedy differs from a crime drama.
    titled = looks[min(1, len(looks) - 1)]
    panel = rng.choice((titled.ground, titled.shape, titled.ink, titled.paper if len(looks) == 1 else titled.ground))
    title_above = rng.random() < 0.25
    width = max(size[0], math.ceil(size[1] / HEIGHT), 256)
    image = Image.new("RGB", (width, round(HEIGHT * width)), panel)
    image.paste(_artwork(width, parts, rng), (0, image.height - width if title_above else 0))
    colour = titled.on(panel, contrast=LEGIBLE)
    _letter_title(image, _printable(title), colour, title_above)
    _letter_small(image, _names(genres), colour, MARGIN if title_above else HEIGHT - MARGIN)
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def _names(genres: Sequence[str]) -> list[str]:
    """Return the genres by their newer names: those with a look first, most telling first, then others by name."""
    named = {_SAME_GENRE.get(genre, genre) for genre in genres} - {""}
    return [genre for genre in LOOKS if genre in named] + sorted(named - set(LOOKS))


# The artwork: a square with one to three emblems.


def _artwork(width: int, parts: Sequence[_Part], rng: random.Random) -> Image.Image:
    if len(parts) == 1:
        return _scene(width, replace(parts[0], style=rng.choice(("plain", "tilted", "shadow", "giant"))), rng)
    return rng.choice((_badges, _badges, _quarters, _split if len(parts) == 2 else _quarters))(width, parts, rng)


def _badges(width: int, parts: Sequence[_Part], rng: random.Random) -> Image.Image:
    """Return the first genre's scene with the others' emblems in discs beside it."""
    style = rng.choice(("plain", "tilted", "shadow"))
    art = _scene(width, replace(parts[0], style=style, place=(0.41, 0.45, 0.6)), rng)
    for number, part in enumerate(parts[1:]):
        x, y, radius = 0.815, 0.815 - 0.29 * number, 0.125
        disc = Image.new("L", (round(4 * radius * width),) * 2)
        ImageDraw.Draw(disc).ellipse((0, 0, disc.width - 1, disc.width - 1), fill=255)
        _stamp(art, disc.reduce(2), part.look.ground, x, y)
        _stamp(art, _emblem(part.emblem, 1.2 * radius * width), part.look.on(part.look.ground), x, y)
    return art


def _quarters(width: int, parts: Sequence[_Part], rng: random.Random) -> Image.Image:
    """Return four squares: an emblem of each genre, and patterns in the genres' colours."""
    first, second = parts[:2]
    if len(parts) == 2:
        cells = [first, replace(first, style="bare"), replace(second, style="bare"), second]
    else:
        cells = [*parts, replace(first, style="bare")]
    art, side, mirrored = Image.new("RGB", (width, width)), (width + 1) // 2, rng.random() < 0.5
    for number, part in enumerate(cells):
        scene = _scene(side, part, rng, () if part.style == "bare" else CALM_PATTERNS)
        art.paste(scene, ((number + mirrored) % 2 * (width - side), number // 2 * (width - side)))
    return art


def _split(width: int, parts: Sequence[_Part], rng: random.Random) -> Image.Image:
    """Return the scenes of two genres, which meet on the diagonal."""
    art = _scene(width, replace(parts[0], place=(0.31, 0.31, 0.46)), rng)
    other = _scene(width, replace(parts[1], place=(0.69, 0.69, 0.46)), rng, CALM_PATTERNS)
    corner = Image.new("L", (2 * width, 2 * width))
    ImageDraw.Draw(corner).polygon(((0, 2 * width), (2 * width, 0), (2 * width, 2 * width)), fill=255)
    art.paste(other, (0, 0), corner.reduce(2))
    return art


def _scene(width: int, part: _Part, rng: random.Random, patterns: Sequence[Pattern] = ()) -> Image.Image:
    """Return a square of ``width`` pixels: one of ``patterns``, or of the genre's own, and unless bare the emblem."""
    ground, shape = part.look.pair(rng)
    # Drawn twice as large, because Pillow's shapes have jagged edges.
    mask = Image.new("L", (2 * width, 2 * width))
    rng.choice(patterns or part.look.patterns)(ImageDraw.Draw(mask), 2 * width, rng)
    art = Image.new("RGB", (width, width), ground)
    art.paste(shape, (0, 0), mask.reduce(2))
    if part.style == "bare":
        return art
    x, y, side = part.place
    if part.style == "giant":
        x, y, side = x + rng.choice((-0.16, 0.16)), y + 0.06, 1.45 * side
    emblem = _emblem(part.emblem, side * width)
    if part.style == "tilted":
        emblem = emblem.rotate(rng.choice((-14, -10, 10, 14)), Image.Resampling.BILINEAR, expand=True)
    colour = part.look.on(ground, shape)
    if part.style == "shadow":
        shadow = max((part.look.ink, part.look.paper), key=lambda other: contrast_of(colour, other))
        _stamp(art, emblem, shadow, x + 0.035, y + 0.035)
    _stamp(art, emblem, colour, x, y)
    return art


def _stamp(art: Image.Image, mask: Image.Image, colour: Colour, x: float, y: float) -> None:
    art.paste(colour, (round(x * art.width - mask.width / 2), round(y * art.width - mask.height / 2)), mask)


def _emblem(name: str, pixels: float) -> Image.Image:
    """Return a glyph of the icon font as a greyscale mask, cropped; its longer side has about so many pixels."""
    letter, path = getattr(_icons(), name)[-1], _icons().__font_file__
    left, top, right, bottom = _font(path, 100).getbbox(letter)
    font = _font(path, round(100 * pixels / max(right - left, bottom - top)))
    left, top, right, bottom = font.getbbox(letter)
    mask = Image.new("L", (math.ceil(right - left), math.ceil(bottom - top)))
    ImageDraw.Draw(mask).text((-left, -top), letter, fill=255, font=font)
    return mask


# The lettering.


def _letter_title(image: Image.Image, title: str, colour: Colour, above: bool) -> None:
    size, lines = _fitted(title)
    top = HEIGHT - 1.05 - len(lines) * size * LEADING if above else 1.035
    for number, text in enumerate(lines):
        # Capitals have some room at their left; large ones would look set in.
        x, y = MARGIN - 0.04 * size, top + number * size * LEADING
        image.paste(colour, (round(x * image.width), round(y * image.width)), _line(text, _BOLD, size * image.width))


def _letter_small(image: Image.Image, names: Sequence[str], colour: Colour, y: float) -> None:
    """Letter "stand-in" at the right of the line around ``y``, and as many genres as there is room for at its left."""
    pixels, left, right = SMALL_SIZE * image.width, round(MARGIN * image.width), round((1 - MARGIN) * image.width)
    mark = _line("stand-in", _REGULAR, pixels)
    top = round(y * image.width - mark.height / 2)
    image.paste(colour, (right - mark.width, top), mark)
    room = right - mark.width - round(pixels) - left
    for count in range(len(names), 0, -1):
        line = _line(_printable(" · ".join(names[:count]).upper()), _BOLD, pixels)
        if line.width <= room or count == 1:
            image.paste(colour, (left, top), line.crop((0, 0, min(line.width, room), line.height)))
            return


def _fitted(text: str) -> tuple[float, list[str]]:
    """Return (letter size, lines): the largest of TITLE_SIZES at which a title fits its box, cut at the smallest."""
    font = _font(_font_file(_BOLD), 100)
    pieces = re.findall(r" ?[^ ]{1,16}", text)
    size, lines = TITLE_SIZES[0], [""]
    for size in TITLE_SIZES:
        room, lines = 100 * (1 - 2 * MARGIN) / size / NARROW, [""]
        for piece in pieces:
            if lines[-1] and font.getlength(lines[-1] + piece) > room:
                lines.append("")
            lines[-1] = (lines[-1] + piece).lstrip()
        if len(lines) * size * LEADING <= TITLE_HEIGHT and max(map(font.getlength, lines)) <= room:
            break
    return size, lines[: int(TITLE_HEIGHT / size / LEADING)]


def _line(text: str, face: str, pixels: float) -> Image.Image:
    """Return a line of text as a greyscale mask whose height depends on the size alone, so that lines align."""
    # Twice as large and then squeezed: smoother than letters of the final size.
    font = _font(_font_file(face), round(2 * pixels))
    mask = Image.new("L", (2 + math.ceil(font.getlength(text)), round(2.5 * pixels)))
    ImageDraw.Draw(mask).text((0, 1.95 * pixels), text, fill=255, font=font, anchor="ls")
    return mask.resize((math.ceil(mask.width / 2 * NARROW), mask.height // 2), Image.Resampling.BOX)


def _printable(text: str) -> str:
    """Return the title, else the one in brackets, without letters that the font lacks; "" where nothing is left."""
    for name in both_titles(text):
        kept = "".join(letter for letter in name if ord(letter) in _letters()).strip()
        if kept:
            return kept if len(kept) <= MOST_LETTERS else kept[: MOST_LETTERS - 1].rstrip() + "…"
    return ""


@functools.cache
def _letters() -> frozenset[int]:
    return frozenset(FT2Font(_font_file(_BOLD)).get_charmap())


@functools.lru_cache(maxsize=64)
def _font(path: str, pixels: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, pixels)


def _font_file(face: str) -> str:
    # The fonts that come with matplotlib, so that a card is the same on every machine.
    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / face)


@functools.cache
def _icons() -> Any:
    """Return the class whose attributes are the glyphs of the icon font, by name."""
    try:
        return importlib.import_module("fonticon_mdi7").MDI7
    except ImportError as error:
        raise ImportError(
            "Stand-in cards take their emblems from the package fonticon-materialdesignicons7, which is not installed. "
            "Install it: pip install -r requirements.txt"
        ) from error
