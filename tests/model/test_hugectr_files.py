"""HugeCTR's files, byte for byte."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from utils.handoff.store import HandOffError, sha256
from utils.model.architectures import FEATURE_SETS, MODELS, Inputs
from utils.model.hugectr_files import load_snapshot, read_sparse, save_snapshot, write_sparse
from utils.model.training import fit
from utils.model.training.fit import Job, Run, Settings, Split

EVERYTHING = FEATURE_SETS[-1]


def test_a_sparse_folder_is_little_endian_int64_and_row_major_float32(tmp_path: Path) -> None:
    folder = tmp_path / "table.model"
    write_sparse(folder, np.array([7, 1], dtype=np.int32), np.array([[1.5, 2.0, -3.0], [4.0, 0.0, 0.25]]))
    assert sorted(path.name for path in folder.iterdir()) == ["emb_vector", "key"]
    assert (folder / "key").read_bytes() == struct.pack("<2q", 7, 1)
    assert (folder / "emb_vector").read_bytes() == struct.pack("<6f", 1.5, 2, -3, 4, 0, 0.25)


def test_columns_in_memory_order_do_not_matter(tmp_path: Path) -> None:
    values = np.asfortranarray(np.arange(12, dtype=np.float32).reshape(4, 3))
    write_sparse(tmp_path / "table", np.arange(4), values)
    keys, read = read_sparse(tmp_path / "table", 3)
    assert keys.tolist() == [0, 1, 2, 3]
    assert np.array_equal(read, values)
    assert (keys.dtype, read.dtype) == (np.int64, np.float32)


def test_another_table_replaces_it_whole(tmp_path: Path) -> None:
    write_sparse(tmp_path / "table", np.arange(9), np.zeros((9, 2)))
    write_sparse(tmp_path / "table", np.arange(2), np.ones((2, 2)))
    keys, vectors = read_sparse(tmp_path / "table", 2)
    assert keys.tolist() == [0, 1]
    assert (vectors == 1).all()
    assert [path.name for path in tmp_path.iterdir()] == ["table"]


@pytest.mark.parametrize("width", [2, 4])
def test_a_width_that_does_not_fit(tmp_path: Path, width: int) -> None:
    write_sparse(tmp_path / "table", np.arange(4), np.zeros((4, 3)))
    with pytest.raises(HandOffError, match=rf"table: 4 keys of width {width} need {4 * width} numbers, not 12"):
        read_sparse(tmp_path / "table", width)


def test_a_truncated_file(tmp_path: Path) -> None:
    write_sparse(tmp_path / "table", np.arange(4), np.zeros((4, 3)))
    path = tmp_path / "table" / "emb_vector"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(HandOffError, match="need 12 numbers, not 11"):
        read_sparse(tmp_path / "table", 3)


@pytest.fixture(params=["seed", "multimodal"])
def run(request, encoded: dict[str, np.ndarray], frozen: np.ndarray, inputs: Inputs, one_thread: None) -> Run:
    return fit.fit(job_for(request.param, encoded, frozen, inputs, seed=0))


def job_for(model: str, encoded: dict[str, np.ndarray], frozen: np.ndarray, inputs: Inputs, seed: int) -> Job:
    split = Split.of(encoded)
    return Job(MODELS[model](inputs, EVERYTHING), split, split, frozen, inputs, Settings(2, 64, 0.01), seed)


def test_a_snapshot_makes_the_round_trip_bit_for_bit(
    run: Run, encoded: dict[str, np.ndarray], frozen: np.ndarray, inputs: Inputs, tmp_path: Path
) -> None:
    name = run.twin.graph.name
    save_snapshot(run.twin, tmp_path / name, 7)
    other = job_for(name, encoded, frozen, inputs, seed=1).twin()
    load_snapshot(other, tmp_path / name, 7)
    for key, value in run.twin.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key
    (tmp_path / "again").mkdir()
    save_snapshot(other, tmp_path / "again" / name, 7)
    for path in tmp_path.glob("*.model"):
        assert sha256(path) == sha256(tmp_path / "again" / path.name)


def test_a_snapshot_has_hugectrs_names_order_and_sizes(run: Run, inputs: Inputs, tmp_path: Path) -> None:
    name = run.twin.graph.name
    save_snapshot(run.twin, tmp_path / name, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *(f"{name}{index}_sparse_3.model" for index in range(3)),
        f"{name}_dense_3.model",
    ]
    numbers = np.fromfile(tmp_path / f"{name}_dense_3.model", "<f4")
    first = next(iter(run.twin.linears.values()))
    weight = first.weight.detach().numpy().T  # (in, out), row-major, then the bias
    assert np.array_equal(numbers[: weight.size].reshape(weight.shape), weight)
    assert np.array_equal(numbers[weight.size : weight.size + weight.shape[1]], first.bias.detach().numpy())
    assert numbers.size == sum(p.numel() for p in run.twin.linears.parameters())
    keys, vectors = read_sparse(tmp_path / f"{name}0_sparse_3.model", run.twin.graph.slots[0].width)
    assert set(keys) == set(run.twin.seen["userId"].nonzero().squeeze(1).tolist())
    assert np.array_equal(vectors, run.twin.tables["userId"].weight.detach().numpy()[keys])


def test_rows_without_a_key_read_as_zero(run: Run, tmp_path: Path) -> None:
    name = run.twin.graph.name
    save_snapshot(run.twin, tmp_path / name)
    folder = tmp_path / f"{name}1_sparse_0.model"
    keys, vectors = read_sparse(folder, run.twin.graph.slots[1].width)
    write_sparse(folder, keys[1:], vectors[1:])
    load_snapshot(run.twin, tmp_path / name)
    assert not run.twin.tables["movieId"].weight[keys[0]].any()


def test_a_checkpoint_of_another_vocabulary(run: Run, tmp_path: Path) -> None:
    name = run.twin.graph.name
    save_snapshot(run.twin, tmp_path / name)
    folder = tmp_path / f"{name}0_sparse_0.model"
    keys, vectors = read_sparse(folder, run.twin.graph.slots[0].width)
    write_sparse(folder, keys + 1000, vectors)
    with pytest.raises(HandOffError, match=r"has the key 1\d+, but the table of 'userId' has 15 rows"):
        load_snapshot(run.twin, tmp_path / name)


def test_dense_weights_of_another_model(run: Run, inputs: Inputs, tmp_path: Path) -> None:
    name = run.twin.graph.name
    save_snapshot(run.twin, tmp_path / name)
    path = tmp_path / f"{name}_dense_0.model"
    np.fromfile(path, "<f4")[:-1].tofile(path)
    with pytest.raises(HandOffError, match="It is of another model, feature set or width"):
        load_snapshot(run.twin, tmp_path / name)
    path.unlink()
    with pytest.raises(HandOffError, match=f"the snapshot '{name}' is not complete. Train again"):
        load_snapshot(run.twin, tmp_path / name)


def test_nan_weights_are_refused(run: Run, tmp_path: Path) -> None:
    name = run.twin.graph.name
    save_snapshot(run.twin, tmp_path / name)
    path = tmp_path / f"{name}_dense_0.model"
    np.full_like(np.fromfile(path, "<f4"), np.nan).tofile(path)
    with pytest.raises(HandOffError, match="holds NaN or infinity: training diverged"):
        load_snapshot(run.twin, tmp_path / name)
