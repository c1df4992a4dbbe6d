"""Stage 07: train the PyTorch twin, score splits and the whole catalogue.

A run is one (model, feature set, seed). ``utils.model.training.checkpoints`` keeps finished runs.
"""

import importlib.util
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from utils.handoff import parameters
from utils.machine import memory
from utils.metrics.click import auc
from utils.model.architectures import MODELS, Inputs
from utils.model.feature_sets import FeatureSet, parse_all
from utils.model.graph import Graph
from utils.model.torch_model import Twin
from utils.model.training.adam import HugeCTRAdam

SCORE_ROWS = 1 << 16
"""Rows scored at a time."""
GRID_NUMBERS = 1 << 24
"""Numbers that one block of the user-by-movie grid may hold in a layer (64 MB)."""
MONITOR_ROWS = 1 << 16
"""Rows that a learning curve is measured on after each epoch; nothing is decided by it."""


@dataclass(frozen=True)
class Settings:
    """How a twin is trained. ``precision`` is that of products, float32 for "auto"; weights are float32."""

    epochs: int
    batch_size: int
    learning_rate: float
    precision: str = "auto"

    def __post_init__(self) -> None:
        """Raise ParameterError for what cannot be used."""
        parameters.whole("EPOCHS", self.epochs)
        parameters.whole("BATCH_SIZE", self.batch_size)
        parameters.fraction("LEARNING_RATE", self.learning_rate, zero=False)
        parameters.choice("PRECISION", self.precision, parameters.PRECISIONS)


@dataclass(frozen=True)
class Split:
    """One encoded split of n rows: ``codes`` column to integers [n] or [n, items]; ``label`` float32 [n]."""

    codes: Mapping[str, Tensor]
    label: Tensor

    @classmethod
    def of(cls, columns: Mapping[str, np.ndarray]) -> "Split":
        """Take the arrays of ``etl.read_encoded``; those that may be written to are not copied."""
        tensors = {name: torch.from_numpy(np.require(values, None, ["C", "W"])) for name, values in columns.items()}
        return cls({name: value for name, value in tensors.items() if name != "label"}, tensors["label"])

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: np.ndarray) -> "Split":
        """The rows of a mask bool [n] or of places int [m]."""
        chosen = torch.from_numpy(rows)
        return Split({name: values[chosen] for name, values in self.codes.items()}, self.label[chosen])

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
    trainer: object, model: object, features: object, seeds: object, num_procs: object, settings: Settings
) -> tuple[str, list[FeatureSet], list[int]]:
    """Return the trainer to use, the feature sets and the seeds, or raise ParameterError."""
    parameters.choice("TRAINER", trainer, ("auto", "hugectr", "torch"))
    parameters.choice("MODEL", model, tuple(MODELS))
    parameters.whole("NUM_PROCS", num_procs)
    wanted = parse_all(features)
    chosen = [seeds] if isinstance(seeds, int) else seeds
    if not isinstance(chosen, (list, tuple)) or not chosen or len(set(map(str, chosen))) != len(chosen):
        raise parameters.ParameterError(f"SEEDS={seeds!r} must be a list of different whole numbers.")
    for seed in chosen:
        parameters.whole("SEEDS", seed, least=0, most=2**32 - 1)
    found = _trainer(str(trainer))
    if found == "hugectr" and settings.precision == "bfloat16":
        raise parameters.ParameterError(
            'PRECISION="bfloat16" is for the PyTorch model; HugeCTR is run in float32. Set PRECISION="auto" or '
            'TRAINER="torch".'
        )
    return found, wanted, list(chosen)


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


def seen_codes(train: Split, inputs: Inputs) -> dict[str, Tensor]:
    """Column to bool [rows]: true where training reads that row of the column's table."""
    rows = {"userId": inputs.users, "movieId": inputs.movies, "genres": inputs.genres}
    seen = {}
    for column, count in rows.items():
        seen[column] = torch.zeros(count, dtype=torch.bool)
        for rows in train.codes[column].split(SCORE_ROWS):
            seen[column][rows.long()] = True
    return seen


@dataclass(frozen=True)
class Job:
    """All that one run is trained from.

    ``frozen`` float32 [rows, width] is its content table. ``start`` gives, by column, the biases that an embedding
    table starts with in its last column, float32 [rows]. All else in these tables starts at 0, the users' factors
    apart: so an untrained model is the sum of the biases, and the factors can be learned.
    """

    graph: Graph
    train: Split
    monitor: Split
    frozen: np.ndarray
    inputs: Inputs
    settings: Settings
    seed: int
    start: Mapping[str, np.ndarray] = field(default_factory=dict)

    def twin(self, device: str | torch.device = "cpu") -> Twin:
        """Return the untrained twin on ``device``."""
        seen = seen_codes(self.train, self.inputs)
        twin = Twin(self.graph, {"movieId_duplicate": torch.from_numpy(self.frozen)}, seen, self.seed)
        with torch.no_grad():
            for column, biases in self.start.items():
                weight = twin.table(column).weight
                weight[:, :-1] *= column == "userId"
                weight[:, -1] = torch.from_numpy(biases).where(seen[column], torch.tensor(0.0))
        return twin.to(device)


def device_of(rank: int = 0) -> torch.device:
    """Return the GPU of this process where there is one, else the CPU."""
    return torch.device("cuda", rank % torch.cuda.device_count()) if torch.cuda.is_available() else torch.device("cpu")


@memory.kept()
def fit(job: Job, rank: int = 0, ranks: int = 1, watch: Callable[[Twin], Mapping[str, float]] | None = None) -> Run:
    """Train a twin; each epoch reads all rows once in a new order. ``job.monitor`` gives the curve's AUC.

    ``watch`` is called after each epoch; what it returns is added to the epoch's row. With several ``ranks``
    (processes of one torch.distributed group) each takes its share of every batch and gradients are averaged, so the
    steps are those of one process up to rounding.
    """
    torch.manual_seed(job.seed)
    device = device_of(rank)
    twin = job.twin(device)
    module: nn.Module = nn.parallel.DistributedDataParallel(twin) if ranks > 1 else twin
    trainable = [parameter for parameter in twin.parameters() if parameter.requires_grad]
    optimizer = HugeCTRAdam(trainable, job.settings.learning_rate)
    history: list[dict[str, float]] = []
    watched = job.monitor.head(MONITOR_ROWS)
    name = f"{job.graph.name}, seed {job.seed}"
    epochs = tqdm(range(job.settings.epochs), desc=name, unit="epoch", leave=False, disable=rank > 0)
    # Its own generator: models that draw more or less for dropout still read the rows in the same order.
    shuffle = torch.Generator().manual_seed(job.seed)
    for epoch in epochs:
        started, total, rows = time.monotonic(), 0.0, 0
        for codes, label in _batches(job, shuffle, rank, ranks):
            codes, label = {name: values.to(device) for name, values in codes.items()}, label.to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=job.settings.precision == "bfloat16"):
                logits = module(codes)
            loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total, rows = total + loss.item() * len(label), rows + len(label)
        seconds = time.monotonic() - started
        twin.eval()
        valid_auc = auc(watched.label.numpy(), score(twin, watched)) if len(watched) else float("nan")
        row = {"epoch": epoch + 1, "train_loss": total / max(1, rows), "valid_auc": valid_auc, "seconds": seconds}
        history.append(row | dict(watch(twin) if watch else {}))
        twin.train()
        epochs.set_postfix(loss=f"{history[-1]['train_loss']:.4f}")
    return Run(twin.eval(), history, resumed=False)


def _batches(job: Job, shuffle: torch.Generator, rank: int, ranks: int) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
    """Yield this rank's rows of each batch. Ranks draw the same order; a batch is cut in equal shares.

    The last batch drops the few rows that cannot be shared equally, so that gradients stay plain means.
    """
    order = torch.randperm(len(job.train), generator=shuffle)
    for start in range(0, len(order), job.settings.batch_size):
        batch = order[start : start + job.settings.batch_size]
        share = len(batch) // ranks
        if share:
            rows = batch[rank * share : (rank + 1) * share]
            codes = {slot.column: job.train.codes[slot.column].index_select(0, rows) for slot in job.graph.slots}
            yield codes, job.train.label.index_select(0, rows)


def score(twin: Twin, split: Split) -> np.ndarray:
    """Return the probabilities float32 [n] of a split's rows, in their order."""
    parts = []
    with torch.inference_mode():
        for start in range(0, len(split), SCORE_ROWS):
            columns = {slot.column: split.codes[slot.column] for slot in twin.graph.slots}
            codes = {name: values[start : start + SCORE_ROWS].to(twin.device) for name, values in columns.items()}
            parts.append(torch.sigmoid(twin(codes)).cpu().numpy())
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def catalogue_scorer(twin: Twin, movies: Mapping[str, np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function of user codes int [users] to the probabilities float32 [users, movies] with every movie.

    What depends on the movies alone is computed here, once.
    """
    columns = {name: torch.from_numpy(np.ascontiguousarray(values)).to(twin.device) for name, values in movies.items()}
    count = len(columns["movieId"])
    block = max(1, GRID_NUMBERS // (twin.pair_width * max(1, count)))
    with torch.inference_mode():
        side = twin.movie_side(columns)

    def scores(users: np.ndarray) -> np.ndarray:
        keys, found = torch.from_numpy(users).to(twin.device), np.zeros((len(users), count), np.float32)
        with torch.inference_mode():
            for start in range(0, len(users), block):
                logits = twin.meet({"userId": keys[start : start + block]}, side)
                found[start : start + block] = logits.sigmoid_().cpu().numpy()
        return found

    return scores
