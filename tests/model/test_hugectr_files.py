"""HugeCTR's files, byte for byte."""

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import FULL
from utils.handoff.store import HandOffError, sha256
from utils.model.architectures import MODELS, Inputs
from utils.model.hugectr_files import load_snapshot, read_sparse, save_snapshot, write_sparse, write_start
from utils.model.training import fit
from utils.model.training.fit import Job, Run, Settings, Split


def test_a_sparse_folder_is_little_endian_int64_and_row_major_float32(tmp_path: Path) -> None:
    folder = tmp_path / "table.model"
    write_sparse(folder, np.arange(9), np.zeros((9, 3)))
    values = np.asfortranarray([[1.5, 2.0, -3.0], [4.0, 0.0, 0.25]])
    write_sparse(folder, np.array([7, 1], dtype=np.int32), values)
    assert sorted(path.name for path in folder.iterdir()) == ["emb_vector", "key"]
    assert (folder / "key").read_bytes() == struct.pack("<2q", 7, 1)
    assert (folder / "emb_vector").read_bytes() == struct.pack("<6f", 1.5, 2, -3, 4, 0, 0.25)
    keys, read = read_sparse(folder, 3)
    assert keys.tolist() == [7, 1] and np.array_equal(read, values)
    assert (keys.dtype, read.dtype) == (np.int64, np.float32)
    assert [path.name for path in tmp_path.iterdir()] == ["table.model"], "what was there is replaced whole"


def test_sizes_that_do_not_fit(tmp_path: Path) -> None:
    write_sparse(tmp_path / "table", np.arange(4), np.zeros((4, 3)))
    for width in (2, 4):
        with pytest.raises(HandOffError, match=rf"table: 4 keys of width {width} need {4 * width} numbers, not 12"):
            read_sparse(tmp_path / "table", width)
    path = tmp_path / "table" / "emb_vector"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(HandOffError, match="need 12 numbers, not 11"):
        read_sparse(tmp_path / "table", 3)


@pytest.fixture(params=list(MODELS))
def job(request: pytest.FixtureRequest, split: Split, frozen: np.ndarray, inputs: Inputs) -> Job:
    return Job(MODELS[request.param](inputs, FULL), split, split, frozen, inputs, Settings(1, 64, 0.01), 0)


@pytest.fixture
def run(job: Job, one_thread: None) -> Run:
    return fit.fit(job)


@pytest.fixture
def prefix(run: Run, tmp_path: Path) -> Path:
    """The prefix of a snapshot of the run."""
    save_snapshot(run.twin, tmp_path / run.twin.graph.name)
    return tmp_path / run.twin.graph.name


def test_a_snapshot_has_hugectrs_names_order_and_sizes(run: Run, prefix: Path) -> None:
    name = prefix.name
    assert sorted(path.name for path in prefix.parent.iterdir()) == [
        *(f"{name}{index}_sparse_0.model" for index in range(3)),
        f"{name}_dense_0.model",
    ]
    numbers = np.fromfile(f"{prefix}_dense_0.model", "<f4")
    first = next(iter(run.twin.linears.values()))
    weight = first.weight.detach().numpy().T  # (in, out), row-major, then the bias
    assert np.array_equal(numbers[: weight.size].reshape(weight.shape), weight)
    assert np.array_equal(numbers[weight.size : weight.size + weight.shape[1]], first.bias.detach().numpy())
    assert numbers.size == sum(p.numel() for p in run.twin.linears.parameters())
    keys, vectors = read_sparse(Path(f"{prefix}0_sparse_0.model"), run.twin.graph.slots[0].width)
    assert set(keys) == set(run.twin.seen["userId"].nonzero().squeeze(1).tolist())
    assert np.array_equal(vectors, run.twin.tables["userId"].weight.detach().numpy()[keys])


def test_a_snapshot_makes_the_round_trip_bit_for_bit(run: Run, job: Job, prefix: Path, tmp_path: Path) -> None:
    other = replace(job, seed=1).twin()
    load_snapshot(other, prefix)
    for key, value in run.twin.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key
    (tmp_path / "again").mkdir()
    save_snapshot(other, tmp_path / "again" / prefix.name)
    for path in tmp_path.glob("*.model"):
        assert sha256(path) == sha256(tmp_path / "again" / path.name)


def test_rows_without_a_key_read_as_zero(run: Run, prefix: Path) -> None:
    folder = Path(f"{prefix}1_sparse_0.model")
    keys, vectors = read_sparse(folder, run.twin.graph.slots[1].width)
    write_sparse(folder, keys[1:], vectors[1:])
    load_snapshot(run.twin, prefix)
    assert not run.twin.tables["movieId"].weight[keys[0]].any()


def test_a_start_table_holds_the_first_values_of_the_rows_that_training_reads(job: Job, tmp_path: Path) -> None:
    biases = np.linspace(-1, 1, job.inputs.users).astype(np.float32)
    twin = replace(job, start={"userId": biases}).twin()
    written = write_start(twin, ["userId", "genres"], tmp_path)
    assert written == {"userId": tmp_path / "userId.model", "genres": tmp_path / "genres.model"}
    for slot in twin.graph.slots:
        if slot.column in written:
            keys, vectors = read_sparse(written[slot.column], slot.width)
            assert keys.tolist() == twin.seen[slot.column].nonzero().squeeze(1).tolist()
            assert np.array_equal(vectors, twin.table(slot.column).weight.detach().numpy()[keys])
    keys, vectors = read_sparse(written["userId"], twin.graph.slots[0].width)
    assert np.array_equal(vectors[:, -1], biases[keys]) and vectors[:, :-1].any(axis=1).all()


def rewritten(change: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> Callable[[Path, int], None]:
    def harm(prefix: Path, width: int) -> None:
        folder = Path(f"{prefix}0_sparse_0.model")
        write_sparse(folder, *change(*read_sparse(folder, width)))

    return harm


def dense(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path, int], None]:
    def harm(prefix: Path, width: int) -> None:
        change(np.fromfile(f"{prefix}_dense_0.model", "<f4")).tofile(f"{prefix}_dense_0.model")

    return harm


HARM = {
    r"has keys from 1\d+ to 1\d+, but the table of 'userId' has 15 rows: it was trained with another": rewritten(
        lambda keys, vectors: (keys + 1000, vectors)
    ),
    r"has keys from -\d+ to -\d+, but the table of 'userId' has 15 rows": rewritten(lambda k, v: (k - 99, v)),
    "has a key twice. Train again": rewritten(lambda keys, vectors: (np.maximum(keys, keys[1]), vectors)),
    "_sparse_0.model holds NaN or infinity": rewritten(lambda keys, vectors: (keys, vectors * np.inf)),
    "It is of another model, feature set or width": dense(lambda numbers: numbers[:-1]),
    "_dense_0.model holds NaN or infinity: training diverged": dense(lambda numbers: numbers * np.nan),
    "is not complete. Train again": lambda prefix, width: Path(f"{prefix}_dense_0.model").unlink(),
}


@pytest.mark.parametrize("message", HARM)
def test_a_snapshot_that_does_not_fit_is_refused(run: Run, prefix: Path, message: str) -> None:
    HARM[message](prefix, run.twin.graph.slots[0].width)
    with pytest.raises(HandOffError, match=message):
        load_snapshot(run.twin, prefix)
