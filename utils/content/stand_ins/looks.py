"""Which genre looks how: its scene, its emblem and the palettes its posters may be printed in."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from utils.content.stand_ins import dark, drama, far, near
from utils.content.stand_ins.sheet import Palette, Sheet, palette

Backdrop = Callable[[Sheet, Palette, random.Random], None]
Emblem = Callable[[Sheet, float, float, float, Palette, random.Random], None]


@dataclass(frozen=True)
class Look:
    """How a genre looks: its scene, its emblem, and the palettes it may be printed in."""

    backdrop: Backdrop
    emblem: Emblem
    palettes: tuple[Palette, ...]


def _look(backdrop: Backdrop, emblem: Emblem, *palettes: str) -> Look:
    return Look(backdrop, emblem, tuple(palette(colours) for colours in palettes))


LOOKS: dict[str, Look] = {
    # The most telling genres first: the first that a movie has gives its scene and colours.
    "Film-Noir": _look(
        dark.blinds, dark.fedora, "15161a 2b2d33 060608 8b8d92 e9e6da", "1a1714 39332b 070605 a08d6c f2e6c8"
    ),
    "Western": _look(far.desert, far.badge, "f0a35a d9622f 3a1a12 c9912e ffe0a3", "7fb4b0 e8b878 4a2418 b5482a fff0cf"),
    "Documentary": _look(
        near.filmstrip, near.globe, "e8e4d8 c9d2cf 1f3138 d1552d f9f7f0", "274653 1d3640 0d1b21 f0b23c e9f1ef"
    ),
    "Animation": _look(
        near.meadow, near.creature, "5ec3ee c8f0fb 1f7a4d f26b3a fff2b0", "8f7be8 f8c7e0 2f6f7e ffb52e fff4d6"
    ),
    "Children": _look(
        near.meadow, near.rainbow, "6fd0f0 e7fbff 2e9b57 ff7d5c fff3a6", "ffc36e ffeec9 3c9a7a e85d75 fffbe0"
    ),
    "Musical": _look(
        near.stage, near.notes, "3a0d35 7a1b57 1d0519 f4b93f ffe9b8", "101a4a 3a2f8f 080c24 ee4d7d ffe3ef"
    ),
    "War": _look(
        dark.searchlights, dark.roundel, "4d5238 8c8557 1e2015 a93b2a efe6c2", "39424a 7d8783 14191c b5502e ece7d5"
    ),
    "Horror": _look(
        dark.graveyard,
        dark.claws,
        "0d0507 4a0d12 050203 c3131d e9dcc0",
        "07100c 1d3a2a 030604 a01818 d5e5b5",
        "1a0d26 4a2440 07030c d03a2a f0dcc8",
    ),
    "Sci-Fi": _look(
        far.space,
        far.planet,
        "060a24 1b2a63 03040f 3fb7d9 d9f3ff",
        "12062b 46176b 08020f e86fb0 ffe2f6",
        "041c1c 0d5a4f 020c0c f08a3c e2fff4",
    ),
    "Fantasy": _look(
        far.moonlit, far.castle, "2b1a5e 8a5fb8 170d33 d5568f ffedc4", "0f3b5c 58a3a8 06202f b05ac0 f4ffd9"
    ),
    "Mystery": _look(
        dark.fog, dark.keyhole, "14262b 3d5a58 060f12 c08a2f f1e7c0", "231a33 57466e 0c0814 7fae8f efe6f5"
    ),
    "Romance": _look(
        near.sunset,
        near.heart,
        "8c3f7a f2837c 4a1440 e2304f ffe1b5",
        "f5a6b8 fcd5c4 7a2a4b d42a55 fff4e3",
        "2e2a66 c76f9a 1c1440 f0506e ffd9c9",
    ),
    "Crime": _look(
        dark.city,
        dark.fingerprint,
        "0e1420 2f3b52 05070c d8372f f3e3b0",
        "1c1008 5a3413 0a0502 e6a21c fff0cc",
        "3b0d0d 8f1d1d 120303 f0e0c0 f7d9a0",
    ),
    "Adventure": _look(
        far.mountains, far.compass, "3a86b7 f4c26b 15323d c9502a fff0c9", "5b9a86 f0d9a0 1c3a33 d9822b fffbe6"
    ),
    "Thriller": _look(
        dark.shards,
        dark.spiral,
        "d9481f b5301a 1b0b0a f7e5c8 ffffff",
        "0f2530 1f4f5f 050d12 e9c73b f4f1e1",
        "262626 555049 0c0c0c d8342b f5f0e6",
    ),
    "Action": _look(
        far.diagonals,
        far.blast,
        "23130f 7d2410 0d0605 f47a1c ffe98f",
        "0c1b2c 1e4c6e 050b13 f2542d ffe9b0",
        "3a2d0e b5791a 120d03 d8281e fff3c4",
    ),
    "Comedy": _look(
        near.confetti,
        near.balloons,
        "ffd23f ff9f43 33202a e8434f fff7d1",
        "4cc9c0 8fe3c4 1d3a4a ff6b5e fffbdc",
        "ff9eb5 ffc9a8 4a2040 3f8ede fffbe8",
    ),
    "Drama": _look(
        near.horizon,
        drama.people,
        "5a7186 d6b08c 1f2630 a4553f f6ead2",
        "7d8a6a e2cfa0 26301f b06a3a fbf3dc",
        "4b3a4f b5788a 1c141f d9a25f f8e6dd",
    ),
    "IMAX": _look(far.auditorium, far.screen, "061426 0f3b66 02070d 2f9be0 eaf6ff"),
    "": _look(far.auditorium, far.reel, "22262c 4a525c 0d0f12 b9a46c f2ecd8"),
}
"""Genre (in the newer vocabulary of MovieLens) to its look, most telling first; "" stands for no genre."""
