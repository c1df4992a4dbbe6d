"""Weights: HugeCTR's initialisations, lookups, and its files, of exactly its names, formats and sizes.

Sparse: a folder with ``key`` int64 and ``emb_vector`` float32 [n, width] (``slot_id`` uint64 as well for
Localized). Dense: bare float32, the layers in the order they were added, InnerProduct as W [in, out]
then b. Optimizer states: m then v, of all dense numbers or of every row of a table's workspace.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .api import Record
from .errors import (
    DuplicateKey,
    InvalidValue,
    KeyNotInTable,
    MissingFile,
    OrderViolation,
    WorkspaceTooSmall,
    WrongSize,
)
from .graph import Graph
from .reader import Slot

STATES = {"Adam": 2, "SGD": 0, "AdaGrad": 1, "MomentumSGD": 1, "Nesterov": 1, "Ftrl": 2}
"""Numbers that the optimizers of sparse embeddings keep for each number of a table."""


@dataclass
class Table:
    """One embedding table of this process: ``keys`` int64 [n], sorted, and ``vectors`` float32 [n, width]."""

    config: Record
    optimizer: Record
    gpus: int
    keys: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    vectors: np.ndarray = field(init=False)
    loaded: bool = False
    frozen: bool = False
    trained: bool = False
    """Whether rows for the keys of training were added, as the first batch does."""

    def __post_init__(self) -> None:
        self.vectors = np.zeros((0, self.config.embedding_vec_size), np.float32)
        kind = self.optimizer.optimizer_type.name
        if kind not in STATES:
            raise InvalidValue(f"SparseEmbedding {self.name!r}: sparse embeddings have no {kind}, only {[*STATES]}")

    @property
    def states(self) -> int:
        """Numbers that the optimizer keeps for each number of the table."""
        return STATES[self.optimizer.optimizer_type.name]

    @property
    def name(self) -> str:
        """The embedding's name."""
        return self.config.sparse_embedding_name

    @property
    def localized(self) -> bool:
        """Whether its files carry slot ids."""
        return self.config.embedding_type.name == "LocalizedSlotSparseEmbeddingHash"

    @property
    def rows_per_gpu(self) -> int:
        """Rows that the workspace holds on one GPU: MB * 2^20 / (4 * width * (1 + optimizer states))."""
        if self.config.slot_size_array:
            return sum(self.config.slot_size_array)
        bytes_a_row = 4 * self.config.embedding_vec_size * (1 + self.states)
        return self.config.workspace_size_per_gpu_in_mb * 2**20 // bytes_a_row

    def check_room(self, rows: int, why: str) -> None:
        """Raise WorkspaceTooSmall unless ``rows`` keys, spread by key modulo GPUs, fit."""
        if math.ceil(rows / self.gpus) > self.rows_per_gpu:
            raise WorkspaceTooSmall(
                f"{self.name!r}: workspace_size_per_gpu_in_mb={self.config.workspace_size_per_gpu_in_mb} holds "
                f"{self.rows_per_gpu} rows of width {self.config.embedding_vec_size} on each of {self.gpus} GPUs; "
                f"{rows} are needed ({why})"
            )

    def load(self, folder: Path) -> None:
        """Read a sparse folder; sizes must fit the width and keys be unique."""
        width = self.config.embedding_vec_size
        if self.loaded or self.trained:
            when = "loaded once already" if self.loaded else "in training"
            raise OrderViolation(f"load_sparse_weights: {self.name!r} is {when}; load it once, before fit")
        for name in ("key", "emb_vector", *(["slot_id"] if self.localized else [])):
            if not (folder / name).is_file():
                raise MissingFile(f"{folder / name} does not exist, so {self.name!r} cannot be loaded")
        key_bytes, vector_bytes = ((folder / name).stat().st_size for name in ("key", "emb_vector"))
        if key_bytes % 8 or vector_bytes * 8 != key_bytes * width * 4:
            raise WrongSize(
                f"{folder}: {vector_bytes} bytes of vectors are not {key_bytes / 8:g} rows of {width} float32"
            )
        if self.localized and (folder / "slot_id").stat().st_size != key_bytes:
            raise WrongSize(f"{folder}: slot_id must be uint64, one a key")
        keys = np.fromfile(folder / "key", "<i8")
        if len(np.unique(keys)) != len(keys):
            raise DuplicateKey(f"{folder}: only {len(np.unique(keys))} of {len(keys)} keys are different")
        self.check_room(len(keys), f"rows of {folder}")
        order = np.argsort(keys)
        self.keys = keys[order]
        self.vectors = np.fromfile(folder / "emb_vector", "<f4").reshape(-1, width)[order]
        self.loaded = True

    def missing(self, keys: np.ndarray) -> np.ndarray:
        """The distinct keys that the table does not hold."""
        return np.setdiff1d(keys, self.keys)

    def check_holds(self, source: str, slots: Sequence[Slot]) -> None:
        """Raise KeyNotInTable where a row would look up a key that is not there."""
        for slot in slots:
            absent = self.missing(slot.keys)
            if len(absent):
                raise KeyNotInTable(
                    f"{source}: {len(absent)} keys of {slot.column!r} are not in the frozen table {self.name!r}, "
                    f"the first {absent[0]} = code {absent[0] - slot.offset} + offset {slot.offset}"
                )

    def insert(self, keys: np.ndarray, generator: np.random.Generator) -> None:
        """Add rows for unseen keys, U(-0.05, 0.05), as training does."""
        new = self.missing(keys)
        drawn = generator.uniform(-0.05, 0.05, (len(new), self.vectors.shape[1])).astype(np.float32)
        order = np.argsort(np.concatenate([self.keys, new]), kind="stable")
        self.keys = np.concatenate([self.keys, new])[order]
        self.vectors = np.concatenate([self.vectors, drawn])[order]
        self.trained = True

    def look_up(self, keys: np.ndarray) -> np.ndarray:
        """Return vectors float32 [keys, width]; a missing key reads as zeros, as in evaluation."""
        found = np.zeros((len(keys), self.vectors.shape[1]), np.float32)
        if len(self.keys):
            place = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
            there = self.keys[place] == keys
            found[there] = self.vectors[place[there]]
        return found

    def save(self, folder: Path, states_file: Path) -> None:
        """Write the sparse folder, and the optimizer states (zeros: nothing was trained)."""
        folder.mkdir(parents=True, exist_ok=True)
        self.keys.astype("<i8").tofile(folder / "key")
        self.vectors.astype("<f4").tofile(folder / "emb_vector")
        if self.localized:
            np.zeros(len(self.keys), "<u8").tofile(folder / "slot_id")
        rows = self.states * self.rows_per_gpu * self.gpus
        np.zeros(rows * self.config.embedding_vec_size, "<f4").tofile(states_file)


def initial_dense(graph: Graph, generator: np.random.Generator) -> dict[str, list[np.ndarray]]:
    """Return the weights of each dense layer, by its first top, in the order of the dense file."""
    dense = {}
    for layer in graph.layers:
        width = graph.shapes[layer.bottom_names[0]][-1]
        made = _initial(layer, width, generator)
        if made:
            dense[layer.top_names[0]] = [array.astype(np.float32) for array in made]
    return dense


def _initial(layer: Record, width: int, generator: np.random.Generator) -> list[np.ndarray]:
    kind = layer.layer_type.name
    if kind == "InnerProduct":
        out = layer.num_output
        kinds = {layer.weight_init_type.name, layer.bias_init_type.name}
        if kinds == {"Zero"}:
            return [np.zeros((width, out)), np.zeros(out)]
        if kinds != {"Default"}:
            raise InvalidValue(f"layer {layer.top_names}: this stand-in draws Default or Zero for both, not {kinds}")
        deviation = math.sqrt(2 / (width + out)) / 0.87962566
        return [generator.normal(0, deviation, (width, out)), generator.normal(0, 1 / math.sqrt(out), out)]
    if kind == "MLP":
        made = []
        for inner, outer in zip([width, *layer.num_outputs], layer.num_outputs, strict=False):
            bound = 1 / math.sqrt(inner)
            made += [generator.uniform(-bound, bound, (inner, outer)), generator.uniform(-bound, bound, outer)]
        return made
    if kind in ("BatchNorm", "LayerNorm"):
        return [np.ones(width), np.zeros(width)]
    if kind == "MultiCross":
        rank = layer.projection_dim
        sizes = [(width, rank), (rank, width)] if rank else [(width,)]
        return [
            array
            for _ in range(layer.num_layers)
            for array in (*(generator.normal(0, math.sqrt(2 / (width + (rank or 1))), size) for size in sizes),
                          np.zeros(width))
        ]  # fmt: skip
    return []


def save_dense(path: Path, dense: Mapping[str, Sequence[np.ndarray]], states_file: Path, states: int) -> None:
    """Write the dense file and the optimizer states (zeros)."""
    flat = [array.reshape(-1) for arrays in dense.values() for array in arrays]
    numbers = np.concatenate(flat) if flat else np.zeros(0, np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers.astype("<f4").tofile(path)
    np.zeros(states * len(numbers), "<f4").tofile(states_file)


def load_dense(path: Path, dense: dict[str, list[np.ndarray]]) -> None:
    """Read a dense file into ``dense``; its size must be that of the model, which HugeCTR does not check."""
    if not path.is_file():
        raise MissingFile(f"{path} does not exist, so the dense weights cannot be loaded")
    wanted = sum(array.size for arrays in dense.values() for array in arrays)
    if path.stat().st_size != wanted * 4:
        raise WrongSize(f"{path} has {path.stat().st_size} bytes; the model's dense weights are {wanted * 4}")
    numbers, start = np.fromfile(path, "<f4"), 0
    for arrays in dense.values():
        for place, array in enumerate(arrays):
            arrays[place] = numbers[start : start + array.size].reshape(array.shape)
            start += array.size
