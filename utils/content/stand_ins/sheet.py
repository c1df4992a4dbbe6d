"""The drawing surface of the stand-in posters: a sheet whose lengths are fractions of its width, and its colours.

x runs from 0 to 1 and y from 0 to 1.5, whatever the number of pixels, so a motif is written once.
"""

import colorsys
import functools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]
HEIGHT = 1.5
"""Height of a sheet in widths: posters are 2:3."""


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Return the colour ``share`` of the way (0 to 1) from ``first`` to ``second``."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _hex(text: str) -> Colour:
    return int(text[0:2], 16), int(text[2:4], 16), int(text[4:6], 16)


@dataclass(frozen=True)
class Palette:
    """Five colours of a poster: the two ends of its background, silhouettes, the motif, its highlights."""

    top: Colour
    bottom: Colour
    dark: Colour
    main: Colour
    light: Colour

    def varied(self, rng: random.Random) -> "Palette":
        """Return the palette with hue and lightness moved a little, the same way for all five colours."""
        turn, lift = rng.uniform(-0.025, 0.025), rng.uniform(0.92, 1.08)
        return self._each(lambda hue, light, full: ((hue + turn) % 1, min(1.0, light * lift), full))

    def toned(self, tint: Colour, share: float) -> "Palette":
        """Return the palette printed in one ink to the given share: its lightness kept, its hue the tint's."""
        inked = {name: _inked(colour, tint) for name, colour in vars(self).items()}
        return Palette(**{name: mix(colour, inked[name], share) for name, colour in vars(self).items()})

    def _each(self, change: Callable[[float, float, float], tuple[float, float, float]]) -> "Palette":
        changed: dict[str, Colour] = {}
        for name, colour in vars(self).items():
            hls = colorsys.rgb_to_hls(*(part / 255 for part in colour))
            red, green, blue = colorsys.hls_to_rgb(*change(*hls))
            changed[name] = round(255 * red), round(255 * green), round(255 * blue)
        return Palette(**changed)


def _inked(colour: Colour, tint: Colour) -> Colour:
    grey = (0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]) / 255
    if grey < 0.5:
        return mix((12, 10, 8), tint, grey * 2)
    return mix(tint, (250, 245, 232), grey * 2 - 1)


def palette(colours: str) -> Palette:
    """Return the palette of five hexadecimal colours: top, bottom, dark, main, light."""
    return Palette(*(_hex(part) for part in colours.split()))


class Sheet:
    """A picture being drawn. ``alpha`` is 0 (nothing) to 255 (opaque) everywhere."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.image = Image.new("RGB", (width, round(width * HEIGHT)))
        self.pen = ImageDraw.Draw(self.image, "RGBA")

    def gradient(self, *stops: Colour, top: float = 0.0, bottom: float = HEIGHT) -> None:
        """Fill from ``top`` to ``bottom`` with colours that change evenly from stop to stop."""
        column = Image.new("RGB", (1, 96))
        for row in range(96):
            place = row / 95 * (len(stops) - 1)
            left = min(int(place), len(stops) - 2)
            column.putpixel((0, row), mix(stops[left], stops[left + 1], place - left))
        first, last = round(top * self.width), round(bottom * self.width)
        self.image.paste(_widened(column, self.width, last - first), (0, first))

    def shape(self, points: Sequence[Point], colour: Colour, alpha: int = 255) -> None:
        """Fill a polygon."""
        self.pen.polygon(self._pixels(points), fill=(*colour, alpha))

    def stroke(self, points: Sequence[Point], width: float, colour: Colour, alpha: int = 255) -> None:
        """Draw a line through points."""
        pixels = max(1, round(width * self.width))
        self.pen.line(
            self._pixels(points), fill=(*colour, alpha), width=pixels, joint="curve" if alpha == 255 else None
        )

    def disc(self, x: float, y: float, r: float, colour: Colour, alpha: int = 255, ry: float | None = None) -> None:
        """Fill a circle, or an upright ellipse when ``ry`` is given."""
        self.pen.ellipse(self._box(x, y, r, ry), fill=(*colour, alpha))

    def ring(self, x: float, y: float, r: float, width: float, colour: Colour, alpha: int = 255) -> None:
        """Draw a circle's outline."""
        self.pen.ellipse(self._box(x, y, r), outline=(*colour, alpha), width=max(1, round(width * self.width)))

    def arc(
        self,
        x: float,
        y: float,
        r: float,
        start: float,
        end: float,
        width: float,
        colour: Colour,
        ry: float | None = None,
    ) -> None:
        """Draw part of an outline, from ``start`` to ``end`` degrees, clockwise from the right; ``ry`` as for disc."""
        self.pen.arc(self._box(x, y, r, ry), start, end, fill=colour, width=max(1, round(width * self.width)))

    def pie(self, x: float, y: float, r: float, start: float, end: float, colour: Colour, alpha: int = 255) -> None:
        """Fill a slice of a circle."""
        self.pen.pieslice(self._box(x, y, r), start, end, fill=(*colour, alpha))

    def box(
        self, left: float, top: float, right: float, bottom: float, colour: Colour, alpha: int = 255, r: float = 0.0
    ) -> None:
        """Fill a rectangle with corners rounded by ``r``."""
        (x0, y0), (x1, y1) = self._pixels([(left, top), (right, bottom)])
        if x1 > x0 and y1 > y0:
            self.pen.rounded_rectangle((x0, y0, x1, y1), r * self.width, fill=(*colour, alpha))

    def glow(self, x: float, y: float, r: float, colour: Colour, strength: float = 1.0) -> None:
        """Lay light around a point, fading to nothing at distance ``r``; ``strength`` is 0 to 1."""
        side = max(2, round(2 * r * self.width))
        mask = _halo(round(strength * 20)).resize((side, side), Image.Resampling.BILINEAR)
        self.image.paste(colour, (round((x - r) * self.width), round((y - r) * self.width)), mask)

    def shade(self, top: float, bottom: float, colour: Colour, start: int, end: int) -> None:
        """Lay a colour over a band whose alpha runs from ``start`` at the top to ``end`` at the bottom."""
        first, last = round(top * self.width), round(bottom * self.width)
        mask = _widened(_ramp(start, end), self.width, last - first)
        self.image.paste(colour, (0, first), mask)

    def vignette(self, strength: float) -> None:
        """Darken the corners; ``strength`` is 0 to 1."""
        self.image.paste((0, 0, 0), (0, 0), _corners(self.image.size, round(strength * 20)))

    def grain(self, strength: float) -> None:
        """Lay film grain over the picture; ``strength`` is 0 to 1."""
        for colour, mask in zip(
            ((0, 0, 0), (255, 255, 255)), _noise(self.image.size, round(strength * 20)), strict=True
        ):
            self.image.paste(colour, (0, 0), mask)

    def _pixels(self, points: Sequence[Point]) -> list[Point]:
        return [(x * self.width, y * self.width) for x, y in points]

    def _box(self, x: float, y: float, r: float, ry: float | None = None) -> tuple[float, float, float, float]:
        ry = r if ry is None else ry
        return (x - r) * self.width, (y - ry) * self.width, (x + r) * self.width, (y + ry) * self.width


def _widened(column: Image.Image, width: int, height: int) -> Image.Image:
    # Smooth downwards only: across, all pixels are the same, and copying is several times faster.
    return column.resize((1, height), Image.Resampling.BILINEAR).resize((width, height), Image.Resampling.NEAREST)


@functools.lru_cache(maxsize=32)
def _halo(strength: int) -> Image.Image:
    # radial_gradient reaches 255 in the corners and 181 in the middle of each edge, where light must have faded.
    return Image.radial_gradient("L").point(
        [round(max(0, 1 - i / 180) ** 1.6 * 255 * strength / 20) for i in range(256)]
    )


@functools.lru_cache(maxsize=64)
def _ramp(start: int, end: int) -> Image.Image:
    column = Image.new("L", (1, 64))
    column.putdata([round(start + (end - start) * i / 63) for i in range(64)])
    return column


@functools.lru_cache(maxsize=4)
def _corners(size: tuple[int, int], strength: int) -> Image.Image:
    gradient = Image.radial_gradient("L").point([round((i / 255) ** 2.2 * 255 * strength / 20) for i in range(256)])
    return gradient.resize(size, Image.Resampling.BILINEAR)


@functools.lru_cache(maxsize=4)
def _noise(size: tuple[int, int], strength: int) -> tuple[Image.Image, Image.Image]:
    # A fixed seed: grain is part of the paper, not of the movie.
    noise = np.random.default_rng(7).normal(0, 6 * strength, (size[1], size[0])).clip(-255, 255)
    return Image.fromarray((-noise).clip(0).astype("uint8")), Image.fromarray(noise.clip(0).astype("uint8"))
