"""Training in other processes: their exit codes are heeded, their logs parsed, their weights the same."""

import sys
from pathlib import Path

import numpy as np
import pytest

from utils.handoff.store import open_store
from utils.metrics.click import auc
from utils.model.architectures import MODELS, Inputs
from utils.model.training import fit, launch
from utils.model.training.fit import Job, Settings, Split

LOG = """
[HCTR][08:00:01.000][INFO][RK0][main]: Iter: 37 Time(37 iters): 0.05s Loss: 0.6512 lr:0.002
[HCTR][08:00:01.100][INFO][RK0][main]: Evaluation, AUC: 0.7012
[HCTR][08:00:01.200][INFO][RK0][main]: Eval Time for 10 iters: 0.01s
[HCTR][08:00:02.000][INFO][RK0][main]: Iter: 74 Time(37 iters): 0.05s Loss: 5.9e-01 lr:0.002
[HCTR][08:00:02.100][INFO][RK0][main]: Evaluation, AUC: 0.7333
"""


def test_a_hugectr_log_becomes_a_learning_curve() -> None:
    assert launch.parse_log(LOG.splitlines()) == [
        {"epoch": 1, "train_loss": 0.6512, "valid_auc": 0.7012},
        {"epoch": 2, "train_loss": 0.59, "valid_auc": 0.7333},
    ]


def test_an_exit_code_is_an_error_with_the_end_of_the_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('first'); print('no GPU here'); raise SystemExit(3)"]
    with pytest.raises(launch.TrainerError, match=r"HugeCTR ended with exit code 3(.|\n)*no GPU here"):
        launch.run_logged(command, tmp_path, "HugeCTR")


def test_output_of_a_process_that_succeeds_is_returned(tmp_path: Path) -> None:
    assert launch.run_logged([sys.executable, "-c", "print('a'); print('b')"], tmp_path, "x") == ["a", "b"]


def test_two_processes_train_the_model_of_one(
    tmp_path: Path, encoded: dict[str, np.ndarray], frozen: np.ndarray, inputs: Inputs, one_thread: None
) -> None:
    store = open_store(tmp_path, "toy", 42, "07-Training-with-HugeCTR")
    split = Split.of(encoded)
    graph = MODELS["seed"](inputs, "ids+genres+poster+text")  # no dropout: the same numbers, up to rounding
    job = Job(graph, split, split, frozen, inputs, Settings(3, 100, 0.01), 5)
    one = fit.fit(job)
    (store.folder / "run").mkdir()
    two = launch.fit_distributed(store, job, store.folder / "run" / "seed", 2)
    scores = [fit.score(run.twin, split) for run in (one, two)]
    assert np.abs(scores[0] - scores[1]).max() < 1e-4
    assert auc(encoded["label"], scores[0]) == pytest.approx(auc(encoded["label"], scores[1]), abs=1e-3)
    assert len(two.history) == 3


def test_a_worker_that_dies_is_an_error(
    tmp_path: Path, encoded: dict[str, np.ndarray], frozen: np.ndarray, inputs: Inputs
) -> None:
    store = open_store(tmp_path, "toy", 42, "07-Training-with-HugeCTR")
    encoded["movieId"][0] = inputs.movies + 5  # beyond the table
    split = Split.of(encoded)
    job = Job(MODELS["seed"](inputs, "ids"), split, split, frozen, inputs, Settings(1, 100, 0.01), 5)
    with pytest.raises(launch.TrainerError, match="torchrun with NUM_PROCS=2 ended with exit code"):
        launch.fit_distributed(store, job, store.folder / "seed", 2)
    assert not list(store.folder.glob(".job.*"))
