"""The feature store: every movie has a row, gaps are flagged, one movie never changes another."""

import numpy as np
import pyarrow as pa
import pytest

from utils.features import feature_store
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
    assert part.vectors.shape == (60, 6)
    assert part.vectors.dtype == np.float32
    assert np.isfinite(part.vectors).all()
    assert part.present.tolist() == [5 <= row < 50 for row in range(60)]
    assert part.fitted_on == 35


def test_kept_variance_of_the_fitted_movies_is_one() -> None:
    part = reduced(embeddings(MOVIES))
    assert part.vectors[:40].var(axis=0, ddof=1).sum() == pytest.approx(1, rel=1e-5)
    assert (np.diff(part.vectors[:40].var(axis=0)) < 0).all(), "components must come in order of variance"
    assert 0 < part.explained.sum() < 1
    assert len(part.explained) == 6


def test_vectors_are_a_scaled_rotation_and_not_centred() -> None:
    table = embeddings(MOVIES)
    part = reduced(table, width=20)
    raw = vectors(table["embedding"])
    products, wanted = part.vectors @ part.vectors.T, raw @ raw.T
    scale = products[0, 0] / wanted[0, 0]
    assert np.allclose(products, scale * wanted, rtol=1e-3, atol=1e-3 * products.max())
    assert np.abs(part.vectors.mean(axis=0)).max() > 0.1


def test_the_mean_is_reduced_like_any_vector() -> None:
    part = reduced(embeddings(MOVIES[5:50]))
    assert part.mean.dtype == np.float32
    assert np.allclose(part.mean, part.vectors[5:40].mean(axis=0), atol=1e-5)
    assert np.abs(part.mean).max() > 0.1


def test_gaps_are_zeros_until_they_are_filled() -> None:
    part = reduced(embeddings(MOVIES[5:50]))
    assert not part.vectors[~part.present].any()
    assert part.vectors[part.present].any(axis=1).all()


@pytest.mark.parametrize("count", [0, 1])
def test_no_poster_at_all(count: int) -> None:
    part = reduced(embeddings(MOVIES[:count]))
    assert part.vectors.shape == (60, 6)
    assert not part.vectors.any()
    assert part.present.sum() == count
    assert part.explained.tolist() == []


def test_no_known_movie_has_one() -> None:
    part = reduced(embeddings(MOVIES[45:55]))
    assert part.fitted_on == 10
    assert part.vectors[45:55].any(axis=1).all()


@pytest.mark.parametrize("width", [6, 30])
def test_fewer_movies_than_columns(width: int) -> None:
    table = embeddings(MOVIES[:4])
    part = reduced(table, width=width)
    assert part.vectors.shape == (60, width)
    assert part.vectors[:, :3].any(axis=0).all()
    assert not part.vectors[:, 3:].any(), "four movies differ in three directions"
    assert part.vectors[:4].var(axis=0, ddof=1).sum() == pytest.approx(1, rel=1e-4)


def test_fewer_raw_columns_than_asked_for() -> None:
    part = reduced(embeddings(MOVIES, width=3), width=6)
    assert part.vectors[:, :3].any(axis=0).all()
    assert not part.vectors[:, 3:].any()


@pytest.mark.parametrize("known", [2, 40])
def test_vectors_that_are_all_the_same_have_no_direction(known: int) -> None:
    same = np.tile(np.float32([0.1, 3.7, -2.2]), (60, 1))
    part = reduced(pa.table({"movieId": MOVIES, "embedding": vector_column(same)}), known_ids=MOVIES[:known])
    assert not part.vectors.any()
    assert part.present.all()


def test_nan_is_refused_and_names_the_movie() -> None:
    table = embeddings(MOVIES)
    values = vectors(table["embedding"]).copy()
    values[7, 3], values[9, 0] = np.nan, np.inf
    broken = table.set_column(1, "embedding", vector_column(values))
    wanted = r"The embeddings of movieId 17 \(and 1 others\) hold NaN or infinity. Run 03 and 04 again"
    with pytest.raises(HandOffError, match=wanted):
        reduced(broken)


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


def test_the_order_of_the_embeddings_does_not_matter() -> None:
    shuffled = np.random.default_rng(1).permutation(MOVIES)
    assert np.array_equal(reduced(embeddings(MOVIES)).vectors, reduced(embeddings(shuffled)).vectors)


def test_a_column_in_several_chunks() -> None:
    table = embeddings(MOVIES)
    chunks = pa.concat_tables([table.slice(0, 7), table.slice(7, 30), table.slice(37)])
    assert chunks["embedding"].num_chunks == 3
    assert np.array_equal(reduced(table).vectors, reduced(chunks).vectors)


def test_the_same_input_gives_the_same_output() -> None:
    table = embeddings(np.arange(10, 810), width=64)
    arguments = {"movie_ids": np.arange(10, 810), "known_ids": np.arange(10, 700)}
    one, two = reduced(table, **arguments), reduced(table, **arguments)
    assert np.array_equal(one.vectors, two.vectors)


def test_row_of() -> None:
    ids = np.array([2, 5, 9])
    assert feature_store.row_of(ids, np.array([9, 2, 2])).tolist() == [2, 0, 0]
    with pytest.raises(HandOffError, match=r"movieId 3 \(and 1 others\) is not in"):
        feature_store.row_of(ids, np.array([2, 3, 10]))


def test_the_table_has_the_columns_of_the_contract() -> None:
    table = feature_store.table(MOVIES, reduced(embeddings(MOVIES[:50])), reduced(embeddings(MOVIES, seed=1), width=3))
    assert table.column_names == list(ARTEFACTS["feature_store"].columns)
    assert table["poster"].type == pa.list_(pa.float32(), 6)
    assert table["text"].type == pa.list_(pa.float32(), 3)
    assert (sum(table["has_poster"].to_pylist()), sum(table["has_text"].to_pylist())) == (50, 60)


def test_widths_that_hugectr_takes() -> None:
    feature_store.check_widths(512, 512, "mean")
    feature_store.check_widths(1023, 1, "zero")
    feature_store.check_widths(1, 1, "neighbour")


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
        feature_store.check_widths(poster, text, missing)
