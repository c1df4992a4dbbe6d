"""What the study had to show, checked on its numbers: a line each, and a failure is printed like any other result."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

from benchmarks.evidence.conclusion import GENRES, content_slice, controls, ranker
from benchmarks.evidence.results import Estimate, Results, decimals
from benchmarks.evidence.study import FULL, MODEL
from utils.model.architectures import FEATURE_SETS

LEAST_GAIN, LEAST_LOW = 0.03, 0.02
"""What text and genres must add to cold AUC, and what the interval must stay above."""
TOLERANCE = 0.001
"""AUC by which a larger feature set may be below a smaller one."""


@dataclass(frozen=True)
class Check:
    """A claim, whether it holds, and the numbers."""

    claim: str
    holds: bool
    numbers: str

    @property
    def line(self) -> str:
        return f"- {'yes' if self.holds else '**no**'}: {self.claim} ({self.numbers})"


def checks(case: Results) -> list[Check]:
    """Return the checks for which the case has numbers."""
    return [
        *_sets_against_ids(case),
        *(check for name in ("warm", "cold") for check in _contained(case, name)),
        *_poster(case),
        *_controls(case),
        *_recommendations(case),
    ]


def lines(cases: Sequence[Results]) -> list[str]:
    """Return the section's lines of markdown; cases without checks are left out."""
    told: list[str] = []
    for case in cases:
        found = checks(case)
        if found:
            held = sum(check.holds for check in found)
            told += ["", f"**{case.title}**: {held} of {len(found)} hold", "", *(check.line for check in found)]
    return told


def _judged(claim: str, found: Estimate | None, holds: Callable[[Estimate], bool]) -> list[Check]:
    return [Check(claim, holds(found), f"{found.signed}, {found.of}")] if found else []


def _sets_against_ids(case: Results) -> list[Check]:
    text = f"{GENRES}+text"
    return [
        *_judged(
            f"cold AUC of {text} is at least {LEAST_GAIN} above ids, with an interval above {LEAST_LOW}",
            case.difference(text, "ids", "cold"),
            lambda found: found.value >= LEAST_GAIN and found.low > LEAST_LOW,
        ),
        *_judged(
            f"warm AUC of {FULL} is not below ids: the interval of the difference reaches above -{TOLERANCE}",
            case.difference(FULL, "ids", "warm"),
            lambda found: found.high > -TOLERANCE,
        ),
        *_judged(
            f"cold AUC of {FULL} is above ids: the interval of the difference is above 0",
            case.difference(FULL, "ids", "cold"),
            lambda found: found.low > 0,
        ),
    ]


def contained() -> list[tuple[str, str]]:
    """Return the pairs (smaller, larger) of feature sets where the larger has all of the smaller."""
    return [pair for pair in combinations(FEATURE_SETS, 2) if set(pair[0].split("+")) < set(pair[1].split("+"))]


def _contained(case: Results, name: str) -> list[Check]:
    """Compare means of AUC on a slice: one check, which names the pairs that fail or, if none does, the closest."""
    found = {features: case.value(MODEL, features, name) for features in FEATURE_SETS}
    known = {features: one for features, one in found.items() if one}
    gains = {
        (small, large): known[large].value - known[small].value
        for small, large in contained()
        if small in known and large in known
    }
    if not gains:
        return []
    failed = {pair: gain for pair, gain in gains.items() if gain < -TOLERANCE}
    closest = min(gains, key=lambda pair: gains[pair])
    shown = failed or {closest: gains[closest]}
    numbers = "; ".join(f"{large} against {small}: {decimals(gain, '+')}" for (small, large), gain in shown.items())
    word = "below" if failed else "least gain"
    of = known[closest[1]].of
    claim = f"{name} AUC of each feature set is at most {TOLERANCE} below that of the smaller sets in it"
    return [Check(claim, not failed, f"{len(gains)} pairs, {word} {numbers}; {of}")]


def _poster(case: Results) -> list[Check]:
    name, poster = content_slice(case, "poster"), f"{GENRES}+poster"
    return [
        *_judged(
            f"{name}: AUC of {poster} is not below {GENRES}",
            case.difference(poster, GENRES, name),
            lambda found: found.value >= 0,
        ),
        *_judged(
            f"{name}: AUC of {poster} is above its shuffled twin: the interval of the difference is above 0",
            case.difference(poster, f"{poster}(shuffled)", name),
            lambda found: found.low > 0,
        ),
    ]


def _controls(case: Results) -> list[Check]:
    return [
        check
        for control in controls(case)
        for name in ("warm", "cold")
        for check in _judged(
            f"{name} AUC of {control} is within noise of {GENRES}: the interval of the difference includes 0",
            case.difference(control, GENRES, name),
            lambda found: found.sign == 0,
        )
    ]


def _recommendations(case: Results) -> list[Check]:
    name = ranker(case)
    return _judged(
        f"NDCG@10 of recommendations ({name}, {FULL}) is above popularity: the interval of the difference is above 0",
        case.difference(f"{name} {FULL}", "popularity", "warm", "ndcg@10"),
        lambda found: found.low > 0,
    )
