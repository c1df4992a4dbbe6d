"""Imputation: what stands in for a gap, and that no movie outside train has a say in it."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tests.fakes.facts import movie_facts
from utils.features import feature_store, imputation
from utils.handoff.vector_columns import vector_column, vectors

MOVIES = np.arange(100, 700, dtype=np.int64)
KNOWN = MOVIES[:500]


def of_a_kind(ids: np.ndarray, width: int, seed: int) -> pa.Table:
    """Vectors of five kinds of movies (by movieId modulo 5), so that one modality tells of the other."""
    kinds = np.random.default_rng(seed).normal(size=(5, width))
    rows = [1 + kinds[movie % 5] + np.random.default_rng([seed, movie]).normal(0, 0.5, width) for movie in ids.tolist()]
    return pa.table({"movieId": ids, "embedding": vector_column(np.array(rows).reshape(len(ids), width))})


def parts(
    with_poster: np.ndarray, with_text: np.ndarray, movies: np.ndarray = MOVIES
) -> dict[str, feature_store.Reduced]:
    return {
        "poster": feature_store.reduce(of_a_kind(with_poster, 30, seed=1), movies, KNOWN, 8),
        "text": feature_store.reduce(of_a_kind(with_text, 20, seed=2), movies, KNOWN, 6),
    }


POSTERS = MOVIES[MOVIES % 3 > 0]
TEXTS = MOVIES[MOVIES % 4 > 0]


@pytest.mark.parametrize("missing", feature_store.MISSING)
def test_only_gaps_change_and_flags_do_not(missing: str) -> None:
    before = parts(POSTERS, TEXTS)
    copies = {name: part.vectors.copy() for name, part in before.items()}
    after = imputation.fill(before, MOVIES, KNOWN, missing)
    for name, part in before.items():
        assert np.array_equal(part.vectors, copies[name]), "fill must not write into what it was given"
        assert np.array_equal(after[name].present, part.present)
        assert np.array_equal(after[name].vectors[part.present], part.vectors[part.present])
        assert after[name].vectors.dtype == np.float32
        assert np.isfinite(after[name].vectors).all()


def test_what_stands_in_for_a_gap() -> None:
    given = parts(POSTERS, TEXTS)
    neither = np.isin(MOVIES, POSTERS, invert=True) & np.isin(MOVIES, TEXTS, invert=True)
    assert neither.sum() == 50
    filled = {missing: imputation.fill(given, MOVIES, KNOWN, missing) for missing in feature_store.MISSING}
    for name, part in given.items():
        assert not filled["zero"][name].vectors[~part.present].any()
        assert (filled["mean"][name].vectors[~part.present] == part.mean).all()
        assert (filled["neighbour"][name].vectors[neither] == part.mean).all()


@pytest.mark.parametrize("missing", feature_store.MISSING)
def test_facts_are_not_imputed_and_change_nothing_else(missing: str) -> None:
    given = parts(POSTERS, TEXTS)
    facts = feature_store.reduce_facts(movie_facts(MOVIES), KNOWN, 4)
    filled = imputation.fill({"facts": facts} | given, MOVIES, KNOWN, missing)
    assert not facts.present.all() and np.array_equal(filled["facts"].vectors, facts.vectors)
    for name, part in imputation.fill(given, MOVIES, KNOWN, missing).items():
        assert np.array_equal(filled[name].vectors, part.vectors)


@pytest.mark.parametrize("name", ["poster", "text"])
def test_neighbours_restore_hidden_vectors_better_than_the_mean(name: str) -> None:
    given = parts(POSTERS, TEXTS)
    other, width, seed = {"poster": ("text", 30, 1), "text": ("poster", 20, 2)}[name]
    wanted = ~given[name].present & given[other].present
    hidden = of_a_kind(MOVIES[wanted], width, seed)
    truth = given[name].reduction.project(vectors(hidden["embedding"]))
    error = {
        missing: np.square(imputation.fill(given, MOVIES, KNOWN, missing)[name].vectors[wanted] - truth).sum()
        for missing in feature_store.MISSING
    }
    assert error["neighbour"] < 0.6 * error["mean"]
    assert error["mean"] < error["zero"]


def test_where_one_modality_tells_nothing_of_the_other_the_mean_stays() -> None:
    random = np.random.default_rng(5)
    noise = pa.table({"movieId": TEXTS, "embedding": vector_column(random.normal(1, 1, (len(TEXTS), 20)))})
    given = parts(POSTERS, TEXTS) | {"text": feature_store.reduce(noise, MOVIES, KNOWN, 6)}
    poster = imputation.fill(given, MOVIES, KNOWN, "neighbour")["poster"]
    distance = np.linalg.norm(poster.vectors[~poster.present] - poster.mean, axis=1)
    assert distance.max() < 0.1, "kept variance is one, so this is a tenth of a standard deviation"


@pytest.mark.parametrize("missing", feature_store.MISSING)
@pytest.mark.parametrize("new", [333, 999])
@pytest.mark.parametrize("has", ["poster", "text", "both"])
def test_adding_a_movie_changes_no_other_vector(missing: str, new: int, has: str) -> None:
    known, old = np.setdiff1d(KNOWN, [new]), np.setdiff1d(MOVIES, [new])
    grown = np.sort(np.append(old, new))

    def build(movies: np.ndarray) -> dict[str, feature_store.Reduced]:
        with_poster = movies[np.where(movies == new, has != "text", movies % 3 > 0)]
        with_text = movies[np.where(movies == new, has != "poster", movies % 4 > 0)]
        tables = {"poster": of_a_kind(with_poster, 30, seed=1), "text": of_a_kind(with_text, 20, seed=2)}
        reduced = {name: feature_store.reduce(table, movies, known, 8) for name, table in tables.items()}
        return imputation.fill(reduced, movies, known, missing)

    before, after = build(old), build(grown)
    for name in before:
        assert np.array_equal(before[name].vectors, after[name].vectors[grown != new])
        assert np.array_equal(before[name].present, after[name].present[grown != new])


def test_with_a_third_block_either_of_the_others_tells() -> None:
    others = MOVIES[MOVIES % 4 == 0]
    given = parts(POSTERS, TEXTS) | {"third": feature_store.reduce(of_a_kind(MOVIES, 20, seed=2), MOVIES, KNOWN, 6)}
    lonely = np.isin(MOVIES, others) & ~given["poster"].present
    poster = imputation.fill(given, MOVIES, KNOWN, "neighbour")["poster"]
    assert lonely.sum() == 50 and (poster.vectors[lonely] != poster.mean).any(axis=1).all(), "the third block knows"
    without = given | {"third": replace(given["third"], present=given["third"].present & ~lonely)}
    poster = imputation.fill(without, MOVIES, KNOWN, "neighbour")["poster"]
    assert (poster.vectors[lonely] == poster.mean).all()


def test_nearest_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imputation, "NEIGHBOURS", 2)
    values = np.array([[1.0, 0.0], [0.0, 2.0], [50.0, 50.0]])
    found = imputation._nearest(np.array([[0.9, 0.3, 0.1], [0.5, -0.2, -0.9], [-0.1, -0.2, -0.3]]), values)
    assert np.allclose(found, [[0.75, 0.5], [1.0, 0.0], [0.0, 0.0]])


@pytest.mark.parametrize("block", [1, 17])
def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    given = parts(POSTERS, TEXTS)
    whole = imputation.fill(given, MOVIES, KNOWN, "neighbour")
    monkeypatch.setattr(imputation, "_BLOCK", block)
    again = imputation.fill(given, MOVIES, KNOWN, "neighbour")
    assert all(np.allclose(again[name].vectors, whole[name].vectors, atol=1e-6) for name in given)


@pytest.mark.parametrize("donors", [0, 1, 2])
def test_hardly_any_donor(donors: int) -> None:
    given = parts(MOVIES[:100], np.concatenate([MOVIES[:donors], MOVIES[200:300]]))
    filled = imputation.fill(given, MOVIES, KNOWN, "neighbour")
    assert all(np.isfinite(part.vectors).all() for part in filled.values())
    if donors < 2:  # One cannot be tried on another.
        assert (filled["poster"].vectors[200:300] == given["poster"].mean).all()


@pytest.mark.parametrize("missing", feature_store.MISSING)
def test_no_poster_at_all(missing: str) -> None:
    filled = imputation.fill(parts(MOVIES[:0], TEXTS), MOVIES, KNOWN, missing)
    assert not filled["poster"].vectors.any()
    assert not filled["poster"].present.any()
    assert np.isfinite(filled["text"].vectors).all()
