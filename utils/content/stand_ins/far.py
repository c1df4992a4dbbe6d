"""Scenes and emblems of the far-off genres: western, science fiction, fantasy, adventure, action; and of none.

A scene takes (sheet, palette, rng) and fills the sheet; an emblem takes (sheet, x, y, r, palette, rng)
and is drawn within r of a point. ``rng`` holds the movie's own random numbers, which vary a drawing
without changing what it shows. Lengths are in widths of the poster.
"""

import math
import random

from utils.content.stand_ins.shapes import ridge, star, tilted, wave
from utils.content.stand_ins.sheet import HEIGHT, Palette, Sheet, mix


def desert(sheet: Sheet, p: Palette, rng: random.Random) -> None:
    """Mesas and cactuses before a great sun."""
    sheet.gradient(p.top, p.bottom)
    x = rng.uniform(0.25, 0.75)
    for step in range(4):
        sheet.disc(x, 0.82, 0.62 - 0.1 * step, p.light, 45 + 30 * step)
    for layer, base in ((0.55, 0.98), (0.25, 1.04)):
        colour = mix(p.dark, p.bottom, layer)
        for _ in range(2):
            left, width, high = rng.uniform(-0.15, 0.75), rng.uniform(0.2, 0.42), rng.uniform(0.14, 0.34)
            sheet.shape(
                [
                    (left - 0.06, base),
                    (left + 0.03, base - high * 0.55),
                    (left + 0.04, base - high),
                    (left + width - 0.04, base - high),
                    (left + width - 0.03, base - high * 0.55),
                    (left + width + 0.06, base),
                ],
                colour,
            )
        sheet.shape(wave(base, 0.015, 1.2, rng.uniform(0, 6)), colour)
    sheet.shape(wave(1.1, 0.03, 0.8, rng.uniform(0, 6)), p.dark)
    cx = rng.choice((rng.uniform(0.08, 0.2), rng.uniform(0.8, 0.92)))
    sheet.box(cx - 0.025, 0.78, cx + 0.025, 1.15, p.dark, r=0.025)
    for side, top, low in ((-1, 0.87, 0.97), (1, 0.84, 0.93)):
        sheet.box(min(cx, cx + side * 0.09), low - 0.02, max(cx, cx + side * 0.09), low + 0.02, p.dark, r=0.02)
        sheet.box(cx + side * 0.09 - 0.018, top, cx + side * 0.09 + 0.018, low + 0.015, p.dark, r=0.018)


def badge(sheet: Sheet, x: float, y: float, r: float, p: Palette, rng: random.Random) -> None:
    """Western: a sheriff's star."""
    points = rng.choice((5, 6))
    for grow, colour in ((1.0, p.dark), (0.92, p.main)):
        corners = star(x, y, points, grow * r, 0.52 * grow * r)
        sheet.shape(corners, colour)
        for tip in corners[::2]:
            sheet.disc(*tip, 0.1 * r * grow, colour)
    sheet.ring(x, y, 0.44 * r, 0.03 * r / 0.3, p.dark)
    sheet.shape(star(x, y, 5, 0.3 * r, 0.13 * r), p.dark)


def space(sheet: Sheet, p: Palette, rng: random.Random) -> None:
    """Stars and nebulae."""
    sheet.gradient(p.top, p.bottom)
    for _ in range(3):
        sheet.glow(
            rng.uniform(0, 1), rng.uniform(0, 1.2), rng.uniform(0.3, 0.5), mix(p.main, p.bottom, rng.random()), 0.5
        )
    for _ in range(90):
        sheet.disc(
            rng.random(), rng.uniform(0, HEIGHT), rng.choice((0.002, 0.003, 0.005)), p.light, rng.randint(90, 255)
        )


def planet(sheet: Sheet, x: float, y: float, r: float, p: Palette, rng: random.Random) -> None:
    """Science fiction: a ringed planet."""
    tilt, body = rng.uniform(-0.5, 0.5), 0.66 * r
    sheet.glow(x, y, 1.7 * r, p.main, 0.7)
    rings = [tilted(x, y, width * r, 0.3 * width * r, tilt) for width in (1.3, 1.08)]
    for corners, colour in zip(rings, (p.light, p.main), strict=True):
        sheet.stroke(corners[:17], 0.035 * r / 0.3, colour)
    sheet.disc(x, y, body, mix(p.main, p.dark, 0.45))
    sheet.disc(x - 0.09 * body, y - 0.09 * body, 0.87 * body, p.main)
    for band in range(3):
        down = (band - 1) * 0.36 * body + rng.uniform(-0.05, 0.05) * body
        half = math.sqrt(body**2 - down**2)
        sheet.disc(x, y + down, half * 0.94, mix(p.main, p.dark, 0.5), 110, ry=0.07 * body)
    sheet.disc(x - 0.35 * body, y - 0.4 * body, 0.2 * body, p.light, 90)
    for corners, colour in zip(rings, (p.light, p.main), strict=True):
        sheet.stroke(corners[16:], 0.035 * r / 0.3, colour)


def moonlit(sheet: Sheet, p: Palette, rng: random.Random) -> None:
    """A huge moon, stars, misty hills."""
    sheet.gradient(p.top, p.bottom)
    for _ in range(40):
        sheet.disc(rng.random(), rng.uniform(0, 0.9), rng.choice((0.002, 0.004)), p.light, 220)
    sheet.disc(rng.uniform(0.3, 0.7), 0.5, 0.4, p.light, 120)
    for layer in range(3):
        sheet.shape(
            wave(0.96 + 0.09 * layer, 0.06, rng.uniform(0.8, 1.6), rng.uniform(0, 6)),
            mix(p.bottom, p.dark, 0.4 + 0.3 * layer),
        )


def castle(sheet: Sheet, x: float, y: float, r: float, p: Palette, rng: random.Random) -> None:
    """Fantasy: a castle of pointed towers, sparkling."""
    sheet.glow(x, y, 1.7 * r, p.light, 0.6)
    towers = [
        (-0.75, 0.0, 0.17),
        (0.75, rng.uniform(-0.2, 0.1), 0.17),
        (-0.38, -0.3, 0.16),
        (0.4, -0.4, 0.16),
        (0.0, -0.55, 0.2),
    ]
    sheet.box(x - 0.8 * r, y + 0.25 * r, x + 0.8 * r, y + 0.95 * r, p.dark)
    for dx, top, half in towers:
        left, right, high = x + (dx - half) * r, x + (dx + half) * r, y + (top + rng.uniform(-0.06, 0.06)) * r
        sheet.box(left, high, right, y + 0.95 * r, p.dark)
        sheet.shape([(left - 0.06 * r, high), (right + 0.06 * r, high), (x + dx * r, high - 0.5 * r)], p.main)
        sheet.box(x + (dx - 0.05) * r, high + 0.16 * r, x + (dx + 0.05) * r, high + 0.36 * r, p.light, r=0.05 * r)
    sheet.box(x - 0.15 * r, y + 0.55 * r, x + 0.15 * r, y + 0.95 * r, p.light, r=0.13 * r)
    for _ in range(8):
        size = rng.uniform(0.05, 0.14) * r
        sheet.shape(star(x + rng.uniform(-1.3, 1.3) * r, y - rng.uniform(0.5, 1.3) * r, 4, size, 0.25 * size), p.light)


def mountains(sheet: Sheet, p: Palette, rng: random.Random) -> None:
    """Ranges behind ranges, birds, a low sun."""
    sheet.gradient(p.top, p.bottom, p.light, bottom=1.1)
    x = rng.uniform(0.2, 0.8)
    sheet.glow(x, 0.6, 0.5, p.light, 0.9)
    for layer in range(4):
        colour = mix(p.bottom, p.dark, 0.25 + 0.25 * layer)
        sheet.shape(ridge(rng, 0.86 + 0.12 * layer, 0.34 - 0.06 * layer, 5 + 2 * layer, 0.75), colour)
    for _ in range(rng.randint(3, 6)):
        bx, by, s = rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.3), rng.uniform(0.012, 0.025)
        sheet.stroke([(bx - s, by - 0.5 * s), (bx, by), (bx + s, by - 0.5 * s)], 0.005, p.dark)


def compass(sheet: Sheet, x: float, y: float, r: float, p: Palette, rng: random.Random) -> None:
    """Adventure: a compass rose."""
    turn = rng.uniform(-0.3, 0.3) - math.pi / 2
    sheet.disc(x, y, 0.98 * r, p.dark)
    sheet.disc(x, y, 0.9 * r, mix(p.light, p.bottom, 0.25))
    sheet.ring(x, y, 0.76 * r, 0.018 * r / 0.3, p.dark)
    for size, offset, colour in ((0.62, math.pi / 4, mix(p.main, p.dark, 0.4)), (0.98, 0, p.main)):
        for corner in range(4):
            angle = turn + offset + corner * math.pi / 2
            tip = (x + size * r * math.cos(angle), y + size * r * math.sin(angle))
            for side, ink in ((0.785, colour), (-0.785, p.dark)):
                hip = (x + 0.22 * r * math.cos(angle + side), y + 0.22 * r * math.sin(angle + side))
                sheet.shape([(x, y), hip, tip], ink)
    sheet.disc(x, y, 0.08 * r, p.light)


def diagonals(sheet: Sheet, p: Palette, rng: random.Random) -> None:
    """Speed lines across the sheet, sparks."""
    sheet.gradient(p.top, p.bottom)
    side, shift = rng.choice((-1, 1)), rng.uniform(-0.2, 0.2)
    for step in range(9):
        x, wide = -0.6 + step * 0.25 + shift, rng.uniform(0.02, 0.12)
        corners = [(x, HEIGHT), (x + wide, HEIGHT), (x + wide + 0.75, 0), (x + 0.75, 0)]
        corners = corners if side > 0 else [(1 - a, b) for a, b in corners]
        sheet.shape(corners, rng.choice((p.main, p.dark, p.light)), rng.randint(40, 150))
    for _ in range(40):
        sheet.disc(rng.random(), rng.uniform(0.1, 1.3), rng.uniform(0.002, 0.006), p.light)


def blast(sheet: Sheet, x: float, y: float, r: float, p: Palette, rng: random.Random) -> None:
    """Action: an explosion with debris."""
    sheet.glow(x, y, 1.9 * r, p.main, 0.9)
    for size, colour in (
        (1.15, mix(p.main, p.dark, 0.45)),
        (0.9, p.main),
        (0.62, mix(p.main, p.light, 0.6)),
        (0.34, p.light),
    ):
        points = rng.randint(9, 13)
        corners = star(x, y, points, size * r, 0.58 * size * r, rng.uniform(0, 3))
        sheet.shape(
            [(a + rng.uniform(-0.1, 0.1) * r * size, b + rng.uniform(-0.1, 0.1) * r * size) for a, b in corners], colour
        )
    for _ in range(14):
        angle, far, size = rng.uniform(0, 6.28), rng.uniform(1.05, 1.6) * r, rng.uniform(0.04, 0.1) * r
        sheet.shape(star(x + far * math.cos(angle), y + far * math.sin(angle), 3, size, 0.6 * size, angle), p.dark)


def auditorium(sheet: Sheet, p: Palette, rng: random.Random) -> None:
    """The beam of a projector."""
    sheet.gradient(p.top, p.bottom)
    x = rng.uniform(0.3, 0.7)
    for spread in (0.55, 0.4, 0.25):
        sheet.shape([(x - 0.01, 0), (x + 0.01, 0), (0.5 + spread, 1.2), (0.5 - spread, 1.2)], p.light, 40)
    sheet.glow(x, 0, 0.3, p.light, 0.9)


def screen(sheet: Sheet, x: float, y: float, r: float, p: Palette, rng: random.Random) -> None:
    """IMAX: a giant screen over rows of seats."""
    sheet.glow(x, y, 1.8 * r, p.light, 0.8)
    sheet.shape(
        [
            (x - 1.2 * r, y - 0.75 * r),
            (x, y - 0.65 * r),
            (x + 1.2 * r, y - 0.75 * r),
            (x + 1.2 * r, y + 0.5 * r),
            (x, y + 0.4 * r),
            (x - 1.2 * r, y + 0.5 * r),
        ],
        p.light,
    )
    sheet.disc(x + rng.uniform(-0.6, 0.6) * r, y - 0.25 * r, 0.22 * r, p.main)
    for row in range(2):
        for seat in range(7 + row):
            sheet.disc(x + (seat - 3 - row / 2) * 0.38 * r, y + (0.72 + 0.26 * row) * r, 0.15 * r, p.dark)


def reel(sheet: Sheet, x: float, y: float, r: float, p: Palette, rng: random.Random) -> None:
    """No genre listed: a film reel."""
    turn = rng.uniform(0, 1)
    sheet.box(x, y + 0.78 * r, x + 1.5 * r, y + 0.94 * r, p.main)
    sheet.disc(x, y, 0.94 * r, p.main)
    sheet.ring(x, y, 0.85 * r, 0.015, p.dark)
    for hole in range(5):
        angle = turn + hole * 2 * math.pi / 5
        sheet.disc(x + 0.53 * r * math.cos(angle), y + 0.53 * r * math.sin(angle), 0.22 * r, p.dark)
    sheet.disc(x, y, 0.12 * r, p.dark)
