"""Tables of the report: lines of GitHub markdown, or no line where the case has no rows."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from benchmarks.evidence.conclusion import ABOVE
from benchmarks.evidence.results import Estimate, Results, decimals, estimates
from benchmarks.evidence.study import MODEL
from utils.model.architectures import FEATURE_SETS
from utils.study import missing_content, tuning

CLICK = ("auc", "gauc", "logloss", "ece")
RANKING = ("ndcg@10", "recall@10")
RANKING_SLICES = ("warm", "new users", "cold", "cold among all")
FURTHER_SLICES = ("few-shot", "new users", "cold with poster", "cold with text")


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """Return a caption and a markdown table; no line where there are no rows, no column where no row has a cell."""
    cells = [[_cell(value) for value in row] for row in rows]
    if not cells:
        return []
    kept = [number for number in range(len(columns)) if any(row[number] for row in cells)]
    told = [f"**{caption}**", "", _row(columns[number] for number in kept), _row("---" for _ in kept)]
    return [*told, *(_row(row[number] for number in kept) for row in cells), ""]


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: Any) -> str:
    """Return a value as it stands in a cell: nothing for None and nan, and no bar or line break that ends the cell."""
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return ""
    if isinstance(value, Estimate):
        return value.text
    words = f"{value:,}" if isinstance(value, int) else str(value)
    return " ".join(words.split()).replace("|", "\\|")


def code(text: str) -> str:
    """Return the words of a program so that markdown leaves them alone."""
    return f"`{text.replace('`', chr(39))}`" if text else ""


def data(case: Results) -> list[str]:
    """Return what the case was made from."""
    about, rows = case.about, case.about.get("rows", {})
    kind = " (stand-in)" if about["stand_in"] else ""
    counts = [
        *((f"ratings, {name}", rows.get(name)) for name in ("train", "valid", "cold")),
        ("users", about.get("users")),
        ("users of valid without a rating in train", about.get("new_users")),
        ("movies", about.get("movies")),
        ("cold movies", about.get("cold_movies")),
        (f"movies with a poster{kind}", about.get("movies_with_poster")),
        (f"movies with a text{kind}", about.get("movies_with_text")),
        (f"posters{kind}", about.get("poster_source")),
        (f"texts{kind}", about.get("text_source")),
        ("seeds", _listed(about.get("seeds"))),
        ("seeds of the model that ranks", _listed(about.get("rank_seeds"))),
        ("sampled movies for each like, ranking", about.get("negatives")),
        ("half-life of a like, days", about.get("half_life")),
        ("versions", ", ".join(f"{name} {number}" for name, number in about.get("versions", {}).items())),
    ]
    return table(f"Data: {case.title}", ("what", "n or name"), [row for row in counts if row[1] not in (None, "")])


def _listed(values: Sequence[Any] | None) -> str:
    return ", ".join(map(str, values or []))


def settings(case: Results) -> list[str]:
    """Return the settings chosen for each model and feature set, and among how many."""
    rows = []
    for (objective, model, features), tries in case.frames["tuned"].groupby(
        ["objective", "model", "features"], sort=False
    ):
        score = tuning.SCORES[objective]
        best = tries.sort_values(score, ascending=False, kind="stable").iloc[0]
        chosen = f"{best['learning_rate']:g}", int(best["epochs"])
        rows.append((model, objective, features, *chosen, score, decimals(float(best[score])), len(tries), 1))
    columns = ("model", "objective", "features", "learning rate", "epochs", "chosen by", "reached", "settings tried")
    train = case.about.get("rows", {}).get("train")
    of = f", on parts of the {train:,} rows of train" if train else ""
    return table(f"Settings chosen by tuning ({case.about['split']} split{of})", (*columns, "seeds"), rows)


def click(case: Results, slices: Sequence[str], caption: str, plain: bool = False) -> list[str]:
    """Return AUC, GAUC, logloss and ECE by slice; of the feature sets of our model alone where ``plain``."""
    rows = []
    for (name, _, model, features), cell in case.cells(CLICK, slices).items():
        if (
            "auc" not in cell
            or missing_content.parse(features)
            or (plain and (model != MODEL or features not in FEATURE_SETS))
        ):
            continue
        users = cell["gauc"].n if "gauc" in cell else None
        counts = cell["auc"].n, users, cell["auc"].seeds
        rows.append((case.about["split"], name, model, features, *(cell.get(one) for one in CLICK), *counts))
    columns = ("split", "slice", "model", "features", "AUC", "GAUC", "logloss", "ECE", "n ratings", "n users (GAUC)")
    return table(caption, (*columns, "seeds"), rows)


def differences(case: Results, against: str, metric: str = "auc") -> list[str]:
    """Return the paired differences of everything that was compared with ``against``."""
    found = case.differences
    found = found[(found["against"] == against) & (found["metric"] == metric)]
    rows = [
        (case.about["split"], row.slice, row.features, one.signed, ABOVE[one.sign], decimals(one.p),
         decimals(one.p_holm), one.n, one.seeds)
        for row, one in zip(found.itertuples(), estimates(found), strict=True)
    ]  # fmt: skip
    of = "n ratings" if metric == "auc" else "n users"
    columns = ("split", "slice", "features", "difference", f"it is … {against}", "p", "p (Holm)", of, "seeds")
    return table(f"Differences in {metric.upper()} from {against}", columns, rows)


def ranking(case: Results, name: str) -> list[str]:
    """Return recall@10 and NDCG@10 of all models on a slice, best first; knock-outs and gaps are left out."""
    versions = _versions(case.frames["peers"])
    found = []
    for (_, trainer, model, features), cell in case.cells(RANKING, [name]).items():
        if "ndcg@10" not in cell or "(" in features:
            continue
        made = versions.get(model, "other library") if trainer == "peer" else trainer
        one = cell["ndcg@10"]
        found.append((one.value, model, features, made, one, cell.get("recall@10"), one.n, one.seeds))
    found.sort(key=lambda row: -row[0])
    columns = ("split", "slice", "model", "features", "made by", "NDCG@10", "recall@10", "n users", "seeds")
    rows = [(case.about["split"], name, *row[1:]) for row in found]
    return table(f"Ranking, slice {name}, {case.about['split']} split, best first", columns, rows)


def _versions(peers: pd.DataFrame) -> dict[str, str]:
    known = peers.dropna(subset=["version"])
    return {row.model: f"{row.package} {row.version}" for row in known.itertuples()}


def peer_settings(case: Results) -> list[str]:
    """Return the settings that the other libraries were given, chosen as ours were on a part of train."""
    peers = case.frames["peers"]
    rows = []
    for model, runs in peers[peers["error"].isna()].groupby("model", sort=False):
        first, seconds = runs.iloc[0], runs["seconds"].astype(float).mean()
        settings = ", ".join(f"{key} {value}" for key, value in json.loads(first["settings"]).items())
        made, reached = f"{first['package']} {first['version']}", decimals(float(first["tuning_ndcg@10"]))
        took = "" if pd.isna(seconds) else f"{seconds:.1f}"
        rows.append((model, first["features"], made, settings, reached, took, len(runs)))
    columns = ("model", "features", "package", "settings", "NDCG@10 in tuning", "seconds a run", "seeds")
    return table("Other libraries: settings", columns, rows)


def peer_errors(case: Results) -> list[str]:
    """Return the other libraries that have no lists, with their error."""
    failed = case.frames["peers"].dropna(subset=["error"]).fillna("")
    rows = [(row.model, f"{row.package} {row.version}".strip(), code(row.error)) for row in failed.itertuples()]
    return table("Other libraries that could not be compared", ("model", "package", "error"), rows)


def gaps(case: Results) -> list[str]:
    """Return the AUC where a share of movies has no poster or text, by how the gaps are filled."""
    rows = []
    for (name, _, model, features), cell in case.cells(["auc"], ["warm", "cold"]).items():
        parsed = missing_content.parse(features)
        if parsed:
            one = cell["auc"]
            base = features.rpartition("(")[0]
            rows.append((name, parsed[0], parsed[1], case.about["split"], model, base, one, one.n, one.seeds))
    rows = [(split, name, model, base, f"{share:.0%}", fill, *rest)
            for name, share, fill, split, model, base, *rest in sorted(rows, key=_by_share)]  # fmt: skip
    columns = ("split", "slice", "model", "features", "hidden", "gaps filled by", "AUC", "n ratings", "seeds")
    return table(f"Missing content, {case.about['split']} split", columns, rows)


def _by_share(row: tuple[Any, ...]) -> tuple[bool, float, str]:
    return row[0] != "warm", row[1], row[2]
