"""Emblems of drama: two heads together, a figure on a road, a tree and a bench; their arguments are as in ``near``."""

import math
import random

from utils.content.stand_ins.sheet import Palette, Sheet, mix


def people(sheet: Sheet, x: float, y: float, r: float, p: Palette, rng: random.Random) -> None:
    """Drama: two heads together, one figure on a long road, or a lone tree and a bench."""
    rng.choice((faces, wanderer, tree))(sheet, x, y, r, p, rng)


def tree(sheet: Sheet, x: float, y: float, r: float, p: Palette, rng: random.Random) -> None:
    """Draw an old tree on a rise before a low sun, with an empty bench."""
    sheet.disc(x, y - 0.05 * r, 0.95 * r, mix(p.light, p.main, rng.uniform(0.0, 0.3)), 235)
    side, leaves = rng.choice((-1, 1)), mix(p.main, p.dark, rng.uniform(0.1, 0.4))
    foot, trunk = y + 0.8 * r, x + side * 0.3 * r
    sheet.disc(x, foot + 0.3 * r, 1.25 * r, p.dark, ry=0.36 * r)
    sheet.shape(
        [
            (trunk - 0.1 * r, foot),
            (trunk - 0.05 * r, y - 0.2 * r),
            (trunk + 0.05 * r, y - 0.2 * r),
            (trunk + 0.12 * r, foot),
        ],
        p.dark,
    )
    for _ in range(9):
        angle, far = rng.uniform(0, 6.28), rng.uniform(0.1, 0.42) * r
        at = trunk + 1.3 * far * math.cos(angle), y - 0.42 * r + far * math.sin(angle)
        sheet.disc(*at, rng.uniform(0.2, 0.3) * r, mix(leaves, p.dark, rng.choice((0.0, 0.15, 0.3))))
    bench = x - side * 0.42 * r
    for low, high, half in ((0.62, 0.68, 0.3), (0.46, 0.53, 0.3)):
        sheet.box(bench - half * r, y + low * r, bench + half * r, y + high * r, p.dark)
    for leg in (-0.24, 0.24):
        sheet.box(bench + (leg - 0.03) * r, y + 0.46 * r, bench + (leg + 0.03) * r, y + 0.95 * r, p.dark)


def wanderer(sheet: Sheet, x: float, y: float, r: float, p: Palette, rng: random.Random) -> None:
    """Draw someone walking into a low sun, with a long shadow."""
    sheet.disc(x, y - 0.05 * r, 0.95 * r, mix(p.light, p.main, rng.uniform(0.0, 0.4)), 235)
    low, lean = y + 0.5 * r, rng.uniform(-0.6, 0.6) * r
    sheet.shape(
        [
            (x - 0.1 * r, low),
            (x + 0.1 * r, low),
            (x + lean + 0.3 * r, y + 1.35 * r),
            (x + lean - 0.3 * r, y + 1.35 * r),
        ],
        p.dark,
        120,
    )
    coat = [
        (-0.13, -0.42),
        (0.13, -0.42),
        (0.24, 0.2),
        (0.12, 0.2),
        (0.15, 0.52),
        (0.02, 0.52),
        (0, 0.25),
        (-0.05, 0.52),
        (-0.17, 0.52),
        (-0.12, 0.2),
        (-0.24, 0.2),
    ]
    sheet.shape([(x + a * r, y + b * r) for a, b in coat], p.dark)
    sheet.disc(x, y - 0.56 * r, 0.13 * r, p.dark, ry=0.15 * r)
    if rng.random() < 0.5:
        sheet.box(x + 0.2 * r, y + 0.12 * r, x + 0.42 * r, y + 0.36 * r, p.dark, r=0.03 * r)


def faces(sheet: Sheet, x: float, y: float, r: float, p: Palette, rng: random.Random) -> None:
    """Draw two people, overlapping, before a pale disc."""
    sheet.disc(x, y - 0.1 * r, 0.92 * r, mix(p.light, p.main, rng.uniform(0, 0.35)), 235)
    near = rng.choice((-1, 1))
    for side, size, colour in ((-near, 0.86, mix(p.main, p.dark, 0.35)), (near, 1.0, p.dark)):
        cx, low = x + side * 0.36 * r, y + 0.95 * r
        sheet.pie(cx, low, 0.62 * size * r, 180, 360, colour)
        sheet.box(cx - 0.12 * size * r, low - 0.8 * size * r, cx + 0.12 * size * r, low - 0.5 * size * r, colour)
        sheet.disc(cx, low - 0.98 * size * r, 0.3 * size * r, colour, ry=0.37 * size * r)
        sheet.disc(cx - side * 0.3 * size * r, low - 0.93 * size * r, 0.07 * size * r, colour)
