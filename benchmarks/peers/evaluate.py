"""Judge the peers' lists in the main environment, by the same code as our own models': no library judges itself."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.peers.models import PeerError, Task
from benchmarks.peers.run import digest, read
from utils.handoff.own_data import STARS
from utils.metrics.ranking import recall_ndcg

HELD_OUT = {"warm": "valid", "cold": "cold"}
"""Slice of the lists to the split with the likes they should find."""
KEYS = ["model", "slice"]


def ndcg(lists: Path, folder: Path, k: int = 10) -> dict[str, dict[str, np.ndarray]]:
    """Return by model and slice the NDCG@k of each user who likes something of the slice, ascending by userId.

    ``lists`` is the parquet file of ``benchmarks.peers.run``, of one seed, ``folder`` the data set's. Raises PeerError
    for lists of another train split, of unknown users or movies, with a rank twice, or with a movie that its user has
    rated in train.
    """
    table, (task, tables) = pq.read_table(lists, partitioning=None), read(folder)
    if (table.schema.metadata or {}).get(b"train", b"").decode() != digest(folder):
        raise PeerError(f"{lists} was made from another train.parquet than {folder}'s. Run benchmarks.peers.run again.")
    found: dict[str, dict[str, np.ndarray]] = {}
    for (model, part), rows in table.to_pandas().groupby(KEYS, sort=False):
        likes = tables[HELD_OUT[part]].filter(pc.field("rating") > STARS.above)
        matrix = list_matrix(task, pa.Table.from_pandas(rows), f"{lists}, {model}, {part}")
        user, _, values = recall_ndcg(matrix, *task.positions(likes, folder), k)
        found.setdefault(model, {})[part] = values[np.argsort(task.user_ids[user])]
    return found


def list_matrix(task: Task, lists: pa.Table, where: str) -> np.ndarray:
    """Return the lists of one model as positions of movies, int64 [users, longest list], -1 for none; check them."""
    user, movie = task.positions(lists, where)
    rank, width = lists["rank"].to_numpy(), len(task.movie_ids)
    if rank.min() < 1 or len(np.unique(user * (rank.max() + 1) + rank)) < len(rank):
        raise PeerError(f"{where}: a rank is below 1, or a user has two movies of one rank.")
    again = np.flatnonzero(np.isin(user * width + movie, task.user * width + task.movie))
    if len(again):
        pair = lists.slice(again[0], 1).to_pylist()[0]
        raise PeerError(f"{where}: user {pair['userId']} is recommended movie {pair['movieId']}, rated in train.")
    matrix = np.full((len(task.user_ids), max(int(rank.max()), 10)), -1, np.int64)
    matrix[user, rank - 1] = movie
    return matrix
