"""Hidden posters and texts: the right share of them, nested, and filled as notebook 05 fills real gaps."""

import numpy as np
import pyarrow as pa
import pytest

from tests.conftest import FULL
from tests.features.test_imputation import of_a_kind
from utils.features import feature_store, imputation
from utils.handoff.contract import BLOCKS, FLAGS
from utils.handoff.vector_columns import vector_column, vectors
from utils.model.feature_sets import STRATEGIES
from utils.study import missing_content

MOVIES = np.arange(100, 1100, dtype=np.int64)
KNOWN = MOVIES[:800]
HIDEABLE = [block for block in BLOCKS if block != "facts"]
SHARES = (0.0, 0.3, 0.5, 0.9)


def made(strategy: str) -> pa.Table:
    """A feature store as notebook 05 makes it, of blocks that some movies lack: a quarter, a fifth, a sixth."""
    parts = {}
    for number, block in enumerate(reversed(BLOCKS)):
        every, width = 4 + number, 12 - number
        table = of_a_kind(MOVIES[MOVIES % every > 0], width, seed=width)
        parts[block] = feature_store.reduce(table, MOVIES, KNOWN, 6)
    return feature_store.table(
        MOVIES, imputation.fill({block: parts[block] for block in BLOCKS}, MOVIES, KNOWN, strategy)
    )


def hide(
    features: pa.Table, share: float, strategy: str = "mean", seed: int = 1, known: np.ndarray = KNOWN
) -> pa.Table:
    return missing_content.hide(features, known, FULL.without(share, strategy), seed)


def flags(table: pa.Table, block: str) -> np.ndarray:
    return table[FLAGS[block]].to_numpy()


@pytest.fixture(scope="module")
def store() -> pa.Table:
    return made("mean")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_nothing_hidden_gives_the_store_back_whatever_it_was_made_with(strategy: str, store: pa.Table) -> None:
    features = made(strategy)
    again = hide(features, 0.0, strategy)
    assert again.schema == features.schema and again["movieId"].equals(features["movieId"])
    for block in BLOCKS:
        real = flags(features, block)
        assert 0 < real.sum() < len(MOVIES) and np.array_equal(flags(again, block), real)
        before, after = vectors(features[block]), vectors(again[block])
        assert np.array_equal(after[real], before[real])
        assert np.allclose(after[~real], before[~real], rtol=0, atol=1e-6)
    assert hide(features, 0.3).equals(hide(store, 0.3)), "real gaps are filled anew"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_about_the_share_is_hidden_nested_and_what_is_left_does_not_change(store: pa.Table, strategy: str) -> None:
    before = None
    for share in SHARES[1:]:
        hidden = hide(store, share, strategy)
        for block in BLOCKS:
            real, left = flags(store, block), flags(hidden, block)
            assert not (left & ~real).any(), "what is not there cannot come back"
            assert np.array_equal(vectors(hidden[block])[left], vectors(store[block])[left])
            assert np.isfinite(vectors(hidden[block])).all()
            if block == "facts":
                assert np.array_equal(left, real)
                continue
            deviation = np.sqrt(share * (1 - share) / real.sum())
            assert 1 - left.sum() / real.sum() == pytest.approx(share, abs=4 * deviation)
            assert before is None or not (left & ~flags(before, block)).any(), "missing at less, missing at more"
        before = hidden


def test_gaps_of_mean_and_zero_by_hand(store: pa.Table) -> None:
    hidden, zeros = (hide(store, 0.5, strategy) for strategy in ("mean", "zero"))
    for block in HIDEABLE:
        left = flags(hidden, block)
        wanted = vectors(store[block])[left & np.isin(MOVIES, KNOWN)].mean(axis=0, dtype=np.float64)
        assert np.allclose(vectors(hidden[block])[~left], wanted, atol=1e-7)
        assert np.abs(wanted - vectors(store[block])[flags(store, block)].mean(axis=0)).max() > 1e-3
        assert not vectors(zeros[block])[~left].any()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_hidden_vectors_have_no_say_in_what_stands_in_for_them(store: pa.Table, strategy: str) -> None:
    changed = vectors(store["poster"]).copy()
    changed[~flags(hide(store, 0.5, strategy), "poster")] = 1e6
    other = store.set_column(store.schema.get_field_index("poster"), "poster", vector_column(changed))
    assert hide(store, 0.5, strategy).equals(hide(other, 0.5, strategy))


def test_neighbours_restore_hidden_posters_better_than_the_mean(store: pa.Table) -> None:
    errors = {}
    for strategy in ("mean", "neighbour"):
        hidden = hide(store, 0.3, strategy)
        asked = flags(store, "poster") & ~flags(hidden, "poster") & flags(hidden, "text")
        errors[strategy] = np.square(vectors(hidden["poster"])[asked] - vectors(store["poster"])[asked]).sum()
    assert errors["neighbour"] < 0.8 * errors["mean"]


def test_the_choice_depends_on_movie_block_and_seed_alone(store: pa.Table) -> None:
    hidden = hide(store, 0.5)
    both = flags(store, "poster") & flags(store, "text")
    poster, text = (~flags(hidden, block)[both] for block in ("poster", "text"))
    assert abs(np.corrcoef(poster, text)[0, 1]) < 4 / np.sqrt(both.sum()), "hidden independently"
    left = flags(hidden, "poster")
    assert not np.array_equal(left, flags(hide(store, 0.5, seed=2), "poster"))
    rows = np.random.default_rng(0).permutation(len(MOVIES))[:600]
    some = hide(store.take(rows), 0.5, known=KNOWN[::-1])
    assert np.array_equal(some["movieId"].to_numpy(), MOVIES[rows]) and np.array_equal(
        flags(some, "poster"), left[rows]
    )


@pytest.mark.parametrize("known", [0, 1])
def test_with_fewer_than_two_known_movies_the_mean_is_that_of_all(store: pa.Table, known: int) -> None:
    hidden = hide(store, 0.3, known=MOVIES[1 : 1 + known])
    left = flags(hidden, "text")
    wanted = vectors(store["text"])[left].mean(axis=0, dtype=np.float64)
    assert np.allclose(vectors(hidden["text"])[~left], wanted, atol=1e-7)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_nothing_left_gives_zeros(store: pa.Table, strategy: str) -> None:
    bare = store.set_column(store.schema.get_field_index("has_text"), "has_text", pa.array(np.zeros(len(MOVIES), bool)))
    assert not vectors(hide(bare, 0.3, strategy)["text"]).any()
