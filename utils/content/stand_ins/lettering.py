"""The lettering of the stand-in posters: fonts, line breaks, and titles that fit whatever their length.

The fonts are those that come with matplotlib, so a poster is the same on every machine.
"""

import functools
from pathlib import Path
from typing import Literal

import matplotlib
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from utils.content.stand_ins.sheet import Colour, Sheet

Face = Literal[
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSans-BoldOblique.ttf",
    "DejaVuSerif-Bold.ttf",
    "DejaVuSerif-BoldItalic.ttf",
    "STIXGeneralBol.ttf",
]
_WIDEST: Face = "DejaVuSans-Bold.ttf"
"""The face with the most scripts; used when a text has letters that the chosen one lacks."""
_MEASURE = 100
MOST_LETTERS = 160


@functools.lru_cache(maxsize=256)
def font(face: Face, size: int) -> ImageFont.FreeTypeFont:
    """Return a font of the given height in pixels."""
    return ImageFont.truetype(str(_folder() / face), size)


def covering(face: Face, text: str) -> Face:
    """Return ``face`` if it has every letter of ``text``, else the face with the most scripts."""
    return face if {ord(letter) for letter in text} <= _letters(face) else _WIDEST


@functools.lru_cache(maxsize=4096)
def _word_width(face: Face, word: str) -> float:
    return font(face, _MEASURE).getlength(word) / _MEASURE


def fit(text: str, face: Face, width: float, height: float, narrow: float, most_lines: int) -> tuple[float, list[str]]:
    """Return (letter size, lines): the largest size at which ``text`` fits a box, all in the same unit.

    ``narrow`` is the share to which letters will be squeezed sideways (1: not at all).
    """
    if len(text) > MOST_LETTERS:
        text = text[: MOST_LETTERS - 1].rstrip() + "…"
    words = [part for word in text.split() for part in _pieces(word)]
    widths = [_word_width(face, word) * narrow for word in words]
    best: tuple[float, list[str]] = (0.0, [])
    for count in range(1, min(most_lines, len(words)) + 1):
        lines = _balanced(words, widths, count, space=0.3 * narrow)
        longest = max(_word_width(face, line) for line in lines) * narrow
        size = min(width / longest, height / (len(lines) * LEADING))
        # A little larger is not worth another line.
        if size > 1.08 * best[0]:
            best = size, lines
    return best


LEADING = 0.98
"""Distance between lines in letter sizes: capitals, set tight."""


def _pieces(word: str) -> list[str]:
    return [word[start : start + 18] for start in range(0, len(word), 18)]


def _balanced(words: list[str], widths: list[float], count: int, space: float) -> list[str]:
    """Break words into at most ``count`` lines, the longest as short as greedy filling can make it."""
    low, high = max(widths), sum(widths) + space * len(words)
    lines = [" ".join(words)]
    for _ in range(9):
        limit = (low + high) / 2
        filled = _filled(words, widths, limit, space)
        if len(filled) <= count:
            lines, high = filled, limit
        else:
            low = limit
    return lines if len(lines) <= count else _filled(words, widths, high, space)


def _filled(words: list[str], widths: list[float], limit: float, space: float) -> list[str]:
    lines: list[str] = []
    current: list[str] = []
    used = 0.0
    for word, width in zip(words, widths, strict=True):
        if current and used + space + width > limit + 1e-9:
            lines.append(" ".join(current))
            current, used = [], 0.0
        used += width + (space if current else 0)
        current.append(word)
    return [*lines, " ".join(current)]


def line(
    sheet: Sheet,
    text: str,
    face: Face,
    centre: tuple[float, float],
    size: float,
    colour: Colour,
    *,
    narrow: float = 1.0,
    most_width: float = 1.0,
    shadow: Colour | None = None,
    halo: Colour | None = None,
) -> None:
    """Draw one line of text centred on a point; ``size`` and ``most_width`` are in widths of the sheet.

    ``shadow`` drops a hard shadow to the lower right, ``halo`` a soft light behind the letters.
    """
    pixels = max(6, round(size * sheet.width))
    mask = _mask(text, face, pixels)
    width = min(round(mask.width * narrow), round(most_width * sheet.width))
    if width < 1:
        return
    if width != mask.width:
        mask = mask.resize((width, mask.height), Image.Resampling.BILINEAR)
    left = round(centre[0] * sheet.width - width / 2)
    top = round(centre[1] * sheet.width - mask.height / 2)
    if halo is not None:
        spread = max(4, pixels // 5)
        wide = Image.new("L", (mask.width + 2 * spread, mask.height + 2 * spread))
        wide.paste(mask, (spread, spread))
        wide = wide.filter(ImageFilter.BoxBlur(spread / 2)).point([min(255, 2 * level) for level in range(256)])
        sheet.image.paste(halo, (left - spread, top - spread), wide)
    if shadow is not None:
        drop = max(2, pixels // 18)
        sheet.image.paste(shadow, (left + drop, top + drop), mask)
    sheet.image.paste(colour, (left, top), mask)


def _mask(text: str, face: Face, pixels: int) -> Image.Image:
    """Return the letters as a greyscale mask whose height depends on the size alone, so that lines align."""
    letters = font(face, pixels)
    ascent, descent = letters.getmetrics()
    mask = Image.new("L", (max(1, round(letters.getlength(text)) + pixels // 3), ascent + descent))
    ImageDraw.Draw(mask).text((pixels // 6, 0), text, fill=255, font=letters)
    return mask


@functools.cache
def _letters(face: Face) -> frozenset[int]:
    return frozenset(FT2Font(str(_folder() / face)).get_charmap())


def _folder() -> Path:
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"
