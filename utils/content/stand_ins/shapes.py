"""Outlines that several scenes and emblems of the stand-in posters share. Lengths are in widths of the poster."""

import math
import random

from utils.content.stand_ins.sheet import HEIGHT, Colour, Point, Sheet


def star(x: float, y: float, points: int, outer: float, inner: float, turn: float = -math.pi / 2) -> list[Point]:
    """Return the corners of a star with the given number of points."""
    corners = []
    for step in range(2 * points):
        r, angle = (inner if step % 2 else outer), turn + step * math.pi / points
        corners.append((x + r * math.cos(angle), y + r * math.sin(angle)))
    return corners


def ridge(rng: random.Random, base: float, height: float, steps: int, jag: float = 0.5) -> list[Point]:
    """Return a polygon: an uneven skyline around ``base`` - ``height`` down to the bottom of the sheet."""
    tops = []
    for step in range(steps + 1):
        high = height * (1 if step % 2 else 1 - jag) * rng.uniform(0.6, 1.15)
        tops.append(((step + rng.uniform(-0.25, 0.25)) / steps * 1.1 - 0.05, base - high))
    return [(-0.1, HEIGHT), (-0.1, base), *tops, (1.1, base), (1.1, HEIGHT)]


def wave(base: float, height: float, turns: float, phase: float, bottom: float = HEIGHT) -> list[Point]:
    """Return a polygon: rounded hills along a sine, down to ``bottom``."""
    tops = [(i / 32, base - height * math.sin(i / 32 * turns * 2 * math.pi + phase)) for i in range(33)]
    return [(0, bottom), *tops, (1, bottom)]


def tilted(x: float, y: float, rx: float, ry: float, tilt: float) -> list[tuple[float, float]]:
    """Return 33 points of an ellipse turned by ``tilt`` radians; the first half is its far (upper) side."""
    points = []
    for step in range(33):
        angle = math.pi + step * math.pi / 16
        a, b = rx * math.cos(angle), ry * math.sin(angle)
        points.append((x + a * math.cos(tilt) - b * math.sin(tilt), y + a * math.sin(tilt) + b * math.cos(tilt)))
    return points


def heart_shape(x: float, y: float, r: float) -> list[tuple[float, float]]:
    points = []
    for step in range(40):
        t = step * math.pi / 20
        across = 16 * math.sin(t) ** 3
        up = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((x + across * r / 16, y - up * r / 16))
    return points


def cloud(sheet: Sheet, x: float, y: float, r: float, colour: tuple[int, int, int]) -> None:
    """Draw a cloud of three puffs on a flat foot."""
    for dx, dy, size in ((-0.6, 0, 0.45), (0, -0.22, 0.62), (0.62, 0, 0.42)):
        sheet.disc(x + dx * r, y + dy * r, size * r, colour)
    sheet.box(x - 0.95 * r, y, x + 0.95 * r, y + 0.45 * r, colour, r=0.2 * r)


def rays(sheet: Sheet, x: float, y: float, count: int, turn: float, colour: Colour, alpha: int) -> None:
    for ray in range(count):
        a, b = turn + ray * 2 * math.pi / count, turn + (ray + 0.5) * 2 * math.pi / count
        sheet.shape(
            [(x, y), (x + 2 * math.cos(a), y + 2 * math.sin(a)), (x + 2 * math.cos(b), y + 2 * math.sin(b))],
            colour,
            alpha,
        )
