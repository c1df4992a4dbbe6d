"""The peers: each a function from likes to a table of scores, with the settings it may be tuned over.

A library is imported when its peer is trained, so that one that is not installed costs only its own rows.
Movies without a like in train come last in the numbering of a ``Task``: the libraries sample negatives among the
first ``known`` movies only, so that a held-out movie is never taught as disliked.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.peers.problem import Problem

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Task:
    """A problem in the numbers of the libraries: movies with likes first, users with likes first.

    ``users`` and ``movies`` are positions in the problem, in that order; ``known_users`` and ``known`` say how many
    have likes; ``user``, ``movie`` int32 [n] and ``rating`` float32 [n] are train ratings among these.
    """

    users: np.ndarray
    movies: np.ndarray
    known_users: int
    known: int
    user: np.ndarray
    movie: np.ndarray
    rating: np.ndarray
    liked: np.ndarray
    content: np.ndarray

    @classmethod
    def of(cls, problem: Problem) -> "Task":
        liked = problem.liked
        users, known_users = _likes_first(problem.user[liked], len(problem.user_ids))
        movies, known = _likes_first(problem.movie[liked], len(problem.movie_ids))
        user, movie = np.argsort(users)[problem.user], np.argsort(movies)[problem.movie]
        kept = (user < known_users) & (movie < known)
        user, movie = user[kept].astype(np.int32), movie[kept].astype(np.int32)
        content = problem.content[movies]
        return cls(users, movies, known_users, known, user, movie, problem.rating[kept], liked[kept], content)

    def likes(self) -> Any:
        """Return the likes as a scipy csr matrix of ones, float32 [known users, known movies]."""
        from scipy.sparse import csr_matrix

        user, movie = self.user[self.liked], self.movie[self.liked]
        shape = (self.known_users, self.known)
        return csr_matrix((np.ones(len(user), np.float32), (user, movie)), shape)


def _likes_first(liked: np.ndarray, size: int) -> tuple[np.ndarray, int]:
    has_like = np.bincount(liked, minlength=size) > 0
    return np.concatenate([np.flatnonzero(has_like), np.flatnonzero(~has_like)]), int(has_like.sum())


def popularity(task: Task, settings: Settings, seed: int) -> np.ndarray:
    """Score a movie by its likes in train, the same for every user."""
    counts = np.bincount(task.movie[task.liked], minlength=task.known).astype(np.float32)
    return np.broadcast_to(counts, (task.known_users, task.known))


def _cornac(task: Task, model: Any, values: np.ndarray, rows: np.ndarray, seed: int) -> np.ndarray:
    from cornac.data import Dataset, ImageModality

    names = {"uid_map": range(task.known_users), "iid_map": range(len(task.movies))}
    maps = {name: {number: number for number in numbers} for name, numbers in names.items()}
    # Cornac's MF takes 64-bit indices only.
    triples = (task.user[rows].astype(np.int64), task.movie[rows].astype(np.int64), values.astype(np.float32))
    data = Dataset(task.known_users, task.known, **maps, uir_tuple=triples, seed=seed)
    data.add_modalities(item_image=ImageModality(features=task.content))
    model.fit(data)
    return np.stack([model.score(user) for user in range(task.known_users)]).astype(np.float32)


def cornac_mf(task: Task, settings: Settings, seed: int) -> np.ndarray:
    """Matrix factorisation of the ratings themselves: likes alone are all ones and teach it nothing."""
    from cornac.models import MF

    every = np.ones(len(task.user), bool)
    return _cornac(task, MF(**settings, seed=seed), task.rating, every, seed)[:, : task.known]


def cornac_bpr(task: Task, settings: Settings, seed: int) -> np.ndarray:
    """Bayesian personalised ranking of ids (Rendle et al., UAI 2009)."""
    from cornac.models import BPR

    model = BPR(**settings, seed=seed)
    return _cornac(task, model, np.ones(task.liked.sum()), task.liked, seed)[:, : task.known]


def cornac_vbpr(task: Task, settings: Settings, seed: int) -> np.ndarray:
    """BPR of ids and content (He and McAuley, AAAI 2016), with our poster and text vectors as the visual features.

    Trained as released: Cornac 3.0.1 adds the visual bias [batch, 1] to scores [batch], so its loss compares all
    pairs of a batch. Mended (``squeeze``), it ranked worse on the tuning part with these settings: we leave it be.
    """
    import torch
    from cornac.models import VBPR

    torch.set_num_threads(1)
    model = VBPR(**settings, seed=seed, verbose=False)
    with contextlib.redirect_stdout(None):
        return _cornac(task, model, np.ones(task.liked.sum()), task.liked, seed)


def implicit_als(task: Task, settings: Settings, seed: int) -> np.ndarray:
    """Weighted least squares (Hu, Koren and Volinsky, ICDM 2008)."""
    from implicit.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    # The library warns where BLAS has threads of its own: they get in each other's way.
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(**settings, num_threads=1, random_state=seed, use_gpu=False)
        model.fit(task.likes(), show_progress=False)
    return model.user_factors @ model.item_factors.T


def implicit_bpr(task: Task, settings: Settings, seed: int) -> np.ndarray:
    """BPR of ids by another library."""
    from implicit.bpr import BayesianPersonalizedRanking

    model = BayesianPersonalizedRanking(**settings, num_threads=1, random_state=seed, use_gpu=False)
    model.fit(task.likes(), show_progress=False)
    return model.user_factors @ model.item_factors.T


def lightfm_ids(task: Task, settings: Settings, seed: int) -> np.ndarray:
    """WARP loss (Weston, Bengio and Usunier, IJCAI 2011) on ids (Kula, CBRecSys 2015)."""
    from scipy.sparse import identity

    return _lightfm(task, identity(task.known, np.float32, "csr"), settings, seed, task.known)


def lightfm_content(task: Task, settings: Settings, seed: int) -> np.ndarray:
    """The same with a movie's own id beside its poster and text vectors as features."""
    from scipy.sparse import csr_matrix, eye, hstack

    size = len(task.movies)
    # A movie without likes has no id feature: its embedding would be noise.
    ids = eye(size, task.known, dtype=np.float32)
    features = hstack([ids, csr_matrix(task.content)], "csr", np.float32)
    return _lightfm(task, features, settings, seed, size)


def _lightfm(task: Task, features: Any, settings: Settings, seed: int, movies: int) -> np.ndarray:
    from lightfm import LightFM

    settings = dict(settings)
    epochs = settings.pop("epochs")
    likes = task.likes().tocoo()
    # WARP draws negatives from all columns, so it is fitted on the movies with likes and scores all of them.
    model = LightFM(loss="warp", random_state=seed, **settings)
    model.fit(likes, item_features=features[: task.known], epochs=epochs, num_threads=1)
    movie_bias, movie_factors = model.get_item_representations(features[:movies])
    return (model.user_embeddings @ movie_factors.T + movie_bias).astype(np.float32)


@dataclass(frozen=True)
class Peer:
    """``package`` to look for, ``features`` it reads, ``fit``, and the settings to choose among.

    ``fit(task, settings, seed)`` returns float32 [known users, known movies], or all movies where content says
    something of movies without likes. ``seeded`` is False where every seed gives the same.
    """

    package: str
    features: str
    fit: Callable[[Task, Settings, int], np.ndarray]
    choices: Sequence[Settings]
    seeded: bool = True


def _varied(common: Settings, name: str, values: Sequence[Any], other: str, others: Sequence[Any]) -> list[Settings]:
    return [dict(common) | {name: value, other: second} for value in values for second in others]


CONTENT = "ids+poster+text"
PEERS: dict[str, Peer] = {
    "popularity": Peer("numpy", "ids", popularity, [{}], seeded=False),
    "cornac-mf": Peer("cornac", "ids", cornac_mf, _varied(
        {"max_iter": 50, "learning_rate": 0.01}, "k", [8, 32], "lambda_reg", [0.02, 0.1])),
    "cornac-bpr": Peer("cornac", "ids", cornac_bpr, _varied(
        {"max_iter": 150, "learning_rate": 0.05}, "k", [32, 64], "lambda_reg", [0.01, 0.02])),
    "cornac-vbpr": Peer("cornac", CONTENT, cornac_vbpr, _varied(
        {"n_epochs": 20, "batch_size": 256, "k": 32, "k2": 16}, "learning_rate", [0.002, 0.005],
        "lambda_w", [0.01, 0.1])),
    "implicit-als": Peer("implicit", "ids", implicit_als, _varied(
        {"iterations": 15, "alpha": 1.0}, "factors", [16, 48], "regularization", [1.0, 10.0])),
    "implicit-bpr": Peer("implicit", "ids", implicit_bpr, _varied(
        {"learning_rate": 0.01, "regularization": 0.01}, "factors", [16, 63], "iterations", [50, 100])),
    "lightfm": Peer("lightfm", "ids", lightfm_ids, _varied(
        {"learning_rate": 0.05, "epochs": 20}, "no_components", [16, 48], "item_alpha", [0.0, 1e-5])),
    "lightfm-content": Peer("lightfm", CONTENT, lightfm_content, _varied(
        {"learning_rate": 0.05, "epochs": 20}, "no_components", [16, 48], "item_alpha", [0.0, 1e-5])),
}  # fmt: skip
