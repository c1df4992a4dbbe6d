"""The answer in words, made from the numbers alone: every verb hangs on an interval, every sentence names its data."""

from collections.abc import Callable, Sequence

from benchmarks.evidence.results import ALPHA, Estimate, Results
from benchmarks.evidence.study import FULL, MODEL
from utils.model.baselines import BASELINES
from utils.study.objectives import tag

GENRES = "ids+genres"
HELPS = {1: "helps", 0: "does not help", -1: "costs"}
"""Sign of an interval to what is said of the content."""
RAISES = {1: "raises", 0: "does not raise", -1: "lowers"}
ABOVE = {1: "above", 0: "not distinguishable from", -1: "below"}
EXTRA = {"text": f"{GENRES}+text", "poster": f"{GENRES}+poster", "text with poster": FULL}
"""What is added to genres, to the name of the feature set."""
FURTHER = ("warm", "few-shot", "new users", "cold", "cold with poster", "cold with text")
ELSEWHERE = {"few-shot": "on few-shot movies", "new users": "for new users"}
UNCLEAR = "not distinguishable from nothing"


def conclusion(cases: Sequence[Results]) -> list[str]:
    """Return the paragraph to quote, a sentence a case, then a list: lines of markdown, cases in the order given.

    Of a data set's first case the sentence tells most, of its other splits what content is worth cold and warm.
    """
    told: list[str] = []
    first: set[str] = set()
    for case in cases:
        topics = (_cold, _warm) if case.about["dataset"] in first else (_cold, _modalities, _warm, _ranking)
        first.add(case.about["dataset"])
        found = [words for say in topics if (words := say(case))]
        told += [f"On {case.title}, {'; '.join(found)}."] * bool(found)
    bullets = [f"- **{case.title}**: {words}." for case in cases for say in TOPICS if (words := say(case))]
    return [f"> {' '.join(told) or 'No case has the numbers for a conclusion.'}", "", *bullets]


def evidence(found: Estimate) -> str:
    """Return a difference as it stands in a sentence: with interval, n, seeds, and Holm's p where it disagrees."""
    doubt = found.sign != 0 and found.p_holm > ALPHA
    holm = f"; after Holm's correction p = {found.p_holm:.4f}, so this may be luck" if doubt else ""
    return f"{found.signed}, {found.of}{holm}"


def _effect(found: Estimate) -> str:
    """Return ``evidence`` of what content is worth; where the interval includes 0 it says so."""
    return f"{evidence(found)}{'' if found.sign else f'; {UNCLEAR}'}"


def content_slice(case: Results, part: str) -> str:
    """Return the slice in which ``part``, "poster" or "text", can be judged: cold movies that have one."""
    only = f"cold with {part}"
    return only if (case.differences["slice"] == only).any() else "cold"


def _cold(case: Results) -> str:
    found = case.difference(FULL, "ids", "cold")
    if not found:
        return ""
    return f"content (genres, poster, text) {RAISES[found.sign]} the AUC on cold movies over ids ({_effect(found)})"


def _modalities(case: Results) -> str:
    said = []
    for part in ("text", "poster"):
        where = content_slice(case, part)
        found = case.difference(EXTRA[part], GENRES, where)
        if case.about.get(f"movies_with_{part}") == 0:
            said.append(f"no movie has a {part}")
        elif found:
            said.append(f"the {part} {HELPS[found.sign]} (AUC on {where} {_effect(found)})")
    return f"beyond genres {' and '.join(said)}" if said else ""


def _warm(case: Results) -> str:
    found = case.difference(FULL, "ids", "warm")
    return f"on warm movies content {HELPS[found.sign]} (AUC over ids {_effect(found)})" if found else ""


def _elsewhere(case: Results) -> str:
    """Say what the full set does on the slices that the other sentences do not speak of."""
    found = {words: case.difference(FULL, "ids", name) for name, words in ELSEWHERE.items()}
    said = [f"{words} content {HELPS[one.sign]} (AUC over ids {_effect(one)})" for words, one in found.items() if one]
    return "; ".join(said)


def _no_help(case: Results) -> str:
    """Name each content set and slice where content adds nothing to genres, or takes away."""
    found: dict[tuple[str, int], list[str]] = {}
    for part in EXTRA:
        for name in FURTHER:
            one = case.difference(EXTRA[part], GENRES, name)
            if one:
                found.setdefault((part, one.sign), []).append(f"{name} ({evidence(one)})")
    words = {0: f"is {UNCLEAR} on", -1: f"{HELPS[-1]} on"}
    said = [f"{part} {words[sign]} {', '.join(where)}" for (part, sign), where in found.items() if sign in words]
    if said:
        return f"not everything adds AUC to genres: {'; '.join(said)}"
    return "every content set adds AUC to genres on every slice" if found else ""


def ranker(case: Results) -> str:
    """Return the name of the model that recommends: the objective with the higher NDCG on a part of train."""
    return tag(MODEL, case.about["better_ranker"])


def _ranking(case: Results) -> str:
    name = ranker(case)
    ours, metric = case.value(name, FULL, "warm", "ndcg@10"), "ndcg@10"
    if not ours:
        return ""
    said = []
    popular = case.difference(f"{name} {FULL}", "popularity", "warm", metric)
    if popular:
        said.append(f"{ABOVE[popular.sign]} popularity (difference {evidence(popular)})")
    neighbours = case.value("item-knn", "ids", "warm", metric)
    if neighbours:
        said.append(_apart(ours, neighbours, "item-kNN"))
    peer = best_peer(case)
    if peer:
        said.append(_apart(ours, peer[1], f"the best of the other libraries, {peer[0]}"))
    reached = f"recommendations of {name} ({FULL}) reach an NDCG@10 of {ours.text} ({ours.of}) among all movies"
    return f"{reached}{', ' if said else ''}{', '.join(said)}"


def _apart(ours: Estimate, other: Estimate, name: str) -> str:
    """Compare two means that have no paired difference by whether their intervals overlap."""
    sign = int(ours.low > other.high) - int(ours.high < other.low)
    overlap = "intervals do not overlap" if sign else "intervals overlap"
    return f"{ABOVE[sign]} {name} ({other.text}, {other.of}; {overlap})"


def best_peer(case: Results) -> tuple[str, Estimate] | None:
    """Return the peer with the highest NDCG@10 on warm, which is not one of our own baselines done again."""
    cells = case.cells(["ndcg@10"], ["warm"])
    peers = [(name, cell["ndcg@10"]) for (_, who, name, _), cell in cells.items() if who == "peer"]
    return max((p for p in peers if p[0] not in BASELINES), key=lambda peer: peer[1].value, default=None)


def controls(case: Results) -> list[str]:
    """Return the feature sets with knocked-out vectors that were compared with genres, in their order."""
    found = case.differences[(case.differences["against"] == GENRES) & (case.differences["metric"] == "auc")]
    return [name for name in dict.fromkeys(found["features"]) if "(" in name]


def _controls(case: Results, slice_name: str = "cold") -> str:
    """Compare knocked-out sets with genres, and real ones with their shuffled twins, on a slice."""
    pairs = [(GENRES, name, GENRES) for name in controls(case)]
    pairs += [("its shuffled twin", name, f"{name}(shuffled)") for name in EXTRA.values()]
    found: dict[tuple[str, int], list[str]] = {}
    for called, name, against in pairs:
        one = case.difference(name, against, slice_name)
        if one:
            found.setdefault((called, one.sign), []).append(f"{name} ({evidence(one)})")
    return "; ".join(
        f"{ABOVE[sign]} {called} in {slice_name} AUC: {', '.join(names)}" for (called, sign), names in found.items()
    )


def _warm_controls(case: Results) -> str:
    """The same on warm movies, where vectors that mean nothing may still tell movies apart as a second id does."""
    return _controls(case, "warm")


TOPICS: Sequence[Callable[[Results], str]] = (
    _cold, _modalities, _warm, _elsewhere, _no_help, _ranking, _controls, _warm_controls
)  # fmt: skip
"""What the list says of each case, in order; each returns "" where the numbers are not there."""
