"""Lists in closed form: the formulas by other means, what is chosen and on what, and what each movie is scored by."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import Ridge

from utils.metrics import ranking
from utils.model import list_model
from utils.model.baselines import BaselineError, ease, gram
from utils.model.list_model import DISLIKED, SHRUNK, ListModel, Ratings

DAY = 86_400
KINDS = np.arange(40) % 2
CONTENT = np.eye(2, dtype=np.float32)[KINDS]


def tastes(seed: int = 0, users: int = 80, movies: int = 40, rated: int = 30) -> Ratings:
    """Even users like even movies, odd ones odd movies, nine times of ten; movies from ``rated`` on have no rating."""
    generator = np.random.default_rng(seed)
    user, movie = np.nonzero(generator.random((users, rated)) < 0.6)
    liked = (user % 2 == movie % 2) ^ (generator.random(len(user)) < 0.1)
    return Ratings(user, movie, liked, generator.integers(0, 900 * DAY, len(user)), users, movies)


def held(train: Ratings, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """A tenth of the ratings, and all ratings of two movies."""
    new = train.movie < 2
    return (np.random.default_rng(seed).random(len(train.user)) < 0.1) & ~new, new


@pytest.fixture(scope="module")
def model() -> ListModel:
    train = tastes()
    return list_model.fit(train, CONTENT, held(train), seed=1)


# The formulas


def test_ease_is_the_scaled_inverse_with_a_diagonal_of_zero() -> None:
    rated = tastes(rated=12, movies=12).matrix()
    inverse = np.linalg.inv(rated.toarray().T.astype(float) @ rated.toarray() + 50 * np.eye(12))
    wanted = np.eye(12) - inverse / np.diag(inverse)
    assert ease(gram(rated), 50) == pytest.approx(wanted, abs=1e-5)
    assert not np.diag(ease(gram(rated), 50)).any() and not np.diag(wanted).round(12).any()
    # Each column is the ridge regression of a movie's likes on those of all others.
    column = Ridge(alpha=50, fit_intercept=False).fit(rated.toarray()[:, 1:], rated.toarray()[:, 0]).coef_
    assert ease(gram(rated), 50)[1:, 0] == pytest.approx(column, abs=1e-4)
    with pytest.raises(BaselineError, match="EASE cannot invert the likes of 12 movies with a penalty of -500"):
        ease(gram(rated), -500)


def test_the_map_of_content_is_two_ridge_regressions() -> None:
    generator, train = np.random.default_rng(3), tastes()
    content, known = generator.normal(size=(40, 5)).astype(np.float32), np.arange(3, 28)
    mine = list_model.profiles(train.matrix(), content)
    weight = train.matrix().toarray().sum(axis=1, keepdims=True)
    assert mine == pytest.approx(train.matrix().toarray() @ content / np.sqrt(weight), rel=1e-4)

    def penalty(matrix: np.ndarray) -> float:
        return list_model.RIDGE * float(np.mean(np.diag(matrix.T @ matrix)))

    likes = train.matrix().toarray()[:, known]
    of_movies = Ridge(alpha=penalty(mine), fit_intercept=False).fit(mine, likes).coef_
    mapped = Ridge(alpha=penalty(content[known]), fit_intercept=False).fit(content[known], of_movies).predict(content).T
    assert list_model.content_map(train.matrix(), content, known) == pytest.approx(mapped, abs=1e-4)


def test_ratings_as_a_matrix_and_as_likes_that_age() -> None:
    liked = np.array([True, False, True, True])
    given = Ratings(np.array([0, 0, 1, 2]), np.array([1, 2, 1, 0]), liked, np.array([0, 20, 20, 10]) * DAY, 3, 4)
    assert given.matrix().toarray() == pytest.approx(
        np.array([[0, 1, DISLIKED, 0], [0, 1, 0, 0], [1, 0, 0, 0]]), rel=1e-6
    )
    assert given.recent(10).tolist() == [0.5, 1.25, 0, 0] and given.recent(None).tolist() == [1, 2, 0, 0]
    assert given.take(liked).recent(None).tolist() == [1, 2, 0, 0] and len(given.take(np.array([3])).user) == 1


# Which movie is scored by what


def test_a_new_movie_with_the_content_of_liked_ones_is_preferred(model: ListModel) -> None:
    scores = model.scores(tastes().matrix())
    new = np.arange(30, 40)
    assert not set(new) & set(model.known)
    own, other = scores[:, new][:, KINDS[new] == 0], scores[:, new][:, KINDS[new] == 1]
    even = np.arange(80) % 2 == 0
    assert (own[even].min(axis=1) > other[even].max(axis=1)).mean() > 0.95
    assert (own[~even].max(axis=1) < other[~even].min(axis=1)).mean() > 0.95


def test_movies_with_few_ratings_and_those_beyond_the_most_are_new(monkeypatch: pytest.MonkeyPatch) -> None:
    train = tastes()
    few = train.take(np.flatnonzero((train.movie >= 4) | (np.cumsum(train.movie == 3) <= 4) & (train.movie == 3)))
    none = np.zeros(len(few.user), bool)
    counts = np.bincount(few.movie, minlength=40)
    assert counts[3] == list_model.LEAST_RATINGS - 1
    assert list_model.fit(few, CONTENT, (none, none), 1).known.tolist() == list(range(4, 30))
    monkeypatch.setattr(list_model, "MOST_KNOWN", 7)
    cut = list_model.fit(few, CONTENT, (none, none), 1)
    assert len(cut.known) == 7 and cut.weights.shape == (7, 7)
    assert counts[cut.known].min() >= np.delete(counts, cut.known).max(), "the most rated ones"
    other = replace(cut, weights=cut.weights + 1).scores(few.matrix()) != cut.scores(few.matrix())
    assert set(np.flatnonzero(other.any(axis=0))) == set(cut.known), "all others are scored by their content"


def test_a_user_without_ratings_gets_what_was_liked_lately(model: ListModel) -> None:
    scores = model.scores(sparse.csr_matrix(np.outer([0, 1, 0], np.eye(40)[0]).astype(np.float32)))
    assert np.array_equal(scores[[0, 2]], np.stack([model.recent] * 2))
    assert not np.array_equal(scores[1], model.recent)
    assert model.recent.max() == 1 and not model.recent[30:].any()


def test_a_dislike_is_no_like_and_counts_less(model: ListModel) -> None:
    rows = sparse.csr_matrix(np.float32([[1], [DISLIKED]]) * np.eye(40, dtype=np.float32)[2])
    liked, disliked = replace(model, trend=0.0, prior=0.0, lean=0.0, few=0).scores(rows)
    assert disliked[model.known] == pytest.approx(DISLIKED * liked[model.known], abs=1e-5)


def test_a_stranger_gets_what_those_like_who_liked_the_same(model: ListModel) -> None:
    rated, likes = tastes().matrix().toarray()[:, :30], [3, 8, 12]
    all_like = rated.mean(axis=0)
    of_each = [
        (rated.T @ rated[:, like] + SHRUNK * all_like) / (rated[:, like] @ rated[:, like] + SHRUNK) - all_like
        for like in likes
    ]
    rows = sparse.csr_matrix(np.isin(np.arange(40), likes)[None].astype(np.float32))
    found = replace(model, trend=0.0, lean=0.0).scores(rows)[0, :30]
    assert model.most == pytest.approx(tastes().recent(None).max() / 80)
    assert found == pytest.approx(np.mean(of_each, axis=0) + model.most * model.recent[:30], abs=1e-5)
    trend = replace(model, trend=0.5, lean=0.0).scores(rows)[0, :30] - found
    assert trend == pytest.approx(0.5 * model.recent[:30], abs=1e-5)
    more = sparse.csr_matrix(np.isin(np.arange(40), [*likes, 20])[None].astype(np.float32))
    assert np.array_equal(model.scores(more), replace(model, few=0).scores(more)), (
        "someone with four likes is no stranger"
    )


# What is chosen, and on what


def test_choices_come_from_their_grids_and_the_model_is_fitted_on_all() -> None:
    train = tastes()
    late, new = held(train)
    found = list_model.fit(train, CONTENT, (late, new), 1)
    assert found.penalty in list_model.PENALTIES and found.trend in list_model.TRENDS
    assert found.blend in (0.0, *list_model.BLENDS)
    whole = list_model.fit(train, CONTENT, (np.zeros_like(late), new), 1)
    assert (whole.penalty, whole.trend, whole.blend) == (list_model.PENALTIES[1], 0.0, 1.0), "nothing held out"
    for one in (found, whole):
        assert np.array_equal(one.known, np.arange(30)), "the model returned knows what was held out"
    ordered = train.matrix()[np.argsort(-np.diff(train.matrix().indptr), kind="stable")]
    plain = ease(gram(ordered[:, :30]), found.penalty)
    assert found.weights == pytest.approx(plain, abs=1e-5)


@pytest.mark.parametrize(("price", "blend"), [(1.0, max(list_model.BLENDS)), (0.02, None)])
def test_new_movies_stand_as_high_as_known_ones_allow(
    price: float, blend: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_model, "PRICE", price)
    for name in ("PRIORS", "TRENDS"):
        monkeypatch.setattr(list_model, name, (0.0,))
    train = tastes()
    late, new = held(train)
    found = list_model.fit(train, CONTENT, (late, new), 1)
    assert blend in (None, found.blend)
    rest = train.take(~(late | new))
    trial = list_model.fit(rest, CONTENT, (np.zeros(len(rest.user), bool),) * 2, 1)
    trial = replace(trial, prior=0.0, lean=found.lean)
    trial = replace(trial, weights=ease(gram(rest.matrix()[:, trial.known]), found.penalty))

    def reached(blend: float) -> float:
        scores = replace(trial, blend=blend).scores(rest.matrix())
        seen = rest.matrix()
        lists, _ = ranking.top_k(lambda a, b: scores[a:b], 80, (seen.indptr, seen.indices), list_model.K)
        asked = train.take(late & train.liked)
        return float(ranking.recall_ndcg(lists, asked.user, asked.movie, list_model.K)[2].mean())

    assert reached(found.blend) >= (1 - price) * reached(0) - 1e-9
    higher = [one for one in list_model.BLENDS if one > found.blend]
    assert all(reached(one) < (1 - price) * reached(0) for one in higher)


def test_where_fashions_pass_what_is_liked_lately_leads() -> None:
    # Two visits of each user, on days of 2,000; the ten movies in fashion for 400 days are all they like.
    generator = np.random.default_rng(0)
    day = np.sort(generator.integers(0, 2000, (600, 2)), axis=1).ravel()
    user = np.repeat(np.arange(600), 8)
    movie = np.concatenate([10 * (one // 400) + generator.permutation(10)[:4] for one in day])
    pairs, first = np.unique(user * 50 + movie, return_index=True)
    time = np.repeat(day, 4)[first] * DAY
    train = Ratings(user[first], movie[first], np.ones(len(pairs), bool), time, 600, 50)
    late, none = time > np.quantile(time, 0.9), np.zeros((50, 0), np.float32)
    found = list_model.fit(train, none, (late, np.zeros_like(late)), 1)
    assert set(np.argsort(-found.recent)[:10]) == set(range(40, 50)) and found.trend > 0
    still = list_model.fit(replace(train, timestamp=0 * time), none, (late, np.zeros_like(late)), 1)
    likes = np.bincount(train.movie, minlength=50)
    assert still.recent == pytest.approx(likes / likes.max()), "without time, likes do not age"


def test_plain_ease_looks_at_likes_alone() -> None:
    train = tastes()
    late, new = held(train)
    found = list_model.ease_alone(train, (late, new), 1)
    assert found.penalty in list_model.PENALTIES and found.trend == 0 and found.content.shape == (40, 0)
    moved = replace(train, movie=np.where(train.liked, train.movie, 39 - train.movie))
    again = list_model.ease_alone(moved, (late, new), 1)
    assert np.array_equal(found.weights, again.weights) and np.array_equal(found.known, again.known)


def test_nothing_liked_is_refused() -> None:
    train = replace(tastes(), liked=np.zeros(len(tastes().user), bool))
    with pytest.raises(BaselineError, match="Nobody likes anything in train"):
        list_model.fit(train, CONTENT, held(train), 1)


def test_users_without_ratings_change_nothing() -> None:
    train = tastes(users=300)
    spread = replace(train, user=train.user * 3 + 1, n_users=1000)
    for fitted in (
        lambda given: list_model.fit(given, CONTENT, held(given), 1),
        lambda given: list_model.ease_alone(given, held(given), 1),
    ):
        one, other = fitted(train), fitted(spread)
        assert all(np.array_equal(getattr(one, name), getattr(other, name)) for name in vars(one))
