"""The property the series stands on: a frozen row is its movie's feature vector, and whatever breaks it is caught."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from utils.handoff.contract import BLOCKS, FLAGS
from utils.handoff.store import HandOffError
from utils.handoff.vector_columns import vector_column, vectors
from utils.model.frozen_table import check_content, content_columns, content_table
from utils.model.hugectr_files import write_sparse

N = 40
WIDTHS = dict.fromkeys(BLOCKS, 5)
WIDTH = 6 * len(BLOCKS)
FIRST, LAST = BLOCKS[0], BLOCKS[-1]


@pytest.fixture
def features() -> pa.Table:
    generator = np.random.default_rng(0)
    columns: dict[str, Any] = {"movieId": np.arange(N) * 7 + 2}
    columns |= {block: vector_column(generator.normal(size=(N, width))) for block, width in WIDTHS.items()}
    return pa.table(columns | {flag: generator.random(N) < 0.7 for flag in FLAGS.values()})


@pytest.fixture
def codes(features: pa.Table) -> pa.Table:
    content = np.random.default_rng(1).permutation(N) + 3
    return pa.table({"movieId": features["movieId"], "code": np.full(N, 2), "content_code": content})


def test_a_row_is_the_feature_vector_of_its_movie(features: pa.Table, codes: pa.Table) -> None:
    table = content_table(features, codes)
    assert table.columns == content_columns(WIDTHS)
    assert table.vectors.shape == (N + 3, WIDTH) and table.vectors.dtype == np.float32
    wanted = np.hstack(
        [vectors(features[b]) for b in BLOCKS] + [features[FLAGS[b]].to_numpy()[:, None] for b in BLOCKS]
    )
    assert np.array_equal(table.vectors[codes["content_code"].to_numpy()], wanted)
    for row in table.vectors[:3]:
        assert np.allclose(row[: -len(BLOCKS)], wanted[:, : -len(BLOCKS)].mean(axis=0), atol=1e-6), "reserved: the mean"
        assert not row[-len(BLOCKS) :].any(), "and flagged as absent"


def test_flags_stand_after_all_blocks_where_they_fit() -> None:
    assert content_columns({"poster": 4, "text": 3}) == {
        "poster": (0, 4), "text": (4, 7), "has_poster": (7, 8), "has_text": (8, 9),
    }  # fmt: skip
    assert list(content_columns({"poster": 512, "text": 510})) == ["poster", "text", "has_poster", "has_text"]
    assert content_columns({"poster": 512, "text": 511}) == {"poster": (0, 512), "text": (512, 1023)}


def test_movies_that_do_not_match(features: pa.Table, codes: pa.Table, tmp_path: Path) -> None:
    wanted = "do not list the same movies. Run notebooks 05 and 06 again"
    write_sparse(tmp_path / "table", np.arange(N + 3), content_table(features, codes).vectors)
    for other in (codes.slice(1), codes.take(list(range(N))[::-1])):
        with pytest.raises(HandOffError, match=wanted):
            content_table(features, other)
        with pytest.raises(HandOffError, match=wanted):
            check_content(tmp_path / "table", features, other)


def test_the_check_passes_on_what_was_written_in_any_order(features: pa.Table, codes: pa.Table, tmp_path: Path) -> None:
    table = content_table(features, codes).vectors
    for number, keys in enumerate((np.arange(N + 3), np.random.default_rng(3).permutation(N + 3))):
        write_sparse(tmp_path / str(number), keys, table[keys])
        assert check_content(tmp_path / str(number), features, codes) == N


def columns_in_order(*order: int) -> list[int]:
    return [*order, *range(len(order), WIDTH)]


def changed(table: np.ndarray, row: int, column: int, value: float) -> np.ndarray:
    table = table.copy()
    table[row, column] = value
    return table


SECOND = slice(5, 10)
HARM = {
    "rows are shifted": (lambda table, codes: np.roll(table, -3, axis=0), FIRST, 2),
    "rows in the order of the catalogue": (lambda table, codes: np.concatenate([table[:3], table[codes]]), FIRST, 2),
    "two columns swapped": (lambda table, codes: table[:, columns_in_order(1, 0)], FIRST, 2),
    "two blocks swapped": (lambda table, codes: table[:, columns_in_order(*range(5, 10), *range(5))], FIRST, 2),
    "the second block read from the first": (
        lambda table, codes: table[:, columns_in_order(*range(5), *range(5))], BLOCKS[1], 2,
    ),
    "one number by one bit": (
        lambda table, codes: changed(table, codes[17], 7, np.nextafter(table[codes[17], 7], np.float32(9))),
        BLOCKS[1], 121,
    ),
    "a number that is none": (lambda table, codes: changed(table, codes[17], 2, np.nan), FIRST, 121),
    "flags swapped": (
        lambda table, codes: table[:, [*range(WIDTH - 2), WIDTH - 1, WIDTH - 2]], FLAGS[BLOCKS[-2]], None,
    ),
    "two movies swapped": (
        lambda table, codes: table[np.arange(N + 3) + np.where(np.arange(N + 3) == codes[4], codes[5] - codes[4], 0)],
        FIRST, 30,
    ),
}  # fmt: skip


@pytest.mark.parametrize("harm", HARM)
def test_the_check_catches(harm: str, features: pa.Table, codes: pa.Table, tmp_path: Path) -> None:
    break_it, part, movie = HARM[harm]
    table = content_table(features, codes).vectors
    write_sparse(tmp_path / "table", np.arange(N + 3), break_it(table, codes["content_code"].to_numpy()))
    which = r"\d+" if movie is None else str(movie)
    with pytest.raises(HandOffError, match=f"the {part} columns of movieId {which} are not its feature-store row"):
        check_content(tmp_path / "table", features, codes)


@pytest.mark.parametrize(
    "keys",
    [np.delete(np.arange(N + 3), lost) for lost in (0, 17, N + 2)]
    + [np.arange(N + 3) + 1, np.where(np.arange(N + 3) == 8, 9, np.arange(N + 3))],
    ids=["first lost", "one lost", "last lost", "offset", "one twice"],
)
def test_the_check_catches_other_keys(keys: np.ndarray, features: pa.Table, codes: pa.Table, tmp_path: Path) -> None:
    write_sparse(tmp_path / "table", keys, content_table(features, codes).vectors[: len(keys)])
    with pytest.raises(HandOffError, match=r"keys must be every code from 0 to \d+, each once"):
        check_content(tmp_path / "table", features, codes)


def test_the_check_catches_another_width(features: pa.Table, codes: pa.Table, tmp_path: Path) -> None:
    write_sparse(tmp_path / "table", np.arange(N + 3), content_table(features, codes).vectors[:, :-1])
    with pytest.raises(
        HandOffError, match=rf"43 keys of width {WIDTH} need {43 * WIDTH} numbers, not {43 * WIDTH - 43}"
    ):
        check_content(tmp_path / "table", features, codes)
