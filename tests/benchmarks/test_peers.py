"""Peers' hand-offs: what they are given, what they give back, what is refused. No peer needs to be installed."""

import csv
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.peers import evaluate, install, models, run
from benchmarks.peers.models import CONTENT, PEERS, Peer, Task
from benchmarks.peers.problem import PeerError, Problem, read_problem
from utils.handoff.vector_columns import vector_column
from utils.metrics.click import METRICS_COLUMNS

RATINGS = {
    # User 4 has rated in train but liked nothing; movie 50 is never rated, 60 is held out.
    "train": [(1, 10, 5), (1, 20, 2), (2, 10, 4), (2, 30, 4), (3, 30, 5), (3, 10, 4), (4, 20, 1)],
    "valid": [(1, 30, 5), (2, 20, 1), (3, 40, 4)],
    "cold": [(1, 60, 5), (5, 60, 2)],
}
MOVIES = [10, 20, 30, 40, 50, 60]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six movies and five users, as notebooks 01 and 05 leave them."""
    for name, rows in RATINGS.items():
        user, movie, rating = np.array(rows, np.int64).T
        table = {"userId": user, "movieId": movie, "rating": rating.astype(np.float32), "timestamp": user}
        pq.write_table(pa.table(table), tmp_path / f"{name}.parquet")
    pq.write_table(pa.table({"movieId": MOVIES[::-1]}), tmp_path / "movies_converted.parquet")
    poster, text = np.arange(12).reshape(6, 2), np.arange(18).reshape(6, 3)
    store = {"movieId": MOVIES, "poster": vector_column(poster), "text": vector_column(text)}
    pq.write_table(pa.table(store), tmp_path / "feature_store.parquet")
    return tmp_path


def by_content(task: Task, settings: models.Settings, seed: int) -> np.ndarray:
    return np.tile(task.content[:, 0], (task.known_users, 1))


def test_problem_holds_all_users_all_movies_and_only_trains_ratings(folder: Path) -> None:
    problem = read_problem(folder)
    assert problem.user_ids.tolist() == [1, 2, 3, 4, 5]
    assert problem.movie_ids.tolist() == MOVIES
    assert problem.liked.sum() == 5
    assert problem.movie_ids[problem.cold].tolist() == [60]
    assert problem.content[2].tolist() == [4, 5, 6, 7, 8]
    indptr, movies = problem.seen()
    assert [sorted(movies[a:b]) for a, b in pairwise(indptr)] == [[0, 1], [0, 2], [0, 2], [1], []]


def test_task_numbers_movies_with_likes_first_and_keeps_their_content(folder: Path) -> None:
    problem = read_problem(folder)
    task = Task.of(problem)
    assert (task.known_users, task.known) == (3, 2)
    assert task.movies.tolist() == [0, 2, 1, 3, 4, 5]
    assert np.array_equal(task.content, problem.content[task.movies])
    users, movies = problem.user_ids[task.users[task.user]], problem.movie_ids[task.movies[task.movie]]
    pairs = set(zip(users.tolist(), movies.tolist(), strict=True))
    assert pairs == {(1, 10), (2, 10), (2, 30), (3, 30), (3, 10)}


def test_setting_aside_takes_likes_only(folder: Path) -> None:
    problem = read_problem(folder)
    rest, user, movie = problem.set_aside(0.4, 0)
    assert len(user) == 2 and len(rest.user) == len(problem.user) - 2
    assert rest.liked.sum() == 3
    taken = {(u, m) for u, m in zip(user, movie, strict=True)}
    assert not taken & {(u, m) for u, m in zip(rest.user, rest.movie, strict=True)}


def test_popularity_ranks_by_likes_leaves_out_what_was_seen_and_serves_users_without_likes(folder: Path) -> None:
    problem = read_problem(folder)
    scores = run.score_table(problem, PEERS["popularity"], {}, 42)
    lists = run.recommend(problem, scores, 2)
    # Movies without a like follow in ascending order.
    assert problem.movie_ids[lists].tolist() == [[30, 40], [20, 40], [20, 40], [10, 30], [10, 30]]


def test_peers_that_are_not_installed_are_rows_with_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PEERS, "absent", Peer("no_such_library", "ids", by_content, [{}]))
    monkeypatch.setitem(PEERS, "refused", Peer("lightfm", "ids", by_content, [{}]))
    monkeypatch.setattr(run, "FAILURES", folder / "failures.json")
    run.FAILURES.write_text('{"lightfm": "AttributeError: no setup"}')
    out = folder / "peers.csv"
    assert run.main(["--data", str(folder), "--out", str(out), "--models", "absent", "refused", "popularity"]) == 0
    with out.open() as stream:
        rows = {row["model"]: row for row in csv.DictReader(stream)}
    assert rows["absent"]["error"] == "ModuleNotFoundError: No module named 'no_such_library'"
    assert rows["refused"]["error"] == "does not install: AttributeError: no setup"
    assert rows["popularity"]["error"] == "" and rows["popularity"]["seed"] == "42"
    assert set(pq.read_table(out.with_suffix(".parquet"))["model"].to_pylist()) == {"popularity"}


def test_a_peer_that_fails_or_diverges_is_a_row_and_no_lists(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverged(task: Task, settings: models.Settings, seed: int) -> np.ndarray:
        return np.full((task.known_users, task.known), np.nan)

    monkeypatch.setitem(PEERS, "diverged", Peer("numpy", "ids", diverged, [{}]))
    rows, tables = run.run_peer("diverged", read_problem(folder), [1])
    assert "the model diverged" in rows[0]["error"] and not tables


def test_tuning_takes_the_better_settings() -> None:
    def signed(task: Task, settings: models.Settings, seed: int) -> np.ndarray:
        return settings["sign"] * models.popularity(task, settings, seed)

    # 30 users like each of movies 0 to 4 with half a chance, and one of 25 others each.
    user, movie = np.nonzero(np.random.default_rng(3).random((30, 5)) < 0.5)
    user, movie = np.r_[user, :30].astype(np.int32), np.r_[movie, 5 + np.arange(30) % 25].astype(np.int32)
    rating, nothing = np.full(len(user), 5, np.float32), np.zeros((30, 1), np.float32)
    problem = Problem(np.arange(30), np.arange(30), user, movie, rating, np.zeros(30, bool), nothing, "")
    settings, reached = run.tune(problem, Peer("numpy", "ids", signed, [{"sign": -1.0}, {"sign": 1.0}]))
    assert settings == {"sign": 1.0} and reached is not None and 0.1 < reached <= 1


def written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the lists of a peer that reads content: the higher the movieId, the better."""
    monkeypatch.setitem(PEERS, "by-content", Peer("numpy", CONTENT, by_content, [{}]))
    words = ["--data", str(folder), "--out", str(folder / "peers.csv"), "--models", "by-content", "--seeds", "1", "2"]
    assert run.main(words) == 0
    return folder / "peers.parquet"


def test_lists_are_judged_as_worked_by_hand(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = evaluate.peer_rows(written(folder, monkeypatch), folder, k=2, replicates=5)
    assert all(tuple(row) == METRICS_COLUMNS and row["trainer"] == "peer" for row in rows)
    found = {(row["seed"], row["slice"], row["metric"]): (row["value"], row["n"]) for row in rows}
    assert len(found) == 8
    # Warm: 60 and 50 lead every list, so neither movie 30 of user 1 nor movie 40 of user 3 is among two.
    assert found[1, "warm", "recall@2"] == (0, 2)
    assert found[2, "cold", "ndcg@2"] == (1, 1)
    rows = evaluate.peer_rows(folder / "peers.parquet", folder, k=4, replicates=5)
    found = {(row["seed"], row["slice"], row["metric"]): row["value"] for row in rows}
    # User 1: 60, 50, 40, 30; user 3: 60, 50, 40.
    assert found[1, "warm", "ndcg@4"] == pytest.approx((1 / np.log2(5) + 1 / np.log2(4)) / 2)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("movieId", 10, "user 1 is recommended movie 10, rated in train"),
        ("movieId", 11, "movieId 11 is not in this data set"),
        ("userId", 9, "userId 9 is not in this data set"),
        ("rank", 2, "two movies of one rank"),
        ("rank", 0, "ranks go from 0"),
    ],
)
def test_lists_that_cannot_be_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, column: str, value: int, message: str
) -> None:
    lists = written(folder, monkeypatch)
    table = pq.read_table(lists)
    values = table[column].to_numpy().copy()
    values[0] = value
    at = table.column_names.index(column)
    pq.write_table(table.set_column(at, column, pa.array(values)), lists)
    with pytest.raises(PeerError, match=message):
        evaluate.peer_rows(lists, folder)


def test_lists_of_another_train_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = written(folder, monkeypatch)
    pq.write_table(pq.read_table(folder / "train.parquet").slice(1), folder / "train.parquet")
    with pytest.raises(PeerError, match=r"another train.parquet.*Run benchmarks.peers.run again"):
        evaluate.peer_rows(lists, folder)


def test_missing_hand_offs_say_what_to_run(folder: Path) -> None:
    (folder / "feature_store.parquet").unlink()
    with pytest.raises(PeerError, match=r"feature_store.parquet cannot be read .* Run notebooks 01 to 05 first"):
        read_problem(folder)


def test_every_requirement_is_pinned_and_every_peer_has_one() -> None:
    wanted = install.pins(Path(install.__file__).with_name("requirements.txt").read_text())
    assert all("==" in requirement for requirement in wanted.values())
    assert set(install.PEERS) <= set(wanted)
    assert {peer.package for peer in PEERS.values()} == {"numpy", *install.PEERS}


def test_the_installers_last_words_name_the_error() -> None:
    stderr = "  AttributeError: 'dict' object has no attribute 'x'\n\nerror: subprocess-exited-with-error\nnote: pip\n"
    assert install.last_words(stderr) == "AttributeError: 'dict' object has no attribute 'x'"
    assert install.last_words("ERROR: No matching distribution\n") == "ERROR: No matching distribution"
    assert install.last_words("") == "no message"


def test_a_train_without_likes_is_refused(folder: Path) -> None:
    table = pq.read_table(folder / "train.parquet")
    ones = pa.array(np.ones(table.num_rows, np.float32))
    pq.write_table(table.set_column(2, "rating", ones), folder / "train.parquet")
    with pytest.raises(PeerError, match=r"train.parquet has no rating above 3"):
        read_problem(folder)
