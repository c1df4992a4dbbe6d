"""HugeCTR's files, byte for byte."""

import struct
from pathlib import Path

import numpy as np
import pytest

from utils.artefacts import HandOffError
from utils.hugectr_files import read_sparse, write_sparse


def test_a_sparse_folder_is_little_endian_int64_and_row_major_float32(tmp_path: Path) -> None:
    folder = tmp_path / "table.model"
    write_sparse(folder, np.array([7, 1], dtype=np.int32), np.array([[1.5, 2.0, -3.0], [4.0, 0.0, 0.25]]))
    assert sorted(path.name for path in folder.iterdir()) == ["emb_vector", "key"]
    assert (folder / "key").read_bytes() == struct.pack("<2q", 7, 1)
    assert (folder / "emb_vector").read_bytes() == struct.pack("<6f", 1.5, 2, -3, 4, 0, 0.25)


def test_columns_in_memory_order_do_not_matter(tmp_path: Path) -> None:
    values = np.asfortranarray(np.arange(12, dtype=np.float32).reshape(4, 3))
    write_sparse(tmp_path / "table", np.arange(4), values)
    keys, read = read_sparse(tmp_path / "table", 3)
    assert keys.tolist() == [0, 1, 2, 3]
    assert np.array_equal(read, values)
    assert (keys.dtype, read.dtype) == (np.int64, np.float32)


def test_another_table_replaces_it_whole(tmp_path: Path) -> None:
    write_sparse(tmp_path / "table", np.arange(9), np.zeros((9, 2)))
    write_sparse(tmp_path / "table", np.arange(2), np.ones((2, 2)))
    keys, vectors = read_sparse(tmp_path / "table", 2)
    assert keys.tolist() == [0, 1]
    assert (vectors == 1).all()
    assert [path.name for path in tmp_path.iterdir()] == ["table"]


@pytest.mark.parametrize("width", [2, 4])
def test_a_width_that_does_not_fit(tmp_path: Path, width: int) -> None:
    write_sparse(tmp_path / "table", np.arange(4), np.zeros((4, 3)))
    with pytest.raises(HandOffError, match=rf"table: 4 keys of width {width} need {4 * width} numbers, not 12"):
        read_sparse(tmp_path / "table", width)


def test_a_truncated_file(tmp_path: Path) -> None:
    write_sparse(tmp_path / "table", np.arange(4), np.zeros((4, 3)))
    path = tmp_path / "table" / "emb_vector"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(HandOffError, match="need 12 numbers, not 11"):
        read_sparse(tmp_path / "table", 3)
