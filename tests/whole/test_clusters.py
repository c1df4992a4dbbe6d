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
import nbformat
import numpy as np
import pandas as pd
import psutil
import pyarrow.parquet as pq
import pytest

from tests.etl.test_workflow import MOST, recipe, train
from utils.etl import workflow
from utils.handoff.atomic import writing
from utils.handoff.store import open_store
from utils.handoff.vector_columns import vector_column, vectors
from utils.machine.dask_cluster import cluster
from utils.model.architectures import MODELS, Inputs
from utils.model.feature_sets import parse
from utils.model.training import checkpoints, launch
from utils.model.training.fit import Job, Settings, Split
from utils.series import runner
from utils.study.study import LISTS

__all__ = ["recipe", "train"]
DROP = workflow.drop_movie_ids
FULL = "ids+genres+facts+poster+text"
SECONDS = 90
"""Longest that a training or a transformation may go on after a worker was killed: a hang is a failure."""
KEYS = ["trainer", "model", "features", "seed", "split", "slice", "metric"]
CLOSE, SAME_AUC = 1e-4, 0.05
"""Numbers of a vector may differ by CLOSE; an AUC by SAME_AUC, as gradients are summed in another order."""
pytestmark = [pytest.mark.timeout(1800), pytest.mark.filterwarnings("ignore:.*CPU mode")]


class DifferentError(AssertionError):
    """Two workers gave another result than one process."""


def compare(one: Path, two: Path) -> dict[str, float]:
    """Return the largest differences of two folders of the series: of vectors, and of a model's AUC, warm and cold.

    Codes may be permuted, one to one. Raises DifferentError for anything else, and for differences beyond rounding.
    """
    found = {}
    for name in ("poster_embeddings", "text_embeddings"):
        tables = [pq.read_table(folder / f"{name}.parquet").to_pandas() for folder in (one, two)]
        if tables[0]["movieId"].tolist() != tables[1]["movieId"].tolist():
            raise DifferentError(f"{name}: other movies have a vector")
        both = [np.stack(table["embedding"]) for table in tables]
        found[name] = float(np.abs(both[0] - both[1]).max())
    for part in ("train", "valid", "cold"):
        _same_rows(part, *(_encoded(folder, part) for folder in (one, two)))
    metrics = [pd.read_csv(folder / "metrics.csv") for folder in (one, two)]
    merged = metrics[0].merge(metrics[1], on=KEYS, how="outer", suffixes=("", "_two"), validate="1:1")
    if merged[["n", "n_two"]].isna().any().any() or (merged["n"] != merged["n_two"]).any():
        raise DifferentError("metrics.csv: other rows, or other numbers of ratings or users")
    for model, rows in merged[(merged["metric"] == "auc") & merged["slice"].isin(["warm", "cold"])].groupby("model"):
        found[f"AUC, {model}"] = float((rows["value"] - rows["value_two"]).abs().max())
    wrong = {name: gap for name, gap in found.items() if not gap <= (SAME_AUC if "AUC" in name else CLOSE)}
    if wrong:
        raise DifferentError(f"two workers differ from one process: {wrong}")
    return found


def _encoded(folder: Path, part: str) -> dict[str, np.ndarray]:
    store = open_store(folder.parent, folder.name, 42, "07-Training-with-HugeCTR")
    return workflow.read_encoded(store, f"{part}-hugectr", store.metadata("movie_codes")["most_genres"])


def _same_rows(part: str, one: dict[str, np.ndarray], two: dict[str, np.ndarray]) -> None:
    for column in ("label", "movieId_duplicate"):
        if not np.array_equal(one[column], two[column]):
            raise DifferentError(f"{part}: {column} differs")
    for column in ("userId", "movieId"):
        pairs = np.unique(np.stack([one[column], two[column]]), axis=1)
        unknown = pairs == workflow.OUT_OF_VOCABULARY
        if any(len(np.unique(side)) != pairs.shape[1] for side in pairs) or not np.array_equal(*unknown):
            raise DifferentError(f"{part}: the codes of {column} are no permutation of known ones")
    if not np.array_equal(*((side["genres"] > 0).sum(axis=1) for side in (one, two))):
        raise DifferentError(f"{part}: rows have another number of genres")


@pytest.fixture(scope="module")
def folders(example: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The series on the example's board games, in one process and then, from 03 on, on clusters of two.

    Of the models, only those with all content are trained again and compared.
    """
    root = shutil.copytree(example, tmp_path_factory.mktemp("two") / "root", symlinks=True)
    two = root / "data" / "board-games"
    one = shutil.copytree(two, tmp_path_factory.mktemp("one") / "board-games")
    # What was trained in one process must not be taken for what is to be trained in two.
    shutil.rmtree(two / "checkpoints")
    given: dict[str, Any] = {"DATASET": "board-games", "DASK_SCHEDULER": "local:2", "NUM_PROCS": 2}
    for path in (root / "runs" / "board-games").glob("*.ipynb"):
        before = nbformat.read(path, 4).metadata.papermill.parameters
        given |= {f"{path.name[:2]}:{name}": value for name, value in before.items()}
    count = runner.run_all(given | {"07:FEATURES": [FULL]}, root)
    assert count >= 4, "03, 04, 06 and 07 at least have other parameters now"
    metrics = pd.read_csv(one / "metrics.csv")
    trained = metrics["model"].isin([*MODELS, LISTS])
    metrics[~trained | (metrics["features"] == FULL)].to_csv(one / "metrics.csv", index=False)
    return {"one": one, "two": two}


def test_two_workers_give_the_results_of_one_process(folders: dict[str, Path]) -> None:
    found = compare(*folders.values())
    assert set(found) > {"poster_embeddings", "text_embeddings", "AUC, multimodal", "AUC, popularity"}
    assert max(found["poster_embeddings"], found["text_embeddings"]) < 1e-5
    assert found["AUC, popularity"] == 0
    for name in ("poster_embeddings.parquet", "text_embeddings.parquet"):
        assert pq.read_table(folders["one"] / name)["movieId"].to_pylist() == list(range(101, 141))
    assert not list(folders["two"].glob(".*.shards"))


def swap_codes(folder: Path) -> None:
    path = next((folder / "valid-hugectr").glob("part_*.parquet"))
    frame = pd.read_parquet(path)
    frame.loc[0, "userId"] = frame["userId"][frame["userId"] != frame["userId"][0]].iloc[0]
    frame.to_parquet(path)


def forget_a_user(folder: Path) -> None:
    for path in folder.glob("*-hugectr/part_*.parquet"):
        frame = pd.read_parquet(path)
        frame.loc[frame["userId"] == workflow.RESERVED, "userId"] = workflow.OUT_OF_VOCABULARY
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
    harmed = shutil.copytree(folders["two"], tmp_path / "board-games")
    harm(harmed)
    wrote = open_store(tmp_path, harmed.name, 42, "06-ETL-with-NVTabular")
    for part in ("train", "valid"):  # Else the door refuses them before they are compared.
        wrote.record(f"{part}-hugectr", rows=wrote.manifest()[f"{part}-hugectr"]["rows"])
    with pytest.raises(DifferentError, match=wanted):
        compare(folders["one"], harmed)


def test_two_processes_of_torchrun_reach_the_auc_of_one(folders: dict[str, Path]) -> None:
    one, two = (pd.read_csv(folder / "metrics.csv") for folder in folders.values())
    keys = ["trainer", "model", "features", "seed", "slice", "metric"]
    merged = one.merge(two, on=keys, suffixes=("", "_two")).query("metric == 'auc' and model == 'multimodal'")
    assert {"warm", "cold"} <= set(merged["slice"])
    warm = merged[merged["slice"] == "warm"]
    assert warm[["value", "value_two"]].min().min() > 0.75, "the players' taste can be learned, and was not"
    assert (warm["value"] - warm["value_two"]).abs().max() < 0.03
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
def job(split: Split, frozen: np.ndarray, inputs: Inputs) -> Job:
    """A training that takes long enough to be killed."""
    graph = MODELS["original"](inputs, parse("ids+genres"))
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
    call: int, tmp_path: Path, recipe: Any, train: pd.DataFrame, two: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path, "toy", 42, "06-ETL-with-NVTabular")
    train.to_parquet(store.path("train"), index=False, row_group_size=40)
    final, calls = store.path("train-hugectr"), tmp_path / "calls"
    calls.mkdir()
    monkeypatch.setattr(workflow, "ROWS_PER_FILE", 100)

    def encode() -> dict[str, np.ndarray]:
        with writing(final) as folder:
            rows = workflow.write_encoded(recipe, store.path("train"), folder, "1KB", 0.3, 7)
            workflow.finish(folder, final, workflow.cardinalities(recipe), MOST, rows)
        store.record("train-hugectr", rows=rows)
        return workflow.read_encoded(store, "train-hugectr", MOST)

    whole = encode()
    monkeypatch.setattr(workflow, "drop_movie_ids", KillsAt(calls, call))
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
