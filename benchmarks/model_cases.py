"""What ``benchmarks.speed`` measures of 07: training, lists and metrics, on data made in the shape of ML-25M."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from benchmarks.measure import Measured, timed
from utils.metrics import click, ranking
from utils.model import architectures, feature_sets
from utils.model.training import fit as training
from utils.model.training.adam import adam_eps
from utils.model.training.fit import Job, Settings, Split

RESERVED = 3
"""Codes below the first user, movie or genre: padding, null, out of vocabulary."""
GENRES, MOST_GENRES, LISTED, RATE = 20, 6, 20, 0.001
GUESS = 0.52
"""With an AUC that is no better nothing was learned, and there is nothing to compare."""
WAYS = ("plain PyTorch", "PyTorch with a DataLoader")
"""To cut batches: from a shuffled order, which is faster, or by a DataLoader, as the tutorials do."""


def job_of(
    model: str, settings: Settings, rows: int, users: int, movies: int, width: int
) -> tuple[Job, dict[str, np.ndarray]]:
    """Return what ``rows`` ratings are trained from, with a fifth more as its monitor, and the movies' codes.

    Users are drawn by a lognormal, movies by a power law with a broad head: 16,384 ratings name about 6,000 of 62,423.
    A like depends on the user's bias and on the movie's content.
    """
    draw, count = np.random.default_rng(0), rows + rows // 5
    halves = {"poster": (0, width // 2), "text": (width // 2, width)}
    sizes = (users + RESERVED, movies + RESERVED, GENRES + RESERVED, MOST_GENRES, movies + RESERVED)
    shape = architectures.Inputs(*sizes, halves)
    content = draw.standard_normal((shape.content_rows, width), np.float32)
    genres = draw.integers(RESERVED, shape.genres, (shape.content_rows, MOST_GENRES)).astype(np.int32)
    genres[np.arange(MOST_GENRES) >= draw.integers(1, 5, (len(genres), 1))] = 0
    active, popular = draw.lognormal(0, 1.2, users), (np.arange(movies) + 300.0) ** -1.5
    user = (draw.choice(users, count, p=active / active.sum()) + RESERVED).astype(np.int32)
    movie = (draw.choice(movies, count, p=popular / popular.sum()) + RESERVED).astype(np.int32)
    logit = draw.normal(0, 0.8, shape.users)[user] + 0.8 * content[movie, 0]
    label = (draw.random(count) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    columns = {"userId": user, "movieId": movie, "genres": genres[movie], "movieId_duplicate": movie}
    split = Split.of(columns | {"label": label})
    graph = architectures.MODELS[model](shape, feature_sets.parse("ids+genres+poster+text"))
    own = np.arange(RESERVED, shape.movies, dtype=np.int32)
    held_out = split.take(np.arange(rows, count))
    job = Job(graph, split.head(rows), held_out, content, shape, settings, seed=0)
    return job, {"movieId": own, "movieId_duplicate": own, "genres": genres[RESERVED:]}


class Plain(nn.Module):
    """The ``original`` model as tutorials write it: the content of each row is gathered and multiplied."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        shape, width = job.inputs, 3 * 16 + job.frozen.shape[1]
        self.user, self.movie = nn.Embedding(shape.users, 16), nn.Embedding(shape.movies, 16)
        self.genres = nn.EmbeddingBag(shape.genres, 16, mode="sum", padding_idx=0)
        first, second, last = nn.Linear(width, 128), nn.Linear(128, 128), nn.Linear(128, 1)
        self.layers = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last)
        # The first weights of ours, so that only what comes after can make a difference.
        theirs = (weight for weight in job.twin().parameters() if weight.requires_grad)
        for mine, weight in zip(self.parameters(), theirs, strict=True):
            mine.data = weight.data.clone()
        self.content = nn.Embedding.from_pretrained(torch.from_numpy(job.frozen))

    def forward(self, user: Tensor, movie: Tensor, genres: Tensor, content: Tensor) -> Tensor:
        """Return logits [batch]."""
        features = [self.user(user), self.movie(movie), self.genres(genres), self.content(content)]
        return self.layers(torch.cat(features, 1))[:, 0]


def train_plain(batch: int, way: str, **sizes: int) -> Measured:
    """One epoch in float32 with dense Adam, in one of ``WAYS``.

    The order of the rows and Adam's eps are ours: with PyTorch's eps the AUC differs by 0.002 after an epoch.
    """
    job, _ = job_of("original", Settings(1, batch, RATE), **sizes)
    names = ("userId", "movieId", "genres", "movieId_duplicate")
    data = TensorDataset(*(job.train.codes[name] for name in names), job.train.label)
    shuffle = torch.Generator().manual_seed(job.seed)

    def batches() -> Iterator[Any]:
        if way == WAYS[1]:
            return iter(DataLoader(data, batch, sampler=RandomSampler(data, generator=shuffle)))
        return (data[rows] for rows in torch.randperm(len(data), generator=shuffle).split(batch))

    model, loss_of = Plain(job), nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    with timed() as run:
        for step, (*codes, label) in enumerate(batches(), start=1):
            optimizer.param_groups[0]["eps"] = adam_eps(step)
            optimizer.zero_grad()
            loss_of(model(*codes), label).backward()
            optimizer.step()
    with torch.inference_mode():
        return _judged(run, job, model(*(job.monitor.codes[name] for name in names)).numpy())


def train_ours(batch: int, precision: str, **sizes: int) -> Measured:
    """One epoch of ``training.fit``.

    Least operations: 2 n a b for a product of [n, a] and [a, b], forward and for the weights' gradient, once more for
    the gradient of what came in, which frozen content does not need; content once for each movie of a batch.
    """
    job, _ = job_of("original", Settings(1, batch, RATE, precision), **sizes)
    with timed() as run:
        found = training.fit(replace(job, monitor=job.monitor.head(0)))
    run.seconds = found.history[0]["seconds"]  # of the epoch alone, without the model's first weights
    order = torch.randperm(len(job.train), generator=torch.Generator().manual_seed(job.seed))
    distinct = sum(len(part.unique()) for part in job.train.codes["movieId_duplicate"][order].split(batch))
    trained = 3 * 16 * 128 + 128 * 128 + 128
    run.work = 6.0 * len(job.train) * trained + 4.0 * distinct * job.frozen.shape[1] * 128
    run.limit = f"matmul {precision}"
    return _judged(run, job, training.score(found.twin, job.monitor))


def _judged(run: Measured, job: Job, scores: np.ndarray) -> Measured:
    run.answer = {"auc": click.auc(job.monitor.label.numpy(), scores)}
    if not run.answer["auc"] > GUESS:
        raise ValueError(f"the AUC is {run.answer['auc']:.3f}: nothing was learned that could be compared")
    return run


def lists(shown: int, ours: bool, rows: int, users: int, movies: int, width: int) -> Measured:
    """The best of all movies for ``shown`` users, in seconds for all ``users``; the first ten lists are answered.

    Ours scores users in blocks; the other scores every movie for one user, sorts, and drops what was seen.
    """
    job, codes = job_of("multimodal", Settings(1, 1, RATE), rows, users, movies, width)
    twin = job.twin().eval()
    with torch.no_grad():
        for table in ("userId", "movieId", "genres"):
            twin.tables[table].weight *= 20  # not trained, but scores differ by more than rounding
    order = torch.argsort(job.train.codes["userId"], stable=True)
    user, movie = (job.train.codes[name][order].numpy() - RESERVED for name in ("userId", "movieId"))
    known, ends = np.arange(shown, dtype=np.int32), np.searchsorted(user, np.arange(shown + 1))
    with timed() as run, torch.inference_mode():
        if ours:
            scores_of, codes_of = training.catalogue_scorer(twin, codes), known + RESERVED
            seen = ends, movie[: ends[-1]]
            found = ranking.top_k(lambda a, b: scores_of(codes_of[a:b]), shown, seen, LISTED)[0]
        else:
            found = np.empty((shown, LISTED), np.int64)
            tensors = {name: torch.from_numpy(values) for name, values in codes.items()}
            for row in known:
                scores = twin(tensors | {"userId": torch.full((movies,), int(row) + RESERVED)}).numpy()
                best = np.argsort(-scores, kind="stable")
                found[row] = best[~np.isin(best, movie[ends[row] : ends[row + 1]])][:LISTED]
    run.seconds *= users / shown
    run.answer = {"lists": found[:10]}
    return run


def metrics(rows: int, users: int, looped: int, ours: bool) -> Measured:
    """AUC of all, and within each user (GAUC): ``click.evaluate`` with one resample, the least, or scikit-learn.

    That loops over ``looped`` users, in seconds for all; GAUC is answered for these. Activity of users is lognormal.
    """
    draw = np.random.default_rng(0)
    active, logit = draw.lognormal(0, 1.2, users), draw.normal(0, 1, rows)
    user, movie = draw.choice(users, rows, p=active / active.sum()), draw.integers(0, 50_000, rows)
    label = (draw.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    score = (1 / (1 + np.exp(-logit - draw.normal(0, 1, rows)))).astype(np.float32)
    if ours:
        tags = {"trainer": "torch", "model": "seed", "features": "ids", "seed": 0, "split": "random", "slice": "warm"}
        with timed() as run:
            judged = click.evaluate(click.Rated(user, movie, label), score, tags, replicates=1)
        some = user < looped
        found = {row["metric"]: row["value"] for row in judged}
        run.answer = {"auc": found["auc"], "gauc": click.gauc(user[some], label[some], score[some])[0]}
        return run
    with timed() as run:
        auc, order = roc_auc_score(label, score), np.argsort(user, kind="stable")
        starts = np.searchsorted(user[order], np.arange(looped + 1))
    with timed() as loop:
        own = [order[start:stop] for start, stop in itertools.pairwise(starts)]
        own = [chosen for chosen in own if 0 < label[chosen].sum() < len(chosen)]
        won = [roc_auc_score(label[chosen], score[chosen]) for chosen in own]
    run.seconds += loop.seconds * users / looped
    run.answer = {"auc": auc, "gauc": np.average(won, weights=[len(chosen) for chosen in own])}
    return run
