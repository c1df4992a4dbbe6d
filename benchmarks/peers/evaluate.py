"""Judge the peers' lists in the main environment: ``python -m benchmarks.peers.evaluate NAME DATA LISTS.parquet``.

By the same code as our own models', as no library judges itself. NAME is that of a case of the study, such as
"ml-100k, random": the page of ``benchmarks.evidence`` shows what ``peers.json`` has of it.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.peers.models import PeerError, Task
from benchmarks.peers.run import digest, read
from utils.handoff import manifest
from utils.handoff.atomic import ROOT, writing
from utils.handoff.likes import STARS
from utils.metrics.click import REPLICATES, metrics_table, ranking_rows

HELD_OUT = {"warm": "valid", "cold": "cold"}
"""Slice of the lists to the split with the likes they should find."""
KEYS = ["model", "features", "seed", "slice"]
OUT = ROOT / "benchmarks" / "peers.json"


def peer_rows(lists: Path, folder: Path, k: int = 10, replicates: int = REPLICATES) -> list[dict[str, Any]]:
    """Return recall@k and ndcg@k with 95% intervals over users, for each model, seed and slice in ``lists``.

    ``lists`` is the parquet file of ``benchmarks.peers.run``, ``folder`` the data set's. The trainer of a row is
    "peer". Raises PeerError for lists of another train split, of unknown users or movies, with a rank twice, or
    with a movie that its user has rated in train.
    """
    table, (task, tables) = pq.read_table(lists, partitioning=None), read(folder)
    if (table.schema.metadata or {}).get(b"train", b"").decode() != digest(folder):
        raise PeerError(f"{lists} was made from another train.parquet than {folder}'s. Run benchmarks.peers.run again.")
    split = manifest.read(folder).get("train", {}).get("parameters", {}).get("SPLIT", "random")
    rows = []
    for values, part in table.to_pandas().groupby(KEYS, sort=False):
        tags = dict(zip(KEYS, values, strict=True))
        likes = tables[HELD_OUT[tags["slice"]]].filter(pc.field("rating") > STARS.above)
        matrix = list_matrix(task, pa.Table.from_pandas(part), f"{lists}, {tags}")
        tags |= {"trainer": "peer", "split": split}
        rows += ranking_rows(matrix, *task.positions(likes, folder), tags=tags, k=k, replicates=replicates)
    return rows


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


def main(name: str, data: str, lists: str) -> None:
    """Enter NDCG@10 and its interval, means over seeds, by model and slice; popularity is among our own models."""
    table = metrics_table(peer_rows(Path(lists), Path(data)))
    table = table[(table["metric"] == "ndcg@10") & (table["model"] != "popularity")]
    found = json.loads(OUT.read_text()) if OUT.exists() else {}
    found[name] = {model: {} for model in table["model"].unique()}
    for (model, part), rows in table.groupby(["model", "slice"], sort=False)[["value", "low", "high"]]:
        found[name][model][part] = rows.mean().round(4).to_dict()
    with writing(OUT) as temporary:
        temporary.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (PeerError, OSError) as error:
        sys.exit(str(error))
