"""Train the peers and write their lists: ``benchmarks/peers/.venv/bin/python -m benchmarks.peers.run DATA OUT.csv``.

They need numpy 2, so they live in an environment of their own (``make peers``) and meet ours in files only: the
hand-offs of 01 and 05 in DATA, two files out. OUT.csv has one row for each model and slice, with its settings or
the error that kept it away; ``benchmarks.peers.evaluate`` judges the lists beside it (.parquet). Settings are chosen by
NDCG@10 on a tenth of train; ``valid`` and ``cold`` only say which users and held-out movies there are.
"""

import argparse
import contextlib
import csv
import json
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.peers.models import PEERS, Peer, PeerError, Settings, Task, popularity
from utils.handoff import vector_columns
from utils.handoff.atomic import sha256, writing
from utils.handoff.contract import BLOCKS
from utils.handoff.own_data import STARS
from utils.metrics.ranking import recall_ndcg, top_k

K, ASIDE = 20, 0.1
COLUMNS = ("model", "features", "slice", "seed", "package", "version", "settings", "tuning_ndcg@10", "seconds", "error")
LAST = -1e30
"""Score of a movie that a peer knows nothing of: below every other, yet still a movie that may be listed."""


def read(folder: Path) -> tuple[Task, dict[str, pa.Table]]:
    """Return the task of a data set's folder, and the tables of 01 and 05. Raises PeerError saying what to run."""
    names = ("train", "valid", "cold", "feature_store", "movies_converted")
    try:
        found = {name: pq.read_table(folder / f"{name}.parquet", partitioning=None) for name in names}
    except (OSError, pa.ArrowException) as error:
        raise PeerError(f"{folder} cannot be read ({error}). Run notebooks 01 to 05 first.") from error
    users = np.unique(np.concatenate([found[name]["userId"].to_numpy() for name in names[:3]]))
    store, ids = found["feature_store"], found["feature_store"]["movieId"].to_numpy()
    listed = found["movies_converted"].to_pandas().set_index("movieId")["genres"].reindex(ids).explode()
    parts = [pd.crosstab(listed.index, listed).reindex(ids, fill_value=0).to_numpy(np.float32)]
    parts += [vector_columns.vectors(store[name]) for name in BLOCKS if name in store.column_names]
    task = Task.of(found["train"], users, ids, np.hstack(parts))
    if not task.movies:
        raise PeerError(f"{folder}/train.parquet has no rating above {STARS.above:g}: there is nothing to learn from.")
    return task, found


def digest(folder: Path) -> str:
    """Return the sha256 of ``train.parquet``: lists made from one train must not be judged with another."""
    return sha256(folder / "train.parquet")


def score_table(task: Task, peer: Peer, settings: Settings, seed: int) -> np.ndarray:
    """Train; return float32 [users, movies]. Users without likes get what is popular; movies nobody knows come last."""
    with contextlib.redirect_stdout(None):  # bars
        found = np.asarray(peer.fit(task, settings, seed), np.float32)
    if not np.isfinite(found).all():
        raise PeerError("scores are not finite: the model diverged")
    scores = np.full((len(task.user_ids), len(task.movie_ids)), LAST, np.float32)
    scores[task.users :, : task.movies] = popularity(task, {}, seed)[:1]
    scores[: task.users, : found.shape[1]] = found
    return scores


def lists_of(task: Task, scores: np.ndarray, k: int, candidates: np.ndarray | None = None) -> np.ndarray:
    """Return the k best movies of each user, int64 [users, k], -1 for none; none that the user has rated."""
    order, rows = np.argsort(task.user, kind="stable"), np.arange(len(scores) + 1)
    seen = np.searchsorted(task.user[order], rows), task.movie[order]
    return top_k(lambda start, stop: scores[start:stop], len(scores), seen, k, candidates=candidates)[0]


def tune(peer: Peer, task: Task, train: pa.Table, part: str) -> tuple[Settings, float | None]:
    """Return the settings with the best NDCG@10 on a tenth of train that is left out, and that NDCG@10.

    For lists of all movies ("warm") a tenth of the likes is left out, for cold ones a tenth of the movies.
    """
    if len(peer.choices) == 1:
        return peer.choices[0], None
    liked, generator = task.rating > STARS.above, np.random.default_rng(0)

    def tenth(of: np.ndarray) -> np.ndarray:
        return generator.choice(of, max(1, round(ASIDE * len(of))), replace=False)

    if part == "warm":
        aside, pool = np.isin(np.arange(len(liked)), tenth(np.flatnonzero(liked))), None
    else:
        movies = tenth(np.arange(task.movies))
        aside, pool = np.isin(task.movie, movies), task.movie_ids[movies]
    rest = task.without(train, aside)
    wanted, reached = rest.positions(train.filter(aside & liked), "train"), []
    candidates = None if pool is None else np.isin(rest.movie_ids, pool)
    for settings in peer.choices:
        lists = lists_of(rest, score_table(rest, peer, settings, 0), 10, candidates)
        reached.append(float(recall_ndcg(lists, *wanted, 10)[2].mean()))
    return peer.choices[int(np.argmax(reached))], max(reached)


def run_peer(
    name: str, task: Task, tables: Mapping[str, pa.Table], seed: int
) -> tuple[list[dict[str, Any]], list[pa.Table]]:
    """Return the rows of the report and the tables of lists of one peer: one that fails is a row with its error."""
    peer = PEERS[name]
    tags: dict[str, Any] = {"model": name, "features": peer.features, "package": peer.package}
    rows, lists = [], []
    try:
        tags["version"] = metadata.version(peer.package)
        cold = np.isin(task.movie_ids, tables["cold"]["movieId"].to_numpy())
        pools = {"warm": None} | ({"cold": cold} if "+" in peer.features and cold.any() else {})
        for part, pool in pools.items():
            settings, reached = tune(peer, task, tables["train"], part)
            start = time.monotonic()
            scores = score_table(task, peer, settings, seed)
            seconds = round(time.monotonic() - start, 2)
            one = {"model": name, "features": peer.features, "seed": seed, "slice": part}
            lists.append(tabulate(task, lists_of(task, scores, K, pool), one))
            more = {"tuning_ndcg@10": reached, "settings": json.dumps(settings), "seconds": seconds}
            rows.append(tags | one | more)
    # Foreign code may raise anything; its words belong in the table, and the other peers go on.
    except Exception as error:
        rows.append(tags | {"error": f"{type(error).__name__}: {error}"})
    return rows, lists


def tabulate(task: Task, lists: np.ndarray, tags: Mapping[str, Any]) -> pa.Table:
    """Return lists as rows: the tags, userId, rank and movieId."""
    user, place = np.nonzero(lists >= 0)
    columns = {key: [value] * len(user) for key, value in tags.items()}
    movies = task.movie_ids[lists[user, place]]
    return pa.table(columns | {"userId": task.user_ids[user], "rank": place + 1, "movieId": movies})


def main(words: Sequence[str] | None = None) -> None:
    """Train the peers asked for; write the report and the lists."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.run", description=__doc__)
    parser.add_argument("data", type=Path, help="the folder of a data set")
    parser.add_argument("out", type=Path, help="the report, .csv; the lists go beside it")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--models", nargs="+", default=list(PEERS), choices=list(PEERS))
    asked = parser.parse_args(words)
    torch.set_num_threads(1)  # as all peers are given
    (task, tables), rows, lists = read(asked.data), [], []
    for name in asked.models:
        more_rows, more_lists = run_peer(name, task, tables, asked.seed)
        rows, lists = rows + more_rows, lists + more_lists
        print(name, *(row.get("error", f"{row.get('seconds')} s") for row in more_rows), flush=True)
    with writing(asked.out) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)
    if lists:
        with writing(asked.out.with_suffix(".parquet")) as temporary:
            pq.write_table(pa.concat_tables(lists).replace_schema_metadata({"train": digest(asked.data)}), temporary)


if __name__ == "__main__":
    try:
        main()
    except (PeerError, OSError) as error:
        sys.exit(str(error))
