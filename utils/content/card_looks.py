"""What a stand-in card may look like: the colours and emblems of each genre, and the patterns behind an emblem."""

import functools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from PIL.ImageDraw import ImageDraw

Colour = tuple[int, int, int]
Pattern = Callable[[ImageDraw, float, random.Random], None]
"""Draws in white on a black square of so many pixels a side."""
CLEAR, LEGIBLE = 2.8, 4.5
"""Least contrast of an emblem, and of letters, to what is behind them (the second: WCAG 2.2, criterion 1.4.3)."""

# Genre, five colours (ground, shape, accent, paper, ink), emblems by their names in Material Design Icons (Apache 2.0).
_TABLE = """
Film-Noir   2a2b2f 5d5f66 f3efe4 f3efe4 0d0d0f hat_fedora smoking_pipe smoking glass_cocktail post_lamp lamp
Western     b5472a eda63c 33170f fbecc8 33170f cactus horseshoe horse_variant account_cowboy_hat star horse_human
Documentary e6dfcd 2f7377 10222b f6f2e6 10222b earth video_vintage camera_iris newspaper_variant radio_tower eye
Animation   37b26c ffe066 4b1a6e fffbe6 2b1148 panda unicorn palette owl butterfly elephant cat turtle penguin
Children    4fb7e5 ffe25c b3202c ffffff 123a5c teddy_bear ferris_wheel duck kite ice_cream pinwheel balloon snowman
Musical     56195e e6467a ffd05c fff1dc 2a0a30 music_clef_treble saxophone music piano shoe_ballet violin trumpet
War         565c3a 8b8a58 efe7c9 efe7c9 1f2115 medal parachute tank shield airplane star_circle knife_military
Horror      140d0e a3151c f2e4cf f2e4cf 140d0e skull ghost bat spider coffin grave_stone axe spider_web
Sci-Fi      0f2260 2b66d9 7df0e0 ecfaff 071238 rocket_launch ufo orbit alien robot space_station death_star atom
Fantasy     452a86 9f69da ffe08a fdf1ff 21114a castle wizard_hat crystal_ball unicorn_variant magic_staff crown
Mystery     0f3f3d 1c736a f6c95a f4ecd2 08211f key_variant magnify eye shoe_print lock candle cat door_open
Romance     f6b3bf ee6079 86092f fff4ee 4d0a22 heart flower_tulip flower_poppy heart_multiple ring glass_wine bird
Crime       1c2532 475670 f8c546 f5f0e1 10161f fingerprint handcuffs pistol cards_spade diamond_stone police_badge
Adventure   17695f f3a23c 0c2f2b fdf0cf 0c2f2b compass_rose sail_boat airballoon lighthouse palm_tree anchor tent
Thriller    e54d1e 1b1513 fbf2e2 fbf2e2 1b1513 eye target stairs timer_sand bullseye phone_classic chess_knight
Action      cf1f27 ffb71b 1f0f0c fff6df 1f0f0c flash fire nuke run_fast bomb helicopter karate racing_helmet
Comedy      ffc928 ff7a5c 26244a fffdf0 26244a emoticon_lol popcorn party_popper mustache bow_tie emoticon_cool glasses
Drama       2f4f6d cf7650 f9ecd2 f9ecd2 172a3c drama_masks umbrella tree feather leaf home human_male_female bridge
IMAX        06386e 0a76cd ffffff ffffff 041f3f theater projector_screen panorama_variant
-           6e6c66 a9a69d 232322 f3f1ea 232322 movie_open movie_roll filmstrip projector ticket popcorn
"""


@dataclass(frozen=True)
class Look:
    """How a genre looks: five flat colours, and the emblems and patterns of which each card shows one."""

    ground: Colour
    shape: Colour
    accent: Colour
    paper: Colour
    ink: Colour
    emblems: tuple[str, ...]
    patterns: tuple[Pattern, ...]

    def on(self, *grounds: Colour, contrast: float = CLEAR) -> Colour:
        """Return the first of accent, paper and ink with that contrast to each ground, else the one with the most."""
        inks = (self.accent, self.paper, self.ink)
        least = {ink: min(contrast_of(ink, ground) for ground in grounds) for ink in inks}
        return next((ink for ink in inks if least[ink] >= contrast), max(inks, key=least.__getitem__))

    def pair(self, rng: random.Random) -> tuple[Colour, Colour]:
        """Return (ground, shape) for a pattern, chosen so that the emblem is stronger than the pattern."""
        native = [(self.ground, self.shape), (self.shape, self.ground)]
        pairs = [*native, *native, (self.paper, self.ground), (self.ink, self.ground)]
        lead = [min(contrast_of(self.on(*pair), colour) for colour in pair) / contrast_of(*pair) for pair in pairs]
        return rng.choice([pair for pair, by in zip(pairs, lead, strict=True) if by >= min(1.0, max(lead))])


@functools.lru_cache(maxsize=4096)
def contrast_of(one: Colour, other: Colour) -> float:
    """Return the contrast ratio of two colours, 1 to 21 (WCAG 2.2, with gamma 2.2 for sRGB's curve)."""
    parts = (0.2126, 0.7152, 0.0722)
    lights = [sum(a * (b / 255) ** 2.2 for a, b in zip(parts, colour, strict=True)) for colour in (one, other)]
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def _disc(pen: ImageDraw, x: float, y: float, radius: float, fill: int = 255) -> None:
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def _sun(pen: ImageDraw, side: float, rng: random.Random) -> None:
    _disc(pen, side / 2, side / 2, rng.choice((0.38, 0.44, 0.5)) * side)


def _setting_sun(pen: ImageDraw, side: float, rng: random.Random) -> None:
    _disc(pen, side / 2, 0.54 * side, 0.46 * side)
    for bar in range(7):
        top = (0.58 + 0.064 * bar) * side
        pen.rectangle((0, top, side, top + (0.011 + 0.006 * bar) * side), fill=0)


def _rings(pen: ImageDraw, side: float, rng: random.Random) -> None:
    x, y = rng.choice(((0.5, 0.5), (0, 0), (1, 1), (0.5, 1)))
    for ring in range(18, 0, -1):
        _disc(pen, x * side, y * side, (ring - 0.5) * 0.085 * side, 255 * (ring % 2))


def _rays(pen: ImageDraw, side: float, rng: random.Random) -> None:
    x, y = rng.choice(((0.5, 0.5), (0.5, 1), (0, 1)))
    count = rng.choice((10, 14, 18))
    for ray in range(count):
        box = ((x - 2) * side, (y - 2) * side, (x + 2) * side, (y + 2) * side)
        pen.pieslice(box, 360 * ray / count, 360 * (ray + 0.5) / count, fill=255)


def _stripes(pen: ImageDraw, side: float, rng: random.Random) -> None:
    lean, step = rng.choice((-0.6, 0.6, 0.25, 0)) * side, rng.choice((0.14, 0.2)) * side
    for left in (step * bar for bar in range(-5, 13)):
        pen.polygon(((left, side), (left + step / 2, side), (left + step / 2 + lean, 0), (left + lean, 0)), fill=255)


def _half(pen: ImageDraw, side: float, rng: random.Random) -> None:
    corners = rng.choice((((0, 0), (1, 0), (0, 1)), ((0, 0), (1, 0), (1, 1)), ((0, 0), (0.5, 0), (0.5, 1), (0, 1))))
    pen.polygon([(x * side, y * side) for x, y in corners], fill=255)


def _quarter_discs(pen: ImageDraw, side: float, rng: random.Random) -> None:
    count = rng.choice((3, 4))
    step = side / count
    for place in range(count * count):
        turn = rng.randrange(5)  # 4 leaves the tile empty
        x, y = step * (place % count + (turn in (1, 2))), step * (place // count + (turn in (2, 3)))
        if turn < 4:
            pen.pieslice((x - step, y - step, x + step, y + step), 90 * turn, 90 * turn + 90, fill=255)


def _dots(pen: ImageDraw, side: float, rng: random.Random) -> None:
    step, growing = side / 9, rng.random() < 0.5
    for x, y in ((place % 9, place // 9) for place in range(81)):
        share = (x + y) / 16
        _disc(pen, (x + 0.5) * step, (y + 0.5) * step, 0.62 * step * (share if growing else 1 - share))


def _paper_cuts(pen: ImageDraw, side: float, rng: random.Random) -> None:
    count = rng.choice((3, 4, 5))
    for slab in range(count):
        left, right = (slab + rng.uniform(0.1, 0.2)) / count, (slab + rng.uniform(0.85, 0.97)) / count
        low, slant = rng.uniform(0.35, 1), rng.uniform(-0.04, 0.04)
        corners = ((left, 0), (right, 0), (right + slant, low), (left + slant, low + rng.uniform(-0.04, 0.04)))
        pen.polygon([(x * side, y * side) for x, y in corners], fill=255)


def _scales(pen: ImageDraw, side: float, rng: random.Random) -> None:
    step = side / 4
    for row in range(-2, 19):
        for column in range(-1, 5):
            for ring, radius in enumerate((0.5, 0.36, 0.22, 0.08)):
                _disc(pen, (column + 0.5 + row % 2 / 2) * step, row * step / 4, radius * step, 255 * (ring % 2))


def _chevrons(pen: ImageDraw, side: float, rng: random.Random) -> None:
    count = rng.choice((1, 2, 3))
    for band in range(-4, 6):
        edge = [(k * side / count / 2, (0.2 * band + k % 2 * 0.4 / count) * side) for k in range(2 * count + 1)]
        pen.polygon([*edge, *((x, y + 0.1 * side) for x, y in reversed(edge))], fill=255)


def _turned_squares(pen: ImageDraw, side: float, rng: random.Random) -> None:
    turn = rng.choice((0, 8, -8))
    for square in range(7, 0, -1):
        pen.regular_polygon((side / 2, side / 2, 0.15 * square * side), 4, turn * square, fill=255 * (square % 2))


_PATTERNS: dict[Pattern, str] = {
    _sun: "Western Documentary Animation Children Horror Romance Drama IMAX -",
    _setting_sun: "Western Sci-Fi Fantasy Adventure Drama",
    _rings: "Animation Musical Sci-Fi Mystery Romance Thriller IMAX",
    _rays: "Film-Noir Western Musical War Horror Fantasy Action Comedy Drama IMAX",
    _stripes: "Film-Noir Western Documentary War Crime Thriller Action -",
    _half: "Film-Noir Documentary War Crime Drama IMAX -",
    _quarter_discs: "Documentary Animation Musical Adventure Comedy Drama -",
    _dots: "Animation Children Sci-Fi Romance Crime Action Comedy",
    _paper_cuts: "Film-Noir Horror Mystery Thriller Drama",
    _scales: "Children Musical Fantasy Romance Adventure Drama",
    _chevrons: "Children War Mystery Adventure Action Comedy",
    _turned_squares: "Horror Sci-Fi Fantasy Mystery Crime Thriller",
}
"""Which genres use a pattern: they are recognised by their patterns too."""
CALM_PATTERNS: tuple[Pattern, ...] = (_sun, _half)
"""For small emblems, whatever the genre."""


def _looks() -> Iterator[tuple[str, Look]]:
    for line in _TABLE.split("\n")[1:-1]:
        genre, *fields = line.split()
        ground, shape, accent, paper, ink = (
            (int(text[:2], 16), int(text[2:4], 16), int(text[4:], 16)) for text in fields[:5]
        )
        patterns = tuple(pattern for pattern, genres in _PATTERNS.items() if genre in genres.split())
        yield genre.strip("-"), Look(ground, shape, accent, paper, ink, tuple(fields[5:]), patterns)


LOOKS = dict(_looks())
"""Genre (in the newer vocabulary of MovieLens) to its look, most telling first; "" stands for no known genre."""
