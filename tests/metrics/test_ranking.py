"""Lists: the best of each user, ties by lot, and how good they are by other means."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from utils.handoff.hashing import hashed
from utils.metrics import click, ranking
from utils.metrics.checks import EvaluationError

TAGS = {"trainer": "torch", "model": "seed", "features": "ids", "seed": 1, "split": "random", "slice": "warm"}


def csr(seen: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.cumsum([0] + [len(s) for s in seen]), np.array([m for s in seen for m in s], np.int64)


def best(scores: np.ndarray, k: int, seed: int = 0) -> np.ndarray:
    return ranking.top_k(lambda a, b: scores[a:b], len(scores), csr([[]] * len(scores)), k, seed=seed)[0]


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 12), st.integers(1, 15), st.integers(1, 4))
def test_top_k_equals_a_plain_sort_and_never_recommends_what_was_seen(
    seed: int, n_users: int, movies: int, k: int, block: int
) -> None:
    generator = np.random.default_rng(seed)
    table = generator.integers(0, 4, (n_users, movies)).astype(np.float32)
    before = table.copy()
    seen = [list(np.flatnonzero(generator.random(movies) < 0.4)) for _ in range(n_users)]
    mask = generator.random(movies) < 0.8
    items, scores = ranking.top_k(
        lambda a, b: table[a:b], n_users, csr(seen), k, block=block, candidates=mask, seed=seed
    )
    assert (table == before).all()
    for user in range(n_users):
        lots = hashed(seed, "ties", np.full(movies, user), np.arange(movies))
        left = [m for m in range(movies) if mask[m] and m not in seen[user]]
        expected = sorted(left, key=lambda m: (-table[user, m], lots[m]))[:k]
        assert items[user].tolist() == expected + [-1] * (k - len(expected))
        assert scores[user].tolist() == [table[user, m] for m in expected] + [-np.inf] * (k - len(expected))


def test_ties_fall_by_lot_and_not_by_id() -> None:
    # A model that knows nothing: each of 50 movies comes in about a tenth of the lists of five.
    lists = best(np.zeros((2000, 50), np.float32), 5)
    counts = Counter(lists.ravel().tolist())
    assert min(counts.values()) > 140 and max(counts.values()) < 260
    user, movie = np.arange(2000), np.full(2000, 0)
    assert ranking.recall_ndcg(lists, user, movie, 5)[1].mean() == pytest.approx(0.1, abs=0.03)
    assert Counter(lists[:, 0].tolist()).most_common(1)[0][1] < 80, "nor do first places"
    assert not np.array_equal(lists, best(np.zeros((2000, 50), np.float32), 5, seed=1))
    assert np.array_equal(lists[:7], best(np.zeros((7, 50), np.float32), 5)), "whatever users there are beside"


@pytest.mark.parametrize(
    ("scores", "seen", "message"),
    [
        (np.full((1, 3), np.nan), [[]], "Scores of users 0 to 0 have shape .* or hold nan"),
        (np.zeros((1, 3)), [[7]], "seen holds movies 7 to 7, but scores have 3 columns"),
        (np.zeros((1, 3)), [[], [1]], "seen has indptr .* for 1 users"),
    ],
)
def test_top_k_refuses(scores: np.ndarray, seen: list[list[int]], message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        ranking.top_k(lambda a, b: scores, 1, csr(seen), 2)


def test_recall_and_ndcg_by_hand() -> None:
    recommended = np.array([[5, 2, 7], [1, 0, -1], [3, 4, 5]])
    # User 0 likes 2, 7, 8, 9 (hits at ranks 2 and 3); user 1 likes 1 (rank 1); user 2 has nothing held out.
    users, recall, ndcg = ranking.recall_ndcg(recommended, np.array([1, 0, 0, 0, 0]), np.array([1, 2, 7, 8, 9]), 3)
    assert users.tolist() == [0, 1]
    assert recall.tolist() == [2 / 4, 1]
    ideal = 1 + 1 / np.log2(3) + 1 / 2
    assert ndcg == pytest.approx([(1 / np.log2(3) + 1 / 2) / ideal, 1])


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 10))
def test_ndcg_equals_scikit_learn(seed: int, k: int) -> None:
    generator = np.random.default_rng(seed)
    scores = generator.permuted(np.tile(np.arange(12, dtype=np.float32), (6, 1)), axis=1)
    liked = generator.random((6, 12)) < 0.3
    items = best(scores, 12)
    users, recall, ndcg = ranking.recall_ndcg(items, *np.nonzero(liked), k)
    assert users.tolist() == np.flatnonzero(liked.any(1)).tolist()
    for user, value, found in zip(users, ndcg, recall, strict=True):
        assert value == pytest.approx(ndcg_score(liked[[user]], scores[[user]], k=k))
        assert found == liked[user][items[user, :k]].sum() / liked[user].sum()


def test_rows_of_metrics() -> None:
    generator = np.random.default_rng(0)
    items = np.argsort(generator.random((60, 30)), axis=1)
    user, movie = np.nonzero(generator.random((60, 30)) < 0.1)
    table = click.metrics_table(click.ranking_rows(items, user, movie, TAGS))
    assert list(table.metric) == ["recall@10", "ndcg@10"]
    assert table.value.tolist() == [part.mean() for part in ranking.recall_ndcg(items, user, movie, 10)[1:]]
    assert ((table.low < table.value) & (table.value < table.high)).all()
    assert (table.n == len(np.unique(user))).all()
    none = click.ranking_rows(items, np.zeros(0, int), np.zeros(0, int), TAGS)
    assert none[0]["n"] == 0 and np.isnan(none[0]["value"])


@pytest.mark.parametrize(
    ("recommended", "user", "movie", "message"),
    [
        ([[1, 1]], [0], [1], r"recommended\[0\] holds a movie twice"),
        ([[1, 2]], [3], [1], "user_index is from 3 to 3, recommended has 1 rows"),
        ([[1]], [0], [1], r"expected \[users, at least k=2\]"),
        ([[1, 2]], [0], [-4], "movie_index holds negative numbers"),
        ([[1, 2]], [0, 0], [1], "must be"),
    ],
)
def test_lists_that_cannot_be_judged(recommended: list, user: list, movie: list, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        ranking.recall_ndcg(np.array(recommended), np.array(user), np.array(movie), 2)
