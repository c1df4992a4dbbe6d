"""Feature sets: a notation that can be read back, and controls that change what they name and nothing else."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import FULL, SETS
from utils.handoff.parameters import ParameterError
from utils.model import feature_sets
from utils.model.feature_sets import BLOCKS, CONTENT, CONTROLS, STRATEGIES, FeatureSet, controlled, parse, parse_all


@st.composite
def any_set(draw: Any) -> FeatureSet:
    """Every feature set that can be written."""
    blocks = ("ids", *(block for block in BLOCKS[1:] if draw(st.booleans())))
    if not set(blocks) & set(CONTENT) or draw(st.booleans()):
        return FeatureSet(blocks)
    if draw(st.booleans()):
        return FeatureSet(blocks, control=draw(st.sampled_from(CONTROLS)))
    return FeatureSet(blocks, hidden=draw(st.integers(0, 99)), strategy=draw(st.sampled_from(STRATEGIES)))


@given(any_set(), any_set())
def test_what_is_written_is_read_back(one: FeatureSet, other: FeatureSet) -> None:
    assert parse(str(one)) == one
    assert parse_all(f"{one}, {other}") == [one, other] if one != other else parse_all([str(one)]) == [one]
    assert one.plain.is_plain and one.plain.blocks == one.blocks


@pytest.mark.parametrize(
    "text",
    ["", "genres", "text", "ids+text+genres", "ids+ids", "ids+", "IDS", "ids+plot", "ids+text(reversed)", " ids", None,
     5, "ids+text(100% missing, mean)", "ids+text(3.5% missing, mean)", "ids+text(30% missing, median)",
     "ids+text(shuffled) and more", "ids+text(shuffled)(zeros)", "(shuffled)"],
)  # fmt: skip
def test_what_is_no_feature_set_is_refused(text: object) -> None:
    with pytest.raises(
        ParameterError, match=r'is not a feature set. Write "ids", then any of genres, .*poster, text in'
    ):
        parse(text)


@pytest.mark.parametrize("text", ["ids(shuffled)", "ids+genres(30% missing, mean)"])
def test_a_set_without_content_has_nothing_to_shuffle_or_hide(text: str) -> None:
    with pytest.raises(ParameterError, match="has no content to shuffle or hide: add poster or text"):
        parse(text)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([], r"FEATURES=\[\] must name one feature set or a list of them."),
        (None, "FEATURES=None must name one feature set"),
        (["ids", "ids"], r"FEATURES=\['ids', 'ids'\] names 'ids' twice."),
        ("ids, , ids+text", "FEATURES: '' is not a feature set"),
        ([["ids"]], r"FEATURES: \['ids'\] is not a feature set"),
    ],
)
def test_lists_that_are_refused(features: object, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        parse_all(features)


def test_the_fullest_set_is_a_plain_one_where_there_is_any() -> None:
    shuffled = parse(f"{FULL}(shuffled)")
    assert feature_sets.fullest([*SETS, shuffled]) == FULL
    assert feature_sets.fullest([shuffled, *SETS[:2]]) == SETS[1]
    assert feature_sets.fullest([shuffled]) == shuffled


def test_posters_and_texts_are_judged_over_the_facts() -> None:
    assert FeatureSet(("ids", "genres", "facts", "text")).judged == ["text"]
    assert FeatureSet(("ids", "facts")).judged == ["facts"]
    assert FeatureSet(("ids",)).judged == []


def test_hidden_shares_are_whole_percents() -> None:
    assert str(FULL.without(0.3, "mean")) == f"{FULL}(30% missing, mean)"
    for share in (0.125, 1, -0.1, "0.3", True, None):
        with pytest.raises(ParameterError, match="MISSING_SHARES"):
            FULL.without(share, "mean")  # type: ignore[arg-type]
        with pytest.raises(ParameterError, match="MISSING_SHARES"):
            feature_sets.check_shares([0.5, share])
    with pytest.raises(ParameterError, match="strategy='median' is not known. Choose one of: 'mean', 'zero', 'neigh"):
        FULL.without(0.3, "median")
    with pytest.raises(ParameterError, match=r"MISSING_SHARES=0.5 must be a list of shares, such as \[0.5\], or \[\]"):
        feature_sets.check_shares(0.5)


# Controls: a table of 400 movies in the rows 3 to 402, block after block, flags at the end

COLUMNS = {"facts": (0, 2), "poster": (2, 5), "text": (5, 7)}
COLUMNS |= {f"has_{block}": (7 + place, 8 + place) for place, block in enumerate(COLUMNS)}
ROWS = np.arange(3, 403)


@pytest.fixture
def table() -> np.ndarray:
    values = np.random.default_rng(0).normal(np.arange(10) - 4, np.linspace(0.1, 9, 10), (403, 10)).astype(np.float32)
    values[:, 7:] = np.random.default_rng(1).random((403, 3)) < 0.7
    return values


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize(
    ("blocks", "judged"),
    [(("facts",), [0, 1, 7]), (("poster",), [2, 3, 4, 8]), (("facts", "text"), [5, 6, 9]),
     (("facts", "poster", "text"), [2, 3, 4, 5, 6, 8, 9])],
)  # fmt: skip
def test_a_control_changes_the_judged_columns_of_the_movies_alone(
    table: np.ndarray, blocks: tuple[str, ...], judged: list[int], control: str
) -> None:
    features, rows, before = FeatureSet(("ids", *blocks), control), ROWS[::2], table.copy()
    found = controlled(table, COLUMNS, features, rows, seed=1)
    assert np.array_equal(table, before) and found.dtype == np.float32
    others, kept = np.setdiff1d(np.arange(403), rows), np.setdiff1d(np.arange(10), judged)
    assert np.array_equal(found[others], table[others]) and np.array_equal(found[:, kept], table[:, kept])
    assert (found[np.ix_(rows, judged)] != table[np.ix_(rows, judged)]).any(axis=1).mean() > 0.9
    assert np.array_equal(found, controlled(table, COLUMNS, features, rows, seed=1))
    assert np.array_equal(found, controlled(table, COLUMNS, features, rows, seed=2)) == (control == "zeros")
    assert controlled(table, COLUMNS, features.plain, rows, seed=1) is table


def test_what_stands_in_for_the_content(table: np.ndarray) -> None:
    own, judged = table[3:], slice(2, 7)
    shuffled, noise, nothing = (controlled(table, COLUMNS, FeatureSet(BLOCKS, one), ROWS, 1)[3:] for one in CONTROLS)
    whole = [*range(2, 7), 8, 9]
    assert sorted(shuffled[:, whole].tolist()) == sorted(own[:, whole].tolist()), "vectors move with their flags"
    assert np.abs((noise - own).mean(0)[judged] / own.std(0)[judged]).max() < 0.2
    assert noise[:, judged].std(0) == pytest.approx(own[:, judged].std(0), rel=0.15)
    assert np.abs([np.corrcoef(own[:, c], noise[:, c])[0, 1] for c in range(2, 7)]).max() < 0.2
    assert not nothing[:, whole].any()
