"""Finished runs are read back, other runs are not taken for them, damaged ones are trained again."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import FULL, Open
from utils.handoff.store import Store
from utils.model.architectures import MODELS, Inputs
from utils.model.feature_sets import parse
from utils.model.training import checkpoints, fit
from utils.model.training.fit import Job, Run, Settings, Split

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def store(open_for: Open) -> Store:
    return open_for("checkpoints")


@pytest.fixture
def job(split: Split, frozen: np.ndarray, inputs: Inputs) -> Job:
    return Job(MODELS["multimodal"](inputs, FULL), split, split, frozen, inputs, Settings(1, 512, 0.01), seed=1)


def resume(store: Store, job: Job, features: str = str(FULL), trainer: str = "torch") -> Run:
    return checkpoints.fit_or_resume(store, job, features, trainer, lambda job, _: fit.fit(job))


@pytest.mark.parametrize("features", ["ids", str(FULL)])
@pytest.mark.parametrize("model", MODELS)
def test_a_finished_run_is_read_and_scores_the_same(
    model: str, features: str, store: Store, job: Job, inputs: Inputs
) -> None:
    job = replace(job, graph=MODELS[model](inputs, parse(features)))
    first = resume(store, job, features)
    second = checkpoints.fit_or_resume(store, job, features, "torch", lambda *_: pytest.fail("it was trained again"))
    assert not first.resumed and second.resumed
    assert second.history == first.history
    assert np.array_equal(fit.score(first.twin, job.train), fit.score(second.twin, job.train))


def test_different_runs_do_not_collide(store: Store, job: Job, inputs: Inputs, open_for: Open) -> None:
    other, settings, biases = job.frozen.copy(), job.settings, np.zeros(inputs.users, np.float32)
    other[5, 0] += 1
    less = parse("ids+genres")
    runs: list[tuple[Job, str, str]] = [
        (job, str(FULL), "torch"),
        (replace(job, seed=2), str(FULL), "torch"),
        (replace(job, settings=replace(settings, epochs=2)), str(FULL), "torch"),
        (replace(job, settings=replace(settings, batch_size=511)), str(FULL), "torch"),
        (replace(job, settings=replace(settings, learning_rate=0.02)), str(FULL), "torch"),
        (replace(job, graph=MODELS["multimodal"](inputs, less)), str(less), "torch"),
        (replace(job, graph=MODELS["original"](inputs, FULL)), str(FULL), "torch"),
        (replace(job, frozen=other), str(FULL), "torch"),
        (replace(job, start={"userId": biases}), str(FULL), "torch"),
        (replace(job, start={"userId": biases + 1}), str(FULL), "torch"),
        (job, f"{FULL}(shuffled)", "torch"),
        (job, str(FULL), "hugectr"),
    ]
    assert len({checkpoints.name_of(store, *run) for run in runs}) == len(runs)
    encoding = open_for("train-hugectr")
    folder = encoding.path("train-hugectr")
    folder.mkdir()
    for content in ("one", "two"):  # other training data
        (folder / "part").write_text(content)
        encoding.record("train-hugectr", rows=1)
        assert not resume(store, job).resumed
        assert resume(store, job).resumed


def test_a_run_that_was_interrupted_leaves_no_checkpoint(store: Store, job: Job) -> None:
    def interrupted(_: Job, prefix: Path) -> Run:
        prefix.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoints.fit_or_resume(store, job, str(FULL), "torch", interrupted)
    assert list(store.path("checkpoints").iterdir()) == []
    assert not resume(store, job).resumed


def emptied(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_bytes(b"")


def one_bit(folder: Path) -> None:
    path = folder / "multimodal_dense_0.model"
    held = bytearray(path.read_bytes())
    held[9] ^= 1
    path.write_bytes(held)


def a_file_in_its_place(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    folder.rmdir()
    folder.write_text("")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "dense cut": lambda folder: (p := folder / "multimodal_dense_0.model").write_bytes(p.read_bytes()[:50]),
    "dense of zeros": lambda folder: (p := folder / "multimodal_dense_0.model").write_bytes(bytes(p.stat().st_size)),
    "dense gone": lambda folder: (folder / "multimodal_dense_0.model").unlink(),
    "vectors empty": lambda folder: (folder / "multimodal0_sparse_0.model" / "emb_vector").write_bytes(b""),
    "keys gone": lambda folder: (folder / "multimodal1_sparse_0.model" / "key").unlink(),
    "history empty": lambda folder: (folder / "history.json").write_text(""),
    "history of another shape": lambda folder: (folder / "history.json").write_text("{}"),
    "one bit": one_bit,
    "digests gone": lambda folder: (folder / "sha256.json").unlink(),
    "all empty": emptied,
    "a file in its place": a_file_in_its_place,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_announced_and_trained_again(
    store: Store, job: Job, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first = resume(store, job)
    (folder,) = store.path("checkpoints").iterdir()
    DAMAGE[damage](folder)
    again = resume(store, job)
    assert f"{folder} is damaged and is trained again: " in capsys.readouterr().out
    assert not again.resumed and np.array_equal(fit.score(first.twin, job.train), fit.score(again.twin, job.train))
    assert resume(store, job).resumed and [path.name for path in folder.parent.iterdir()] == [folder.name]
