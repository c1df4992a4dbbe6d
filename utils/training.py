"""Stage 07: train the PyTorch twin, score splits and the whole catalogue, keep finished runs as checkpoints.

A run is one (model, feature set, seed). Finished runs are kept in ``checkpoints/`` under a fingerprint
of everything they depend on, so a notebook that was killed goes on with the first unfinished run.
"""

import hashlib
import importlib.util
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from utils import artefacts, parameters
from utils.evaluation import auc
from utils.graph import Graph
from utils.models import FEATURE_SETS, MODELS, Inputs
from utils.twin import HugeCTRAdam, Twin

KNOCK_OUTS = ("shuffled", "random")
"""Controls for a feature set with content: vectors of other movies, or noise of the same widths."""
SCORE_ROWS = 1 << 16
"""Rows scored at a time."""
GRID_NUMBERS = 1 << 24
"""Numbers that one block of the user-by-movie grid may hold in a layer (64 MB)."""
MONITOR_ROWS = 1 << 16
"""Rows that a learning curve is measured on after each epoch; nothing is decided by it."""


@dataclass(frozen=True)
class Settings:
    """How a twin is trained."""

    epochs: int
    batch_size: int
    learning_rate: float


@dataclass(frozen=True)
class Split:
    """One encoded split of n rows: ``codes`` column to int32 [n] or [n, items]; ``label`` float32 [n]."""

    codes: Mapping[str, Tensor]
    label: Tensor

    @classmethod
    def of(cls, columns: Mapping[str, np.ndarray]) -> "Split":
        """Take the arrays of ``etl.read_encoded``."""
        tensors = {name: torch.from_numpy(np.array(values)) for name, values in columns.items()}
        return cls({name: value for name, value in tensors.items() if name != "label"}, tensors["label"])

    def __len__(self) -> int:
        return len(self.label)

    def head(self, rows: int) -> "Split":
        """The first ``rows`` rows."""
        return Split({name: values[:rows] for name, values in self.codes.items()}, self.label[:rows])


@dataclass(frozen=True)
class Run:
    """A trained twin and its learning curve: one dict an epoch with epoch, train_loss, valid_auc and seconds."""

    twin: Twin
    history: list[dict[str, float]]
    resumed: bool


def check_parameters(
    trainer: object, model: object, features: object, epochs: object, batch_size: object, seeds: object
) -> tuple[str, list[str], list[int]]:
    """Return the trainer to use, the feature sets and the seeds, or raise ParameterError."""
    parameters.choice("TRAINER", trainer, ("auto", "hugectr", "torch"))
    parameters.choice("MODEL", model, tuple(MODELS))
    parameters.whole("EPOCHS", epochs)
    parameters.whole("BATCH_SIZE", batch_size)
    wanted = features.split(",") if isinstance(features, str) else features
    known = list(FEATURE_SETS)
    known += [f"{name}({knock_out})" for name in FEATURE_SETS[2:] for knock_out in KNOCK_OUTS]
    if not isinstance(wanted, (list, tuple)) or not wanted:
        raise parameters.ParameterError(f"FEATURES={features!r} must name one feature set or a list of them.")
    for name in wanted:
        parameters.choice("FEATURES", name, known)
    chosen = [seeds] if isinstance(seeds, int) else seeds
    if not isinstance(chosen, (list, tuple)) or not chosen or len(set(chosen)) != len(chosen):
        raise parameters.ParameterError(f"SEEDS={seeds!r} must be a list of different whole numbers.")
    for seed in chosen:
        parameters.whole("SEEDS", seed, least=0, most=2**32 - 1)
    return _trainer(str(trainer)), list(wanted), list(chosen)


def _trainer(wanted: str) -> str:
    has_hugectr = importlib.util.find_spec("hugectr") is not None
    has_gpu = torch.cuda.is_available()
    if wanted == "hugectr" and not (has_hugectr and has_gpu):
        lacking = "hugectr cannot be imported" if not has_hugectr else "no GPU is present"
        raise parameters.ParameterError(
            f'TRAINER="hugectr" cannot run here: {lacking}. Use TRAINER="torch" (the same model in PyTorch), '
            "or run in the merlin-hugectr container."
        )
    return "hugectr" if wanted != "torch" and has_hugectr and has_gpu else "torch"


def knocked_out(vectors: np.ndarray, features: str, movie_rows: np.ndarray, seed: int) -> np.ndarray:
    """Return the frozen table for a feature set: itself, or with the movies' rows shuffled or random.

    ``vectors`` float32 [rows, width]; ``movie_rows`` are the rows of movies. Random vectors are normal with
    each column's own mean and deviation.
    """
    if "(" not in features:
        return vectors
    generator, table = np.random.default_rng(seed), vectors.copy()
    if features.endswith("(shuffled)"):
        table[movie_rows] = vectors[generator.permutation(movie_rows)]
    else:
        own = vectors[movie_rows]
        table[movie_rows] = generator.normal(own.mean(0), own.std(0), own.shape).astype(np.float32)
    return table


def seen_codes(train: Split, inputs: Inputs) -> dict[str, Tensor]:
    """Column to bool [rows]: true where training reads that row of the column's table."""
    rows = {"userId": inputs.users, "movieId": inputs.movies, "genres": inputs.genres}
    seen = {}
    for column, count in rows.items():
        seen[column] = torch.zeros(count, dtype=torch.bool)
        seen[column][train.codes[column].unique().long()] = True
    return seen


def fit(
    graph: Graph, train: Split, frozen: np.ndarray, inputs: Inputs, settings: Settings, seed: int, monitor: Split
) -> Run:
    """Train a twin of ``graph``; each epoch reads all rows once in a new order. ``monitor`` gives the curve's AUC."""
    torch.manual_seed(seed)
    twin = Twin(graph, {"movieId_duplicate": torch.from_numpy(frozen)}, seen_codes(train, inputs), seed)
    trainable = [parameter for parameter in twin.parameters() if parameter.requires_grad]
    optimizer = HugeCTRAdam(trainable, settings.learning_rate)
    history = []
    epochs = tqdm(range(settings.epochs), desc=f"{graph.name}, seed {seed}", unit="epoch", leave=False)
    watched = monitor.head(MONITOR_ROWS)
    for epoch in epochs:
        started, total = time.monotonic(), 0.0
        for codes, label in _batches(train, graph, settings.batch_size):
            loss = nn.functional.binary_cross_entropy_with_logits(twin(codes), label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(label)
        seconds = time.monotonic() - started
        twin.eval()
        valid_auc = auc(watched.label.numpy(), score(twin, watched)) if len(watched) else float("nan")
        twin.train()
        history.append(
            {"epoch": epoch + 1, "train_loss": total / len(train), "valid_auc": valid_auc, "seconds": seconds}
        )
        epochs.set_postfix(loss=f"{history[-1]['train_loss']:.4f}")
    return Run(twin.eval(), history, resumed=False)


def _batches(split: Split, graph: Graph, size: int) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
    order = torch.randperm(len(split))
    columns = {slot.column: split.codes[slot.column].index_select(0, order) for slot in graph.slots}
    label = split.label.index_select(0, order)
    for start in range(0, len(split), size):
        yield {name: values[start : start + size] for name, values in columns.items()}, label[start : start + size]


def score(twin: Twin, split: Split) -> np.ndarray:
    """Return the probabilities float32 [n] of a split's rows, in their order."""
    parts = []
    with torch.inference_mode():
        for start in range(0, len(split), SCORE_ROWS):
            codes = {slot.column: split.codes[slot.column][start : start + SCORE_ROWS] for slot in twin.graph.slots}
            parts.append(torch.sigmoid(twin(codes)).numpy())
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def score_catalogue(twin: Twin, users: np.ndarray, movies: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the probabilities float32 [users, movies] of user codes int [users] with every movie."""
    columns = {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in movies.items()}
    widest = max(twin.graph.widths.values())
    block = max(1, GRID_NUMBERS // (widest * max(1, len(columns["movieId"]))))
    with torch.inference_mode():
        rows = [
            torch.sigmoid(twin.grid({"userId": torch.from_numpy(users[start : start + block])}, columns)).numpy()
            for start in range(0, len(users), block)
        ]
    return np.concatenate(rows) if rows else np.zeros((0, len(columns["movieId"])), np.float32)


def fit_or_resume(
    store: artefacts.Store, graph: Graph, features: str, train: Split, frozen: np.ndarray, inputs: Inputs,
    settings: Settings, seed: int, monitor: Split,
) -> Run:  # fmt: skip
    """As ``fit``, but a run that is finished already is read from ``checkpoints/`` instead of trained again."""
    depends_on = [asdict(settings), seed, features, [asdict(layer) for layer in graph.layers], asdict(inputs)]
    digest = hashlib.sha256(json.dumps(depends_on, sort_keys=True, default=str).encode())
    digest.update(str(store.manifest().get("train-hugectr", {}).get("sha256")).encode())
    digest.update(hashlib.sha256(np.ascontiguousarray(frozen)).digest())
    name = "".join(character if character.isalnum() else "-" for character in features).strip("-")
    path = store.path("checkpoints") / f"{graph.name}_{name}_{seed}_{digest.hexdigest()[:12]}.pt"
    if path.exists():
        return _load(path, graph, train, frozen, inputs, seed)
    run = fit(graph, train, frozen, inputs, settings, seed, monitor)
    path.parent.mkdir(exist_ok=True)
    state = {key: value for key, value in run.twin.state_dict().items() if key != "tables.movieId_duplicate.weight"}
    with artefacts.writing(path) as temporary:
        torch.save({"state": state, "history": run.history}, temporary)
    return run


def _load(path: Path, graph: Graph, train: Split, frozen: np.ndarray, inputs: Inputs, seed: int) -> Run:
    saved: dict[str, Any] = torch.load(path, weights_only=True)
    twin = Twin(graph, {"movieId_duplicate": torch.from_numpy(frozen)}, seen_codes(train, inputs), seed)
    twin.load_state_dict(saved["state"], strict=False)
    return Run(twin.eval(), saved["history"], resumed=True)
