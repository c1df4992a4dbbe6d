"""PCA in blocks: scikit-learn's own result, whatever the blocks, in less memory."""

import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from sklearn.decomposition import PCA

from utils.features import pca, reductions
from utils.handoff.vector_columns import Stacked, vector_column


def vectors(count: int, width: int, offset: float = 1.0) -> np.ndarray:
    """Return float32 [count, width] whose directions have clearly different variances."""
    random = np.random.default_rng(0)
    turned = np.linalg.qr(random.normal(size=(width, width)))[0]
    return (offset + random.normal(size=(count, width)) * 0.8 ** np.arange(width) @ turned).astype(np.float32)


def in_blocks_of(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    for module in (pca, reductions):
        monkeypatch.setattr(module, "BLOCK_ROWS", rows)


@pytest.mark.parametrize(("count", "width"), [(300, 20), (15, 40), (40, 40)])
@pytest.mark.parametrize("block", [7, 4096])
def test_it_is_the_pca_of_scikit_learn(monkeypatch: pytest.MonkeyPatch, count: int, width: int, block: int) -> None:
    in_blocks_of(monkeypatch, block)
    raw = vectors(count, width)
    ours, theirs = pca.fit(raw, np.arange(count), 8), PCA(8, svd_solver="full").fit(raw.astype(np.float64))
    assert np.allclose(ours.components, theirs.components_, atol=1e-4), "directions or signs differ"
    assert np.allclose(ours.explained, theirs.explained_variance_ratio_, rtol=1e-6)
    assert np.allclose(ours.mean, theirs.mean_, rtol=1e-6)
    assert ours.scale == pytest.approx(pca.DEVIATION / np.sqrt(theirs.explained_variance_).mean())
    assert ours.fitted_on == count


def test_a_mean_far_from_zero_costs_no_digits() -> None:
    near, far = vectors(500, 20, offset=0), vectors(500, 20, offset=256)
    difference = pca.fit(near, np.arange(500), 5).components - pca.fit(far, np.arange(500), 5).components
    assert np.abs(difference).max() < 1e-3  # What float32 itself loses at 256, and no more.


def test_only_the_given_rows_count_and_chunks_read_like_one_array() -> None:
    raw = vectors(100, 10)
    rows = np.array([3, 50, 7, 99, 20, 21])
    wanted = pca.fit(raw[rows], np.arange(6), 3).sha256()
    chunked = pa.chunked_array([vector_column(part) for part in (raw[:5], raw[5:5], raw[5:60], raw[60:])])
    assert pca.fit(raw, rows, 3).sha256() == pca.fit(Stacked(chunked), rows, 3).sha256() == wanted
    assert pca.fit(raw, rows[1:], 3).sha256() != wanted


@pytest.mark.parametrize(("rows", "wanted"), [(0, 0), (1, 0), (2, 1), (4, 3), (50, 5)])
def test_no_more_directions_than_the_rows_span(rows: int, wanted: int) -> None:
    fitted = pca.fit(vectors(50, 10), np.arange(rows), 5)
    assert (fitted.components.shape, fitted.explained.shape, fitted.width) == ((wanted, 10), (wanted,), 5)
    assert np.isfinite(fitted.scale)


def test_a_direction_that_is_only_rounding_is_left_out() -> None:
    raw = vectors(50, 10)
    assert len(pca.fit(np.hstack([raw, raw[:, :3] * 2]), np.arange(50), 13).components) == 10


def test_memory_is_bounded_by_the_block_and_not_by_the_movies(monkeypatch: pytest.MonkeyPatch) -> None:
    in_blocks_of(monkeypatch, 256)
    raw = vectors(20_000, 64)
    tracemalloc.start()
    try:
        pca.fit(raw, np.arange(len(raw)), 8).project(raw)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < raw.nbytes / 2, f"{peak:,} bytes for an array of {raw.nbytes:,}"
