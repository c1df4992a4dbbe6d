"""Baselines, against examples worked by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import cosine_similarity

from utils.handoff.hashing import hashed
from utils.handoff.parameters import ParameterError
from utils.metrics import ranking
from utils.model import baselines
from utils.model.baselines import BaselineError

# Users 0 to 3, movies 0 to 4; user 3 and movie 4 have no rating. 5 of 8 are likes.
USER = np.array([0, 0, 0, 1, 1, 2, 2, 2])
MOVIE = np.array([0, 1, 2, 0, 1, 0, 2, 3])
LABEL = np.array([1, 1, 0, 1, 1, 0, 0, 1], np.float32)
MEAN = 5 / 8


def fit(name: str, **options) -> baselines.Fitted:
    return baselines.fit(name, USER, MOVIE, LABEL, 4, 5, **options)


def ratings(seed: int, users: int = 40, movies: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    user, movie = np.nonzero(generator.random((users, movies)) < 0.4)
    taste = generator.normal(0, 1, users)[user] + generator.normal(0, 1, movies)[movie]
    return user, movie, (generator.random(len(user)) < 1 / (1 + np.exp(-taste))).astype(np.float32)


def test_means_by_hand():
    assert fit("global mean").block(np.arange(0, 4)) == pytest.approx(np.full((4, 5), MEAN))
    # k = 2 ratings at the mean are added: user 0 has 2 likes of 3, users without a rating keep the mean.
    user = fit("user mean", shrinkage=2).block(np.arange(0, 4))
    expected = [(2 + 2 * MEAN) / 5, (2 + 2 * MEAN) / 4, (1 + 2 * MEAN) / 5, MEAN]
    assert user == pytest.approx(np.tile(np.array(expected)[:, None], 5))
    movie = fit("movie mean", shrinkage=2).block(np.arange(0, 4))
    expected = [(2 + 2 * MEAN) / 5, (2 + 2 * MEAN) / 4, 2 * MEAN / 4, (1 + 2 * MEAN) / 3, MEAN]
    assert movie == pytest.approx(np.tile(expected, (4, 1)))


def test_without_shrinkage_means_are_plain_and_the_unknown_still_have_one():
    assert fit("user mean", shrinkage=0).block(np.arange(0, 4))[:, 0] == pytest.approx([2 / 3, 1, 1 / 3, MEAN])
    assert fit("movie mean", shrinkage=0).block(np.arange(0, 1))[0] == pytest.approx([2 / 3, 1, 0, 1, MEAN])


def test_biases_equal_ridge_regression_on_one_hot_users_and_movies():
    user, movie, label = ratings(0)
    design = np.hstack([np.eye(41)[user], np.eye(31)[movie]])
    ridge = Ridge(alpha=3, fit_intercept=False).fit(design, label - label.mean())
    expected = label.mean() + ridge.coef_[:41, None] + ridge.coef_[41:]
    fitted = baselines.fit("user+movie bias", user, movie, label, 41, 31, shrinkage=3)
    assert expected.min() < 0 and expected.max() > 1
    assert fitted.block(np.arange(0, 41)) == pytest.approx(expected.clip(0, 1), abs=1e-5)
    # The last user and the last movie have no rating: together they get the mean.
    assert fitted.pairs(np.array([40]), np.array([30])) == pytest.approx([label.mean()], abs=1e-6)


def test_popularity_counts_likes():
    fitted = fit("popularity")
    assert fitted.block(np.arange(1, 3)).tolist() == [[2, 2, 0, 1, 0]] * 2
    assert not fitted.probability


def test_item_knn_by_hand():
    # Users 0 and 1 like movies 0 and 1, user 2 likes movie 3: movies 0 and 1 have cosine 1, all others 0.
    fitted = fit("item-knn")
    assert fitted.block(np.arange(0, 4)) == pytest.approx(
        np.array([[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0] * 5, [0] * 5])
    )
    # User 3 likes only movie 1 of a second train: movie 0 is likened to it by 2 / sqrt(2 * 3).
    user, movie, label = np.append(USER, 3), np.append(MOVIE, 1), np.append(LABEL, 1)
    again = baselines.fit("item-knn", user, movie, label, 4, 5)
    assert again.block(np.arange(3, 4))[0] == pytest.approx([2 / np.sqrt(6), 0, 0, 0, 0])


@pytest.mark.parametrize("neighbours", [3, 100])
def test_item_knn_equals_scikit_learn_and_a_plain_sort(neighbours):
    user, movie, label = ratings(1)
    likes = np.zeros((40, 30))
    likes[user[label == 1], movie[label == 1]] = 1
    cosine = cosine_similarity(likes.T)
    np.fill_diagonal(cosine, 0)
    near = np.zeros_like(cosine)
    for scored in range(30):
        # The block's float32 decides what ties, and a hash who wins then.
        lots = hashed(0, "ties", np.full(30, scored), np.arange(30))
        best = np.lexsort((lots, -cosine[scored].astype(np.float32)))[:neighbours]
        near[best, scored] = cosine[scored, best]
    fitted = baselines.fit("item-knn", user, movie, label, 40, 30, neighbours=neighbours)
    assert fitted.block(np.arange(5, 40)) == pytest.approx((likes @ near)[5:], abs=1e-5)


@pytest.mark.parametrize("name", baselines.BASELINES)
def test_pairs_and_blocks_agree_and_stay_finite(name, monkeypatch):
    monkeypatch.setattr(baselines, "_PRODUCTS", 50)
    user, movie, label = ratings(2)
    fitted = baselines.fit(name, user, movie, label, 42, 33, neighbours=5)
    grid = np.vstack([fitted.block(np.arange(0, 20)), fitted.block(np.arange(20, 42))])
    assert grid.shape == (42, 33) and grid.dtype == np.float32 and np.isfinite(grid).all()
    asked = np.divmod(np.random.default_rng(0).permutation(42 * 33), 33)
    scores = fitted.pairs(*asked)
    assert scores.dtype == np.float32
    assert scores == pytest.approx(grid[asked], abs=1e-5)
    assert fitted.pairs(np.zeros(0, int), np.zeros(0, int)).shape == (0,)
    if fitted.probability:
        assert grid.min() >= 0 and grid.max() <= 1
    else:
        assert (grid[:, 30:] == 0).all()


def test_nothing_but_the_likes_of_train_changes_item_knn():
    user, movie, label = ratings(3)
    liked = label == 1
    whole = baselines.fit("item-knn", user, movie, label, 40, 30)
    likes = baselines.fit("item-knn", user[liked], movie[liked], label[liked], 40, 30)
    assert (whole.block(np.arange(0, 40)) == likes.block(np.arange(0, 40))).all()


def test_neighbours_rank_two_kinds_of_taste_and_popularity_cannot():
    # Even users like even movies, odd users odd ones, each a random half of them: the rest is to be found.
    generator = np.random.default_rng(4)
    likes = (np.arange(60)[:, None] + np.arange(40)) % 2 == 0
    train = likes & (generator.random(likes.shape) < 0.5)
    user, movie = np.nonzero(train)
    seen = np.r_[0, np.cumsum(train.sum(1))], movie
    found = {}
    for name in ("popularity", "item-knn"):
        fitted = baselines.fit(name, user, movie, np.ones(len(user)), 60, 40)
        items, _ = ranking.top_k(lambda a, b, one=fitted: one.block(np.arange(a, b)), 60, seen, 5, block=16)
        found[name] = ranking.recall_ndcg(items, *np.nonzero(likes & ~train), 5)[2].mean()
    assert found["item-knn"] > 0.99
    assert found["popularity"] < 0.7


@pytest.mark.parametrize(
    ("user", "movie", "label", "message"),
    [
        ([0, 7], [0, 1], [0, 1], "user_index is from 0 to 7, but there are 3: give places counted from 0, not ids"),
        ([0, 1], [0, -1], [0, 1], "movie_index is from -1 to 0, but there are 3"),
        ([0, 1], [0], [0, 1], r"user_index \(2,\) and movie_index \(1,\) must be"),
        ([0, 1], [0, 1], [0, 4], r"label\[1\] is 4: labels must be 0 or 1"),
        ([0, 1], [0, 1], [0], "give one label a rating"),
        ([], [], [], "give one label a rating, one rating at least"),
    ],
)
def test_refusals(user, movie, label, message):
    with pytest.raises(BaselineError, match=message):
        baselines.fit("user mean", np.array(user), np.array(movie), np.array(label), 3, 3)


def test_parameters_are_refused_by_name():
    with pytest.raises(ParameterError, match="name='svd' is not known. Choose one of: 'global mean', 'user mean'"):
        fit("svd")
    with pytest.raises(ParameterError, match="neighbours=0 must be a whole number of at least 1"):
        fit("item-knn", neighbours=0)
    with pytest.raises(ParameterError, match="shrinkage=-1 must be a number of 0 or more"):
        fit("user mean", shrinkage=-1)


@pytest.mark.parametrize("name", baselines.BASELINES)
def test_pairs_outside_the_grid_are_refused(name):
    with pytest.raises(BaselineError, match="movie_index is from 9 to 9, but there are 5"):
        fit(name).pairs(np.array([0]), np.array([9]))
