"""What 100 million, a billion and ten billion interactions would take: ``python -m benchmarks.sizing``.

Each stage's seconds and peak memory are fitted as a constant and a part that grows in proportion to the ratings, both
not negative, by least squares of relative errors on points that were measured on one machine (``growth.json``: stage to
[{"ratings", "seconds", "peak_mb"}, …]). The rest is arithmetic with stated assumptions (``Assumptions``). Everything
beyond the largest measured point is an extrapolation and marked as one: a sketch for planning, not a promise. A power
law through the same points would promise too much: the constant flattens it, and is nothing beside a billion rows.
"""

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from utils.handoff.store import writing

GROWTH = Path(__file__).with_name("growth.json")
PLACE = "<!-- sizing -->"
END = "<!-- end of sizing -->"
SIZES = {100_000_000: (600_000, 100_000), 1_000_000_000: (5_000_000, 500_000), 10_000_000_000: (50_000_000, 2_000_000)}
"""Interactions to (users, movies) of the table: assumed catalogues, not those of a data set."""
ALONE = ("00", "01", "02", "05", "07")
"""Stages that run on one machine however many nodes there are (07 where PyTorch trains): more do not help them."""
BY_MOVIE = ("02", "03", "04", "05")
"""Stages whose work grows with the movies and not with the ratings."""


class SizingError(ValueError):
    """The measured points cannot be fitted; the message says why."""


@dataclass(frozen=True)
class Line:
    """``constant + slope * x``, fitted on points up to ``largest``; between them it grew as ``x ** exponent``."""

    constant: float
    slope: float
    exponent: float
    largest: float

    def at(self, x: float) -> float:
        """Return the value at ``x``, in the unit that was fitted."""
        return self.constant + self.slope * x


@dataclass(frozen=True)
class Assumptions:
    """What is assumed beside the measured points."""

    nodes: int = 8
    price: float = 1.0
    """Of a node for an hour, in any currency: put your own."""
    efficiency: float = 0.7
    """Share of a linear speed-up that n nodes reach: n nodes are 1 + efficiency * (n - 1) times as fast."""
    measured_movies: int = 62_000
    """Movies of the catalogue that the stages of BY_MOVIE were measured on."""

    def __post_init__(self) -> None:
        """Raise SizingError for what cannot be."""
        if self.nodes < 1 or not 0 <= self.efficiency <= 1 or self.price < 0 or self.measured_movies < 1:
            raise SizingError(f"{self}: nodes and movies are at least 1, efficiency is 0 to 1, the price not negative.")

    def speed_up(self, stage: str) -> float:
        """Return how many times as fast the nodes are as one."""
        return 1.0 if stage[:2] in ALONE else 1 + self.efficiency * (self.nodes - 1)


def fit(x: Sequence[float], y: Sequence[float]) -> Line:
    """Return the line through points; its exponent is that of a power law. Raises SizingError for fewer than 2."""
    if len(set(x)) < 2:
        raise SizingError(f"a line needs points at 2 sizes or more, not {len(set(x))}.")
    if min(*x, *y) <= 0 or not all(map(math.isfinite, [*x, *y])):
        raise SizingError("sizes, seconds and megabytes must be finite and more than 0.")
    sizes, values = np.asarray(x, float), np.asarray(y, float)
    exponent, _ = np.polyfit(np.log(sizes), np.log(values), 1)
    unit = sizes.max()
    (constant, slope), _ = nnls(np.stack([1 / values, sizes / unit / values], axis=1), np.ones(len(values)))
    return Line(float(constant), float(slope / unit), float(exponent), float(unit))


def predict(
    interactions: int,
    users: int,
    movies: int,
    measured: Mapping[str, Sequence[Mapping[str, float]]],
    assumed: Assumptions | None = None,
) -> dict[str, Any]:
    """Return seconds, hours of nodes, cost and memory per stage, and their totals.

    ``measured`` is stage to points, each with ratings, seconds and peak_mb. A stage's row has ``seconds`` (on the
    nodes), ``node_hours``, ``cost``, ``peak_gb`` (of one process that does the whole stage), ``exponent`` (of the
    seconds measured) and ``beyond`` (times the largest measured size; more than 1 is an extrapolation). Stages of
    BY_MOVIE are scaled linearly in the movies from their largest point, as ratings do not enter them. ``weights_gb``
    is what the id tables and their Adam moments take at 17 numbers a row. Raises SizingError for points that cannot be
    fitted.
    """
    assumed = assumed or Assumptions()
    rows = {}
    for stage, points in measured.items():
        try:
            rows[stage] = _stage(stage, interactions, movies, points, assumed)
        except KeyError as error:
            raise SizingError(f"stage {stage!r}: a point has no {error.args[0]!r}.") from error
        except SizingError as error:
            raise SizingError(f"stage {stage!r}: {error}") from error
    return {
        "interactions": interactions,
        "users": users,
        "movies": movies,
        "stages": rows,
        "seconds": sum(row["seconds"] for row in rows.values()),
        "cost": sum(row["cost"] for row in rows.values()),
        "peak_gb": max((row["peak_gb"] for row in rows.values()), default=0.0),
        "weights_gb": (users + movies) * 17 * 4 * 3 / 1e9,
        "extrapolated": any(row["beyond"] > 1 for row in rows.values()),
    }


def _stage(
    stage: str, interactions: int, movies: int, points: Sequence[Mapping[str, float]], assumed: Assumptions
) -> dict[str, float]:
    sizes = [point["ratings"] for point in points]
    time, memory = (fit(sizes, [point[name] for point in points]) for name in ("seconds", "peak_mb"))
    if stage[:2] in BY_MOVIE:
        beyond = movies / assumed.measured_movies
        largest = max(points, key=lambda point: point["ratings"])
        alone, peak, exponent = largest["seconds"] * beyond, largest["peak_mb"] * max(1.0, beyond), 1.0
    else:
        beyond = interactions / time.largest
        alone, peak, exponent = time.at(interactions), memory.at(interactions), time.exponent
    seconds = alone / assumed.speed_up(stage)
    hours = seconds / 3600 * (1 if stage[:2] in ALONE else assumed.nodes)
    return {
        "seconds": seconds,
        "node_hours": hours,
        "cost": hours * assumed.price,
        "peak_gb": peak / 1e3,
        "exponent": exponent,
        "beyond": beyond,
    }


def table(measured: Mapping[str, Sequence[Mapping[str, float]]], assumed: Assumptions) -> str:
    """Return the predictions for SIZES as a markdown table, with the assumptions below it."""
    found = {size: predict(size, *SIZES[size], measured, assumed) for size in SIZES}
    lines = [
        "| stage | grew as | " + " | ".join(f"{_short(size)} interactions" for size in found) + " |",
        "|---" * (2 + len(found)) + "|",
    ]
    for stage in measured:
        rows = [prediction["stages"][stage] for prediction in found.values()]
        of = "movies" if stage[:2] in BY_MOVIE else "ratings"
        cells = [_cell(row["seconds"], row["peak_gb"], row["cost"], row["beyond"]) for row in rows]
        lines.append(f"| {stage} | {of}^{rows[0]['exponent']:.2f} | " + " | ".join(cells) + " |")
    totals = [f"{_duration(p['seconds'])}, {p['cost']:,.0f}, tables {p['weights_gb']:.1f} GB" for p in found.values()]
    lines.append("| all | | " + " | ".join(totals) + " |")
    catalogues = "; ".join(
        f"{_short(size)}: {users:,} users, {movies:,} movies" for size, (users, movies) in SIZES.items()
    )
    return "\n".join([*lines, "", _footnote(assumed, catalogues)])


def _footnote(assumed: Assumptions, catalogues: str) -> str:
    return (
        "Grew as: between the measured sizes. Each cell: time, peak memory if one process did it all, cost. \\* is an "
        "**extrapolation** beyond what was measured, \\*\\* by more than tenfold: a sketch, never run. "
        f"Assumed: {assumed.nodes} nodes like the measured machine at {assumed.price:g} an hour each, "
        f"{assumed.efficiency:.0%} of a linear speed-up (stages {', '.join(ALONE)} run on one); {catalogues}; "
        f"{', '.join(BY_MOVIE)} linear in movies from {assumed.measured_movies:,}; vectors given to 03 "
        "and 04, not encoded; lists of recommendations, users times movies, counted as growing with ratings."
    )


def _cell(seconds: float, peak_gb: float, cost: float, beyond: float) -> str:
    mark = "" if beyond <= 1 else "\\*" if beyond <= 10 else "\\*\\*"
    return f"{_duration(seconds)}, {peak_gb:,.1f} GB, {cost:,.2f}{mark}"


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def _short(size: int) -> str:
    return f"{size / 1e9:g}B" if size >= 10**9 else f"{size / 1e6:g}M"


def read_growth(path: Path) -> dict[str, list[dict[str, float]]]:
    """Return the measured points. Raises SizingError where there are none that can be read."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise SizingError(
            f"{path} cannot be read ({error}). Measure first: it holds points at 2 sizes or more."
        ) from error
    points = list(found.values()) if isinstance(found, dict) else [None]
    if not found or not all(isinstance(own, list) and all(isinstance(p, dict) for p in own) for own in points):
        raise SizingError(f'{path} must be {{"stage": [{{"ratings": n, "seconds": s, "peak_mb": m}}, …]}}.')
    return found


def fill(path: Path, text: str) -> None:
    """Put ``text`` at the marked place of a markdown file, instead of what an earlier call put there."""
    before, mark, after = path.read_text().partition(PLACE)
    if not mark:
        raise SizingError(f"{path} has no line {PLACE}: write it where the table should stand.")
    rest = after.partition(END)[2] if END in after else after
    with writing(path) as temporary:
        temporary.write_text(f"{before}{PLACE}\n{text}\n{END}{rest}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, or put it into a file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sizing", description=__doc__.splitlines()[0])
    parser.add_argument("--growth", type=Path, default=GROWTH)
    parser.add_argument("--into", type=Path, help=f"a markdown file with a line {PLACE}")
    parser.add_argument("--nodes", type=int, default=Assumptions.nodes)
    parser.add_argument("--price", type=float, default=Assumptions.price, help="of a node for an hour")
    parser.add_argument("--efficiency", type=float, default=Assumptions.efficiency)
    parser.add_argument("--measured-movies", type=int, default=Assumptions.measured_movies)
    given = parser.parse_args(arguments)
    try:
        assumed = Assumptions(given.nodes, given.price, given.efficiency, given.measured_movies)
        made = table(read_growth(given.growth), assumed)
        if given.into is None:
            print(made)
        else:
            fill(given.into, made)
    except SizingError as error:
        parser.exit(1, f"FAILED: {error}\n")


if __name__ == "__main__":
    main()
