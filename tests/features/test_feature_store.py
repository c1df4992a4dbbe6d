"""The feature store: every movie has a row, gaps are flagged, one movie never changes another."""

import numpy as np
import pyarrow as pa
import pytest

from tests.fakes.facts import movie_facts
from utils.features import feature_store, pca
from utils.features.reductions import BLOCK_ROWS
from utils.handoff.contract import ARTEFACTS
from utils.handoff.parameters import ParameterError
from utils.handoff.store import HandOffError
from utils.handoff.vector_columns import vector_column, vectors

MOVIES = np.arange(10, 70, dtype=np.int64)
KNOWN = MOVIES[:40]


def embeddings(ids: np.ndarray, width: int = 20, seed: int = 0) -> pa.Table:
    """Vectors with a mean far from zero, as encoders give them. A movie's vector depends on its id alone."""
    rows = [np.random.default_rng([seed, movie]).normal(1.0, np.linspace(1, 0.1, width)) for movie in ids.tolist()]
    values = np.array(rows).reshape(len(ids), width)
    return pa.table({"movieId": ids, "embedding": vector_column(values)})


def reduced(table: pa.Table, **changes: object) -> feature_store.Reduced:
    return feature_store.reduce(table, **({"movie_ids": MOVIES, "known_ids": KNOWN, "width": 6} | changes))


def test_every_movie_has_a_vector_and_flags_tell_which_are_real() -> None:
    part = reduced(embeddings(MOVIES[5:50]))
    assert part.vectors.shape == (60, 6) and part.vectors.dtype == np.float32
    assert part.present.tolist() == [5 <= row < 50 for row in range(60)]
    assert part.reduction.fitted_on == 35
    assert part.vectors[part.present].any(axis=1).all()
    assert not part.vectors[~part.present].any(), "gaps are zeros until they are filled"
    assert np.allclose(part.mean, part.vectors[5:40].mean(axis=0), atol=1e-5) and np.abs(part.mean).max() > 0.1


def test_columns_of_the_fitted_movies_deviate_as_those_of_facts() -> None:
    part = reduced(embeddings(MOVIES))
    assert part.vectors[:40].std(axis=0, ddof=1).mean() == pytest.approx(pca.DEVIATION, rel=1e-5)
    assert (np.diff(part.vectors[:40].var(axis=0)) < 0).all(), "components must come in order of variance"
    assert 0 < part.reduction.explained.sum() < 1 and len(part.reduction.explained) == 6


def test_vectors_are_a_scaled_rotation_and_not_centred() -> None:
    table = embeddings(MOVIES)
    part, raw = reduced(table, width=20), vectors(table["embedding"])
    products, wanted = part.vectors @ part.vectors.T, raw @ raw.T
    scale = products[0, 0] / wanted[0, 0]
    assert np.allclose(products, scale * wanted, rtol=1e-3, atol=1e-3 * products.max())
    assert np.abs(part.vectors.mean(axis=0)).max() > 0.1


@pytest.mark.parametrize("count", [0, 1])
def test_hardly_any_poster(count: int) -> None:
    part = reduced(embeddings(MOVIES[:count]))
    assert part.vectors.shape == (60, 6) and not part.vectors.any()
    assert part.present.sum() == count and part.reduction.explained.tolist() == []


def test_no_known_movie_has_one() -> None:
    part = reduced(embeddings(MOVIES[45:55]))
    assert part.reduction.fitted_on == 10
    assert part.vectors[45:55].any(axis=1).all()


@pytest.mark.parametrize(("count", "raw_width", "width"), [(4, 20, 6), (4, 20, 30), (60, 3, 6)])
def test_directions_that_are_not_there_are_columns_of_zeros(count: int, raw_width: int, width: int) -> None:
    part = reduced(embeddings(MOVIES[:count], raw_width), width=width)
    assert part.vectors.shape == (60, width)
    assert part.vectors[:, :3].any(axis=0).all()
    assert not part.vectors[:, 3:].any(), "four movies, and three numbers, differ in three directions"
    assert part.vectors[: min(count, 40), :3].std(axis=0, ddof=1).mean() == pytest.approx(pca.DEVIATION, rel=1e-4)


@pytest.mark.parametrize("known", [2, 40])
def test_vectors_that_are_all_the_same_have_no_direction(known: int) -> None:
    same = np.tile(np.float32([0.1, 3.7, -2.2]), (60, 1))
    part = reduced(pa.table({"movieId": MOVIES, "embedding": vector_column(same)}), known_ids=MOVIES[:known])
    assert not part.vectors.any() and part.present.all()


def test_nan_is_refused_and_names_the_movie() -> None:
    table = embeddings(MOVIES)
    values = vectors(table["embedding"]).copy()
    values[7, 3], values[9, 0], values[11] = np.nan, np.inf, 3e38  # the last overflows in float32 alone
    wanted = r"The embeddings of movieId 17 \(and 1 others\) hold NaN or infinity. Run 03 and 04 again"
    with pytest.raises(HandOffError, match=wanted):
        reduced(table.set_column(1, "embedding", vector_column(values)))


def test_a_number_that_is_none_is_found_in_every_block() -> None:
    raw = np.ones((BLOCK_ROWS + 3, 2), np.float32)
    raw[[1, -1], 0] = np.nan
    assert np.flatnonzero(~feature_store.finite(raw)).tolist() == [1, BLOCK_ROWS + 2]


@pytest.mark.parametrize("movie", [1, 1000])
def test_an_embedding_of_an_unknown_movie_is_refused(movie: int) -> None:
    ids = np.sort(np.append(MOVIES, movie))
    wanted = rf"movieId {movie} \(and 0 others\) is not in movies_converted.parquet. Run the notebook that made"
    with pytest.raises(HandOffError, match=wanted):
        reduced(embeddings(ids))


def test_a_movie_with_two_embeddings_is_refused() -> None:
    with pytest.raises(HandOffError, match=r"movieId 14 has two embeddings. Run 03 and 04 again"):
        reduced(embeddings(np.array([10, 14, 12, 14])))


@pytest.mark.parametrize("new", [5, 35, 99])
def test_adding_a_movie_changes_no_other_vector(new: int) -> None:
    old, known = np.setdiff1d(MOVIES, [new]), np.setdiff1d(KNOWN, [new])
    before = reduced(embeddings(old[old != 30]), movie_ids=old, known_ids=known)
    grown = np.sort(np.append(old, new))
    after = reduced(embeddings(grown[grown != 30]), movie_ids=grown, known_ids=known)
    others = grown != new
    assert np.array_equal(before.vectors, after.vectors[others])
    assert np.array_equal(before.present, after.present[others])
    assert np.array_equal(before.mean, after.mean)
    assert after.present[~others].all() and after.vectors[~others].any()


def test_neither_the_order_of_the_embeddings_nor_their_chunks_matter() -> None:
    table = embeddings(MOVIES)
    chunks = pa.concat_tables([table.slice(0, 7), table.slice(7, 30), table.slice(37)])
    for other in (chunks, embeddings(np.random.default_rng(1).permutation(MOVIES))):
        assert np.array_equal(reduced(table).vectors, reduced(other).vectors)


def test_the_table_has_the_columns_of_the_contract() -> None:
    parts = {"text": reduced(embeddings(MOVIES, seed=1), width=3), "poster": reduced(embeddings(MOVIES[:50]))}
    parts["facts"] = feature_store.reduce_facts(movie_facts(MOVIES), KNOWN, 7)
    table = feature_store.table(MOVIES, parts)
    assert table.column_names == list(ARTEFACTS["feature_store"].columns)
    assert table["poster"].type == pa.list_(pa.float32(), 6) and table["text"].type == pa.list_(pa.float32(), 3)
    assert table["facts"].type.list_size == parts["facts"].reduction.width
    assert [sum(table[f"has_{block}"].to_pylist()) for block in ("facts", "poster", "text")] == [54, 50, 60]


@pytest.mark.parametrize(("poster", "text", "missing"), [(512, 512, "mean"), (1023, 1, "zero"), (1, 1, "neighbour")])
def test_widths_that_hugectr_takes(poster: int, text: int, missing: str) -> None:
    feature_store.check_widths({"POSTER_DIM": poster, "TEXT_DIM": text}, missing)


@pytest.mark.parametrize(
    ("poster", "text", "missing", "wanted"),
    [
        (512, 513, "mean", r"POSTER_DIM=512 and TEXT_DIM=513 are 1025 together; HugeCTR embeddings are at most 1024"),
        (0, 64, "mean", r"POSTER_DIM=0 must be a whole number of at least 1 and at most 1023"),
        (64, 1024, "mean", r"TEXT_DIM=1024 must be a whole number of at least 1 and at most 1023"),
        ("64", 64, "mean", r"POSTER_DIM='64' must be a whole number"),
        (64, 64, "median", r"MISSING='median' is not known. Choose one of: 'mean', 'zero', 'neighbour'"),
    ],
)
def test_widths_and_strategies_that_are_refused(poster: object, text: object, missing: str, wanted: str) -> None:
    with pytest.raises(ParameterError, match=wanted):
        feature_store.check_widths({"POSTER_DIM": poster, "TEXT_DIM": text}, missing)
