"""Growth: lines through measured points, the points of one size replaced, the table that is written from them."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks import generator, growth
from utils.handoff.vector_columns import vectors
from utils.series import runner

SIZES = (1_000_000, 5_000_000, 25_000_000)


def test_a_line_and_a_power_law_are_recovered() -> None:
    for constant, slope in ((4, 0), (0, 2e-5), (30, 1e-6)):
        found = growth.fit(SIZES, [constant + slope * size for size in SIZES])
        assert found[:2] == (pytest.approx(constant, abs=1e-9), pytest.approx(slope, abs=1e-15))
    assert growth.fit(SIZES, [3e-5 * size**1.3 for size in SIZES])[2] == pytest.approx(1.3)


@pytest.mark.parametrize("points", [([], []), ([10, 10], [1, 1]), ([1, 2], [1, 0]), ([1, 2], [1, float("nan")])])
def test_points_without_a_line_are_refused(points: tuple[list[float], list[float]]) -> None:
    with pytest.raises(ValueError, match="at 2 sizes or more, all finite and more than 0"):
        growth.fit(*points)


def test_points_of_one_size_are_replaced_and_the_page_has_the_table() -> None:
    old = {"06": [{"ratings": size, "seconds": 9.0, "peak_mb": 100.0} for size in SIZES[:2]]}
    new = {"ratings": SIZES[1], "seconds": 45.0, "peak_mb": 300.0}
    points = growth.enter(old, {"06": [new]})
    assert points == {"06": [old["06"][0], new]}
    line = "| 9.0 s, 100 MB | 45.0 s, 300 MB | ratings^1.00 | 900 s, 5.1 GB |"
    assert growth.table(points).splitlines()[2:] == [f"| {name} {line}" for name in ("06", "all")]
    assert growth.table(json.loads(growth.GROWTH.read_text())) in growth.PAGE.read_text()


def test_every_setting_is_a_parameter_of_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "CACHE", tmp_path / "cache")
    steps = runner.plan(growth.given(5_000, tmp_path / "data"))  # an unknown name is an error
    for notebook, width in growth.WIDTHS.items():
        (path,) = (step.given["PRECOMPUTED"] for step in steps if step.name.startswith(notebook))
        found = vectors(pq.read_table(path)["embedding"])
        assert found.shape[1] == width and np.isfinite(found).all()
