"""The measurements of training and judging: both sides do the same work, and ``agree`` would notice if not."""

import pytest

from benchmarks.speed import judging, training
from benchmarks.speed.child import call
from benchmarks.speed.harness import Case

pytestmark = pytest.mark.usefixtures("one_thread")
MODULES = {case.against: module for module in (training, judging) for case in module.SMALL}


@pytest.mark.parametrize("case", [*training.SMALL, *judging.SMALL], ids=lambda case: case.against[:20])
def test_both_sides_agree(case: Case) -> None:
    ours, other = (call(side, dict(case.arguments)) for side in (case.ours, case.other))
    assert MODULES[case.against].agree(case, ours["answer"], other["answer"]) is None
    assert ours["seconds"] > 0 and other["seconds"] > 0 and ours["count"] == other["count"]


def test_what_differs_is_said() -> None:
    auc = {"auc": {"64": 0.71}, "batch": 64}
    assert training.agree(training.SMALL[0], auc, {"auc": {"64": 0.7105}, "batch": 64}) is None
    assert training.agree(training.SMALL[0], auc, {"auc": {"64": 0.72}, "batch": 64}) == (
        "AUC at batch 64: 0.7100 and 0.7200 (a guess has 0.5)"
    )
    guess = {"auc": {"64": 0.5}, "batch": 64}
    assert training.agree(training.SMALL[0], guess, guess) is not None
    metrics, lists = judging.SMALL
    assert judging.agree(metrics, {"auc": 0.7, "gauc": 0.6}, {"auc": 0.7, "gauc": 0.61}) == "gauc differ by up to 0.01"
    one, two = ({"scores": [[0.5] * 20], "items": [list(range(start, start + 20))]} for start in (0, 1))
    assert judging.agree(lists, one, one) is None
    assert judging.agree(lists, one, two) == "lists share 95.0% of their movies"
