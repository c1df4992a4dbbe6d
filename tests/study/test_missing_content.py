"""Hidden posters and texts: the right share of them, nested, and filled as notebook 05 fills real gaps."""

import numpy as np
import pyarrow as pa
import pytest

from utils.features import feature_store, imputation
from utils.handoff.parameters import ParameterError
from utils.handoff.vector_columns import vector_column, vectors
from utils.study import missing_content

MOVIES = np.arange(100, 1100, dtype=np.int64)
KNOWN = MOVIES[:800]
PARTS = ("poster", "text")


def made(strategy: str, movies: np.ndarray = MOVIES) -> pa.Table:
    """A feature store as notebook 05 makes it: a quarter has no poster, a fifth no text."""
    parts = {}
    for name, every, width in (("poster", 4, 12), ("text", 5, 9)):
        ids = movies[movies % every > 0]
        kinds = np.random.default_rng(width).normal(size=(5, width))
        rows = [1 + kinds[i % 5] + np.random.default_rng([width, i]).normal(0, 0.5, width) for i in ids.tolist()]
        table = pa.table({"movieId": ids, "embedding": vector_column(np.array(rows))})
        parts[name] = feature_store.reduce(table, movies, KNOWN, 6)
    filled = imputation.fill(parts, movies, KNOWN, strategy)
    return feature_store.table(movies, filled)


def flags(table: pa.Table, part: str) -> np.ndarray:
    return table[f"has_{part}"].to_numpy()


@pytest.fixture(scope="module")
def store() -> pa.Table:
    return made("mean")


@pytest.mark.parametrize("strategy", missing_content.STRATEGIES)
def test_nothing_hidden_gives_the_store_back(strategy: str) -> None:
    features = made(strategy)
    again = missing_content.hide(features, KNOWN, 0.0, strategy, seed=1)
    assert again.schema == features.schema
    assert again["movieId"].equals(features["movieId"])
    for part in PARTS:
        real = flags(features, part)
        assert 0 < real.sum() < len(MOVIES)
        assert np.array_equal(flags(again, part), real)
        before, after = vectors(features[part]), vectors(again[part])
        assert np.array_equal(after[real], before[real])
        assert np.allclose(after[~real], before[~real], rtol=0, atol=1e-6)


@pytest.mark.parametrize("made_with", missing_content.STRATEGIES)
def test_real_gaps_are_filled_anew_whatever_the_store_was_made_with(made_with: str, store: pa.Table) -> None:
    one, two = (missing_content.hide(features, KNOWN, 0.3, "mean", seed=1) for features in (store, made(made_with)))
    assert one.equals(two)


@pytest.mark.parametrize("share", missing_content.SHARES[1:])
@pytest.mark.parametrize("strategy", missing_content.STRATEGIES)
def test_about_the_share_is_hidden_and_what_is_left_does_not_change(store, share: float, strategy: str) -> None:
    hidden = missing_content.hide(store, KNOWN, share, strategy, seed=1)
    for part in PARTS:
        real, left = flags(store, part), flags(hidden, part)
        assert not (left & ~real).any(), "what is not there cannot come back"
        deviation = np.sqrt(share * (1 - share) / real.sum())
        assert 1 - left.sum() / real.sum() == pytest.approx(share, abs=4 * deviation)
        assert np.array_equal(vectors(hidden[part])[left], vectors(store[part])[left])
        assert np.isfinite(vectors(hidden[part])).all()


def test_gaps_of_mean_and_zero_by_hand(store: pa.Table) -> None:
    hidden, zeros = (missing_content.hide(store, KNOWN, 0.5, strategy, seed=1) for strategy in ("mean", "zero"))
    for part in PARTS:
        left = flags(hidden, part)
        wanted = vectors(store[part])[left & np.isin(MOVIES, KNOWN)].mean(axis=0, dtype=np.float64)
        assert np.allclose(vectors(hidden[part])[~left], wanted, atol=1e-7)
        assert np.abs(wanted - vectors(store[part])[flags(store, part)].mean(axis=0)).max() > 1e-3
        assert not vectors(zeros[part])[~left].any()


def test_hidden_vectors_have_no_say_in_what_stands_in_for_them(store: pa.Table) -> None:
    left = flags(missing_content.hide(store, KNOWN, 0.5, "neighbour", seed=1), "poster")
    changed = vectors(store["poster"]).copy()
    changed[~left] = 1e6
    other = store.set_column(store.schema.get_field_index("poster"), "poster", vector_column(changed))
    for strategy in missing_content.STRATEGIES:
        one, two = (missing_content.hide(features, KNOWN, 0.5, strategy, seed=1) for features in (store, other))
        assert one.equals(two)


def test_neighbours_restore_hidden_posters_better_than_the_mean(store: pa.Table) -> None:
    errors = {}
    for strategy in ("mean", "neighbour"):
        hidden = missing_content.hide(store, KNOWN, 0.3, strategy, seed=1)
        asked = flags(store, "poster") & ~flags(hidden, "poster") & flags(hidden, "text")
        errors[strategy] = np.square(vectors(hidden["poster"])[asked] - vectors(store["poster"])[asked]).sum()
    assert errors["neighbour"] < 0.8 * errors["mean"]


def test_what_is_missing_at_a_smaller_share_is_missing_at_a_larger_one(store: pa.Table) -> None:
    for part in PARTS:
        left = [
            flags(missing_content.hide(store, KNOWN, share, "mean", seed=1), part) for share in missing_content.SHARES
        ]
        for fewer, more in zip(left[1:], left[:-1], strict=True):
            assert not (fewer & ~more).any() and fewer.sum() < more.sum()


def test_posters_and_texts_are_hidden_independently(store: pa.Table) -> None:
    hidden = missing_content.hide(store, KNOWN, 0.5, "mean", seed=1)
    both = flags(store, "poster") & flags(store, "text")
    poster, text = (~flags(hidden, part)[both] for part in PARTS)
    assert abs(np.corrcoef(poster, text)[0, 1]) < 4 / np.sqrt(both.sum())


def test_the_choice_depends_on_movie_and_seed_and_not_on_the_order_or_the_other_movies(store: pa.Table) -> None:
    left = flags(missing_content.hide(store, KNOWN, 0.3, "mean", seed=1), "poster")
    assert not np.array_equal(left, flags(missing_content.hide(store, KNOWN, 0.3, "mean", seed=2), "poster"))
    rows = np.random.default_rng(0).permutation(len(MOVIES))[:600]
    some = missing_content.hide(store.take(rows), KNOWN[::-1], 0.3, "mean", seed=1)
    assert np.array_equal(some["movieId"].to_numpy(), MOVIES[rows])
    assert np.array_equal(flags(some, "poster"), left[rows])


@pytest.mark.parametrize("known", [0, 1])
def test_with_fewer_than_two_known_movies_the_mean_is_that_of_all(store: pa.Table, known: int) -> None:
    hidden = missing_content.hide(store, MOVIES[1 : 1 + known], 0.3, "mean", seed=1)
    left = flags(hidden, "text")
    wanted = vectors(store["text"])[left].mean(axis=0, dtype=np.float64)
    assert np.allclose(vectors(hidden["text"])[~left], wanted, atol=1e-7)


@pytest.mark.parametrize("strategy", missing_content.STRATEGIES)
def test_nothing_left_gives_zeros(store: pa.Table, strategy: str) -> None:
    bare = store.set_column(store.schema.get_field_index("has_text"), "has_text", pa.array(np.zeros(len(MOVIES), bool)))
    hidden = missing_content.hide(bare, KNOWN, 0.3, strategy, seed=1)
    assert not vectors(hidden["text"]).any()


@pytest.mark.parametrize("share", [1, 1.0, -0.1, "0.3", True, None])
def test_shares_that_are_refused(store: pa.Table, share: object) -> None:
    for refused in (
        lambda: missing_content.hide(store, KNOWN, share, "mean", 1),
        lambda: missing_content.name("ids", share, "mean"),
    ):
        with pytest.raises(ParameterError, match=r"share=.* must be a number of 0 or more and less than 1"):
            refused()


def test_strategies_that_are_refused(store: pa.Table) -> None:
    for refused in (
        lambda: missing_content.hide(store, KNOWN, 0.3, "median", 1),
        lambda: missing_content.name("ids", 0.3, "median"),
    ):
        with pytest.raises(
            ParameterError, match="strategy='median' is not known. Choose one of: 'mean', 'zero', 'neig"
        ):
            refused()


def test_names_say_what_is_missing_and_can_be_read_back() -> None:
    assert missing_content.name("ids+genres+poster+text", 0.3, "mean") == "ids+genres+poster+text(30% missing, mean)"
    for percent in range(100):
        for strategy in missing_content.STRATEGIES:
            assert missing_content.parse(missing_content.name("ids+genres+text", percent / 100, strategy)) == (
                percent / 100,
                strategy,
            )


@pytest.mark.parametrize(
    "features",
    ["ids", "ids+genres+poster(shuffled)", "ids(random)", "ids(30% missing, median)", "ids(100% missing, mean)",
     "ids(3.5% missing, mean)", "(30% missing, mean)", "ids(30% missing, mean) and more"],
)  # fmt: skip
def test_other_names_are_not_read(features: str) -> None:
    assert missing_content.parse(features) is None


@pytest.mark.parametrize("share", [0.125, 0.996, 0.001])
def test_shares_that_are_no_whole_percent_have_no_name(share: float) -> None:
    with pytest.raises(ParameterError, match=rf"share={share} is not a whole percent, such as 0.3"):
        missing_content.name("ids", share, "mean")
