"""Peers: what they are given, what they give back, how they are judged. No peer needs to be installed."""

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.peers import evaluate, run
from benchmarks.peers.models import CONTENT, PEERS, Peer, PeerError, Settings, Task
from utils.handoff.vector_columns import vector_column

RATINGS = {
    # User 4 has rated in train but liked nothing; movie 50 is never rated, 60 is held out.
    "train": [(1, 10, 5), (1, 20, 2), (2, 10, 4), (2, 30, 4), (3, 30, 5), (3, 10, 4), (4, 20, 1)],
    "valid": [(1, 30, 5), (2, 20, 1), (3, 40, 4)],
    "cold": [(1, 60, 5), (5, 60, 2)],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six movies and five users, as notebooks 01 and 05 leave them."""
    for name, rows in RATINGS.items():
        user, movie, rating = np.array(rows, np.int64).T
        table = {"userId": user, "movieId": movie, "rating": rating.astype(np.float32)}
        pq.write_table(pa.table(table), tmp_path / f"{name}.parquet")
    poster, text = np.arange(12).reshape(6, 2), np.arange(18).reshape(6, 3)
    store = {"movieId": range(10, 70, 10), "poster": vector_column(poster), "text": vector_column(text)}
    pq.write_table(pa.table(store), tmp_path / "feature_store.parquet")
    movies = {"movieId": range(60, 0, -10), "genres": [["Drama"], [], ["Action", "Drama"], [], ["Drama"], ["Action"]]}
    pq.write_table(pa.table(movies), tmp_path / "movies_converted.parquet")
    monkeypatch.setattr(run.torch, "set_num_threads", lambda threads: None)
    return tmp_path


def by_content(task: Task, settings: Settings, seed: int) -> np.ndarray:
    """The higher the movieId, the better, or the other way round."""
    return settings.get("sign", 1.0) * np.tile(task.content[:, 2], (task.users, 1))


def test_a_task_has_what_is_liked_first_and_every_movie(folder: Path) -> None:
    task, _ = run.read(folder)
    assert (task.users, task.movies) == (3, 2)
    assert task.user_ids.tolist() == [1, 2, 3, 4, 5] and task.movie_ids.tolist() == [10, 30, 20, 40, 50, 60]
    assert task.content[[0, 1]].tolist() == [[1, 0, 0, 1, 0, 1, 2], [0, 0, 4, 5, 6, 7, 8]], "Action, Drama, vectors"
    assert task.likes().toarray().tolist() == [[1, 0], [1, 1], [1, 1]]
    assert list(zip(task.user_ids[task.user], task.movie_ids[task.movie], task.rating, strict=True)) == RATINGS["train"]
    lists = task.movie_ids[run.lists_of(task, run.score_table(task, PEERS["popularity"], {}, 42), 2)].tolist()
    assert lists[0][0] == 30 and lists[3:] == [[10, 30], [10, 30]], "users without likes get what is popular"
    assert not {10, 30} & {*lists[1], *lists[2]}, "what a user rated is left out"


def test_a_peer_that_is_absent_or_diverges_is_a_row(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = Peer("numpy", "ids", lambda task, *_: np.full((task.users, task.movies), np.nan), [{}])
    monkeypatch.setitem(PEERS, "diverged", nothing)
    monkeypatch.setitem(PEERS, "absent", Peer("no-such-library", "ids", by_content, [{}]))
    run.main([str(folder), str(folder / "peers.csv"), "--models", "absent", "diverged", "popularity"])
    with (folder / "peers.csv").open() as stream:
        errors = {row["model"]: row["error"] for row in csv.DictReader(stream)}
    assert "No package metadata was found for no-such-library" in errors["absent"]
    assert "the model diverged" in errors["diverged"] and errors["popularity"] == ""
    assert set(pq.read_table(folder / "peers.parquet")["model"].to_pylist()) == {"popularity"}


@pytest.mark.parametrize("part", ["warm", "cold"])
def test_tuning_takes_the_better_settings_on_what_is_taken_out_of_train(folder: Path, part: str) -> None:
    task, tables = run.read(folder)
    peer = Peer("numpy", CONTENT, by_content, [{"sign": 1.0}, {"sign": -1.0}])
    # Movie 10 or 30 is taken out, or one like of it: it is found where low movieIds come first, or stands alone.
    sign = {"warm": -1.0, "cold": 1.0}[part]
    assert run.tune(peer, task, tables["train"], part) == ({"sign": sign}, 1.0)


@pytest.fixture
def lists(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(PEERS, "by-content", Peer("numpy", CONTENT, by_content, [{}]))
    run.main([str(folder), str(folder / "peers.csv"), "--models", "by-content", "--seed", "1"])
    return folder / "peers.parquet"


def test_lists_are_judged_as_worked_by_hand(folder: Path, lists: Path) -> None:
    found = evaluate.ndcg(lists, folder, k=4)["by-content"]
    # User 1 gets 60, 50, 40, 30 and likes 30; user 3 gets 60, 50, 40 and likes 40.
    assert found["warm"] == pytest.approx([1 / np.log2(5), 1 / np.log2(4)])
    assert found["cold"].tolist() == [1]


WRONG = [
    ("movieId", 10, "user 1 is recommended movie 10, rated in train"), ("rank", 2, "two movies of one rank"),
    ("movieId", 11, "movieId 11 is not in this data set"), ("rank", 0, "a rank is below 1"),
]  # fmt: skip


@pytest.mark.parametrize(("column", "value", "message"), WRONG)
def test_lists_that_cannot_be_are_refused(folder: Path, lists: Path, column: str, value: int, message: str) -> None:
    table = pq.read_table(lists)
    values = [value, *table[column].to_pylist()[1:]]
    pq.write_table(table.set_column(table.column_names.index(column), column, [values]), lists)
    with pytest.raises(PeerError, match=message):
        evaluate.ndcg(lists, folder)


def test_another_train_or_one_without_likes_or_no_files_are_refused(folder: Path, lists: Path) -> None:
    train = pq.read_table(folder / "train.parquet")
    pq.write_table(train.slice(1), folder / "train.parquet")
    with pytest.raises(PeerError, match=r"another train.parquet.*Run benchmarks.peers.run again"):
        evaluate.ndcg(lists, folder)
    pq.write_table(train.set_column(2, "rating", pa.array(np.ones(len(train), np.float32))), folder / "train.parquet")
    with pytest.raises(PeerError, match=r"train.parquet has no rating above 3"):
        run.read(folder)
    (folder / "feature_store.parquet").unlink()
    with pytest.raises(PeerError, match=r"cannot be read .* Run notebooks 01 to 05 first"):
        run.read(folder)
