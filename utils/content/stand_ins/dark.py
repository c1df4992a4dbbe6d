"""Scenes and emblems of the dark genres: film noir, horror, crime, mystery, thriller, war.

A scene takes (sheet, palette, rng) and fills the sheet; an emblem takes (sheet, x, y, r, palette, rng)
and is drawn within r of a point. ``rng`` holds the movie's own random numbers, which vary a drawing
without changing what it shows. Lengths are in widths of the poster.
"""

import math
import random

from utils.content.stand_ins.shapes import ridge, star, wave
from utils.content.stand_ins.sheet import HEIGHT, Colour, Palette, Sheet, mix


def blinds(sheet: Sheet, p: Palette, rng: random.Random) -> None:
    """Light through a venetian blind across a dark wall."""
    sheet.gradient(p.top, p.bottom)
    slope, side = rng.uniform(0.12, 0.3), rng.choice((-1, 1))
    for step in range(17):
        y = -0.1 + step * 0.085
        left, right = (y + slope, y - slope) if side > 0 else (y - slope, y + slope)
        sheet.shape([(0, left), (1, right), (1, right + 0.042), (0, left + 0.042)], p.light, max(0, 150 - 6 * step))
    sheet.shape([(0.5 - side * 0.5, 0), (0.5 - side * 0.38, 0), (0.5 - side * 0.5, HEIGHT)], p.dark, 160)


def fedora(sheet: Sheet, x: float, y: float, r: float, p: Palette, rng: random.Random) -> None:
    """Film noir: a figure in hat and coat, lit from behind."""
    side = rng.choice((-1, 1))
    sheet.glow(x, y, 1.5 * r, p.light, 0.8)
    coat = [(-0.95, 1.0), (-0.85, 0.55), (-0.3, 0.25), (0.3, 0.25), (0.85, 0.55), (0.95, 1.0)]
    sheet.shape([(x + a * r, y + b * r) for a, b in coat], p.dark)
    collar = [(-0.42, 0.5), (-0.34, 0.05), (0, 0.4), (0.34, 0.05), (0.42, 0.5), (0, 0.95)]
    sheet.shape([(x + a * r, y + b * r) for a, b in collar], mix(p.dark, p.main, 0.3))
    sheet.disc(x, y - 0.1 * r, 0.3 * r, p.dark, ry=0.42 * r)
    sheet.pie(x, y - 0.1 * r, 0.29 * r, 0 if side > 0 else 90, 90 if side > 0 else 180, mix(p.main, p.light, 0.3), 200)
    crown = [(-0.42, -0.34), (-0.36, -0.82), (-0.1, -0.9), (0, -0.83), (0.1, -0.9), (0.36, -0.82), (0.42, -0.34)]
    sheet.shape([(x + a * r, y + b * r) for a, b in crown], p.dark)
    sheet.disc(x, y - 0.34 * r, 0.78 * r, p.dark, ry=0.13 * r)
    sheet.box(x - 0.42 * r, y - 0.5 * r, x + 0.42 * r, y - 0.4 * r, p.main)


def graveyard(sheet: Sheet, p: Palette, rng: random.Random) -> None:
    """A bare tree, crooked crosses, ground fog."""
    sheet.gradient(p.top, p.bottom, p.top)
    sheet.shape(wave(1.08, 0.04, rng.uniform(0.7, 1.4), rng.uniform(0, 6)), p.dark)
    for _ in range(4):
        x, lean = rng.uniform(0.05, 0.95), rng.uniform(-0.03, 0.03)
        sheet.stroke([(x, 1.1), (x + lean, 0.93)], 0.018, p.dark)
        sheet.stroke([(x - 0.035 + lean, 0.975), (x + 0.035 + lean, 0.97)], 0.018, p.dark)
    side = rng.choice((-1, 1))
    root = 0.5 - side * 0.46
    _branch(sheet, rng, (root, 1.15), -math.pi / 2 + side * 0.12, 0.3, 0.05, p.dark, 4)
    sheet.shade(0.9, 1.15, mix(p.light, p.bottom, 0.5), 0, 90)


def _branch(
    sheet: Sheet,
    rng: random.Random,
    start: tuple[float, float],
    angle: float,
    length: float,
    width: float,
    colour: Colour,
    depth: int,
) -> None:
    end = (start[0] + length * math.cos(angle), start[1] + length * math.sin(angle))
    sheet.stroke([start, end], width, colour)
    if depth:
        for turn in (-rng.uniform(0.25, 0.6), rng.uniform(0.25, 0.6)):
            _branch(sheet, rng, end, angle + turn, length * rng.uniform(0.6, 0.75), width * 0.62, colour, depth - 1)


def claws(sheet: Sheet, x: float, y: float, r: float, p: Palette, rng: random.Random) -> None:
    """Horror: a moon torn by claws."""
    sheet.glow(x, y, 1.6 * r, p.light, 0.45)
    sheet.disc(x, y, 0.85 * r, p.light)
    for _ in range(5):
        angle, far = rng.uniform(0, 6.28), rng.uniform(0.2, 0.6) * r
        crater = rng.uniform(0.06, 0.14) * r
        sheet.disc(x + far * math.cos(angle), y + far * math.sin(angle), crater, mix(p.light, p.dark, 0.16))
    lean = rng.choice((-1, 1)) * rng.uniform(0.25, 0.4) * r
    for step in range(4):
        left = x + (step - 1.5) * 0.42 * r
        length = r * (1.15 if step in (1, 2) else 0.9)
        top, end = (left + lean, y - length), (left - lean, y + length)
        thick = 0.1 * r
        middle = ((top[0] + end[0]) / 2, y)
        sheet.shape(
            [top, (middle[0] + thick, middle[1] - 0.1 * r), end, (middle[0] - thick, middle[1] + 0.1 * r)], p.main
        )


def city(sheet: Sheet, p: Palette, rng: random.Random) -> None:
    """A skyline at night with a few lit windows."""
    sheet.gradient(p.top, p.bottom)
    sheet.glow(rng.uniform(0.2, 0.8), 1.1, 0.75, p.main, 0.7)
    for layer in (0.45, 0.0):
        x = -0.05
        while x < 1.0:
            width, top = rng.uniform(0.08, 0.17), rng.uniform(0.62, 0.92) + (0.1 if layer == 0 else 0)
            sheet.box(x, top, x + width, HEIGHT, mix(p.dark, p.bottom, layer))
            for _ in range(5 if layer == 0 else 0):
                wx, wy = x + rng.uniform(0.01, width - 0.02), top + rng.uniform(0.02, 0.3)
                sheet.box(wx, wy, wx + 0.014, wy + 0.02, p.light, 220)
            x += width + rng.uniform(0.0, 0.02)


def fingerprint(sheet: Sheet, x: float, y: float, r: float, p: Palette, rng: random.Random) -> None:
    """Crime: a fingerprint under a crosshair."""
    for step in range(1, 8):
        size = step * 0.115 * r
        start = rng.uniform(100, 260)
        for gap in range(2):
            begin = start + 180 * gap
            sheet.arc(x, y, size * 0.84, begin, begin + rng.uniform(125, 165), 0.05 * r, p.main, ry=size * 1.08)
    sheet.ring(x, y, 1.02 * r, 0.03 * r / 0.3, p.light)
    for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        sheet.stroke(
            [(x + dx * 0.84 * r, y + dy * 0.84 * r), (x + dx * 1.22 * r, y + dy * 1.22 * r)], 0.03 * r / 0.3, p.light
        )


def fog(sheet: Sheet, p: Palette, rng: random.Random) -> None:
    """A street lamp in fog, a long corridor of light."""
    sheet.gradient(p.top, p.bottom, p.dark)
    for step in range(5):
        half = 0.5 - 0.085 * step
        sheet.box(0.5 - half, 0.06 + 0.08 * step, 0.5 + half, HEIGHT, mix(p.top, p.light, 0.06 * step), 170)
    for _ in range(4):
        y = rng.uniform(0.5, 1.2)
        sheet.disc(rng.random(), y, rng.uniform(0.3, 0.6), p.light, 26, ry=rng.uniform(0.04, 0.09))
    side = rng.choice((0.1, 0.9))
    sheet.stroke([(side, 0.45), (side, 1.3)], 0.014, p.dark)
    sheet.glow(side, 0.42, 0.3, p.light, 0.95)
    sheet.disc(side, 0.42, 0.028, p.light)


def keyhole(sheet: Sheet, x: float, y: float, r: float, p: Palette, rng: random.Random) -> None:
    """Mystery: a keyhole with an eye behind it."""
    sheet.disc(x, y, 0.95 * r, p.dark)
    sheet.ring(x, y, 0.86 * r, 0.03 * r / 0.3, p.main)
    sheet.shape(
        [(x - 0.16 * r, y), (x + 0.16 * r, y), (x + 0.36 * r, y + 0.66 * r), (x - 0.36 * r, y + 0.66 * r)], p.light
    )
    sheet.disc(x, y - 0.16 * r, 0.42 * r, p.light)
    look = rng.uniform(-0.12, 0.12) * r
    sheet.disc(x, y - 0.16 * r, 0.34 * r, (250, 248, 240), ry=0.2 * r)
    sheet.disc(x + look, y - 0.16 * r, 0.18 * r, p.main)
    sheet.disc(x + look, y - 0.16 * r, 0.08 * r, (15, 12, 12))


def shards(sheet: Sheet, p: Palette, rng: random.Random) -> None:
    """Cracked glass running out from the middle."""
    sheet.gradient(p.top, p.bottom)
    centre, angle = (0.5, 0.58), rng.uniform(0, 1)
    while angle < 7.28:
        step = rng.uniform(0.25, 0.6)
        corners = [(centre[0] + 1.6 * math.cos(a), centre[1] + 1.6 * math.sin(a)) for a in (angle, angle + step)]
        sheet.shape([centre, *corners], rng.choice((p.dark, p.main, p.bottom)), rng.randint(30, 120))
        angle += step
    sheet.glow(*centre, 0.6, p.light, 0.35)


def spiral(sheet: Sheet, x: float, y: float, r: float, p: Palette, rng: random.Random) -> None:
    """Thriller: a spiral with a figure falling into it."""
    way, start = rng.choice((-1, 1)), rng.uniform(0, 6.28)
    for arm in range(3):
        points = []
        for step in range(48):
            far = 1.25 * r * (step / 47) ** 1.25
            angle = start + arm * 2.094 + way * step * 0.2
            points.append((x + far * math.cos(angle), y + far * math.sin(angle)))
        sheet.stroke(points, 0.05 * r / 0.3 * 0.7, (p.main, p.light, p.main)[arm])
    sheet.disc(x, y - 0.3 * r, 0.09 * r, p.dark)
    limbs = (
        [(0, -0.22), (0, 0.1)],
        [(0, -0.15), (-0.26, -0.34)],
        [(0, -0.15), (0.26, -0.05)],
        [(0, 0.1), (-0.17, 0.38)],
        [(0, 0.1), (0.22, 0.32)],
    )
    for limb in limbs:
        sheet.stroke([(x + way * a * r, y + b * r) for a, b in limb], 0.11 * r, p.dark)


def searchlights(sheet: Sheet, p: Palette, rng: random.Random) -> None:
    """Searchlights, planes, and torn ground."""
    sheet.gradient(p.top, p.bottom)
    for step in range(5):
        foot, lean = (step + rng.uniform(0.2, 0.8)) / 5, rng.uniform(-0.55, 0.55)
        sheet.shape(
            [(foot - 0.012, 1.1), (foot + 0.012, 1.1), (foot + lean + 0.09, 0), (foot + lean - 0.09, 0)], p.light, 60
        )
    for _ in range(rng.randint(3, 6)):
        x, y, s = rng.uniform(0.1, 0.9), rng.uniform(0.08, 0.35), rng.uniform(0.03, 0.05)
        sheet.shape(
            [
                (x, y - s),
                (x + s * 1.3, y + 0.25 * s),
                (x + 0.15 * s, y + 0.1 * s),
                (x, y + s),
                (x - 0.15 * s, y + 0.1 * s),
                (x - s * 1.3, y + 0.25 * s),
            ],
            p.dark,
        )
    sheet.shape(ridge(rng, 1.12, 0.12, 14, 0.7), mix(p.dark, p.bottom, 0.3))
    sheet.shape(ridge(rng, 1.18, 0.1, 18, 0.6), p.dark)
    for step in range(3):
        sheet.box(0, 1.27 + 0.08 * step, 1, 1.31 + 0.08 * step, p.main)


def roundel(sheet: Sheet, x: float, y: float, r: float, p: Palette, rng: random.Random) -> None:
    """War: a star on a winged roundel."""
    for feather in range(4):
        for side in (-1, 1):
            far, low = (1.75 - 0.2 * feather) * r, y + (0.18 * feather - 0.3) * r
            sheet.shape(
                [
                    (x, low),
                    (x + side * far, low - 0.12 * r),
                    (x + side * 0.94 * far, low + 0.06 * r),
                    (x, low + 0.15 * r),
                ],
                p.light,
            )
    sheet.disc(x, y, 0.78 * r, p.dark)
    sheet.disc(x, y, 0.7 * r, p.main)
    sheet.disc(x, y, 0.56 * r, p.dark)
    sheet.shape(star(x, y, 5, 0.54 * r, 0.21 * r, -math.pi / 2 + rng.uniform(-0.06, 0.06)), p.light)
