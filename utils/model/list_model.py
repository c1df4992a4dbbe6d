"""What will a user pick next? Lists in closed form, from what they liked: EASE for known movies, content for new ones.

A user is nothing but the ratings handed in, so someone in no training set gets a list from a few likes. Known movies
are scored by EASE (Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019): X B, with the B of diagonal 0
that restores the likes X best. It takes what is not rated for not liked, which is not so of a stranger: who has at most
FEW likes is scored by what those like who liked the same. Movies without ratings are scored by their content F: the
user's mean content p, and a W fitted so that p W F restores the likes of known movies. ``blend`` joins all in one list.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import sparse

from utils.handoff import hashing
from utils.metrics import ranking
from utils.model.baselines import BaselineError, ease, gram

DISLIKED = 0.3
"""What a rating that is no like counts in X: to have watched a movie says something, too. Tried 0 and -0.3."""
TRENDS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Weights to choose from of what is liked lately by all, beside what the user likes."""
PRIORS, HABIT, FEW = (0.05, 0.1, 0.2, 0.4), 10.0, 3
"""Someone of whom little is known gets ``prior`` more of what all like; from HABIT likes on, half of it. Its value is
what serves users best whose lists are made from their first FEW likes."""
SHRUNK = 20.0
"""Users' worth of what all like, in what those like who liked a movie: 5 and 80 serve strangers no better."""
LEANS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8)
"""Weights of content in the scores of known movies, to choose from: 0.015 to 0.04 of NDCG@10 on ml-latest-small."""
BLENDS = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
PRICE = 0.02
"""What known movies may lose of their NDCG to let new ones into the list, as a share."""
PENALTIES = (50.0, 100.0, 200.0, 400.0)
"""Ridge penalties to choose from, in likes (lambda of the paper)."""
RIDGE = 0.3
"""Penalty of W on either side, as a share of the mean diagonal of the matrix that is inverted."""
HALF_LIVES = (None, 1000.0, 365.0, 90.0, 30.0)
"""Half-lives of likes to choose from, in days, for users of whom nothing is known; None: likes do not age."""
LEAST_RATINGS, MOST_KNOWN, MOST_TUNED = 5, 8_000, 4_000
"""EASE knows the movies with so many ratings, at most MOST_KNOWN (B and ``lift`` then take 256 MB each); all others are
new. Penalties are tried on the MOST_TUNED with most ratings: an inverse takes the cube of their number."""
MOST_USERS = 50_000
"""Users that matrices are fitted on; more change little."""
JUDGED, K = 2_500, 10
"""Most users whose lists are judged, as lists of all take users times movies; how long these lists are."""


@dataclass(frozen=True)
class Ratings:
    """Ratings of train: places of user and movie int64, liked bool and seconds int64, each [n], in a grid of a size."""

    user: np.ndarray
    movie: np.ndarray
    liked: np.ndarray
    timestamp: np.ndarray
    n_users: int
    n_movies: int

    def take(self, rows: np.ndarray) -> "Ratings":
        """Return some of the ratings: bool [n] or places int [m]."""
        parts = (self.user[rows], self.movie[rows], self.liked[rows], self.timestamp[rows])
        return Ratings(*parts, self.n_users, self.n_movies)

    def without_idle_users(self) -> "Ratings":
        """Return the same ratings with users counted anew: what is fitted must not depend on users who have none."""
        users, place = np.unique(self.user, return_inverse=True)
        return replace(self, user=place, n_users=len(users))

    def first(self, n: int) -> "Ratings":
        """Return the first ``n`` likes of each user, all that is known of someone new."""
        likes = np.flatnonzero(self.liked)
        likes = likes[np.argsort(self.timestamp[likes], kind="stable")]
        return self.take(likes[pd.Series(likes).groupby(self.user[likes]).cumcount().to_numpy() < n])

    def matrix(self) -> sparse.csr_matrix:
        """Return X, float32 [users, movies]: 1 for a like, DISLIKED for another rating."""
        values = np.where(self.liked, 1, DISLIKED).astype(np.float32)
        return sparse.csr_matrix((values, (self.user, self.movie)), shape=(self.n_users, self.n_movies))

    def recent(self, half_life: float | None) -> np.ndarray:
        """Return the likes of each movie, float64 [movies], each worth 0.5 ** (age / half_life), age from the last."""
        age = (self.timestamp.max(initial=0) - self.timestamp) / 86_400
        weight = np.ones(len(age)) if half_life is None else 0.5 ** (age / half_life)
        return np.bincount(self.movie, weight * self.liked, minlength=self.n_movies)


@dataclass(frozen=True)
class ListModel:
    """A fitted model; ``scores`` is all there is to it.

    ``known`` int64 [k] are the movies of EASE, ``weights`` float32 [k, k] its B. ``content`` float32 [movies, f] is
    centred; ``mapped`` float32 [f, movies] is W F of every movie. ``recent`` float32 [movies], in [0, 1], are the
    likes of all, aged: they order the list of a user without ratings, and add ``trend`` times themselves to any
    other, and more to that of a user with few. For those with at most ``few`` likes it is ``most``, the share of users
    who like the first of all movies, and ``lift`` float32 [k, k], how many more of those who like one like the other,
    takes the place of ``weights``.
    ``blend`` multiplies the scores by content of new movies, ``lean`` those that are added for known ones.
    """

    known: np.ndarray
    weights: np.ndarray
    content: np.ndarray
    mapped: np.ndarray
    recent: np.ndarray
    penalty: float
    lift: np.ndarray
    most: float
    few: int = 0
    trend: float = 0.0
    lean: float = 0.0
    blend: float = 1.0
    prior: float = PRIORS[1]

    @property
    def of_content(self) -> np.ndarray:
        """What scores by content count for, float32 [movies]."""
        share = np.full(len(self.content), self.blend, np.float32)
        share[self.known] = self.lean
        return share

    def scores(self, rated: sparse.csr_matrix) -> np.ndarray:
        """Return how much users like every movie, float32 [users, movies], from a matrix such as ``Ratings.matrix``."""
        return self.joined(rated, *self.parts(rated))

    def parts(self, rated: sparse.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
        """Return what content says of every movie, [users, movies], and EASE of the known ones, [users, k]."""
        nothing = np.broadcast_to(np.float32(0), (rated.shape[0], len(self.content)))  # takes no memory
        by_content = profiles(rated, self.content) @ self.mapped if self.content.size else nothing
        return by_content, np.asarray(rated[:, self.known] @ self.weights)

    def joined(self, rated: sparse.csr_matrix, by_content: np.ndarray, by_likes: np.ndarray) -> np.ndarray:
        """Return the scores of the ``parts`` of ``rated``, which are the same for any lean, blend, trend and prior."""
        found, weight = by_content * self.of_content, np.asarray(rated.sum(axis=1))
        few = (weight > 0) & (weight <= self.few)
        pull = self.trend + np.where(few, np.float32(self.most), self.prior / (1 + weight / HABIT))
        if len(some := np.flatnonzero(few)):
            by_likes = by_likes.copy()
            by_likes[some] = rated[some][:, self.known] @ self.lift / weight[some]
        found[:, self.known] += by_likes + pull * self.recent[self.known]
        found[np.diff(rated.indptr) == 0] = self.recent
        return found.astype(np.float32, copy=False)


def profiles(rated: sparse.csr_matrix, content: np.ndarray) -> np.ndarray:
    """Return what users like, float32 [users, f]: the summed content of their movies over the root of its weight."""
    return np.asarray(rated @ content) / np.sqrt(np.maximum(np.asarray(rated.sum(axis=1)), 1e-9))


def content_map(rated: sparse.csr_matrix, content: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return W F', float32 [f, movies]: ridge regressions of the likes of ``known`` on profiles, then on content.

    W = (P'P + a)^-1 P' X F (F'F + b)^-1 over known movies; both penalties are RIDGE times the mean of the diagonal.
    """
    mine = profiles(rated, content)
    right = content[known]
    middle = np.asarray(mine.T @ rated[:, known]) @ right
    return (_ridge(mine, middle) @ _ridge(right, content.T)).astype(np.float32)


def _ridge(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    gram = (matrix.T @ matrix).astype(np.float64)
    gram[np.diag_indices(len(gram))] += RIDGE * max(np.trace(gram) / max(len(gram), 1), 1e-9)
    return np.linalg.solve(gram, right.astype(np.float64))


class Fitter:
    """Fits list models on one train: what does not depend on the content is chosen and fitted once.

    ``held`` are two masks bool [n] over the ratings: some of known movies, and all of some movies. Penalty, half-life,
    ``trend``, ``prior``, ``lean`` and ``blend`` are chosen on them, by a model of the rest; the models returned are
    fitted on all.
    """

    def __init__(self, train: Ratings, held: tuple[np.ndarray, np.ndarray], seed: int) -> None:
        """Raises BaselineError where nobody likes anything."""
        if not train.liked.any():
            raise BaselineError("Nobody likes anything in train, so there is nothing to recommend by.")
        train, (late, new) = train.without_idle_users(), held
        self.train, self.rest = train, train.take(~(late | new))
        self._later = _Held.of(self.rest, train.take(late & train.liked), seed)
        self._unseen = bool((new & train.liked).any())
        half_life = None
        self.trial: ListModel | None = None
        if len(self._later.user) and self.rest.liked.any():
            half_life = max(HALF_LIVES, key=lambda one: self._later.ndcg(self.rest.recent(one)))
            tuned = _without_content(self.rest, PENALTIES, half_life, MOST_TUNED)
            penalty = max(tuned, key=lambda one: self._later.tried([one])[0]).penalty
            (best,) = _without_content(self.rest, [penalty], half_life)
            best = self._later.best([replace(best, trend=one) for one in TRENDS])
            few = self.rest.first(FEW).matrix()[self._later.users]
            self.trial = self._later.best([replace(best, prior=one) for one in PRIORS], few)
        chosen = self.trial
        (model,) = _without_content(train, [chosen.penalty if chosen else PENALTIES[1]], half_life, few=FEW)
        self.model = replace(model, trend=chosen.trend, prior=chosen.prior) if chosen else model

    def fit(self, content: np.ndarray) -> ListModel:
        """Return the model that knows ``content``, float32 [movies, f], of every movie; f may be 0."""
        model = _with_content(self.model, self.train, content)
        if self.trial is None or not content.size:
            return model
        trial = _with_content(self.trial, self.rest, content)
        trial = self._later.best([replace(trial, lean=one, blend=0.0) for one in LEANS])
        model, blends = replace(model, lean=trial.lean), (0.0, *BLENDS)
        if not self._unseen:
            return model
        values = self._later.tried([replace(trial, blend=one) for one in blends])
        kept = [one for one, value in zip(blends, values, strict=True) if value >= (1 - PRICE) * values[0]]
        return replace(model, blend=max(kept))


def fit(train: Ratings, content: np.ndarray, held: tuple[np.ndarray, np.ndarray], seed: int) -> ListModel:
    """Return the model of ``train`` that knows ``content``; see ``Fitter``."""
    return Fitter(train, held, seed).fit(content)


def ease_alone(train: Ratings, held: tuple[np.ndarray, np.ndarray], seed: int) -> ListModel:
    """Return plain EASE, on likes alone, with the penalty chosen on ``held`` as ``fit`` does: the baseline to beat."""
    train, (late, new) = train.without_idle_users(), held
    rest, later = train.take(~(late | new) & train.liked), train.take(late & train.liked)
    asked = _Held.of(rest, later, seed)
    best = PENALTIES[1]
    if len(asked.user):
        plain = (replace(one, prior=0.0) for one in _without_content(rest, PENALTIES, None, MOST_TUNED))
        best = max(plain, key=lambda one: asked.tried([one])[0]).penalty
    (model,) = _without_content(train.take(train.liked), [best], None)
    return replace(model, prior=0.0)


def _without_content(
    train: Ratings, penalties: Sequence[float], half_life: float | None, most: int | None = None, few: int = 0
) -> Iterator[ListModel]:
    """Yield a model for each penalty: they share everything but ``weights``, which are in memory one at a time."""
    counts = np.bincount(train.movie, minlength=train.n_movies)
    count = min(most or MOST_KNOWN, max(1, np.count_nonzero(counts >= LEAST_RATINGS)))
    known = np.sort(np.argsort(-counts, kind="stable")[:count])
    rated = _some(train.matrix())[:, known]
    recent = train.recent(half_life)
    recent = (recent / max(recent.max(), 1e-12)).astype(np.float32)
    none = np.zeros((train.n_movies, 0), np.float32)
    products, share = gram(rated), np.asarray(rated.mean(axis=0), np.float32)[0]
    lift = (products + SHRUNK * share) / (np.diag(products)[:, None] + SHRUNK) - share if few else none
    first = float(train.recent(None).max() / train.n_users)
    for one in penalties:
        yield ListModel(known, ease(products, one), none, none.T, recent, one, lift, first, few)


def _with_content(model: ListModel, train: Ratings, content: np.ndarray) -> ListModel:
    centred = (content - content[model.known].mean(axis=0)).astype(np.float32)
    return replace(model, content=centred, mapped=content_map(_some(train.matrix()), centred, model.known))


def _some(rated: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return the MOST_USERS users with most ratings."""
    return rated[np.argsort(-np.diff(rated.indptr), kind="stable")[:MOST_USERS]]


@dataclass(frozen=True)
class _Held:
    """Likes that were held out, of the ``users`` judged; ``rated`` is the rest of train, which lists come from."""

    users: np.ndarray
    rated: sparse.csr_matrix
    user: np.ndarray
    movie: np.ndarray

    @classmethod
    def of(cls, rest: Ratings, later: Ratings, seed: int) -> "_Held":
        judged = np.sort(hashing.lowest(JUDGED, seed, "judged lists", np.arange(rest.n_users)))
        place = np.full(rest.n_users, -1)
        place[judged] = np.arange(len(judged))
        asked = place[later.user] >= 0
        return cls(judged, rest.matrix()[judged], place[later.user[asked]], later.movie[asked])

    def ndcg(self, scores: np.ndarray) -> float:
        """Return the mean NDCG@10 of lists by ``scores``, float32 [movies], the same for all users."""
        return self._ndcg(lambda start, stop: np.broadcast_to(scores, (stop - start, len(scores))))

    def tried(self, models: Sequence[ListModel], rated: sparse.csr_matrix | None = None) -> list[float]:
        """Return the mean NDCG@10 of the lists of each of ``models``, made from ``rated``, all that is known of users.

        The models differ in lean, blend, trend or prior alone.
        """
        rated = self.rated if rated is None else rated
        by_content, by_likes = models[0].parts(rated)

        def scores(model: ListModel) -> Callable[[int, int], np.ndarray]:
            return lambda a, b: model.joined(rated[a:b], by_content[a:b], by_likes[a:b])

        return [self._ndcg(scores(model)) for model in models]

    def best(self, models: Sequence[ListModel], rated: sparse.csr_matrix | None = None) -> ListModel:
        """Return the first of ``models`` that none is ``tried`` better than."""
        return max(zip(self.tried(models, rated), models, strict=True), key=lambda pair: pair[0])[1]

    def _ndcg(self, block: Callable[[int, int], np.ndarray]) -> float:
        seen = self.rated.indptr, self.rated.indices
        lists, _ = ranking.top_k(block, self.rated.shape[0], seen, K)
        return float(ranking.recall_ndcg(lists, self.user, self.movie, K)[2].mean())
