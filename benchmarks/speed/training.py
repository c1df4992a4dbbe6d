"""Stage 07, training: one epoch of the twin of the ``seed`` graph against the same model as plain PyTorch code.

The data is made, not MovieLens': ML-25M's numbers of users, movies and genres, a content table 1024 wide, popularity
with a long tail (16,384 ratings name about 6,000 movies, as in ML-25M), and likes with a taste to be learned.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.speed.child import timed
from benchmarks.speed.harness import Case
from utils.metrics.click import auc
from utils.model import architectures
from utils.model.adam import adam_eps
from utils.model.torch_model import Twin
from utils.model.training import fit as training
from utils.model.training.fit import Job, Settings, Split

RESERVED = 3
"""Codes below the first user, movie or genre: padding, null, out of vocabulary."""
RATE = 0.001
SAME_AUC, LEARNED = 0.001, 0.52
WARM_UP = 4
"""Batches before the clock starts."""


def inputs(users: int, movies: int, content_rows: int, width: int, genres: int = 20) -> architectures.Inputs:
    """Return a data set's shape; the content is a poster and a text vector of half the width each."""
    halves = {"poster": (0, width // 2), "text": (width // 2, width)}
    return architectures.Inputs(
        users + RESERVED, movies + RESERVED, genres + RESERVED, 10, content_rows + RESERVED, halves
    )  # fmt: skip


def make(shape: architectures.Inputs, rows: int, seed: int = 0) -> tuple[Split, np.ndarray]:
    """Return ``rows`` ratings and the content table float32 [content_rows, width].

    A like is drawn with the probability sigmoid(user bias + movie bias + user taste . movie taste); a movie's bias is
    half in its content. Users are drawn by a lognormal, movies by a power law with a broad head.
    """
    draw = np.random.default_rng(seed)
    movies, width = shape.content_rows - RESERVED, shape.content_columns["text"][1]
    content = draw.standard_normal((shape.content_rows, width), np.float32)
    taste = [draw.normal(0, 0.5, (count, 4)) for count in (shape.users, shape.content_rows)]
    bias = draw.normal(0, 0.5, shape.users), draw.normal(0, 0.5, shape.content_rows) + 0.5 * content[:, 0]
    active = draw.lognormal(0, 1.2, shape.users - RESERVED)
    popular = (np.arange(shape.movies - RESERVED) + 300.0) ** -1.5
    user = draw.choice(len(active), rows, p=active / active.sum()) + RESERVED
    movie = draw.choice(len(popular), rows, p=popular / popular.sum()) + RESERVED
    genres = draw.integers(RESERVED, shape.genres, (movies + RESERVED, shape.most_genres))
    genres[np.arange(shape.most_genres) >= draw.integers(1, 5, (len(genres), 1))] = 0
    logit = bias[0][user] + bias[1][movie] + (taste[0][user] * taste[1][movie]).sum(1)
    codes = {"userId": user, "movieId": movie, "genres": genres[movie], "movieId_duplicate": movie}
    columns = {name: values.astype(np.int32) for name, values in codes.items()}
    columns["label"] = (draw.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    return Split.of(columns), content


def _job(rows: int, held_out: int, **sizes: int) -> tuple[Job, Split]:
    """Return what both sides train from, and the rows held out; the batch size is yet to be chosen."""
    shape = inputs(**sizes)
    split, content = make(shape, rows + held_out)
    graph = architectures.seed(shape, architectures.FEATURE_SETS[-1])
    train, held = split.head(rows), split.take(np.arange(rows, rows + held_out))
    return Job(graph, train, held.head(0), content, shape, Settings(1, 1, RATE), seed=0), held


class Plain(nn.Module):
    """The same model as a user would write it."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        shape = job.inputs
        self.user = nn.Embedding(shape.users, 16)
        self.movie = nn.Embedding(shape.movies, 16)
        self.genres = nn.EmbeddingBag(shape.genres, 16, mode="sum", padding_idx=0)
        self.content = nn.Embedding.from_pretrained(torch.from_numpy(job.frozen))
        width = 3 * 16 + job.frozen.shape[1]
        self.layers = nn.Sequential(
            nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 1)
        )  # fmt: skip

    def start_as(self, twin: nn.Module) -> None:
        """Take the twin's first weights, so that only what comes after can make a difference."""
        theirs = twin.state_dict()
        names = {"user": "userId", "movie": "movieId", "genres": "genres"}
        weights = {f"{mine}.weight": theirs[f"tables.{name}.weight"] for mine, name in names.items()}
        for place, name in ((0, "dense_1"), (2, "dense_2"), (4, "logit")):
            weights |= {f"layers.{place}.{part}": theirs[f"linears.{name}.{part}"] for part in ("weight", "bias")}
        self.load_state_dict(weights | {"content.weight": self.content.weight})

    def forward(self, codes: Mapping[str, Tensor]) -> Tensor:
        """Return logits [batch]."""
        features = [
            self.user(codes["userId"]),
            self.movie(codes["movieId"]),
            self.genres(codes["genres"]),
            self.content(codes["movieId_duplicate"]),
        ]
        return self.layers(torch.cat(features, 1))[:, 0]


def _fit_plain(job: Job) -> tuple[float, Plain]:
    """Train one epoch; return its seconds and the model.

    Batches are cut from a shuffled order: a DataLoader, which collates row by row, would only be slower. Adam's eps is
    HugeCTR's (``utils.model.adam.HugeCTRAdam``): with PyTorch's own the AUC after one epoch differs by 0.002.
    """
    model = Plain(job)
    model.start_as(job.twin())
    start = time.perf_counter()
    optimizer, loss_of = torch.optim.Adam(model.parameters(), RATE), nn.BCEWithLogitsLoss()
    order = torch.randperm(len(job.train), generator=torch.Generator().manual_seed(job.seed))
    for step, rows in enumerate(order.split(job.settings.batch_size), start=1):
        optimizer.param_groups[0]["eps"] = adam_eps(step)
        logit = model({name: values[rows] for name, values in job.train.codes.items()})
        loss = loss_of(logit, job.train.label[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.perf_counter() - start, model


def _plain_scores(model: Plain, held: Split) -> np.ndarray:
    with torch.inference_mode():
        return model(held.codes).numpy()


def _fit_ours(job: Job) -> tuple[float, Twin]:
    run = training.fit(job)
    return run.history[0]["seconds"], run.twin


def _flop(job: Job) -> float:
    """Floating-point operations that an epoch needs at least, with the content once for each movie of a batch.

    A product of [n, a] and [a, b] is 2 n a b, forward and for the weights' gradient, and once more for the gradient of
    what came in, which the frozen content does not need.
    """
    order = torch.randperm(len(job.train), generator=torch.Generator().manual_seed(job.seed))
    movies = job.train.codes["movieId_duplicate"][order].split(job.settings.batch_size)
    distinct = sum(len(torch.unique(batch)) for batch in movies)
    trained = 3 * 16 * 128 + 128 * 128 + 128
    return 2.0 * (3 * len(job.train) * trained + 2 * distinct * job.frozen.shape[1] * 128)


def _best_epoch(
    fit: Callable[[Job], tuple[float, Any]], scores: Callable[[Any, Split], np.ndarray],
    batch_sizes: Sequence[int], rows: int, precision: str = "float32", **arguments: int,
) -> dict[str, Any]:  # fmt: skip
    """Train one epoch at each batch size; return the fastest, and the AUC of each on rows held out."""
    job, held = _job(rows, **arguments)
    warm_up = job.train.head(WARM_UP * batch_sizes[0])
    fit(replace(job, train=warm_up, settings=Settings(1, batch_sizes[0], RATE, precision)))
    seconds, reached = {}, {}
    for size in batch_sizes:
        with timed():
            seconds[size], model = fit(replace(job, settings=Settings(1, size, RATE, precision)))
        reached[str(size)] = auc(held.label.numpy(), scores(model, held))
    best = min(seconds, key=lambda size: seconds[size])
    flop = _flop(replace(job, settings=Settings(1, best, RATE)))
    return {"seconds": seconds[best], "count": rows, "flop": flop, "answer": {"auc": reached, "batch": best}}


def ours(**arguments: Any) -> dict[str, Any]:
    """Train with ``training.fit``, evaluation off."""
    return _best_epoch(_fit_ours, training.score, **arguments)


def ours_bfloat16(**arguments: Any) -> dict[str, Any]:
    """The same with PRECISION="bfloat16"."""
    return ours(precision="bfloat16", **arguments)


def plain(**arguments: Any) -> dict[str, Any]:
    """Train the plain model, in float32."""
    return _best_epoch(_fit_plain, _plain_scores, **arguments)


def agree(case: Case, ours: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """Both reach the same AUC at every batch size, and one that guessing would not."""
    for size, reached in ours["auc"].items():
        if not abs(reached - other["auc"][size]) <= SAME_AUC or reached < LEARNED:
            return f"AUC at batch {size}: {reached:.4f} and {other['auc'][size]:.4f} (a guess has 0.5)"
    return None


_ML_25M = {"users": 162_541, "movies": 59_047, "content_rows": 62_423, "width": 1024}
_TINY = {"users": 300, "movies": 150, "content_rows": 160, "width": 32}


def _case(
    against: str, batch_sizes: Sequence[int], at_least: float, precision: str = "float32", **arguments: int
) -> Case:
    in_bfloat16 = precision == "bfloat16"
    return Case(
        stage="07 training",
        against=against + ('; ours with PRECISION="bfloat16"' if in_bfloat16 else ""),
        ours=f"{__name__}:ours" + ("_bfloat16" if in_bfloat16 else ""),
        other=f"{__name__}:plain",
        at_least=at_least,
        arguments={"batch_sizes": list(batch_sizes), **arguments},
        limit="matmul",
        checked="same rows in the same order from the same first weights; AUC on rows held out within 0.001",
    )


_AT_2048 = "plain PyTorch twin (every row's content gathered and multiplied), dense Adam, batch 2,048"
_AT_BEST = "the same, each at its fastest batch of 2,048 to 65,536"
_BATCHES = [2048, 8192, 16_384, 32_768, 65_536]
CASES = (
    _case(_AT_2048, [2048], 3, rows=1_000_000, held_out=200_000, **_ML_25M),
    _case(_AT_BEST, _BATCHES, 4, rows=1_000_000, held_out=200_000, **_ML_25M),
    _case(_AT_2048, [2048], 3, "bfloat16", rows=1_000_000, held_out=200_000, **_ML_25M),
    _case(_AT_BEST, _BATCHES, 4, "bfloat16", rows=1_000_000, held_out=200_000, **_ML_25M),
)
SMALL = (
    _case(_AT_2048, [64], 0, rows=20_000, held_out=20_000, **_TINY),
    _case(_AT_BEST, [64, 128], 0, rows=20_000, held_out=20_000, **_TINY),
    _case(_AT_2048, [64], 0, "bfloat16", rows=20_000, held_out=20_000, **_TINY),
)
