"""Judge the peers' lists in the main environment: rows of ``metrics.csv``, by the same code as our own models."""

import sys
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.peers.problem import PeerError, Problem, arguments, digest, read_problem, read_table
from utils.handoff import manifest
from utils.handoff.contract import LIKED
from utils.handoff.store import HandOffError, writing
from utils.metrics.click import REPLICATES, metrics_table, ranking_rows

HELD_OUT = {"warm": "valid", "cold": "cold"}
"""Slice of the lists to the split with the likes they should find."""
KEYS = ("model", "features", "seed", "slice")


def peer_rows(lists: Path, folder: Path, k: int = 10, replicates: int = REPLICATES) -> list[dict[str, Any]]:
    """Return recall@k and ndcg@k with 95% intervals over users, for each model, seed and slice in ``lists``.

    ``lists`` is the parquet file of ``benchmarks.peers.run``, ``folder`` the data set's. The trainer of a row is
    "peer". Raises PeerError for lists of another train split, of unknown users or movies, with a rank twice, or
    with a movie that its user has rated in train.
    """
    try:
        table = pq.read_table(lists, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise PeerError(f"{lists} cannot be read ({error}). Run benchmarks.peers.run first.") from error
    made_from = (table.schema.metadata or {}).get(b"train", b"").decode()
    if made_from != digest(folder):
        raise PeerError(f"{lists} was made from another train.parquet than {folder}'s. Run benchmarks.peers.run again.")
    problem = read_problem(folder)
    split = manifest.read(folder).get("train", {}).get("parameters", {}).get("SPLIT", "random")
    relevant = {name: _likes(problem, folder, held_out) for name, held_out in HELD_OUT.items()}
    rows = []
    for key in table.group_by(list(KEYS), use_threads=False).aggregate([]).to_pylist():
        mine = reduce(pc.and_, (pc.equal(table[name], value) for name, value in key.items()))
        matrix = list_matrix(problem, table.filter(mine), f"{lists}, {key}")
        rows += ranking_rows(
            matrix, *relevant[key["slice"]], **key, trainer="peer", split=split, k=k, replicates=replicates
        )
    return rows


def list_matrix(problem: Problem, lists: pa.Table, where: str) -> np.ndarray:
    """Return the lists of one model as positions of movies, int64 [users, longest list], -1 for none; check them."""
    user, movie = positions(problem, lists, where)
    rank = lists["rank"].to_numpy()
    if rank.min(initial=1) < 1 or rank.max(initial=1) > len(problem.movie_ids):
        raise PeerError(f"{where}: ranks go from {rank.min()} to {rank.max()}, expected 1 and up.")
    matrix = np.full((len(problem.user_ids), max(int(rank.max(initial=1)), 10)), -1, np.int64)
    matrix[user, rank - 1] = movie
    if (matrix >= 0).sum() != lists.num_rows:
        raise PeerError(f"{where}: a user has two movies of one rank.")
    width = len(problem.movie_ids)
    again = np.isin(user * width + movie, problem.user.astype(np.int64) * width + problem.movie)
    if again.any():
        row = int(np.flatnonzero(again)[0])
        raise PeerError(
            f"{where}: user {lists['userId'][row]} is recommended movie {lists['movieId'][row]}, rated in train."
        )
    return matrix


def positions(problem: Problem, table: pa.Table, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions, int64 [rows], of userId and movieId. Raises PeerError for one the problem lacks."""
    found = []
    for column, ids in (("userId", problem.user_ids), ("movieId", problem.movie_ids)):
        values = table[column].to_numpy()
        unknown = ~np.isin(values, ids)
        if unknown.any():
            raise PeerError(f"{where}: {column} {values[unknown][0]} is not in this data set.")
        found.append(np.searchsorted(ids, values))
    return found[0], found[1]


def _likes(problem: Problem, folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    table = read_table(folder, name, ["userId", "movieId", "rating"])
    return positions(problem, table.filter(pc.greater(table["rating"], LIKED)), name)


def main(words: Sequence[str] | None = None) -> int:
    """Write the rows of ``--lists`` to ``--out`` (csv) and print NDCG@10 of each model, the mean over seeds."""
    asked = arguments(__doc__ or "", "--lists").parse_args(words)
    table = metrics_table(peer_rows(asked.lists, asked.data))
    with writing(asked.out) as temporary:
        table.to_csv(temporary, index=False)
    shown = table[table["metric"] == "ndcg@10"].groupby(["slice", "model", "features"], sort=False)["value"]
    print(shown.agg(["mean", "min", "max", "count"]).round(4).to_string())
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (PeerError, HandOffError, OSError) as error:
        sys.exit(str(error))
