"""The series on a Dask cluster of two processes and under torchrun: the results of one process; and killed workers."""

import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import psutil
import pyarrow.parquet as pq
import pytest

from benchmarks import workers
from tests.etl.test_workflow import MOST, train, workflow
from tests.whole.test_notebooks import own_data
from utils.etl import workflow as etl
from utils.handoff.store import open_store, writing
from utils.handoff.vector_columns import vector_column, vectors
from utils.machine.dask_cluster import cluster
from utils.model.architectures import MODELS, Inputs
from utils.model.feature_sets import parse
from utils.model.training import checkpoints, launch
from utils.model.training.fit import Job, Settings, Split
from utils.series import runner

__all__ = ["train", "workflow"]
DROP = etl.drop_movie_ids
SECONDS = 90
"""Longest that a training or a transformation may go on after a worker was killed: a hang is a failure."""
pytestmark = [pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore:.*CPU mode")]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The series on forty own books, once in one process and then, from 03 on, on clusters of two."""
    folder = tmp_path_factory.mktemp("series")
    # Offline: stand-in posters and synopses, which 03 and 04 really encode. One model, without tuning.
    given = own_data(folder) | {
        "ENRICHMENT": "offline", "ENRICHMENT_DIR": None, "OBJECTIVE": "like", "TUNING": 0, "MISSING_SHARES": [],
        "FEATURES": ["ids+genres+poster+text"], "EPOCHS": 30, "07:BATCH_SIZE": 64, "LEARNING_RATE": 0.01,
    }  # fmt: skip
    assert runner.run_all(given, runs=folder / "runs") == 8
    books, one = folder / "data" / "books", folder / "one" / "books"
    shutil.copytree(books, one)
    # What was trained must not be taken for what is to be trained now.
    shutil.rmtree(books / "checkpoints")
    again = runner.run_all(given | {"DASK_SCHEDULER": "local:2", "NUM_PROCS": 2}, runs=folder / "runs")
    assert again >= 4, "03, 04, 06 and 07 at least have other parameters now"
    return {"one": one, "two": books}


def test_two_workers_give_the_results_of_one_process(folders: dict[str, Path]) -> None:
    found = workers.compare(*folders.values(), same_auc=0.05)
    assert set(found) > {"poster_embeddings", "text_embeddings", "AUC, multimodal", "AUC, popularity"}
    assert max(found["poster_embeddings"], found["text_embeddings"]) < 1e-5
    assert found["AUC, popularity"] == 0
    for name in ("poster_embeddings.parquet", "text_embeddings.parquet"):
        assert pq.read_table(folders["one"] / name)["movieId"].to_pylist() == list(range(1, 41))
    assert not list(folders["two"].glob(".*.shards"))


def swap_codes(folder: Path) -> None:
    path = next((folder / "valid-hugectr").glob("part_*.parquet"))
    frame = pd.read_parquet(path)
    frame.loc[0, "userId"] = frame["userId"][frame["userId"] != frame["userId"][0]].iloc[0]
    frame.to_parquet(path)


def forget_a_user(folder: Path) -> None:
    for path in folder.glob("*-hugectr/part_*.parquet"):
        frame = pd.read_parquet(path)
        frame.loc[frame["userId"] == etl.RESERVED, "userId"] = etl.OUT_OF_VOCABULARY
        frame.to_parquet(path)


def drop_a_genre(folder: Path) -> None:
    path = next((folder / "train-hugectr").glob("part_*.parquet"))
    frame = pd.read_parquet(path)
    frame.at[0, "genres"] = frame.at[0, "genres"][:-1]
    frame.to_parquet(path)


def raise_auc(folder: Path) -> None:
    table = pd.read_csv(folder / "metrics.csv")
    table.loc[table["metric"] == "auc", "value"] += 0.1
    table.to_csv(folder / "metrics.csv", index=False)


def move_vectors(folder: Path) -> None:
    path = folder / "text_embeddings.parquet"
    table = pq.read_table(path)
    moved = vector_column(vectors(table["embedding"]) + np.float32(0.01))
    pq.write_table(table.set_column(table.schema.get_field_index("embedding"), "embedding", moved), path)


@pytest.mark.parametrize(
    ("harm", "wanted"),
    [
        (swap_codes, "valid: the codes of userId are no permutation of known ones"),
        (forget_a_user, "train: the codes of userId are no permutation of known ones"),
        (drop_a_genre, "train: rows have another number of genres"),
        (raise_auc, "AUC"),
        (move_vectors, "text_embeddings"),
    ],
)
def test_another_result_is_told(
    folders: dict[str, Path], harm: Callable[[Path], None], wanted: str, tmp_path: Path
) -> None:
    harmed = shutil.copytree(folders["two"], tmp_path / "books")
    harm(harmed)
    with pytest.raises(workers.DifferentError, match=wanted):
        workers.compare(folders["one"], harmed, same_auc=0.05)


def test_two_processes_of_torchrun_reach_the_auc_of_one(folders: dict[str, Path]) -> None:
    one, two = (pd.read_csv(folder / "metrics.csv") for folder in folders.values())
    keys = ["trainer", "model", "features", "seed", "slice", "metric"]
    merged = one.merge(two, on=keys, suffixes=("", "_two")).query("metric == 'auc' and model == 'multimodal'")
    assert {"warm", "cold"} <= set(merged["slice"])
    warm = merged[merged["slice"] == "warm"]
    assert warm[["value", "value_two"]].min().min() > 0.9, "the readers' taste can be learned, and was not"
    assert (warm["value"] - warm["value_two"]).abs().max() < 0.01
    for folder in folders.values():
        assert json.loads((folder / "manifest.json").read_text())["recommendations"]["rows"] > 0


# Killed workers


def wait_for(what: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """Return the first true value of ``what``; fail after ``seconds``."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.02)
    return found


def below(process: psutil.Process, words: str) -> list[psutil.Process]:
    """Return the processes below ``process`` whose command has ``words``."""
    found = []
    for child in process.children(recursive=True):
        try:
            if words in " ".join(child.cmdline()):
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.fixture
def job(encoded: dict[str, np.ndarray], frozen: np.ndarray, inputs: Inputs) -> Job:
    """A training that takes long enough to be killed."""
    split = Split.of(encoded)
    graph = MODELS["seed"](inputs, parse("ids+genres"))
    return Job(graph, split, split, frozen, inputs, Settings(100_000, 40, 0.01), 5)


def test_a_rank_that_is_killed_ends_the_training_and_leaves_no_checkpoint(tmp_path: Path, job: Job) -> None:
    store = open_store(tmp_path, "toy", 42, "07-Training-with-HugeCTR")
    killed: list[int] = []

    def kill() -> None:
        # "-u -m utils.model.training.worker" are the ranks; their launcher has it after its own options.
        ranks = wait_for(lambda: [p for p in _ranks() if p.num_threads() > 1 and p.cpu_times().user > 1][1:])
        killed.append(ranks[0].pid)
        ranks[0].send_signal(signal.SIGKILL)

    with ThreadPoolExecutor(1) as pool:
        killing = pool.submit(kill)
        started = time.monotonic()
        with pytest.raises(launch.TrainerError, match=r"NUM_PROCS=2 ended with exit code(.|\n)*(SIGKILL|-9)"):
            checkpoints.fit_or_resume(
                store, job, "ids+genres", "torch", lambda job, prefix: launch.fit_distributed(store, job, prefix, 2)
            )
        killing.result(timeout=SECONDS)
    assert killed and time.monotonic() - started < SECONDS
    assert list(store.path("checkpoints").iterdir()) == [], "half a checkpoint would be taken for a whole one"
    assert not list(store.folder.glob(".job.*"))
    wait_for(lambda: not _ranks(), 30)


def _ranks() -> list[psutil.Process]:
    workers = below(psutil.Process(), "utils.model.training.worker")
    return [process for process in workers if "torch.distributed.run" not in " ".join(process.cmdline())]


@pytest.fixture(scope="module")
def two() -> Iterator[Any]:
    with dask.config.set({"distributed.scheduler.allowed-failures": 1}), cluster("local:2") as client:
        yield client


class KillsAt:
    """``drop_movie_ids`` that kills the Dask worker which calls it for the n-th time, once."""

    def __init__(self, folder: Path, call: int) -> None:
        self.folder, self.call = folder, call

    def __call__(self, frame: Any, *arguments: Any) -> Any:
        # Dask also calls it here, in the process of the tests, to learn the columns.
        if multiprocessing.parent_process() is not None:
            (self.folder / f"{time.monotonic_ns()}-{os.getpid()}").touch()
            if len(list(self.folder.iterdir())) == self.call:
                os.kill(os.getpid(), signal.SIGKILL)
        return DROP(frame, *arguments)


@pytest.mark.parametrize("call", [1, 5])
def test_a_worker_killed_while_06_transforms_changes_nothing(
    call: int, tmp_path: Path, workflow: Any, train: pd.DataFrame, two: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path, "toy", 42, "06-ETL-with-NVTabular")
    train.to_parquet(store.path("train"), index=False, row_group_size=40)
    final, calls = store.path("train-hugectr"), tmp_path / "calls"
    calls.mkdir()
    monkeypatch.setattr(etl, "ROWS_PER_FILE", 100)

    def encode() -> dict[str, np.ndarray]:
        with writing(final) as folder:
            rows = etl.write_encoded(workflow, store.path("train"), folder, "1KB", 0.3, 7)
            etl.finish(folder, final, etl.cardinalities(workflow), MOST, rows)
        store.record("train-hugectr", rows=rows)
        return etl.read_encoded(store, "train-hugectr", MOST)

    whole = encode()
    monkeypatch.setattr(etl, "drop_movie_ids", KillsAt(calls, call))
    again = _within(encode)
    assert len(list(calls.iterdir())) > call, "no worker was killed"
    assert all(np.array_equal(values, again[name]) for name, values in whole.items())
    assert not list(store.folder.glob(".*.tmp"))


def _within(work: Callable[[], Any]) -> Any:
    """Return what ``work`` returns; fail where it takes longer than SECONDS."""
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(work).result(timeout=SECONDS)
    finally:
        pool.shutdown(wait=False)
