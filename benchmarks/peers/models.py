"""The peers: each a function from likes to a table of scores, by its library's own loop, and what it may be tuned over.

A library is imported when its peer is trained, so that one that is not installed costs only its own rows.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_matrix, eye, hstack

from utils.handoff.own_data import STARS

Settings = Mapping[str, Any]
WIDTH = 64


class PeerError(ValueError):
    """Hand-offs or lists of recommendations that no peer can be trained on or judged by."""


@dataclass(frozen=True)
class Task:
    """What a peer learns from: train in numbers of its own, the ``users`` and ``movies`` that have likes first.

    So the libraries sample negatives among movies with likes only, and a held-out movie is never taught as disliked.
    ``user_ids``, ``movie_ids`` int64 are the raw ids of all; ``user``, ``movie`` int64 [n] and ``rating`` float32 [n]
    the ratings; ``content`` float32 [movies, width] what our own lists read: genres as zeros and ones, then the vectors
    of the feature store.
    """

    user_ids: np.ndarray
    movie_ids: np.ndarray
    users: int
    movies: int
    user: np.ndarray
    movie: np.ndarray
    rating: np.ndarray
    content: np.ndarray

    @classmethod
    def of(cls, train: pa.Table, user_ids: np.ndarray, movie_ids: np.ndarray, content: np.ndarray) -> "Task":
        """``train`` has userId, movieId and rating; a row of ``content`` is a movie's."""
        likes = train.filter(pc.field("rating") > STARS.above)
        order, counts = [], []
        for column, ids in (("userId", user_ids), ("movieId", movie_ids)):
            has_like = np.isin(ids, likes[column].to_numpy())
            order.append(np.argsort(~has_like, kind="stable"))
            counts.append(int(has_like.sum()))
        ids, none = (user_ids[order[0]], movie_ids[order[1]]), np.empty(0, np.int64)
        task = cls(*ids, *counts, none, none, train["rating"].to_numpy(), content[order[1]])
        user, movie = task.positions(train, "train")
        return replace(task, user=user, movie=movie)

    def without(self, train: pa.Table, rows: np.ndarray) -> "Task":
        """Return the task of ``train``, this one's ratings, without some ``rows``, bool [n]."""
        return Task.of(train.filter(~rows), self.user_ids, self.movie_ids, self.content)

    def positions(self, table: pa.Table, where: object) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of userId and movieId of ``table``, int64 [rows]. Raises PeerError for unknown ones."""
        found = []
        for column, ids in (("userId", self.user_ids), ("movieId", self.movie_ids)):
            place = pc.index_in(table[column], pa.array(ids))
            if place.null_count:
                unknown = table[column].filter(pc.is_null(place))[0]
                raise PeerError(f"{where}: {column} {unknown} is not in this data set.")
            found.append(place.to_numpy().astype(np.int64))
        return found[0], found[1]

    def likes(self) -> csr_matrix:
        """Return ones, float32 [users, movies]."""
        rows, columns = self.user[self.rating > STARS.above], self.movie[self.rating > STARS.above]
        return csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), (self.users, self.movies))


def components(task: Task) -> np.ndarray:
    """Return WIDTH principal components of content, float32 [movies, WIDTH], for loops that take time by the column."""
    centred = task.content - task.content[: task.movies].mean(axis=0)
    _, _, axes = np.linalg.svd(centred[: task.movies], full_matrices=False)
    found = centred @ axes[:WIDTH].T
    return (found / found[: task.movies].std()).astype(np.float32)


def popularity(task: Task, settings: Settings, seed: int) -> np.ndarray:
    """Score a movie by its likes in train, the same for every user."""
    return np.broadcast_to(task.likes().sum(0).A1, (task.users, task.movies))


def cornac(name: str, task: Task, settings: Settings, seed: int) -> np.ndarray:
    """MF of the ratings themselves (likes alone are all ones), BPR of ids (Rendle et al., UAI 2009), or VBPR.

    VBPR (He and McAuley, AAAI 2016) has components of our content as its visual features. It is trained as released:
    Cornac 3.0.1 adds the visual bias [batch, 1] to scores [batch], so its loss compares all pairs of a batch. Mended
    (``squeeze``), it ranked worse on the tuning part with these settings: we leave it be.
    """
    from cornac.data import Dataset, ImageModality

    model = getattr(importlib.import_module("cornac.models"), name)(**settings, seed=seed, verbose=False)
    rows = (task.user < task.users) & (task.movie < task.movies) & ((task.rating > STARS.above) | (name == "MF"))
    values = task.rating[rows] if name == "MF" else np.ones(rows.sum(), np.float32)
    names = [{number: number for number in range(size)} for size in (task.users, len(task.content))]
    data = Dataset(task.users, task.movies, *names, (task.user[rows], task.movie[rows], values), seed=seed)
    data.add_modalities(item_image=ImageModality(features=components(task)))
    model.fit(data)
    scores = np.stack([model.score(user) for user in range(task.users)])
    return scores if name == "VBPR" else scores[:, : task.movies]


def implicit(name: str, task: Task, settings: Settings, seed: int, factors: bool = False) -> Any:
    """Weighted least squares (Hu, Koren and Volinsky, ICDM 2008), or BPR by another library; scores or ``factors``."""
    from threadpoolctl import threadpool_limits

    module, _, kind = name.partition(".")
    make = getattr(importlib.import_module(f"implicit.{module}"), kind)
    # The library warns where BLAS has threads of its own: they get in each other's way.
    with threadpool_limits(1, "blas"):
        model = make(**settings, num_threads=1, random_state=seed, use_gpu=False)
        model.fit(task.likes(), show_progress=False)
    return (model.user_factors, model.item_factors) if factors else model.user_factors @ model.item_factors.T


def lightfm(content: bool, task: Task, settings: Settings, seed: int) -> np.ndarray:
    """WARP loss (Weston, Bengio and Usunier, IJCAI 2011) on ids, or on these and our vectors (Kula, CBRecSys 2015)."""
    from lightfm import LightFM

    # A movie without likes has no id among its features: its embedding would be noise.
    features = eye(len(task.content) if content else task.movies, task.movies, dtype=np.float32, format="csr")
    features = hstack([features, csr_matrix(components(task))], "csr", np.float32) if content else features
    epochs, settings = settings["epochs"], {name: value for name, value in settings.items() if name != "epochs"}
    model = LightFM(loss="warp", random_state=seed, **settings)
    # WARP draws negatives from all columns, so it is fitted on the movies with likes and scores all of them.
    model.fit(task.likes().tocoo(), item_features=features[: task.movies], epochs=epochs, num_threads=1)
    bias, factors = model.get_item_representations(features)
    return model.user_embeddings @ factors.T + bias


def irspack(name: str, content: bool, task: Task, settings: Settings, seed: int) -> np.ndarray:
    """RP3beta (Paudel et al., TiiS 2016), or iALS++ (Rendle et al., RecSys 2022), which may learn from features."""
    module = importlib.import_module("irspack")
    known = {"random_seed": seed} if "IALS" in name else {}
    if content:
        known |= {"item_features": task.content[: task.movies]}
    model = getattr(module, name)(task.likes(), n_threads=1, **known, **settings).learn()
    scores = model.get_score(np.arange(task.users))
    if not content:
        return scores
    return np.hstack([scores, model.get_score_from_item_features(np.arange(task.users), task.content[task.movies :])])


def content_knn(task: Task, settings: Settings, seed: int) -> np.ndarray:
    """Cosine of a movie's content, less the mean movie's, to the mean content of what the user likes."""
    centred = task.content - task.content[: task.movies].mean(axis=0)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)
    return (task.likes() @ unit[: task.movies]) @ unit.T


def dropoutnet(task: Task, settings: Settings, seed: int) -> np.ndarray:
    """Movies' vectors from their factors and content, factors left out at random (Volkovs et al., NeurIPS 2017).

    After the paper: factors of a known model (implicit's ALS), a tower for movies, and products taught to equal those
    of the factors. No library with it installs here. Users keep their factors, for in no split are they all new.
    """
    import torch
    from torch import nn

    torch.manual_seed(seed)
    model = implicit("als.AlternatingLeastSquares", task, {"factors": 48, "regularization": 10.0}, seed, factors=True)
    users, factors = (torch.from_numpy(np.asarray(one, np.float32)) for one in model)
    scale = factors.std()
    content = torch.from_numpy(task.content)
    width = factors.shape[1]
    tower = nn.Sequential(nn.Linear(width + content.shape[1], 256), nn.Tanh(), nn.Linear(256, width))
    optimizer = torch.optim.Adam(tower.parameters(), settings["learning_rate"], weight_decay=1e-6)
    known = torch.hstack([factors / scale, content[: task.movies]])
    for _ in range(settings["epochs"]):
        for movies in torch.randperm(task.movies).split(100):
            inputs = known[movies].clone()
            inputs[torch.rand(len(movies)) < settings["dropout"], :width] = 0
            asked = users[torch.randint(len(users), (256,))]
            loss = ((asked @ (tower(inputs) * scale).T - asked @ factors[movies].T) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    new = torch.hstack([torch.zeros(len(content) - task.movies, width), content[task.movies :]])
    with torch.inference_mode():
        return (users @ (tower(torch.vstack([known, new])) * scale).T).numpy()


@dataclass(frozen=True)
class Peer:
    """``package`` to ask for its version, ``features`` it reads, ``fit``, and the settings to choose among.

    ``fit(task, settings, seed)`` returns numbers [users, movies], or [users, all movies] where content says something
    of movies without likes.
    """

    package: str
    features: str
    fit: Callable[[Task, Settings, int], np.ndarray]
    choices: Sequence[Settings]


def _varied(common: Settings, **varied: Sequence[Any]) -> list[Settings]:
    return [{**common, **dict(zip(varied, values, strict=True))} for values in product(*varied.values())]


CONTENT, LIGHTFM = "ids+genres+facts+poster+text", "rectools-lightfm"
_WARP = _varied({"learning_rate": 0.05, "epochs": 20}, no_components=[16, 48], item_alpha=[0.0, 1e-5])
PEERS: dict[str, Peer] = {
    "popularity": Peer("numpy", "ids", popularity, [{}]),
    "cornac-mf": Peer("cornac", "ids", partial(cornac, "MF"), _varied(
        {"max_iter": 50, "learning_rate": 0.01}, k=[8, 32], lambda_reg=[0.02, 0.1])),
    "cornac-bpr": Peer("cornac", "ids", partial(cornac, "BPR"), _varied(
        {"max_iter": 150, "learning_rate": 0.05}, k=[32, 64], lambda_reg=[0.01, 0.02])),
    "cornac-vbpr": Peer("cornac", CONTENT, partial(cornac, "VBPR"), _varied(
        {"n_epochs": 20, "batch_size": 256, "k": 32, "k2": 16}, learning_rate=[0.002, 0.005], lambda_w=[0.01, 0.1])),
    "implicit-als": Peer("implicit", "ids", partial(implicit, "als.AlternatingLeastSquares"), _varied(
        {"iterations": 15}, factors=[16, 48], regularization=[1.0, 10.0], alpha=[0.5, 1.0, 2.0])),
    "implicit-bpr": Peer("implicit", "ids", partial(implicit, "bpr.BayesianPersonalizedRanking"), _varied(
        {"learning_rate": 0.01, "regularization": 0.01}, factors=[16, 63], iterations=[50, 100])),
    "irspack-rp3beta": Peer("irspack", "ids", partial(irspack, "RP3betaRecommender", False), _varied(
        {}, top_k=[100, 400], alpha=[0.6, 0.8, 1.0], beta=[0.2, 0.4, 0.6])),
    "irspack-ials": Peer("irspack", "ids", partial(irspack, "IALSRecommender", False), _varied(
        {}, n_components=[32, 64], alpha0=[0.03, 0.1, 0.3], reg=[0.01, 0.03, 0.1])),
    "irspack-ials-content": Peer("irspack", CONTENT, partial(irspack, "IALSRecommender", True), _varied(
        {"feature_warmup_epochs": 2}, n_components=[32, 64], alpha0=[0.1, 0.3], reg=[0.03, 0.1],
        lambda_item_feature=[300.0, 1000.0, 3000.0])),
    "content-knn": Peer("numpy", CONTENT, content_knn, [{}]),
    "dropoutnet": Peer("implicit", CONTENT, dropoutnet, _varied(
        {"epochs": 100}, learning_rate=[0.001, 0.003], dropout=[0.3, 0.6])),
    "lightfm": Peer(LIGHTFM, "ids", partial(lightfm, False), _WARP),
    "lightfm-content": Peer(LIGHTFM, CONTENT, partial(lightfm, True), _WARP),
}  # fmt: skip
