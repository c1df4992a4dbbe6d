"""Metrics, against scikit-learn and against examples worked by hand."""

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, ndcg_score, roc_auc_score

from utils.handoff.parameters import ParameterError
from utils.metrics import calibration, click, ranking
from utils.metrics.click import EvaluationError

TAGS = {"trainer": "torch", "model": "seed", "features": "ids", "seed": 1, "split": "random", "slice": "warm"}

tied_rows = st.lists(
    st.tuples(st.integers(0, 4), st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0])), min_size=2, max_size=60
)


def clicks(users: int, rows: int, seed: int = 0, decimals: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    user = generator.integers(0, users, rows) * 7 + 3
    label = (generator.random(rows) < 0.55).astype(np.float32)
    score = np.round(1 / (1 + np.exp(-(generator.normal(size=rows) + label))), decimals).astype(np.float32)
    return user, label, score


# --- AUC, logloss, GAUC


def test_auc_by_hand():
    # Liked 0.8 and 0.4 against other 0.4 and 0.1: two wins for 0.8; a tie and a win for 0.4: 3.5 of 4.
    assert click.auc(np.array([1, 1, 0, 0]), np.array([0.8, 0.4, 0.4, 0.1])) == 3.5 / 4
    assert click.auc(np.array([1, 0, 1, 0]), np.full(4, 0.3, np.float32)) == 0.5
    assert np.isnan(click.auc(np.ones(3), np.arange(3.0)))
    assert np.isnan(click.auc(np.zeros(0), np.zeros(0)))


@settings(deadline=None)
@given(tied_rows)
def test_auc_and_gauc_equal_scikit_learn_on_heavy_ties(rows):
    user, label, score = (np.array(column) for column in zip(*rows, strict=True))
    if label.all() or not label.any():
        assert np.isnan(click.auc(label, score))
    else:
        assert click.auc(label, score) == pytest.approx(roc_auc_score(label, score), abs=1e-12)
    two_classes = [u for u in np.unique(user) if 0 < label[user == u].mean() < 1]
    value, used, left_out = click.gauc(user, label, score.astype(np.float32))
    assert (used, left_out) == (len(two_classes), len(np.unique(user)) - len(two_classes))
    if two_classes:
        own = [roc_auc_score(label[user == u], score[user == u]) for u in two_classes]
        assert value == pytest.approx(np.average(own, weights=[(user == u).sum() for u in two_classes]), abs=1e-12)
    else:
        assert np.isnan(value)


@settings(deadline=None)
@given(tied_rows, st.lists(st.integers(0, 3), min_size=5, max_size=5))
def test_weighted_auc_equals_repeating_the_rows(rows, counts):
    user, label, score = (np.array(column) for column in zip(*rows, strict=True))
    counts = np.array(counts)
    repeated = np.repeat(np.arange(len(rows)), counts[user])
    weighted = click.Pairs.of(user, label, score).auc(counts)
    assert weighted == pytest.approx(click.auc(label[repeated], score[repeated]), abs=1e-12, nan_ok=True)


def test_scores_that_differ_in_the_last_bit_are_no_ties():
    close = np.array([np.nextafter(np.float32(0.5), np.float32(1)), 0.5], np.float32)
    assert click.auc(np.array([1, 0]), close) == 1.0


def test_logloss():
    _, label, score = clicks(10, 500)
    assert click.logloss(label, score) == pytest.approx(log_loss(label, score.astype(float)), rel=1e-9)
    assert click.logloss(np.array([1.0]), np.array([0.0], np.float32)) == pytest.approx(-np.log(1e-7))
    assert click.logloss(np.array([0.0]), np.array([1.0], np.float32)) == pytest.approx(-np.log(1e-7))


def test_gauc_by_hand():
    # User 1: 3 rows, AUC 0.5 (one win of two). User 2: 2 rows, AUC 1. User 3 liked everything: left out.
    user = np.array([2, 1, 3, 1, 2, 1, 3])
    label = np.array([1, 1, 1, 0, 0, 0, 1])
    score = np.array([0.9, 0.5, 0.1, 0.6, 0.8, 0.4, 0.2])
    assert click.gauc(user, label, score) == (pytest.approx((3 * 0.5 + 2 * 1) / 5), 2, 1)


@pytest.mark.parametrize(
    ("label", "score", "message"),
    [
        ([0, 1, 0.5], [0.1, 0.2, 0.3], r"label\[2\] is 0.5: labels must be 0 or 1"),
        ([0, 1], [0.1, np.nan], r"score\[1\] is nan: the model diverged"),
        ([0, 1], [0.1], "Shapes .* differ: give one-dimensional arrays of one length"),
    ],
)
def test_refusals(label, score, message):
    with pytest.raises(EvaluationError, match=message):
        click.auc(np.array(label), np.array(score))


def test_logloss_refuses_logits():
    with pytest.raises(EvaluationError, match=r"score\[1\] is 2.5: logloss and calibration need probabilities; apply"):
        click.logloss(np.array([0, 1]), np.array([0.5, 2.5]))


# --- calibration among the rows


def test_the_interval_of_the_calibration_error_holds_its_value_and_covers_the_truth():
    def sample(seed: int, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        generator = np.random.default_rng(seed)
        logit = generator.normal(size=rows)
        label = generator.random(rows) < 1 / (1 + np.exp(-logit))
        return generator.integers(0, max(rows // 20, 1), rows), label, 1 / (1 + np.exp(-1.6 * logit))

    truth = calibration.calibration_error(*sample(10_000, 500_000)[1:])
    covered = 0
    for seed in range(50):
        row = click.evaluate(*sample(seed, 2_000), **TAGS)[3]
        assert 0 <= row["low"] <= row["value"] <= row["high"]
        covered += row["low"] <= truth <= row["high"]
    assert covered >= 42


def test_scores_that_are_no_probabilities_get_auc_and_gauc_only():
    user, label, score = clicks(50, 1_000)
    rows = click.evaluate(user, label, score * 100, **TAGS, probabilities=False)
    assert [row["metric"] for row in rows] == ["auc", "gauc"]
    alone = click.evaluate(user, label, score, **TAGS)
    assert [row["value"] for row in rows] == [pytest.approx(alone[i]["value"]) for i in (0, 2)]
    for metric in (calibration.calibration_error, click.logloss):
        with pytest.raises(EvaluationError, match="logloss and calibration need probabilities; apply the sigmoid"):
            metric(label, score * 100)


# --- intervals and rows


def test_rows_are_tidy_and_bracket_the_value():
    user, label, score = clicks(200, 5_000)
    table = click.metrics_table(click.evaluate(user, label, score, **TAGS))
    assert tuple(table.columns) == click.METRICS_COLUMNS
    assert list(table.metric) == ["auc", "logloss", "gauc", "ece"]
    assert ((table.low < table.value) & (table.value < table.high)).all()
    value, used, _ = click.gauc(user, label, score)
    assert list(table.n) == [5_000, 5_000, used, 5_000]
    assert table.value.tolist() == [
        click.auc(label, score),
        pytest.approx(click.logloss(label, score)),
        value,
        pytest.approx(calibration.calibration_error(label, score)),
    ]


def test_the_order_of_rows_and_the_names_of_users_do_not_matter():
    user, label, score = clicks(50, 1_000, decimals=1)
    shuffled = np.random.default_rng(5).permutation(1_000)
    first = pd.DataFrame(click.evaluate(user, label, score, **TAGS))
    second = pd.DataFrame(click.evaluate(user[shuffled] + 100, label[shuffled], score[shuffled], **TAGS))
    pd.testing.assert_frame_equal(first, second)


def test_an_empty_slice_gives_nan_rows():
    empty = np.zeros(0)
    rows = click.evaluate(empty.astype(int), empty, empty, **TAGS)
    assert [row["n"] for row in rows] == [0, 0, 0, 0]
    assert all(np.isnan([row["value"], row["low"], row["high"]]).all() for row in rows)


def test_one_class_gives_a_logloss_and_no_auc():
    rows = click.evaluate(np.array([1, 2]), np.ones(2), np.array([0.5, 0.6]), **TAGS)
    assert np.isnan([rows[0]["value"], rows[0]["low"], rows[2]["value"]]).all()
    assert rows[1]["low"] <= rows[1]["value"] <= rows[1]["high"]


def test_intervals_cover_the_truth_about_95_times_in_100():
    # Users differ in how well they are predicted, so ratings of one user are dependent: what the bootstrap must see.
    def sample(seed: int, users: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        generator = np.random.default_rng(seed)
        user = np.repeat(np.arange(users), 20)
        label = generator.random(len(user)) < 0.5
        skill = generator.normal(1, 1, users)[user]
        return user, label, 1 / (1 + np.exp(-skill * label - generator.normal(size=len(user))))

    truth = click.auc(*sample(10_000, 40_000)[1:])
    covered = 0
    for seed in range(100):
        row = click.evaluate(*sample(seed, 100), **TAGS)[0]
        covered += row["low"] <= truth <= row["high"]
    assert 87 <= covered <= 100


def test_replicates_must_be_whole():
    user, label, score = clicks(5, 20)
    with pytest.raises(ParameterError, match="replicates=0 must be a whole number of at least 1"):
        click.evaluate(user, label, score, **TAGS, replicates=0)


def test_metric_row_refuses_unknown_tags():
    with pytest.raises(EvaluationError, match="A metrics row needs"):
        click.metric_row("auc", 0.5, (0.4, 0.6), 3, trainer="torch")


def test_summarise_averages_seeds_and_widens_the_interval():
    rows = [
        click.metric_row("auc", value, bounds, n, **(TAGS | {"seed": seed}))
        for seed, value, bounds, n in [(1, 0.7, (0.68, 0.72), 10), (2, 0.8, (0.79, 0.83), 10)]
    ]
    other = click.metric_row("auc", 0.5, (0.4, 0.6), 10, **(TAGS | {"slice": "cold"}))
    summary = click.summarise(click.metrics_table([*rows, other]))
    assert list(summary.slice) == ["warm", "cold"]
    warm = summary.iloc[0]
    assert (warm.value, warm.low, warm.high, warm.seeds, warm.n) == (pytest.approx(0.75), 0.68, 0.83, 2, 10)


def test_a_million_rows_take_seconds():
    user, label, score = clicks(6_000, 1_000_000)
    start = time.perf_counter()
    click.evaluate(user, label, score, **TAGS, replicates=50)
    assert time.perf_counter() - start < 6


# --- ranking


def csr(seen: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.cumsum([0] + [len(s) for s in seen]), np.array([m for s in seen for m in s], np.int64)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 12), st.integers(1, 15), st.integers(1, 4))
def test_top_k_equals_a_plain_sort_and_never_recommends_what_was_seen(seed, n_users, movies, k, block):
    generator = np.random.default_rng(seed)
    table = generator.integers(0, 4, (n_users, movies)).astype(np.float32)
    before = table.copy()
    seen = [list(np.flatnonzero(generator.random(movies) < 0.4)) for _ in range(n_users)]
    mask = generator.random(movies) < 0.8
    items, scores = ranking.top_k(lambda a, b: table[a:b], n_users, csr(seen), k, block, candidates=mask)
    assert (table == before).all()
    for user in range(n_users):
        left = [m for m in range(movies) if mask[m] and m not in seen[user]]
        expected = sorted(left, key=lambda m: (-table[user, m], m))[:k]
        assert items[user].tolist() == expected + [-1] * (k - len(expected))
        assert scores[user].tolist() == [table[user, m] for m in expected] + [-np.inf] * (k - len(expected))


def test_top_k_refuses_nan_and_movie_ids():
    with pytest.raises(EvaluationError, match="Scores of users 0 to 0 have shape .* or hold nan"):
        ranking.top_k(lambda a, b: np.full((b - a, 3), np.nan), 1, csr([[]]), 2)
    with pytest.raises(EvaluationError, match="seen holds movies 7 to 7, but scores have 3 columns"):
        ranking.top_k(lambda a, b: np.zeros((b - a, 3)), 1, csr([[7]]), 2)
    with pytest.raises(EvaluationError, match="seen has indptr .* for 2 users"):
        ranking.top_k(lambda a, b: np.zeros((b - a, 3)), 2, csr([[1]]), 2)


def test_recall_and_ndcg_by_hand():
    recommended = np.array([[5, 2, 7], [1, 0, -1], [3, 4, 5]])
    # User 0 likes 2, 7, 8, 9 (hits at ranks 2 and 3); user 1 likes 1 (rank 1); user 2 has nothing held out.
    users, recall, ndcg = ranking.recall_ndcg(recommended, np.array([1, 0, 0, 0, 0]), np.array([1, 2, 7, 8, 9]), 3)
    assert users.tolist() == [0, 1]
    assert recall.tolist() == [2 / 4, 1]
    ideal = 1 + 1 / np.log2(3) + 1 / 2
    assert ndcg == pytest.approx([(1 / np.log2(3) + 1 / 2) / ideal, 1])


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 10))
def test_ndcg_equals_scikit_learn(seed, k):
    generator = np.random.default_rng(seed)
    scores = generator.permuted(np.tile(np.arange(12, dtype=np.float32), (6, 1)), axis=1)
    liked = generator.random((6, 12)) < 0.3
    items, _ = ranking.top_k(lambda a, b: scores[a:b], 6, csr([[]] * 6), 12)
    users, recall, ndcg = ranking.recall_ndcg(items, *np.nonzero(liked), k)
    assert users.tolist() == np.flatnonzero(liked.any(1)).tolist()
    for user, value, found in zip(users, ndcg, recall, strict=True):
        assert value == pytest.approx(ndcg_score(liked[[user]], scores[[user]], k=k))
        assert found == liked[user][items[user, :k]].sum() / liked[user].sum()


def test_ranking_rows():
    generator = np.random.default_rng(0)
    items = np.argsort(generator.random((60, 30)), axis=1)
    user, movie = np.nonzero(generator.random((60, 30)) < 0.1)
    table = click.metrics_table(click.ranking_rows(items, user, movie, **TAGS))
    assert list(table.metric) == ["recall@10", "ndcg@10"]
    assert ((table.low < table.value) & (table.value < table.high)).all()
    assert (table.n == len(np.unique(user))).all()
    none = click.ranking_rows(items, np.zeros(0, int), np.zeros(0, int), **TAGS)
    assert none[0]["n"] == 0 and np.isnan(none[0]["value"])


@pytest.mark.parametrize(
    ("recommended", "user", "movie", "message"),
    [
        ([[1, 1]], [0], [1], r"recommended\[0\] holds a movie twice"),
        ([[1, 2]], [3], [1], "user_index is from 3 to 3, recommended has 1 rows"),
        ([[1]], [0], [1], r"expected \[users, at least k=2\]"),
        ([[1, 2]], [0], [-4], "movie_index holds negative numbers"),
    ],
)
def test_ranking_refusals(recommended, user, movie, message):
    with pytest.raises(EvaluationError, match=message):
        ranking.recall_ndcg(np.array(recommended), np.array(user), np.array(movie), 2)


def test_a_summary_is_spread_to_be_read() -> None:
    row = {"model": "m", "features": "ids", "split": "random", "seeds": 2, "low": 0.5, "high": 0.75, "n": 1200}
    rows = [
        row | {"slice": "warm", "metric": "auc", "value": 0.625},
        row | {"slice": "cold", "metric": "auc", "value": 0.6, "n": 30},
        row | {"slice": "warm", "metric": "ece", "value": 0.1},
        row | {"features": "ids+genres", "slice": "warm", "metric": "auc", "value": 0.65},
    ]
    table = click.spread(pd.DataFrame(rows), ["auc"])
    assert list(table.columns) == ["warm auc (n=1,200)", "cold auc (n=30)"]
    assert table.loc[("m", "ids", "random", 2)].tolist() == ["0.6250 [0.5000, 0.7500]", "0.6000 [0.5000, 0.7500]"]
    assert table.loc[("m", "ids+genres", "random", 2)].tolist() == ["0.6500 [0.5000, 0.7500]", ""]
