"""Training in other processes: their exit codes are heeded, their logs parsed, their weights the same."""

import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.conftest import FULL, SETS, Open
from utils.handoff.store import Store
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


@pytest.fixture
def store(open_for: Open) -> Store:
    return open_for("checkpoints")


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_hugectr_log_becomes_a_learning_curve() -> None:
    assert launch.parse_log(LOG.splitlines()) == [
        {"epoch": 1, "train_loss": 0.6512, "valid_auc": 0.7012},
        {"epoch": 2, "train_loss": 0.59, "valid_auc": 0.7333},
    ]


def test_an_exit_code_is_heeded_and_the_log_returned(tmp_path: Path) -> None:
    assert launch.run_logged(python("print('a'); print('b')"), tmp_path, "x", silence=600) == ["a", "b"]
    command = python("print('first'); print('no GPU here'); raise SystemExit(3)")
    with pytest.raises(launch.TrainerError, match=r"HugeCTR ended with exit code 3(.|\n)*no GPU here"):
        launch.run_logged(command, tmp_path, "HugeCTR")


@pytest.mark.parametrize("deaf", [False, True])
def test_a_process_that_falls_silent_is_ended(tmp_path: Path, deaf: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As HugeCTR does when a thread that reads files fails; some processes do not even end when they are told to."""
    monkeypatch.setattr(launch, "GRACE", 0.2)
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN); " * deaf
    code = f"import signal, threading; {ignore}print('cannot read part_0', flush=True); threading.Event().wait(900)"
    with pytest.raises(launch.TrainerError, match=r"HugeCTR printed nothing for 2 seconds and was ended.*notebook 06"):
        launch.run_logged(python(code), tmp_path, "HugeCTR", silence=2)
    assert not [p for p in psutil.Process().children() if "part_0" in " ".join(p.cmdline())]


def test_two_processes_train_the_model_of_one(
    store: Store, split: Split, frozen: np.ndarray, inputs: Inputs, one_thread: None
) -> None:
    biases = np.linspace(-1, 1, inputs.users).astype(np.float32)
    graph = MODELS["original"](inputs, FULL)  # no dropout: the same numbers, up to rounding
    job = Job(graph, split, split, frozen, inputs, Settings(3, 100, 0.01), 5, start={"userId": biases})
    one = fit.fit(job)
    (store.folder / "run").mkdir()
    two = launch.trainer(store, "torch", 2, [[0]])(job, store.folder / "run" / "seed")
    scores = [fit.score(run.twin, split) for run in (one, two)]
    assert np.abs(scores[0] - scores[1]).max() < 1e-4
    assert [row["valid_auc"] for row in one.history] == pytest.approx([r["valid_auc"] for r in two.history], abs=1e-3)


def test_a_worker_that_dies_is_an_error(
    store: Store, encoded: dict[str, np.ndarray], frozen: np.ndarray, inputs: Inputs
) -> None:
    encoded["movieId"][0] = inputs.movies + 5  # beyond the table
    split = Split.of(encoded)
    job = Job(MODELS["original"](inputs, SETS[0]), split, split, frozen, inputs, Settings(1, 100, 0.01), 5)
    with pytest.raises(launch.TrainerError, match="torchrun with NUM_PROCS=2 ended with exit code"):
        launch.fit_distributed(store, job, store.folder / "seed", 2)
    assert not list(store.folder.glob(".job.*"))
