"""Growth is measured per notebook; points of other sizes stay."""

import json
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from benchmarks import growth
from benchmarks.sizing import read_growth
from benchmarks.speed import generator
from utils.series import runner


def _point(ratings, seconds):
    return {"ratings": ratings, "seconds": seconds, "peak_mb": 10.0}


def test_points_of_other_sizes_stay_and_those_of_the_same_are_replaced(tmp_path):
    path = tmp_path / "growth.json"
    growth.enter(path, 5, {"01": _point(5, 2.0)})
    growth.enter(path, 1, {"01": _point(1, 1.0)})
    growth.enter(path, 5, {"01": _point(5, 3.0)})
    assert json.loads(path.read_text()) == {"01": [_point(1, 1.0), _point(5, 3.0)]}
    assert read_growth(path)["01"][1]["seconds"] == 3.0


def test_the_peak_of_a_child_is_seen_with_that_of_its_own_child():
    inner = "import time; block = bytearray(60_000_000); time.sleep(2)"
    outer = f"import subprocess, sys; block = bytearray(80_000_000); subprocess.run([sys.executable, '-c', {inner!r}])"
    with growth.watched() as children:
        subprocess.run([sys.executable, "-c", outer], check=True)
    assert 140 < children.largest < 400


def test_every_setting_is_a_parameter_of_a_notebook_and_vectors_are_for_every_movie(tmp_path, monkeypatch):
    monkeypatch.setattr(generator, "CACHE", tmp_path / "cache")
    given = growth.prepare(5_000, 0, tmp_path / "data")
    given_to = {step.name[:2]: step.given for step in runner.plan(given)}  # an unknown name is an error
    assert given_to["07"]["FEATURES"] == [growth.FULL]
    for notebook, width in growth.WIDTHS.items():
        vectors = pq.read_table(given_to[notebook]["PRECOMPUTED"])
        assert vectors.schema.field("embedding").type.list_size == width
    assert given_to["01"]["ARCHIVE"].endswith(".zip")
    assert given_to["02"]["MAX_MOVIES"] < vectors.num_rows


def test_the_wrong_words_are_refused(tmp_path):
    with pytest.raises(ValueError, match="invalid literal"):
        growth.main(["--ratings", "many", "--out", str(tmp_path / "g.json")])
