"""Train every peer and write its lists. Run by the peers' own Python, see the package's docstring.

Settings are chosen among four a peer, by NDCG@10 on a tenth of the likes of train; ``valid`` and ``cold`` are never
looked at, except for who their users are and which movies are held out. Then each seed trains on all of train.
"""

import csv
import importlib
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.peers.install import FAILURES
from benchmarks.peers.models import PEERS, Peer, Settings, Task, popularity
from benchmarks.peers.problem import PeerError, Problem, arguments, read_problem
from utils.handoff import parameters
from utils.handoff.atomic import writing
from utils.metrics.ranking import recall_ndcg, top_k

K = 20
SEEDS = (42, 43, 44)
TUNING_FRACTION, TUNING_SEED = 0.1, 0
COLUMNS = ("model", "features", "seed", "package", "version", "settings", "tuning_ndcg@10", "seconds", "error")
"""Columns of the report: one row a model and seed, or one row with the error of a model that has no lists."""
LAST = -1e30
"""Score of a movie that a peer knows nothing of: below every other, yet still a movie that may be listed."""


def score_table(problem: Problem, peer: Peer, settings: Settings, seed: int) -> np.ndarray:
    """Train and return float32 [users, movies] in the order of the problem.

    Users without a like get the order of popularity; movies that the peer cannot know come last.
    """
    task = Task.of(problem)
    known = np.asarray(peer.fit(task, settings, seed), np.float32)
    if not np.isfinite(known).all():
        raise PeerError("scores are not finite: the model diverged")
    scores = np.full((len(task.users), len(task.movies)), LAST, np.float32)
    scores[task.known_users :, : task.known] = popularity(task, {}, seed)[:1]
    scores[: task.known_users, : known.shape[1]] = known
    return scores[np.ix_(np.argsort(task.users), np.argsort(task.movies))]


def recommend(problem: Problem, scores: np.ndarray, k: int, candidates: np.ndarray | None = None) -> np.ndarray:
    """Return int64 [users, k] positions of movies, best first, -1 for none; what the user has rated is left out."""
    return top_k(lambda start, stop: scores[start:stop], len(scores), problem.seen(), k, candidates=candidates)[0]


def tune(problem: Problem, peer: Peer) -> tuple[Settings, float | None]:
    """Return the settings with the best NDCG@10 on likes taken out of train, and that NDCG@10."""
    if len(peer.choices) == 1:
        return peer.choices[0], None
    rest, user, movie = problem.set_aside(TUNING_FRACTION, TUNING_SEED)
    reached = []
    for settings in peer.choices:
        lists = recommend(rest, score_table(rest, peer, settings, TUNING_SEED), 10)
        reached.append(float(recall_ndcg(lists, user, movie, 10)[2].mean()))
    best = int(np.argmax(reached))
    return peer.choices[best], reached[best]


def run_peer(name: str, problem: Problem, seeds: Sequence[int]) -> tuple[list[dict[str, Any]], list[pa.Table]]:
    """Return the rows of the report and the tables of lists of one peer."""
    peer = PEERS[name]
    tags = {"model": name, "features": peer.features, "package": peer.package}
    reason = missing(peer.package)
    if reason:
        return [tags | {"error": reason}], []
    tags |= {"version": metadata.version(peer.package)}
    rows, tables = [], []
    try:
        settings, reached = tune(problem, peer)
        tags |= {"settings": json.dumps(settings), "tuning_ndcg@10": reached}
        for seed in seeds if peer.seeded else seeds[:1]:
            start = time.monotonic()
            scores = score_table(problem, peer, settings, seed)
            tables += tabulate(problem, scores, {"model": name, "features": peer.features, "seed": seed})
            rows.append(tags | {"seed": seed, "seconds": round(time.monotonic() - start, 2)})
    # Foreign code may raise anything; its words belong in the table, and the other peers go on.
    except Exception as error:
        rows.append(tags | {"error": f"{type(error).__name__}: {error}"})
    return rows, tables


def missing(package: str) -> str | None:
    """Return why ``package`` cannot be used: what its installer said, or what its import says; None if it can."""
    failures = json.loads(FAILURES.read_text()) if FAILURES.exists() else {}
    if package in failures:
        return f"does not install: {failures[package]}"
    try:
        importlib.import_module(package)
    except ImportError as error:
        return f"{type(error).__name__}: {error}"
    return None


def tabulate(problem: Problem, scores: np.ndarray, tags: Mapping[str, Any]) -> list[pa.Table]:
    """Return the lists among all movies (slice "warm") and, from peers that read content, among the held-out ones."""
    pools = {"warm": None} | ({"cold": problem.cold} if "+" in tags["features"] and problem.cold.any() else {})
    tables = []
    for slice_name, pool in pools.items():
        lists = recommend(problem, scores, K, pool)
        kept = lists >= 0
        columns = {name: pa.array([value] * int(kept.sum())) for name, value in tags.items()}
        columns |= {
            "slice": pa.array([slice_name] * int(kept.sum())),
            "userId": np.repeat(problem.user_ids, kept.sum(1)),
            "rank": np.broadcast_to(np.arange(1, K + 1, dtype=np.int32), lists.shape)[kept],
            "movieId": problem.movie_ids[lists[kept]],
        }
        tables.append(pa.table(columns))
    return tables


def write_report(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the report as csv with the columns COLUMNS."""
    with writing(path) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)


def main(words: Sequence[str] | None = None) -> int:
    """Train the peers asked for; write ``--out`` (csv) and the lists beside it (.parquet)."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--models", nargs="+", default=list(PEERS), choices=list(PEERS))
    asked = parser.parse_args(words)
    if asked.out.suffix != ".csv":
        parser.error(f"--out {asked.out} must end in .csv: the lists go beside it under .parquet.")
    for seed in asked.seeds:
        parameters.whole("--seeds", seed, least=0, most=2**31 - 1)
    problem = read_problem(asked.data)
    rows, tables = [], []
    for name in asked.models:
        more_rows, more_tables = run_peer(name, problem, asked.seeds)
        rows, tables = rows + more_rows, tables + more_tables
        print(name, *(f"{row.get('seconds', '')} s {row.get('error', '')}".strip() for row in more_rows), flush=True)
    write_report(asked.out, rows)
    if tables:
        lists = pa.concat_tables(tables).replace_schema_metadata({"train": problem.digest})
        with writing(asked.out.with_suffix(".parquet")) as temporary:
            pq.write_table(lists, temporary, compression="zstd")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (PeerError, parameters.ParameterError, OSError) as error:
        sys.exit(str(error))
