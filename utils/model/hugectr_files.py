"""HugeCTR's own file formats (25.03), read and written: a model trained here can be loaded there, and the reverse.

A sparse model is a folder with ``key`` (int64) and ``emb_vector`` (float32, row-major), little-endian.
A dense ``.model`` is bare float32 in the order in which layers were added: of an InnerProduct W (in, out),
row-major, then b. HugeCTR checks no sizes; these readers do. A snapshot of ``save_params_to_files(prefix, n)`` is
``<prefix>_dense_<n>.model`` and ``<prefix><i>_sparse_<n>.model/`` for the i-th embedding added.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from utils.handoff import store
from utils.handoff.store import HandOffError
from utils.model.torch_model import Twin


def write_sparse(folder: Path, keys: np.ndarray, vectors: np.ndarray) -> None:
    """Write a sparse model folder: ``keys`` int64 [n], ``vectors`` float32 [n, width]. Atomic."""
    with store.writing(folder) as temporary:
        temporary.mkdir()
        keys.astype("<i8").tofile(temporary / "key")
        vectors.astype("<f4").tofile(temporary / "emb_vector")


def read_sparse(folder: Path, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Read a sparse model folder: keys int64 [n] and vectors float32 [n, width].

    Raises HandOffError where the files' sizes do not fit the width.
    """
    keys = np.fromfile(folder / "key", dtype="<i8")
    vectors = np.fromfile(folder / "emb_vector", dtype="<f4")
    if vectors.size != keys.size * width:
        raise HandOffError(
            f"{folder}: {keys.size} keys of width {width} need {keys.size * width} numbers, not {vectors.size}"
        )
    return keys, vectors.reshape(-1, width)


def write_dense(path: Path, twin: Twin) -> None:
    """Write the dense weights of ``twin`` in HugeCTR's order. Atomic."""
    with store.writing(path) as temporary:
        np.concatenate([np.zeros(0, "<f4"), *_dense_parts(twin)]).astype("<f4").tofile(temporary)


def read_dense(path: Path, twin: Twin) -> None:
    """Put the dense weights of a ``.model`` file into ``twin``. Raises HandOffError for a wrong size or NaN."""
    numbers = np.fromfile(path, dtype="<f4")
    wanted = sum(part.size for part in _dense_parts(twin))
    if numbers.size != wanted:
        raise HandOffError(
            f"{path} holds {numbers.size:,} numbers; {twin.graph.name} with these inputs needs {wanted:,}. "
            "It is of another model, feature set or width."
        )
    _check_finite(path, numbers)
    start = 0
    with torch.no_grad():
        for linear in _linears(twin):
            count = linear.weight.numel()
            weight = numbers[start : start + count].reshape(linear.in_features, linear.out_features)
            linear.weight.copy_(torch.from_numpy(np.ascontiguousarray(weight.T)))
            start += count
            linear.bias.copy_(torch.from_numpy(numbers[start : start + linear.out_features].copy()))
            start += linear.out_features


def save_snapshot(twin: Twin, prefix: Path, iteration: int = 0) -> None:
    """Write the trained weights of ``twin`` under HugeCTR's snapshot names; the frozen table stays where it is.

    Like HugeCTR, tables hold the keys that training has read, and no others.
    """
    write_dense(prefix.with_name(f"{prefix.name}_dense_{iteration}.model"), twin)
    for index, slot in enumerate(twin.graph.slots):
        if not slot.frozen:
            keys = twin.seen[slot.column].nonzero().squeeze(1).numpy()
            vectors = twin.table(slot.column).weight.detach().cpu()[keys].numpy()
            write_sparse(_sparse(prefix, index, iteration), keys, vectors)


def write_start(twin: Twin, columns: Iterable[str], folder: Path) -> dict[str, Path]:
    """Write the first values of the tables of ``columns`` for HugeCTR to start from; return column to folder.

    Only rows that training reads are written: HugeCTR evaluates the others as zero, as ``twin`` does.
    """
    written = {}
    for column in columns:
        keys = twin.seen[column].nonzero().squeeze(1).numpy()
        written[column] = folder / f"{column}.model"
        write_sparse(written[column], keys, twin.table(column).weight.detach().cpu()[keys].numpy())
    return written


def load_snapshot(twin: Twin, prefix: Path, iteration: int = 0) -> None:
    """Put a snapshot, HugeCTR's or ours, into ``twin``; rows without a key become zero, as HugeCTR evaluates them.

    Raises HandOffError for files that are missing, of another size, or of another vocabulary.
    """
    dense = prefix.with_name(f"{prefix.name}_dense_{iteration}.model")
    if not dense.exists():
        raise HandOffError(f"{dense} does not exist: the snapshot {prefix.name!r} is not complete. Train again.")
    read_dense(dense, twin)
    for index, slot in enumerate(twin.graph.slots):
        if slot.frozen:
            continue
        folder = _sparse(prefix, index, iteration)
        keys, vectors = read_sparse(folder, slot.width)
        _check_finite(folder, vectors)
        if len(keys) and not 0 <= keys.min() <= keys.max() < slot.rows:
            raise HandOffError(
                f"{folder} has keys from {keys.min()} to {keys.max()}, but the table of {slot.column!r} has "
                f"{slot.rows} rows: it was trained with another vocabulary (run of notebook 06)."
            )
        if len(np.unique(keys)) != len(keys):
            raise HandOffError(f"{folder} has a key twice. Train again.")
        with torch.no_grad():
            weight = twin.table(slot.column).weight
            weight.zero_()
            weight[torch.from_numpy(keys).to(weight.device)] = torch.from_numpy(vectors).to(weight.device)


def _sparse(prefix: Path, index: int, iteration: int) -> Path:
    return prefix.with_name(f"{prefix.name}{index}_sparse_{iteration}.model")


def _linears(twin: Twin) -> list[torch.nn.Linear]:
    return [twin.linear(layer.tops[0]) for layer in twin.graph.layers if layer.kind == "InnerProduct"]


def _dense_parts(twin: Twin) -> list[np.ndarray]:
    return [part for linear in _linears(twin) for part in (_numbers(linear.weight.T), _numbers(linear.bias))]


def _numbers(values: torch.Tensor) -> np.ndarray:
    return values.detach().cpu().contiguous().numpy().reshape(-1)


def _check_finite(path: Path, numbers: np.ndarray) -> None:
    if not np.isfinite(numbers).all():
        raise HandOffError(f"{path} holds NaN or infinity: training diverged. Lower LEARNING_RATE and train again.")
