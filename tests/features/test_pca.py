"""PCA in blocks: scikit-learn's own result, whatever the blocks, in less memory."""

import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from sklearn.decomposition import PCA

from utils.features import pca
from utils.handoff.vector_columns import Stacked, vector_column


def vectors(count: int, width: int, offset: float = 1.0) -> np.ndarray:
    """Return float32 [count, width] whose directions have clearly different variances."""
    random = np.random.default_rng(0)
    turned = np.linalg.qr(random.normal(size=(width, width)))[0]
    return (offset + random.normal(size=(count, width)) * 0.8 ** np.arange(width) @ turned).astype(np.float32)


@pytest.mark.parametrize(("count", "width"), [(300, 20), (15, 40), (40, 40)])
@pytest.mark.parametrize("block", [7, 100, 4096])
def test_it_is_the_pca_of_scikit_learn(monkeypatch: pytest.MonkeyPatch, count: int, width: int, block: int) -> None:
    monkeypatch.setattr(pca, "_BLOCK", block)
    raw = vectors(count, width)
    ours, theirs = pca.fit(raw, np.arange(count), 8), PCA(8, svd_solver="full").fit(raw.astype(np.float64))
    assert np.allclose(ours.components, theirs.components_, atol=1e-4), "directions or signs differ"
    assert np.allclose(ours.explained, theirs.explained_variance_ratio_, rtol=1e-6)
    assert np.allclose(ours.mean, theirs.mean_, rtol=1e-6)
    assert ours.scale == pytest.approx(theirs.explained_variance_.sum() ** -0.5)
    assert ours.fitted_on == count


def test_a_mean_far_from_zero_costs_no_digits() -> None:
    near, far = vectors(500, 20, offset=0), vectors(500, 20, offset=256)
    rows = np.arange(500)
    difference = pca.fit(near, rows, 5).components - pca.fit(far, rows, 5).components
    assert np.abs(difference).max() < 1e-3  # What float32 itself loses at 256, and no more.


def test_only_the_given_rows_count() -> None:
    raw = vectors(100, 10)
    rows = np.array([3, 50, 7, 99, 20, 21])
    assert pca.fit(raw, rows, 3).sha256() == pca.fit(raw[rows], np.arange(6), 3).sha256()
    assert pca.fit(raw, rows, 3).sha256() != pca.fit(raw, rows[1:], 3).sha256()


@pytest.mark.parametrize(("rows", "wanted"), [(0, 0), (1, 0), (2, 1), (4, 3), (50, 5)])
def test_no_more_directions_than_the_rows_span(rows: int, wanted: int) -> None:
    fitted = pca.fit(vectors(50, 10), np.arange(rows), 5)
    assert fitted.components.shape == (wanted, 10)
    assert fitted.explained.shape == (wanted,)
    assert np.isfinite(fitted.scale)


def test_a_direction_that_is_only_rounding_is_left_out() -> None:
    raw = vectors(50, 10)
    doubled = np.hstack([raw, raw[:, :3] * 2])
    assert len(pca.fit(doubled, np.arange(50), 13).components) == 10


def test_projected_vectors_keep_the_mean_and_have_variance_one() -> None:
    raw = vectors(200, 12)
    fitted = pca.fit(raw, np.arange(150), 4)
    projected = pca.project(fitted, raw)
    assert projected.dtype == np.float32
    assert projected.shape == (200, 4)
    assert projected[:150].var(axis=0, ddof=1).sum() == pytest.approx(1, rel=1e-5)
    assert np.allclose(projected[:150].mean(axis=0), fitted.scale * fitted.components @ fitted.mean, atol=1e-5)


@pytest.mark.parametrize("block", [1, 7, 64])
def test_a_projected_vector_does_not_depend_on_its_block(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    raw = vectors(200, 30)
    fitted = pca.fit(raw, np.arange(200), 8)
    whole = pca.project(fitted, raw)
    monkeypatch.setattr(pca, "_BLOCK", block)
    assert np.array_equal(pca.project(fitted, raw), whole)


@pytest.mark.parametrize("rows", [slice(3, 9), np.array([11, 0, 5, 5]), np.zeros(0, int), slice(None)])
def test_chunks_read_like_one_array(rows: np.ndarray | slice) -> None:
    raw = vectors(12, 3)
    chunks = [vector_column(part) for part in (raw[:5], raw[5:5], raw[5:11])]
    column = pa.chunked_array([*chunks, vector_column(raw)[11:]])
    stacked = Stacked(column)
    assert stacked.shape == raw.shape and len(stacked) == 12
    assert np.array_equal(stacked[rows], raw[rows])
    assert pca.fit(stacked, np.arange(12), 2).sha256() == pca.fit(raw, np.arange(12), 2).sha256()
    assert Stacked(column[:0])[:].shape == (0, 3)


def test_rows_with_a_number_that_is_none_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pca, "_BLOCK", 4)
    raw = vectors(10, 3)
    raw[2, 1], raw[9, 0], raw[5] = np.nan, -np.inf, 3e38  # the last overflows in float32 alone
    assert np.flatnonzero(~pca.finite(raw)).tolist() == [2, 9]
    assert pca.finite(raw[:0]).shape == (0,)


def test_memory_is_bounded_by_the_block_and_not_by_the_movies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pca, "_BLOCK", 256)
    raw = vectors(20_000, 64)
    tracemalloc.start()
    try:
        fitted = pca.fit(raw, np.arange(len(raw)), 8)
        pca.project(fitted, raw)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < raw.nbytes / 2, f"{peak:,} bytes for an array of {raw.nbytes:,}"
