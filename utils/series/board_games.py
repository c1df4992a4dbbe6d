"""Forty board games that 120 players have rated: the data of another domain that 01 and 02 take through the series.

Made up, but with something to find: each game has a setting and a kind, each player likes some of these more than
others, and box and rules show both. The same on every machine and in every run.
"""

import itertools
import random
from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image, ImageDraw, ImageFont

from utils.handoff.atomic import writing
from utils.handoff.store import HandOffError, Store

DATASET = "board-games"
SOURCE = "board-games-source"
"""Folder of DATA_DIR for the raw files, such as someone would bring them."""
PLAYERS = 120

SETTINGS = {
    "space": ("Orbit Comet Nebula Moonbase Rocket Gravity Asteroid Saturn", ("#141a3c", "#f4e9b8"),
              "build a fleet between the planets;dodge asteroids;dock at a distant station;refuel near a star"),
    "sea": ("Harbour Coral Lagoon Anchor Lighthouse Whale Tide Reef", ("#1f7fb5", "#d8f1fb"),
            "sail around the reef;load the ship before the storm;dive for pearls;follow the whales"),
    "forest": ("Acorn Badger Mushroom Fern Clearing Owl Bramble Oak", ("#2f6b35", "#b9d77a"),
               "gather acorns under the oaks;hide from the owl;plant a clearing;track footprints in the moss"),
    "city": ("Tram Skyline Bakery Rooftop Market Bridge Neon Subway", ("#8d8f96", "#33363d"),
             "lay tram lines;open a bakery on the corner;buy land near the bridge;cross town at rush hour"),
    "castle": ("Moat Drawbridge Jester Tower Banner Dungeon Siege Crown", ("#a5482f", "#e8c9a0"),
               "raise the walls;defend the gate;train knights;bring tribute to the queen"),
}  # fmt: skip
"""Setting to the words of its titles, the colours of ground and shapes on a box, and pieces of rules."""
KINDS = {
    "strategy": ("Tactics", "#111111", "Plan several turns ahead;Spend your actions with care"),
    "family": ("Friends", "#ffd23f", "Short turns suit children and adults;Roll the dice and help the youngest"),
    "cooperative": ("Rescue", "#20c4b3", "All players win or lose together;Agree on a plan and share your cards"),
    "party": ("Riot", "#ff3fa4", "Shout, laugh and be faster than the others;Mime the card for your team"),
}  # fmt: skip
"""Kind to the second word of its titles, the colour of a box's rim, and sentences of rules."""


def games() -> pl.DataFrame:
    """Return 40 games: movieId, title, year, and genres as "kind|setting", as in a csv of someone's own."""
    rows, kinds = [], itertools.cycle(KINDS)
    named = [(setting, word) for setting, (words, _, _) in SETTINGS.items() for word in words.split()]
    for number, ((setting, word), kind) in enumerate(zip(named, kinds, strict=False)):
        rows.append((101 + number, f"{word} {KINDS[kind][0]}", 1990 + 7 * number % 34, f"{kind}|{setting}"))
    return pl.DataFrame(rows, schema=["movieId", "title", "year", "genres"], orient="row")


def plays(games: pl.DataFrame) -> pl.DataFrame:
    """Return what the players gave: userId, movieId, rating (1 to 5) and timestamp (s since 1970), all as text.

    A rating is what the player thinks of the game's kind and setting, plus chance. The last four rows cannot be used.
    """
    generator, themes = np.random.default_rng(0), [*KINDS, *SETTINGS]
    has = np.array([[theme in genres.split("|") for theme in themes] for genres in games["genres"]], float)
    liking = 3.2 + generator.normal(0, 0.9, (PLAYERS, len(themes))) @ has.T + generator.normal(0, 0.3, len(has))
    ratings = np.clip(np.rint(liking + generator.normal(0, 0.5, liking.shape)), 1, 5).astype(int)
    rows = []
    for player in range(PLAYERS):
        for place in generator.choice(len(has), generator.integers(15, 31), replace=False):
            seconds = 1_672_531_200 + int(generator.integers(730 * 86_400))  # in 2023 or 2024
            rows.append((player + 1, games["movieId"][int(place)], ratings[player, place], seconds))
    rows += [rows[-1], (1, 999, 4, seconds), (2, 101, 11, seconds), (3, 102, "", seconds)]
    columns = ["userId", "movieId", "rating", "timestamp"]
    return pl.DataFrame([[str(value) for value in row] for row in rows], schema=columns, orient="row")


def rules(title: str, kind: str, setting: str) -> str:
    """Return a text about the game ``title`` whose words tell its kind and its setting."""
    there = random.Random(title).sample(SETTINGS[setting][2].split(";"), 2)
    return f"In this game you {there[0]} and {there[1]}. {KINDS[kind][2].replace(';', '. ')}."


def box(title: str, kind: str, setting: str, size: tuple[int, int] = (256, 384)) -> bytes:
    """Return a PNG of a box, ``size`` (width, height): ground and shapes tell the setting, the rim tells the kind."""
    (width, height), (ground, shape) = size, SETTINGS[setting][1]
    picture, dice = Image.new("RGB", size, ground), random.Random(title)
    draw = ImageDraw.Draw(picture)
    for _ in range(14):
        x, y, r = dice.randrange(width), dice.randrange(height // 5, height), dice.randrange(width // 20, width // 7)
        if setting == "space":
            draw.ellipse((x - r, y - r, x + r, y + r), shape)
        elif setting == "sea":
            draw.arc((x - 3 * r, y - r, x + 3 * r, y + r), 180, 360, shape, 8)
        elif setting == "forest":
            draw.polygon((x, y - 2 * r, x - r, y + r, x + r, y + r), shape)
        else:
            draw.rectangle((x - r, y, x + r, height if setting == "city" else y + r), shape, ground, 3)
    draw.rectangle((0, 0, width - 1, height - 1), outline=KINDS[kind][1], width=width // 14)
    draw.text((width / 2, height / 9), title, "white", ImageFont.load_default(width / 12), "mm", stroke_width=3,
              stroke_fill="black")  # fmt: skip
    picture.save(made := BytesIO(), "PNG")
    return made.getvalue()


def keep(path: Path, data: bytes) -> None:
    """Write ``data`` at ``path`` unless it is there already: a new time would look like a change to the runner."""
    if not (path.is_file() and path.read_bytes() == data):
        path.parent.mkdir(parents=True, exist_ok=True)
        with writing(path) as temporary:
            temporary.write_bytes(data)


def why_not(dataset: str, store: Store | None = None) -> str:
    """Return why the notebook of ``dataset`` leaves the games out, or ""; ``store`` is theirs, if it must be filled."""
    if dataset == DATASET:
        return f"This run is of {DATASET} itself: what this section would do is done above."
    try:
        if store is not None:
            store.need("movies_converted")
    except HandOffError as error:
        return f"The board games are left out: {error}"
    return ""
