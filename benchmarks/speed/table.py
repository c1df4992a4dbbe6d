"""The table of the speed benchmarks: what was reached against what was aimed at, misses said as misses."""

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.speed.limits import NEEDS, UNITS
from utils.handoff.store import writing

BEGIN, END = "<!-- speed: begin -->", "<!-- speed: end -->"
HEADER = (
    "stage",
    "against",
    "ours",
    "other",
    "runs of ours, other",
    "faster: target",
    "faster: reached",
    "memory: target",
    "memory: reached",
    "share of the machine's limit",
    "targets",
    "how both are known to do the same work",
)


def key(record: Mapping[str, Any]) -> str:
    """Return the ``key`` of a record's case."""
    return f"{record['case']['stage']}|{record['case']['against']}"


def summary(record: Mapping[str, Any], limits: Mapping[str, float]) -> dict[str, Any]:
    """Return what a record of ``harness.run_case`` comes to; ``met`` only where every target is.

    Seconds are medians, peaks the largest of the runs, ``faster`` other / ours, ``memory`` ours / other. What could
    not be measured is None. ``runs`` counts those that ended well. ``error`` says what failed or what the two answers
    differ in.
    """
    case, runs = record["case"], record["runs"]
    error = next((f"{side}: {run['error']}" for side in runs for run in runs[side] if "error" in run), None)
    if error is None and record["difference"] is not None:
        error = f"the answers differ: {record['difference']}"
    seconds = {side: _median(runs[side], "seconds") for side in runs}
    peaks = {side: max((run["peak_mb"] for run in runs[side] if "error" not in run), default=None) for side in runs}
    found: dict[str, Any] = {
        "seconds": seconds,
        "peak_mb": peaks,
        "runs": {side: sum("error" not in run for run in runs[side]) for side in runs},
        "faster": _ratio(seconds["other"], seconds["ours"]),
        "memory": _ratio(peaks["ours"], peaks["other"]),
        "count": _median(runs["ours"], "count"),
        "share": _share(case["limit"], runs["ours"], limits),
        "error": error,
    }
    reached = [found["faster"] is not None and found["faster"] >= case["at_least"]]
    if case["memory_at_most"] is not None:
        reached.append(found["memory"] is not None and found["memory"] <= case["memory_at_most"])
    if case["peak_mb_at_most"] is not None:
        reached.append(peaks["ours"] is not None and peaks["ours"] <= case["peak_mb_at_most"])
    return found | {"met": error is None and all(reached)}


def _median(runs: list[dict[str, Any]], name: str) -> float | None:
    values = [run[name] for run in runs if "error" not in run and run.get(name) is not None]
    return statistics.median(values) if values else None


def _ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


def _share(limit: str | None, runs: list[dict[str, Any]], limits: Mapping[str, float]) -> float | None:
    """The rate of what ours needs at least, as a share of the machine's."""
    if limit is None or not limits:
        return None
    rate = _ratio(_median(runs, NEEDS[limit]), _median(runs, "seconds"))
    return _ratio(rate, limits[limit] * UNITS[limit][1])


def row(record: Mapping[str, Any], limits: Mapping[str, float], reasons: Mapping[str, str]) -> list[str]:
    """Return the cells of one case, in the order of the header."""
    case, found = record["case"], summary(record, limits)
    memory_targets, memory = [], []
    if case["memory_at_most"] is not None:
        memory_targets.append(f"at most {case['memory_at_most']:g} of the other")
        memory.append(_number(found["memory"], "{:.2f} of the other"))
    if case["peak_mb_at_most"] is not None:
        memory_targets.append(f"at most {case['peak_mb_at_most']:,.0f} MB")
        memory.append(_number(found["peak_mb"]["ours"], "{:,.0f} MB"))
    share = _number(found["share"], "{:.0%}")
    cells = [
        case["stage"],
        case["against"],
        *(_side(found, side) for side in ("ours", "other")),
        ", ".join(str(found["runs"][side]) for side in ("ours", "other")),
        f"{case['at_least']:g} times",
        _number(found["faster"], "{:.3g} times"),
        "; ".join(memory_targets) or "none",
        "; ".join(memory) or "not aimed at",
        share if case["limit"] is None or found["share"] is None else f"{share} ({case['limit']})",
        _verdict(found, reasons.get(key(record))),
        case["checked"],
    ]
    return [" ".join(cell.replace("|", "/").split()) for cell in cells]


def _side(found: Mapping[str, Any], side: str) -> str:
    if found["seconds"][side] is None:
        return "failed"
    return f"{found['seconds'][side]:.3g} s, {found['peak_mb'][side]:,.0f} MB"


def _number(value: float | None, form: str) -> str:
    return "not measured" if value is None else form.format(value)


def _verdict(found: Mapping[str, Any], reason: str | None) -> str:
    if found["met"]:
        return "met"
    why = "; ".join(filter(None, [found["error"], reason]))
    return f"**missed**: {why}" if why else "**missed**"


def markdown(results: Mapping[str, Any], reasons: Mapping[str, str]) -> str:
    """Return the table of ``results.json`` with a paragraph on the machine, its limits and the versions."""
    limits, machine = results.get("limits", {}), results["machine"]
    rows = [row(record, limits, reasons) for record in results["cases"]]
    met = sum(summary(record, limits)["met"] for record in results["cases"])
    named = ", ".join(f"{name} {limits[name]:,.0f} {unit}" for name, (unit, _) in UNITS.items() if name in limits)
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    lines = [
        f"{met} of {len(rows)} cases meet all their targets. Seconds are medians, memory is the largest peak; each run",
        "has a process of its own, ours and the other in turn. Every run is in `results.json`.",
        "",
        f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB; {results['date']}.",
        f"Its limits, measured: {named or 'not measured'} (disk: writing).",
        f"Versions: {versions}.",
        "",
        *("| " + " | ".join(cells) + " |" for cells in [HEADER, ["---"] * len(HEADER), *rows]),
    ]
    return "\n".join(lines) + "\n"


def write(path: Path, table: str) -> None:
    """Put ``table`` between the marks in the Markdown file ``path``; what else is in it stays."""
    before, after = "# Benchmarks\n\n", ""
    if path.exists():
        before, found, rest = path.read_text().partition(BEGIN)
        after = rest.partition(END)[2] if found else ""
        before = before if found else before.rstrip() + "\n\n"
    with writing(path) as temporary:
        temporary.write_text(f"{before}{BEGIN}\n{table}{END}{after or chr(10)}")
