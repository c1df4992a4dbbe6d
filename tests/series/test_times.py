"""What README and notebooks say of seconds and minutes is what the last complete run took, within a factor of two."""

import json
import re
from pathlib import Path

import nbformat
import pytest

from tests.places import ROOT
from utils.series.committed_outputs import TIMES

SERIES = sorted(ROOT.glob("[0-9][0-9]-*.ipynb"))
NUMBERS = ["half a", "a", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
CLAIM = re.compile(rf"\b(under a|a few|{'|'.join(NUMBERS)}|\d+) minutes?\b|\bseconds\b", re.IGNORECASE)


def seconds() -> dict[str, int]:
    return json.loads((ROOT / TIMES).read_text())


def claimed(text: str) -> tuple[float, float]:
    """The least and most seconds that the first claim of a text stands for."""
    said = CLAIM.search(text)
    assert said, f"no time is named: {text!r}"
    amount = (said[1] or "seconds").lower()
    if amount in ("seconds", "under a", "a few"):
        return {"seconds": (0, 45), "under a": (0, 60), "a few": (90, 420)}[amount]
    minutes = 0.5 if amount == "half a" else int(amount) if amount.isdigit() else NUMBERS.index(amount)
    return minutes * 30, minutes * 120


@pytest.mark.parametrize("path", SERIES, ids=lambda path: path.stem)
def test_what_a_notebook_needs_of_time(path: Path) -> None:
    needs = nbformat.read(path, 4).cells[0].source.partition("**Needs**")[2].partition("**Produces**")[0]
    least, most = claimed(needs)
    assert least <= seconds()[path.stem] <= most, f"{seconds()[path.stem]} s: mend **Needs** in the first cell"


def test_what_the_readme_says_of_the_series() -> None:
    assert set(seconds()) >= {path.stem for path in SERIES}
    (line,) = re.findall(r"^make run +# (.+)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    least, most = claimed(line.partition("then")[2])
    assert least <= sum(seconds()[path.stem] for path in SERIES) <= most, f"{seconds()}: mend `make run` in README.md"


CLAIMS = [("half a minute on", (15, 60)), ("about a minute", (30, 120)), ("12 minutes", (360, 1440))]


@pytest.mark.parametrize(("text", "bounds"), CLAIMS)
def test_claims_are_read(text: str, bounds: tuple[float, float]) -> None:
    assert claimed(text) == bounds
