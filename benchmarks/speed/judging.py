"""Stage 07, judging: metrics of millions of ratings, and lists of the whole catalogue for all users.

What would take the other way hours is measured on a share of the users and scaled to all: its cost is a cost a user.
"""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sklearn.metrics import log_loss, roc_auc_score

from benchmarks.speed.child import timed
from benchmarks.speed.harness import Case
from benchmarks.speed.training import inputs
from utils.metrics import click
from utils.model import architectures
from utils.model.architectures import Inputs
from utils.model.torch_model import Twin
from utils.model.training.fit import Job, Settings, Split
from utils.study.catalogue import Catalogue
from utils.study.recommender import Recommender

BINS, K = 10, 20
SAME = {"auc": 1e-6, "logloss": 1e-5, "gauc": 1e-6, "ece": 1e-4, "scores": 1e-5}
"""Largest difference of a number that both give. Quantile bins differ from equal counts by a row."""
SAME_MOVIES = 0.99
"""Share of a list that must be the same: scores that differ by rounding may change places."""
SHOWN = 20
"""Users whose lists are compared."""
TAGS = {"trainer": "torch", "model": "seed", "features": "ids", "seed": 0, "split": "random", "slice": "warm"}


def _scored(rows: int, users: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return user, label and score [rows]; users are of unequal activity, a score knows a part of the truth."""
    draw = np.random.default_rng(0)
    active = draw.lognormal(0, 1.2, users)
    user = draw.choice(users, rows, p=active / active.sum())
    logit = draw.normal(0, 1, rows)
    label = (draw.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    return user, label, (1 / (1 + np.exp(-logit - draw.normal(0, 1, rows)))).astype(np.float32)


def metrics(rows: int, users: int, looped: int) -> dict[str, Any]:
    """Judge with ``evaluation.evaluate``, the least number of resamples: one."""
    user, label, score = _scored(rows, users)
    with timed() as clock:
        found = click.evaluate(user, label, score, replicates=1, **TAGS)
    answer = {row["metric"]: row["value"] for row in found}
    some = user < looped
    answer["gauc"] = click.gauc(user[some], label[some], score[some])[0]
    return {"seconds": clock.seconds, "answer": answer, "count": rows}


def metrics_by_scikit_learn(rows: int, users: int, looped: int) -> dict[str, Any]:
    """Judge with scikit-learn, the AUC within a user by user for the first ``looped`` users, scaled to all."""
    user, label, score = _scored(rows, users)
    with timed() as whole:
        answer = {"auc": float(roc_auc_score(label, score)), "logloss": float(log_loss(label, score))}
        edges = np.quantile(score, np.linspace(0, 1, BINS + 1)[1:-1])
        excess = np.bincount(np.digitize(score, edges), score - label)
        answer["ece"] = float(np.abs(excess).sum() / rows)
        order = np.argsort(user, kind="stable")
        starts = np.searchsorted(user[order], np.arange(looped + 1))
    won = used = 0.0
    with timed() as loop:
        for start, stop in itertools.pairwise(starts):
            own = order[start:stop]
            if 0 < label[own].sum() < len(own):
                won, used = won + len(own) * roc_auc_score(label[own], score[own]), used + len(own)
    answer["gauc"] = won / used
    return {"seconds": whole.seconds + loop.seconds * users / looped, "answer": answer, "count": rows}


def _shop(users: int, movies: int, content_rows: int, width: int, seen: int) -> tuple[Twin, Recommender]:
    """Return a multimodal twin, not trained but with scores that differ, and what its lists need beside it."""
    draw, shape = np.random.default_rng(0), inputs(users, movies, content_rows, width)
    graph = architectures.multimodal(shape, architectures.FEATURE_SETS[-1])
    content = draw.standard_normal((shape.content_rows, width), np.float32)
    codes = _catalogue_codes(shape, draw)
    rated = draw.integers(0, content_rows, (users, seen))
    recommender = Recommender(
        users=np.arange(users),
        user_codes=np.arange(3, users + 3, dtype=np.int32),
        catalogue=Catalogue(np.arange(content_rows), codes),
        seen=(np.arange(users + 1) * seen, rated.ravel()),
        lately=np.zeros(content_rows),
    )
    every = {"userId": recommender.user_codes, "movieId": codes["movieId"], "genres": codes["genres"]}
    train = Split.of(every | {"label": np.zeros(0, np.float32)})
    twin = Job(graph, train, train, content, shape, Settings(1, 1, 0.1), seed=0).twin().eval()
    with torch.no_grad():
        for table in ("userId", "movieId", "genres"):
            twin.tables[table].weight *= 20
    return twin, recommender


def _catalogue_codes(shape: Inputs, draw: np.random.Generator) -> dict[str, np.ndarray]:
    content = np.arange(3, shape.content_rows, dtype=np.int32)
    genres = draw.integers(3, shape.genres, (len(content), shape.most_genres)).astype(np.int32)
    genres[:, 4:] = 0
    return {"movieId": np.where(content < shape.movies, content, 2), "movieId_duplicate": content, "genres": genres}


def _answer(seconds: float, scored: int, users: int, items: np.ndarray, scores: np.ndarray) -> dict[str, Any]:
    answer = {"items": items[:SHOWN].tolist(), "scores": scores[:SHOWN].tolist()}
    return {"seconds": seconds * users / scored, "answer": answer, "count": users}


def lists(users: int, ours_users: int, loop_users: int, **sizes: int) -> dict[str, Any]:
    """Make lists with ``Recommender.lists`` for ``ours_users`` users, scaled to all."""
    twin, shop = _shop(users, **sizes)
    indptr = shop.seen[0][: ours_users + 1]
    some = Recommender(
        shop.users[:ours_users], shop.user_codes[:ours_users], shop.catalogue,
        (indptr, shop.seen[1][: indptr[-1]]), shop.lately,
    )  # fmt: skip
    with timed() as clock:
        items, scores = some.lists(twin, K)
    return _answer(clock.seconds, ours_users, users, items, scores)


def lists_user_by_user(users: int, ours_users: int, loop_users: int, **sizes: int) -> dict[str, Any]:
    """Score every movie for one user with the model, sort, drop what was seen; ``loop_users`` users, scaled to all."""
    twin, shop = _shop(users, **sizes)
    movies = {name: torch.from_numpy(values) for name, values in shop.catalogue.codes.items()}
    items, scores = (np.empty((loop_users, K), kind) for kind in (np.int64, np.float32))
    with timed() as clock, torch.inference_mode():
        for row, code in enumerate(shop.user_codes[:loop_users].tolist()):
            user = torch.full((len(shop.catalogue),), code)
            score = torch.sigmoid(twin(movies | {"userId": user})).numpy()
            seen = shop.seen[1][shop.seen[0][row] : shop.seen[0][row + 1]]
            order = np.argsort(-score, kind="stable")
            items[row] = order[~np.isin(order, seen)][:K]
            scores[row] = score[items[row]]
    return _answer(clock.seconds, loop_users, users, items, scores)


def agree(case: Case, ours: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """The same metrics; or the same lists, but for places that rounding may change."""
    for name in SAME.keys() & ours.keys():
        apart = np.abs(np.subtract(ours[name], other[name])).max()
        if not apart <= SAME[name]:
            return f"{name} differ by up to {apart:.2g}"
    if "items" in ours:
        same = [len(set(mine) & set(theirs)) / K for mine, theirs in zip(ours["items"], other["items"], strict=True)]
        if np.mean(same) < SAME_MOVIES:
            return f"lists share {np.mean(same):.1%} of their movies"
    return None


def _cases(metric_sizes: Mapping[str, int], list_sizes: Mapping[str, int], at_least: float) -> tuple[Case, Case]:
    metric_case = Case(
        stage="07 metrics",
        against="scikit-learn, AUC within users in a loop over users",
        ours=f"{__name__}:metrics",
        other=f"{__name__}:metrics_by_scikit_learn",
        at_least=at_least,
        arguments=metric_sizes,
        checked=f"AUC, logloss, ECE equal; GAUC equal on {metric_sizes['looped']:,} users, whose loop is scaled to all",
    )
    list_case = Case(
        stage="07 recommendations",
        against="user by user: score all movies, sort, drop the seen",
        ours=f"{__name__}:lists",
        other=f"{__name__}:lists_user_by_user",
        at_least=at_least,
        arguments=list_sizes,
        peak_mb_at_most=4096,
        limit="memory",
        checked=f"lists of {SHOWN} users; measured on {list_sizes['ours_users']:,} and {list_sizes['loop_users']:,} "
        "users, scaled to all",
    )
    return metric_case, list_case


CASES = _cases(
    {"rows": 5_000_000, "users": 162_541, "looped": 5_000},
    {
        "users": 162_541, "ours_users": 20_480, "loop_users": 100, "movies": 59_047, "content_rows": 62_423,
        "width": 1024, "seen": 150,
    },
    at_least=20,
)  # fmt: skip
SMALL = _cases(
    {"rows": 20_000, "users": 400, "looped": 100},
    {
        "users": 600, "ours_users": 300, "loop_users": 20, "movies": 300, "content_rows": 330, "width": 32, "seen": 20,
    },
    at_least=0,
)  # fmt: skip
