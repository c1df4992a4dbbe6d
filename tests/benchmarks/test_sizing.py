"""The sizing model: lines are recovered, what was not measured is marked, bad points are refused."""

import json
from pathlib import Path

import pytest

from benchmarks import sizing
from benchmarks.sizing import Assumptions, SizingError

SIZES = (1_000_000, 5_000_000, 25_000_000)
ONE = Assumptions(nodes=1, price=2.0, efficiency=0.5, measured_movies=1000)


def curve(constant: float, slope: float) -> list[dict[str, float]]:
    return [{"ratings": n, "seconds": constant + slope * n, "peak_mb": 100 + 0.001 * n} for n in SIZES]


@pytest.mark.parametrize(("constant", "slope"), [(4, 0), (0, 2e-5), (30, 1e-6)])
def test_a_line_is_recovered(constant: float, slope: float) -> None:
    found = sizing.fit(SIZES, [point["seconds"] for point in curve(constant, slope)])
    assert (found.constant, found.slope) == (pytest.approx(constant, abs=1e-9), pytest.approx(slope, abs=1e-15))
    assert found.largest == 25_000_000
    assert found.at(10**9) == pytest.approx(constant + slope * 1e9)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 1.3])
def test_the_exponent_is_that_of_a_power_law(exponent: float) -> None:
    found = sizing.fit(SIZES, [3e-5 * n**exponent for n in SIZES])
    assert found.exponent == pytest.approx(exponent, abs=1e-9)
    assert found.constant >= 0 and found.slope >= 0


def test_points_that_shrink_give_a_constant() -> None:
    assert sizing.fit([1, 10], [2, 1]).slope == 0


def test_two_points_are_enough_and_one_is_not() -> None:
    assert sizing.fit([10, 1000], [1, 100]).exponent == pytest.approx(1)
    for sizes in ([], [10], [10, 10]):
        with pytest.raises(SizingError, match=f"needs points at 2 sizes or more, not {len(set(sizes))}"):
            sizing.fit(sizes, [1.0] * len(sizes))
    with pytest.raises(SizingError, match="stage '06 encode': a line needs points at 2 sizes"):
        sizing.predict(10**8, 1, 1, {"06 encode": curve(1, 1)[:1]})


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_points_that_cannot_be(value: float) -> None:
    with pytest.raises(SizingError, match="finite and more than 0"):
        sizing.fit([1, 2], [1, value])
    with pytest.raises(SizingError, match="stage '06': a point has no 'peak_mb'"):
        sizing.predict(10, 1, 1, {"06": [{"ratings": 1, "seconds": 1}, {"ratings": 2, "seconds": 1}]})


def test_time_memory_and_cost_by_hand() -> None:
    # 1e-5 s a rating: 10**8 ratings take 1000 s; memory 100 + 0.001 * 10**8 MB; 2 an hour.
    found = sizing.predict(10**8, 2_000_000, 1000, {"06 encode": curve(0, 1e-5)}, ONE)
    row = found["stages"]["06 encode"]
    assert row["seconds"] == pytest.approx(1000)
    assert row["peak_gb"] == pytest.approx(100.1)
    assert row["cost"] == pytest.approx(2 * 1000 / 3600)
    assert row["beyond"] == 4 and found["extrapolated"]
    assert found["weights_gb"] == pytest.approx(2_001_000 * 17 * 12 / 1e9)
    assert not sizing.predict(SIZES[-1], 1, 1000, {"06 encode": curve(0, 1e-5)}, ONE)["extrapolated"]


def test_nodes_help_what_is_shared_and_not_what_is_not() -> None:
    measured = {"01 read": curve(0, 1e-5), "06 encode": curve(0, 1e-5)}
    five = sizing.predict(10**8, 1, 1000, measured, Assumptions(5, 2.0, 0.5, 1000))["stages"]
    assert five["06 encode"]["seconds"] == pytest.approx(1000 / 3)  # 1 + 0.5 * 4
    assert five["06 encode"]["node_hours"] == pytest.approx(5 / 3 * 1000 / 3600)
    assert five["01 read"]["seconds"] == pytest.approx(1000)
    assert five["01 read"]["node_hours"] == pytest.approx(1000 / 3600)


def test_encoding_grows_with_movies_and_not_with_ratings() -> None:
    measured = {"03 posters": [point | {"seconds": 50.0, "peak_mb": 900.0} for point in curve(1, 1)]}
    small, large = (sizing.predict(n, 1, 3000, measured, ONE)["stages"]["03 posters"] for n in (10**7, 10**10))
    assert small == large
    assert small["seconds"] == pytest.approx(150) and small["beyond"] == 3


@pytest.mark.parametrize("wrong", [{"nodes": 0}, {"efficiency": 1.1}, {"price": -1.0}, {"measured_movies": 0}])
def test_assumptions_that_cannot_be(wrong: dict[str, float]) -> None:
    with pytest.raises(SizingError, match="at least 1"):
        Assumptions(**wrong)


def test_the_table_marks_what_was_not_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    growth = tmp_path / "growth.json"
    growth.write_text(json.dumps({"06 encode": curve(0, 1e-5), "03 posters": curve(1e-9, 0)}))
    sizing.main(["--growth", str(growth), "--nodes", "1", "--price", "3.6"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| stage | grew as | 100M interactions | 1B interactions | 10B interactions |"
    assert lines[2].startswith("| 06 encode | ratings^1.00 | 16.7 min, 100.1 GB, 1.00\\* | 2.8 h,")
    assert lines[2].count("\\*\\*") == 2
    assert lines[3].startswith("| 03 posters | movies^1.00 |")
    assert "**extrapolation**" in lines[-1] and "1 nodes" in lines[-1] and "3.6 an hour" in lines[-1]


def test_the_marked_place_is_filled_again_and_again(tmp_path: Path) -> None:
    page, growth = tmp_path / "page.md", tmp_path / "growth.json"
    growth.write_text(json.dumps({"06": curve(0, 1e-5)}))
    page.write_text(f"before\n{sizing.PLACE}\nafter\n")
    for nodes in ("1", "2"):
        sizing.main(["--growth", str(growth), "--into", str(page), "--nodes", nodes])
    written = page.read_text()
    assert written.startswith("before\n") and written.endswith("\nafter\n")
    assert written.count("| stage |") == 1 and "Assumed: 2 nodes" in written


@pytest.mark.parametrize("text", [None, "{", "[]", "{}", '{"06": 1}', '{"06": [1]}'])
def test_growth_that_cannot_be_read(tmp_path: Path, text: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    growth = tmp_path / "growth.json"
    if text is not None:
        growth.write_text(text)
    with pytest.raises(SystemExit) as ended:
        sizing.main(["--growth", str(growth)])
    assert ended.value.code == 1 and "FAILED" in capsys.readouterr().err


def test_a_page_without_the_place(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("nothing")
    with pytest.raises(SizingError, match="has no line <!-- sizing -->"):
        sizing.fill(tmp_path / "page.md", "table")
