"""The property the series stands on: a frozen row is its movie's feature vector, and whatever breaks it is caught."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from utils.handoff.store import HandOffError
from utils.handoff.vector_columns import vector_column
from utils.model.frozen_table import check_content, content_columns, content_table
from utils.model.hugectr_files import write_sparse

N = 40
POSTER, TEXT = 5, 5


@pytest.fixture
def features() -> pa.Table:
    generator = np.random.default_rng(0)
    return pa.table(
        {
            "movieId": np.arange(N) * 7 + 2,
            "poster": vector_column(generator.normal(size=(N, POSTER))),
            "text": vector_column(generator.normal(size=(N, TEXT))),
            "has_poster": generator.random(N) < 0.7,
            "has_text": generator.random(N) < 0.9,
        }
    )


@pytest.fixture
def codes(features: pa.Table) -> pa.Table:
    content = np.random.default_rng(1).permutation(N) + 3
    return pa.table({"movieId": features["movieId"], "code": np.full(N, 2), "content_code": content})


def test_a_row_is_the_feature_vector_of_its_movie(features: pa.Table, codes: pa.Table) -> None:
    table = content_table(features, codes)
    assert table.vectors.shape == (N + 3, POSTER + TEXT + 2)
    assert table.vectors.dtype == np.float32
    for row in range(N):
        frozen = table.vectors[codes["content_code"][row].as_py()]
        wanted = [*features["poster"][row].as_py(), *features["text"][row].as_py()]
        assert frozen.tolist() == [*wanted, features["has_poster"][row].as_py(), features["has_text"][row].as_py()]


def test_reserved_rows_are_the_mean_flagged_as_absent(features: pa.Table, codes: pa.Table) -> None:
    vectors = content_table(features, codes).vectors
    for row in range(3):
        assert np.allclose(vectors[row, :-2], vectors[3:, :-2].mean(axis=0), atol=1e-6)
        assert vectors[row, -2:].tolist() == [0, 0]


def test_columns() -> None:
    columns = content_columns({"poster": 4, "text": 3})
    assert columns == {"poster": (0, 4), "text": (4, 7), "has_poster": (7, 8), "has_text": (8, 9)}
    assert list(content_columns({"poster": 512, "text": 510})) == ["poster", "text", "has_poster", "has_text"]
    for text in (511, 512):
        assert content_columns({"poster": 512, "text": text}) == {"poster": (0, 512), "text": (512, 512 + text)}


def test_movies_that_do_not_match(features: pa.Table, codes: pa.Table, tmp_path: Path) -> None:
    wanted = "do not list the same movies. Run notebooks 05 and 06 again"
    write_sparse(tmp_path / "table", np.arange(N + 3), content_table(features, codes).vectors)
    for other in (codes.slice(1), codes.take(list(range(N))[::-1])):
        with pytest.raises(HandOffError, match=wanted):
            content_table(features, other)
        with pytest.raises(HandOffError, match=wanted):
            check_content(tmp_path / "table", features, other)


@pytest.mark.parametrize("column", ["poster", "text"])
def test_nan_names_the_movie(features: pa.Table, codes: pa.Table, column: str) -> None:
    values = np.ones((N, 5))
    values[3, 2] = np.nan
    broken = features.set_column(features.schema.get_field_index(column), column, vector_column(values))
    wanted = rf"feature_store.parquet: the {column} vector of movieId 23 holds NaN. Run notebook 05 again."
    with pytest.raises(HandOffError, match=wanted):
        content_table(broken, codes)


def test_two_movies_with_one_code(features: pa.Table, codes: pa.Table) -> None:
    content = codes["content_code"].to_numpy().copy()
    content[1] = content[0]
    broken = codes.set_column(2, "content_code", pa.array(content))
    with pytest.raises(HandOffError, match=r"two movies share a content_code. Run notebook 06 again."):
        content_table(features, broken)


def test_the_check_passes_on_what_was_written_in_any_order(features: pa.Table, codes: pa.Table, tmp_path: Path) -> None:
    vectors = content_table(features, codes).vectors
    order = np.random.default_rng(3).permutation(len(vectors))
    for number, keys in enumerate((np.arange(len(vectors)), order)):
        write_sparse(tmp_path / str(number), keys, vectors[keys])
        assert check_content(tmp_path / str(number), features, codes) == N


def shifted(vectors: np.ndarray, codes: np.ndarray) -> np.ndarray:
    return np.roll(vectors, -3, axis=0)


def by_position(vectors: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Rows in the order of the catalogue, not of the codes."""
    return np.concatenate([vectors[:3], vectors[codes]])


def swapped_columns(vectors: np.ndarray, codes: np.ndarray) -> np.ndarray:
    return vectors[:, [1, 0, *range(2, vectors.shape[1])]]


def swapped_modalities(vectors: np.ndarray, codes: np.ndarray) -> np.ndarray:
    return np.concatenate([vectors[:, 5:10], vectors[:, :5], vectors[:, 10:]], axis=1)


def text_from_poster(vectors: np.ndarray, codes: np.ndarray) -> np.ndarray:
    return np.concatenate([vectors[:, :5], vectors[:, :5], vectors[:, 10:]], axis=1)


def one_number(vectors: np.ndarray, codes: np.ndarray) -> np.ndarray:
    changed = vectors.copy()
    changed[codes[17], 7] = np.nextafter(changed[codes[17], 7], np.float32(9))
    return changed


def swapped_flags(vectors: np.ndarray, codes: np.ndarray) -> np.ndarray:
    return vectors[:, [*range(10), 11, 10]]


def two_movies_swapped(vectors: np.ndarray, codes: np.ndarray) -> np.ndarray:
    changed = vectors.copy()
    changed[[codes[4], codes[5]]] = changed[[codes[5], codes[4]]]
    return changed


def not_a_number(vectors: np.ndarray, codes: np.ndarray) -> np.ndarray:
    changed = vectors.copy()
    changed[codes[17], 2] = np.nan
    return changed


@pytest.mark.parametrize(
    ("break_it", "part", "movie"),
    [
        (shifted, "poster", 2),
        (by_position, "poster", 2),
        (swapped_columns, "poster", 2),
        (swapped_modalities, "poster", 2),
        (text_from_poster, "text", 2),
        (one_number, "text", 17 * 7 + 2),
        (swapped_flags, "has_poster", None),
        (two_movies_swapped, "poster", 4 * 7 + 2),
        (not_a_number, "poster", 17 * 7 + 2),
    ],
)
def test_the_check_catches(
    break_it: Callable[[np.ndarray, np.ndarray], np.ndarray],
    part: str,
    movie: int | None,
    features: pa.Table,
    codes: pa.Table,
    tmp_path: Path,
) -> None:
    vectors = content_table(features, codes).vectors
    write_sparse(tmp_path / "table", np.arange(N + 3), break_it(vectors, codes["content_code"].to_numpy()))
    which = r"\d+" if movie is None else str(movie)
    with pytest.raises(HandOffError, match=f"the {part} columns of movieId {which} are not its feature-store row"):
        check_content(tmp_path / "table", features, codes)


@pytest.mark.parametrize("lost", [0, 17, N + 2])
def test_the_check_catches_a_missing_key(lost: int, features: pa.Table, codes: pa.Table, tmp_path: Path) -> None:
    keys = np.delete(np.arange(N + 3), lost)
    write_sparse(tmp_path / "table", keys, content_table(features, codes).vectors[keys])
    with pytest.raises(HandOffError, match=f"keys must be every code from 0 to {N + 2}, each once"):
        check_content(tmp_path / "table", features, codes)


def test_the_check_catches_keys_with_an_offset(features: pa.Table, codes: pa.Table, tmp_path: Path) -> None:
    write_sparse(tmp_path / "table", np.arange(N + 3) + 1, content_table(features, codes).vectors)
    with pytest.raises(HandOffError, match="keys must be every code from 0"):
        check_content(tmp_path / "table", features, codes)


def test_the_check_catches_a_key_that_is_there_twice(features: pa.Table, codes: pa.Table, tmp_path: Path) -> None:
    keys = np.arange(N + 3)
    keys[8] = 9
    write_sparse(tmp_path / "table", keys, content_table(features, codes).vectors[keys])
    with pytest.raises(HandOffError, match="each once"):
        check_content(tmp_path / "table", features, codes)


def test_the_check_catches_another_width(features: pa.Table, codes: pa.Table, tmp_path: Path) -> None:
    write_sparse(tmp_path / "table", np.arange(N + 3), content_table(features, codes).vectors[:, :-1])
    with pytest.raises(HandOffError, match=r"43 keys of width 12 need 516 numbers, not 473"):
        check_content(tmp_path / "table", features, codes)
