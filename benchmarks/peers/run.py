"""Train the peers and write their lists: ``benchmarks/peers/.venv/bin/python -m benchmarks.peers.run DATA OUT.csv``.

They need numpy 2, so they live in an environment of their own (``make peers``) and meet ours in files only: the
hand-offs of 01 and 05 in DATA, two files out. OUT.csv has one row for each model and seed, with its settings or the
error that kept it away; ``benchmarks.peers.evaluate`` judges the lists beside it (.parquet). Settings are chosen by
NDCG@10 on a tenth of the likes of train; ``valid`` and ``cold`` only say which users and held-out movies there are.
"""

import argparse
import contextlib
import csv
import hashlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.peers.models import PEERS, Peer, Settings, Task, popularity
from utils.handoff.atomic import writing
from utils.handoff.contract import LIKED
from utils.metrics.ranking import recall_ndcg, top_k

K, SEEDS, ASIDE = 20, (42, 43, 44), 0.1
COLUMNS = ("model", "features", "seed", "package", "version", "settings", "tuning_ndcg@10", "seconds", "error")
LAST = -1e30
"""Score of a movie that a peer knows nothing of: below every other, yet still a movie that may be listed."""


class PeerError(ValueError):
    """Hand-offs or lists of recommendations that no peer can be trained on or judged by."""


@dataclass(frozen=True)
class Problem:
    """One data set: users and movies are positions in ``user_ids`` and ``movie_ids``, both ascending and complete.

    ``user``, ``movie`` int64 [n] and ``rating`` float32 [n] are train, ``cold`` bool [movies] the held-out movies,
    ``content`` float32 [movies, width] poster and text vectors; ``digest`` is the sha256 of train's file.
    """

    user_ids: np.ndarray
    movie_ids: np.ndarray
    user: np.ndarray
    movie: np.ndarray
    rating: np.ndarray
    cold: np.ndarray
    content: np.ndarray
    digest: str

    def positions(self, table: pa.Table, where: object) -> tuple[np.ndarray, np.ndarray]:
        """Return where userId and movieId of ``table`` are, int64 [rows]. Raises PeerError for one that is unknown."""
        found = []
        for column, ids in (("userId", self.user_ids), ("movieId", self.movie_ids)):
            values = table[column].to_numpy()
            unknown = values[~np.isin(values, ids)]
            if len(unknown):
                raise PeerError(f"{where}: {column} {unknown[0]} is not in this data set.")
            found.append(np.searchsorted(ids, values))
        return found[0], found[1]

    def lists(self, scores: np.ndarray, k: int, candidates: np.ndarray | None = None) -> np.ndarray:
        """Return the k best movies of each user, int64 [users, k], -1 for none; none that the user has rated."""
        order, rows = np.argsort(self.user, kind="stable"), np.arange(len(scores) + 1)
        seen = np.searchsorted(self.user[order], rows), self.movie[order]
        return top_k(lambda start, stop: scores[start:stop], len(scores), seen, k, candidates=candidates)[0]


def read_problem(folder: Path) -> tuple[Problem, dict[str, pa.Table]]:
    """Return the problem in the folder of a data set, and its ratings. Raises PeerError saying what to run."""
    try:
        names = ("train", "valid", "cold", "feature_store")
        found = {name: pq.read_table(folder / f"{name}.parquet", partitioning=None) for name in names}
        store = found.pop("feature_store").sort_by("movieId")
        content = np.hstack([np.stack(store[name].to_numpy()) for name in ("poster", "text")]).astype(np.float32)
    except (OSError, KeyError, pa.ArrowException) as error:
        raise PeerError(f"{folder} cannot be read ({error}). Run notebooks 01 to 05 first.") from error
    train, movies = folder / "train.parquet", store["movieId"].to_numpy()
    users = np.unique(np.concatenate([table["userId"].to_numpy() for table in found.values()]))
    rating, cold = found["train"]["rating"].to_numpy(), np.isin(movies, found["cold"]["movieId"].to_numpy())
    if not (rating > LIKED).any():
        raise PeerError(f"{train} has no rating above {LIKED:g}: there is nothing to learn from.")
    none, digest = np.empty(0, np.int64), hashlib.sha256(train.read_bytes()).hexdigest()
    problem = Problem(users, movies, none, none, rating, cold, content, digest)
    user, movie = problem.positions(found["train"], train)
    return replace(problem, user=user, movie=movie), found


def score_table(problem: Problem, peer: Peer, settings: Settings, seed: int) -> np.ndarray:
    """Train; return float32 [users, movies]. Users without likes get what is popular; movies nobody knows come last."""
    liked = problem.rating > LIKED
    orders, known = [], []
    for places, size in ((problem.user, len(problem.user_ids)), (problem.movie, len(problem.movie_ids))):
        has = np.isin(np.arange(size), places[liked])
        orders.append(np.argsort(~has, kind="stable"))
        known.append(int(has.sum()))
    back = [np.argsort(order) for order in orders]
    user, movie = back[0][problem.user], back[1][problem.movie]
    kept = (user < known[0]) & (movie < known[1])
    task = Task(*known, user[kept], movie[kept], problem.rating[kept], liked[kept], problem.content[orders[1]])
    with contextlib.redirect_stdout(None):  # bars
        found = np.asarray(peer.fit(task, settings, seed), np.float32)
    if not np.isfinite(found).all():
        raise PeerError("scores are not finite: the model diverged")
    scores = np.full([len(order) for order in orders], LAST, np.float32)
    scores[known[0] :, : known[1]] = popularity(task, {}, seed)[:1]
    scores[: known[0], : found.shape[1]] = found
    return scores[np.ix_(*back)]


def tune(problem: Problem, peer: Peer) -> tuple[Settings, float | None]:
    """Return the settings with the best NDCG@10 on likes taken out of train, and that NDCG@10."""
    if len(peer.choices) == 1:
        return peer.choices[0], None
    likes = np.flatnonzero(problem.rating > LIKED)
    aside = np.random.default_rng(0).choice(likes, max(1, round(ASIDE * len(likes))), replace=False)
    part = replace(problem, **{name: np.delete(getattr(problem, name), aside) for name in ("user", "movie", "rating")})
    reached = []
    for settings in peer.choices:
        lists = part.lists(score_table(part, peer, settings, 0), 10)
        reached.append(float(recall_ndcg(lists, problem.user[aside], problem.movie[aside], 10)[2].mean()))
    return peer.choices[int(np.argmax(reached))], max(reached)


def run_peer(name: str, problem: Problem, seeds: Sequence[int]) -> tuple[list[dict[str, Any]], list[pa.Table]]:
    """Return the rows of the report and the tables of lists of one peer: one that fails is a row with its error."""
    peer = PEERS[name]
    tags: dict[str, Any] = {"model": name, "features": peer.features, "package": peer.package}
    rows, tables = [], []
    try:
        tags["version"] = metadata.version(peer.package)
        settings, tags["tuning_ndcg@10"] = tune(problem, peer)
        for seed in seeds if peer.seeded else seeds[:1]:
            start = time.monotonic()
            scores = score_table(problem, peer, settings, seed)
            seconds = round(time.monotonic() - start, 2)
            tables += tabulate(problem, scores, {"model": name, "features": peer.features, "seed": seed})
            rows.append(tags | {"seed": seed, "settings": json.dumps(settings), "seconds": seconds})
    # Foreign code may raise anything; its words belong in the table, and the other peers go on.
    except Exception as error:
        rows.append(tags | {"error": f"{type(error).__name__}: {error}"})
    return rows, tables


def tabulate(problem: Problem, scores: np.ndarray, tags: Mapping[str, Any]) -> list[pa.Table]:
    """Return the lists among all movies (slice "warm") and, from peers that read content, among the held-out ones."""
    pools = {"warm": None} | ({"cold": problem.cold} if "+" in tags["features"] and problem.cold.any() else {})
    tables = []
    for name, pool in pools.items():
        lists = problem.lists(scores, K, pool)
        user, place = np.nonzero(lists >= 0)
        columns = {key: [value] * len(user) for key, value in {**tags, "slice": name}.items()}
        movies = problem.movie_ids[lists[user, place]]
        tables.append(pa.table(columns | {"userId": problem.user_ids[user], "rank": place + 1, "movieId": movies}))
    return tables


def main(words: Sequence[str] | None = None) -> None:
    """Train the peers asked for; write the report and the lists."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.run", description=__doc__)
    parser.add_argument("data", type=Path, help="the folder of a data set")
    parser.add_argument("out", type=Path, help="the report, .csv; the lists go beside it")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--models", nargs="+", default=list(PEERS), choices=list(PEERS))
    asked = parser.parse_args(words)
    torch.set_num_threads(1)  # as all peers are given
    problem, rows, tables = read_problem(asked.data)[0], [], []
    for name in asked.models:
        more_rows, more_tables = run_peer(name, problem, asked.seeds)
        rows, tables = rows + more_rows, tables + more_tables
        print(name, *(row.get("error", f"{row.get('seconds')} s") for row in more_rows), flush=True)
    with writing(asked.out) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)
    if tables:
        with writing(asked.out.with_suffix(".parquet")) as temporary:
            pq.write_table(pa.concat_tables(tables).replace_schema_metadata({"train": problem.digest}), temporary)


if __name__ == "__main__":
    try:
        main()
    except (PeerError, OSError) as error:
        sys.exit(str(error))
