"""Scenes and emblems of the genres near home: comedy, children, animation, musical, romance, documentary.

Drama has its scene here, its emblems in ``utils.content.stand_ins.drama``.

A scene takes (sheet, palette, rng) and fills the sheet; an emblem takes (sheet, x, y, r, palette, rng)
and is drawn within r of a point. ``rng`` holds the movie's own random numbers, which vary a drawing
without changing what it shows. Lengths are in widths of the poster.
"""

import math
import random

from utils.content.stand_ins.shapes import cloud, heart_shape, rays, star, tilted, wave
from utils.content.stand_ins.sheet import HEIGHT, Palette, Sheet, mix


def confetti(sheet: Sheet, p: Palette, rng: random.Random) -> None:
    """A sunburst under falling confetti."""
    sheet.gradient(p.top, p.bottom)
    rays(sheet, 0.5 + rng.uniform(-0.15, 0.15), 0.62, rng.choice((12, 14, 16)), rng.uniform(0, 1), p.light, 70)
    colours = (p.main, p.light, p.dark, mix(p.main, (255, 255, 255), 0.4))
    for _ in range(60):
        x, y, s = rng.random(), rng.uniform(0, 1.3), rng.uniform(0.008, 0.018)
        if rng.random() < 0.5:
            sheet.disc(x, y, 0.6 * s, rng.choice(colours))
        else:
            sheet.shape(star(x, y, 2, 1.3 * s, 0.9 * s, rng.uniform(0, 3)), rng.choice(colours))


def balloons(sheet: Sheet, x: float, y: float, r: float, p: Palette, rng: random.Random) -> None:
    """Comedy: balloons, the middle one laughing."""
    places = [(-0.62, -0.1, 0.4, p.light), (0.62, -0.22, 0.42, mix(p.main, p.dark, 0.45)), (0.0, -0.22, 0.62, p.main)]
    knot = (x + rng.uniform(-0.1, 0.1) * r, y + 1.15 * r)
    for dx, dy, size, colour in places:
        cx, cy = x + dx * r, y + (dy + rng.uniform(-0.08, 0.08)) * r
        sheet.stroke([(cx, cy + size * r), ((cx + knot[0]) / 2, cy + 0.9 * r), knot], 0.006, p.dark)
        sheet.shape(
            [(cx, cy + size * r), (cx - 0.07 * r, cy + 1.22 * size * r), (cx + 0.07 * r, cy + 1.22 * size * r)], colour
        )
        sheet.disc(cx, cy, size * r, colour, ry=1.1 * size * r)
        sheet.disc(cx - 0.4 * size * r, cy - 0.5 * size * r, 0.16 * size * r, (255, 255, 255), 150)
    for side in (-1, 1):
        sheet.disc(cx + side * 0.22 * r, cy - 0.12 * r, 0.065 * r, p.dark, ry=0.11 * r)
    sheet.pie(cx, cy + 0.08 * r, 0.34 * r, 0, 180, p.dark)
    sheet.pie(cx, cy + 0.2 * r, 0.2 * r, 10, 170, p.light)


def meadow(sheet: Sheet, p: Palette, rng: random.Random) -> None:
    """Rounded hills, clouds, a sun."""
    sheet.gradient(p.top, p.bottom)
    x = rng.choice((0.16, 0.84))
    rays(sheet, x, 0.2, 12, rng.uniform(0, 1), p.light, 60)
    sheet.disc(x, 0.2, 0.1, p.light)
    for _ in range(3):
        cloud(sheet, rng.random(), rng.uniform(0.12, 0.6), rng.uniform(0.06, 0.11), (255, 255, 255))
    for step in range(3):
        green = mix(p.dark, p.light, 0.45 - 0.2 * step)
        sheet.shape(wave(0.9 + 0.12 * step, rng.uniform(0.04, 0.09), rng.uniform(0.7, 1.5), rng.uniform(0, 6)), green)


def rainbow(sheet: Sheet, x: float, y: float, r: float, p: Palette, rng: random.Random) -> None:
    """Children: a rainbow between two clouds."""
    stripes = ((228, 75, 75), (245, 160, 60), (250, 215, 80), (95, 185, 110), (70, 140, 215))
    low = y + 0.45 * r
    for step, colour in enumerate(stripes):
        sheet.arc(x, low, (1.1 - 0.13 * step) * r, 180, 360, 0.14 * r, colour)
    for side in (-1, 1):
        cloud(sheet, x + side * 0.84 * r, low, rng.uniform(0.34, 0.42) * r, (255, 255, 255))


def creature(sheet: Sheet, x: float, y: float, r: float, p: Palette, rng: random.Random) -> None:
    """Animation: a round, big-eyed fellow."""
    shadow, look = mix(p.main, p.dark, 0.3), rng.uniform(-0.08, 0.08) * r
    for side in (-1, 1):
        if rng.random() < 0.5:
            sheet.disc(x + side * 0.5 * r, y - 0.62 * r, 0.24 * r, shadow)
        else:
            sheet.shape(
                [
                    (x + side * 0.2 * r, y - 0.6 * r),
                    (x + side * 0.72 * r, y - 0.35 * r),
                    (x + side * 0.62 * r, y - 1.05 * r),
                ],
                shadow,
            )
        sheet.disc(x + side * 0.38 * r, y + 0.86 * r, 0.26 * r, shadow, ry=0.14 * r)
    sheet.disc(x, y, 0.8 * r, p.main, ry=0.84 * r)
    sheet.disc(x, y + 0.36 * r, 0.46 * r, mix(p.main, p.light, 0.55), ry=0.38 * r)
    for side in (-1, 1):
        sheet.disc(x + side * 0.28 * r, y - 0.22 * r, 0.25 * r, (255, 255, 255))
        sheet.disc(x + side * 0.24 * r + look, y - 0.19 * r, 0.12 * r, (25, 25, 35))
        sheet.disc(x + side * 0.24 * r + look - 0.04 * r, y - 0.24 * r, 0.04 * r, (255, 255, 255))
    sheet.arc(x, y + 0.06 * r, 0.24 * r, 20, 160, 0.05 * r, p.dark)


def stage(sheet: Sheet, p: Palette, rng: random.Random) -> None:
    """A stage: curtains and spotlights."""
    sheet.gradient(p.top, p.bottom)
    for x in (0.25, 0.75):
        to = 0.5 + rng.uniform(-0.25, 0.25)
        sheet.shape([(x - 0.02, 0), (x + 0.02, 0), (to + 0.3, 1.2), (to - 0.3, 1.2)], p.light, 60)
    sheet.disc(0.5, 1.16, 0.46, p.light, 100, ry=0.09)
    folds = rng.randint(4, 6)
    for side in (0, 1):
        for fold in range(folds):
            width = 0.26 / folds
            left = fold * width if side == 0 else 1 - (fold + 1) * width
            colour = mix(p.main, p.dark, 0.15 + 0.5 * (fold % 2))
            sheet.box(left, 0, left + width + 0.003, HEIGHT - 0.03 * (fold if side == 0 else folds - fold), colour)
    for fold in range(7):
        sheet.pie(fold / 6, 0, 0.12, 0, 180, mix(p.main, p.dark, 0.15 + 0.4 * (fold % 2)))


def notes(sheet: Sheet, x: float, y: float, r: float, p: Palette, rng: random.Random) -> None:
    """Musical: two beamed notes over a bent staff."""
    phase = rng.uniform(0, 6.28)
    for line in range(5):
        level = y + (line - 2) * 0.2 * r
        sheet.stroke(
            [(x + (i / 16 - 1) * 1.7 * r, level + 0.2 * r * math.sin(phase + i / 5)) for i in range(33)], 0.007, p.light
        )
    beam = rng.uniform(0.1, 0.25) * r
    for side in (-1, 1):
        foot = (x + side * 0.45 * r, y + 0.55 * r - side * beam / 2)
        sheet.box(foot[0] + 0.18 * r, y - 0.75 * r - side * beam / 2, foot[0] + 0.27 * r, foot[1], p.main)
        sheet.shape(tilted(*foot, 0.28 * r, 0.2 * r, -0.4), p.main)
    left, right, top = x - 0.27 * r, x + 0.72 * r, y - 0.8 * r
    sheet.shape(
        [
            (left, top + beam / 2),
            (right, top - beam / 2),
            (right, top + 0.22 * r - beam / 2),
            (left, top + 0.22 * r + beam / 2),
        ],
        p.main,
    )


def sunset(sheet: Sheet, p: Palette, rng: random.Random) -> None:
    """A sun going down over water."""
    sheet.gradient(p.top, p.bottom, p.light, bottom=0.95)
    x, r = rng.uniform(0.3, 0.7), rng.uniform(0.22, 0.32)
    sheet.glow(x, 0.95, 2 * r, p.light, 0.9)
    sheet.disc(x, 0.95, r, mix(p.light, (255, 255, 255), 0.35))
    sheet.gradient(mix(p.bottom, p.dark, 0.25), p.dark, top=0.95)
    for step in range(14):
        y, half = 0.965 + step * 0.025, r * rng.uniform(0.2, 0.95)
        sheet.box(x - half, y, x + half, y + 0.007, p.light, 150)


def heart(sheet: Sheet, x: float, y: float, r: float, p: Palette, rng: random.Random) -> None:
    """Romance: two hearts."""
    shift, lift = rng.uniform(0.22, 0.34) * r, rng.choice((-1, 1)) * rng.uniform(0.05, 0.18) * r
    sheet.glow(x, y, 1.6 * r, p.light, 0.5)
    for side, colour, size in ((1, mix(p.main, p.dark, 0.35), 0.62), (-1, p.main, 0.74)):
        sheet.shape(heart_shape(x + side * shift, y - side * lift, size * r), colour)
    sheet.disc(x - shift - 0.36 * r, y + lift - 0.36 * r, 0.1 * r, p.light, 170, ry=0.14 * r)


def filmstrip(sheet: Sheet, p: Palette, rng: random.Random) -> None:
    """A measured grid, and a strip of film down one side."""
    sheet.gradient(p.top, p.bottom)
    for step in range(1, 12):
        sheet.stroke([(step / 12, 0), (step / 12, HEIGHT)], 0.002, p.light, 60)
    for step in range(1, 18):
        sheet.stroke([(0, step / 12), (1, step / 12)], 0.002, p.light, 60)
    points = [(i / 12, 1.0 + 0.12 * math.sin(i * 0.7 + rng.uniform(0, 0.8))) for i in range(13)]
    sheet.stroke(points, 0.012, mix(p.main, p.light, 0.3))
    left = rng.choice((0.03, 0.8))
    sheet.box(left, 0, left + 0.17, HEIGHT, p.dark)
    for step in range(20):
        for x in (left + 0.012, left + 0.138):
            sheet.box(x, step * 0.08 + 0.02, x + 0.02, step * 0.08 + 0.05, p.light, r=0.005)
    for step in range(8):
        sheet.box(
            left + 0.042,
            step * 0.2 + 0.015,
            left + 0.128,
            step * 0.2 + 0.185,
            mix(p.main, p.bottom, rng.uniform(0.2, 0.8)),
        )


def globe(sheet: Sheet, x: float, y: float, r: float, p: Palette, rng: random.Random) -> None:
    """Documentary: a globe of meridians with a place marked."""
    sheet.disc(x, y, 0.9 * r, mix(p.main, p.dark, 0.55))
    for width in (0.9, 0.6, 0.25):
        sheet.arc(x, y, width * r, 0, 360, 0.022 * r / 0.3, p.light, ry=0.9 * r)
    for down in (-0.5, 0, 0.5):
        half = math.sqrt(0.81 - down**2) * r
        sheet.stroke([(x - half, y + down * r), (x + half, y + down * r)], 0.022 * r / 0.3, p.light)
    px, py = x + rng.uniform(-0.4, 0.4) * r, y + rng.uniform(-0.4, 0.1) * r
    sheet.shape([(px - 0.2 * r, py - 0.3 * r), (px + 0.2 * r, py - 0.3 * r), (px, py + 0.15 * r)], p.main)
    sheet.disc(px, py - 0.38 * r, 0.23 * r, p.main)
    sheet.disc(px, py - 0.38 * r, 0.09 * r, p.dark)


def horizon(sheet: Sheet, p: Palette, rng: random.Random) -> None:
    """Plain fields of colour with a low light: room for people."""
    level = rng.uniform(0.9, 1.05)
    sheet.gradient(p.top, p.bottom, bottom=level)
    sheet.glow(rng.uniform(0.1, 0.9), level, 0.7, p.light, 0.6)
    sheet.gradient(mix(p.bottom, p.dark, 0.55), p.dark, top=level)
    if rng.random() < 0.5:
        for _ in range(50):
            x, y = rng.random(), rng.uniform(0, level)
            sheet.stroke([(x, y), (x - 0.02, y + 0.07)], 0.002, p.light, 70)
    else:
        for step in range(3):
            sheet.disc(rng.random(), rng.uniform(0.1, 0.6), rng.uniform(0.2, 0.45), p.main, 40 + 15 * step)
