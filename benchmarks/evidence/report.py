"""The page of the study: ``summarise`` brings the results of all draws to means and intervals, ``page`` shows them.

``evidence.json`` is committed beside the page, so that a test can make the page again and find it equal.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.evidence.cases import Case
from benchmarks.evidence.study import CONTROLS, FULL, HIDDEN, MODEL, SETS, TABULAR, resampled
from utils.handoff.atomic import ROOT, writing

SUMMARY, PAGE = ROOT / "benchmarks" / "evidence.json", ROOT / "benchmarks" / "evidence.md"
WORTH = {
    "genres": (SETS[1], SETS[0]),
    "facts: year, people, countries, languages, runtime": (TABULAR, SETS[1]),
    "text, over the facts": (SETS[4], TABULAR),
    "posters, over the facts": (SETS[3], TABULAR),
    "everything, over ids": (FULL, SETS[0]),
}
"""Each kind of content to the feature set that has it and the one that it is measured over."""
LISTS = ("popularity", "item-knn", "EASE", f"lists {SETS[1]}", f"lists {TABULAR}", f"lists {SETS[4]}", f"lists {FULL}")
TRAINED = ("trained on them", "trained on them, not on others")
Numbers = Sequence[float]


def _interval(replicated: Iterable[Numbers]) -> dict[str, Any]:
    """Return the mean over draws, the 95% interval of that mean, and the values of the draws.

    Each draw gives a value and its resamples of users and movies. The interval resamples the draws, too: draws are
    drawn with replacement, and of each one of its resamples.
    """
    draws = [np.asarray(values, float) for values in replicated if len(values)]
    if not draws:
        return {"value": None, "low": None, "high": None, "draws": []}
    generator, (least, count) = np.random.default_rng(0), (min(map(len, draws)), len(draws))
    replicates = np.stack([draw[1:least] for draw in draws])
    chosen = generator.integers(0, count, (2000, count)), generator.integers(0, least - 1, (2000, count))
    values = replicates[chosen].mean(axis=1)
    low, high = np.percentile(values, [2.5, 97.5])
    of_draws = [float(draw[0]) for draw in draws]
    mean = float(np.mean(of_draws))
    # Resamples of lists and AUCs of few rows are biased a little; the interval is moved to the value it belongs to.
    shift = mean - float(values.mean())
    numbers = {"value": mean, "low": float(low) + shift, "high": float(high) + shift}
    return {name: round(number, 5) for name, number in numbers.items()} | {"draws": [round(v, 4) for v in of_draws]}


def _difference(draws: Sequence[Mapping[str, Numbers]], one: str, other: str) -> dict[str, Any]:
    pairs = [(draw[one], draw[other]) for draw in draws if one in draw and other in draw]
    return _interval([np.subtract(a, b) for a, b in pairs])


def summarise(cases: Sequence[Case]) -> None:
    """Write ``evidence.json`` from the result files of ``study``."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for case in cases:
        found = json.loads(case.result.read_text())
        found["peers"] = json.loads(case.peers.read_text()) if case.peers.exists() else {}
        groups.setdefault(f"{found['about']['dataset']}, {found['about']['split']} split", []).append(found)
    with writing(SUMMARY) as temporary:
        temporary.write_text(json.dumps({name: _case(found) for name, found in groups.items()}, indent=1) + "\n")


def _case(found: list[dict[str, Any]]) -> dict[str, Any]:
    clicks = {name: [one["auc"][name] for one in found] for name in ("cold", "warm")}
    lists = {
        name: [{m: by[name] for m, by in (one["ndcg"] | one["peers"]).items() if by.get(name)} for one in found]
        for name in ("warm", "cold", "cold among all")
    }
    models = dict.fromkeys(model for one in found for model in one["auc"]["warm"])
    listed = {name: name if "lists" in name else f"{name} ids" for name in (*LISTS, *(f"lists {one}" for one in SETS))}
    peers = sorted({model for one in found for model in one["peers"]} - {*LISTS})
    listed |= {f"{MODEL} {FULL}": f"{MODEL} {FULL}"} | {model: model for model in peers}
    values = pd.concat([pd.DataFrame(one["metrics"]) for one in found])
    values.columns = ["model", "features", "slice", "metric", "value", "n"]
    table = values.groupby(["model", "features", "slice", "metric"], sort=False).mean()
    new = {
        "kept": [[np.mean(one["new users"][k]) for k in ("given all their ratings", *TRAINED)] for one in found],
        "three": _interval(
            resampled(np.subtract(one["new users"]["given three likes"], one["new users"]["popularity"]))
            for one in found
        ),
    }
    return {
        "about": [one["about"] for one in found],
        "auc": {
            name: {model: _interval([draw[model] for draw in draws if model in draw]) for model in models}
            for name, draws in clicks.items()
        },
        "worth": {
            kind: {
                f"{name} auc": _difference(draws, f"{MODEL} {has}", f"{MODEL} {over}") for name, draws in clicks.items()
            }
            | {f"{name} lists": _difference(lists[name], f"lists {has}", f"lists {over}") for name in ("cold", "warm")}
            for kind, (has, over) in WORTH.items()
        },
        "over": {
            f"{one} - {other}": {name: _difference(draws, f"{MODEL} {one}", other) for name, draws in clicks.items()}
            for one, other in _pairs()
        },
        "lists": {
            name: {shown: _interval([d[key] for d in draws if key in d]) for shown, key in listed.items()}
            for name, draws in lists.items()
        },
        "above": {
            model: {part: _difference(lists[part], f"lists {FULL}", listed[model]) for part in ("warm", "cold")}
            for model in ("popularity", "item-knn", "EASE", *peers)
        },
        "new users": new,
        "epochs": [one["epochs"] for one in found],
        "table": [[*row.Index, round(row.value, 5), int(row.n)] for row in table.itertuples()],
    }


def _pairs() -> list[tuple[str, str]]:
    """Return feature sets and what they are compared with besides WORTH: baselines, controls, hidden content."""
    pairs = [("ids", "user+movie bias ids"), ("ids", "user mean ids")]
    pairs += [(FULL, f"{MODEL} {control}") for control in CONTROLS]
    return pairs + [(hidden, f"{MODEL} {over}") for hidden in HIDDEN for over in (TABULAR, SETS[1])]


def _shown(cell: Mapping[str, Any], digits: int = 3, sign: bool = False) -> str:
    if cell["value"] is None:
        return ""
    form = f"{'+' if sign else ''}.{digits}f"
    return f"{cell['value']:{form}} [{cell['low']:{form}}, {cell['high']:{form}}]"


def paragraph(summary: Mapping[str, Any]) -> str:
    """Return what may be quoted, at most 120 words, from the data set with real content (the last one)."""
    name = [name for name in summary if "random" in name][-1]
    case = summary[name]
    worth, draws, listed = case["worth"], len(case["about"]), case["lists"]["warm"]

    def say(kind: str, column: str) -> str:
        return _shown(worth[kind][column], sign=True)

    facts, text, posters = list(WORTH)[1:4]
    return (
        f"On {name}, {draws} draws of cold movies (95% intervals over draws, users and movies): for movies nobody has "
        f"rated, genres are worth {say('genres', 'cold auc')} AUC over ids, facts (year, people, countries) another "
        f"{say(facts, 'cold auc')}; a plot adds {say(text, 'cold auc')} to these, a poster {say(posters, 'cold auc')}. "
        f"In lists of cold movies the text adds {say(text, 'cold lists')} NDCG@10. With ratings, everything is "
        f"worth {say('everything, over ids', 'warm auc')} AUC. Lists reach NDCG@10 "
        f"{listed[f'lists {FULL}']['value']:.3f}, plain EASE {listed['EASE']['value']:.3f}."
    )


def page(summary: Mapping[str, Any]) -> str:
    """Return the page in Markdown."""
    random = [name for name in summary if "random" in name]
    lines = [
        "# What is content worth?",
        "",
        "Written by `make evidence` from [evidence.json](evidence.json). How it is measured: [docs/evidence.md]"
        "(../docs/evidence.md). Questions people ask: [docs/faq.md](../docs/faq.md).",
        "",
        f"> {paragraph(summary)}",
        "",
        "Differences on the same ratings, mean over draws [95% interval over draws, users and movies]. ml-100k has our "
        "own plots and **stand-in posters**: a picture drawn from title and genres is expected to add nothing.",
        "",
    ]
    for name in random:
        lines += [f"**{name}**", "", "| content | cold AUC | warm AUC | cold lists, NDCG@10 |", "|---|---|---|---|"]
        for kind, cells in summary[name]["worth"].items():
            shown = (_shown(cells[column], sign=True) for column in ("cold auc", "warm auc", "cold lists"))
            lines.append(f"| {kind} | {' | '.join(shown)} |")
        lines.append("")
    lines += [
        "## Lists",
        "",
        "NDCG@10 among all movies (warm) and among the cold ones (cold); ties fall at random.",
        "",
    ]
    titles = [f"{name.split(',')[0]}, {part}" for name in random for part in ("warm", "cold")]
    lines += [f"| model | {' | '.join(titles)} |", f"|---|{'---|' * len(titles)}"]
    peers = sorted({model for name in random for model in summary[name]["above"]} - {*LISTS})
    for model in (*LISTS, *peers):
        cells = []
        for name in random:
            for part in ("warm", "cold"):
                cell = summary[name]["lists"][part].get(model)
                cells.append(_shown(cell) if cell else "")
        lines.append(f"| {model} | {' | '.join(cells)} |")
    lines += ["", *(line for name, case in summary.items() for line in _details(name, case))]
    return "\n".join(lines) + "\n"


def _details(name: str, case: Mapping[str, Any]) -> list[str]:
    about, new = case["about"][0], case["new users"]
    kept, equal = ([one[0] / one[place] for one in new["kept"] if one[place]] for place in (1, 2))
    lines = [f"<details><summary>{name}: all numbers</summary>", ""]
    lines += [
        f"Draws {', '.join(str(one['draw']) for one in case['about'])}; of the first: {about['rows']['train']:,} "
        f"ratings in train, {about['rows']['valid']:,} in valid, {about['rows']['cold']:,} of {about['cold movies']:,} "
        f"cold movies; {about['users']:,} users, {about['movies']:,} movies, {about.get('has_poster', 0):,} with a "
        f"poster, {about.get('has_text', 0):,} with a text.",
        "",
        f"New users, never trained on: given all their ratings, {np.mean(kept):.3f} of the NDCG@10 that training "
        f"on them reaches ({np.mean(equal):.3f} of what it reaches with as many other users left out); given "
        f"three likes, {_shown(new['three'], sign=True)} over popularity.",
        "",
        "| AUC of | cold | warm |",
        "|---|---|---|",
    ]
    lines += [f"| {m} | {_shown(case['auc']['cold'][m])} | {_shown(cell)} |" for m, cell in case["auc"]["warm"].items()]
    lines += ["", f"| lists {FULL} less | cold NDCG@10 | warm NDCG@10 |", "|---|---|---|"]
    for model, cells in case["above"].items():
        shown = (_shown(cells[part], 4, sign=True) for part in ("cold", "warm"))
        lines.append(f"| {model} ({len(cells['warm']['draws'])} draws) | {' | '.join(shown)} |")
    lines += ["", "| difference in AUC | cold | warm |", "|---|---|---|"]
    for pair, cells in case["over"].items():
        lines.append(f"| {pair} | {' | '.join(_shown(cells[part], 4, sign=True) for part in ('cold', 'warm'))} |")
    frame = pd.DataFrame(case["table"], columns=["model", "features", "slice", "metric", "value", "n"])
    wide = frame.pivot(index=["model", "features"], columns=["slice", "metric"], values="value").round(4)
    columns = [c for c in wide.columns if c[1] in ("auc", "ndcg@10", "logloss")]
    lines += ["", "| model | features | " + " | ".join(" ".join(c) for c in columns) + " |"]
    lines.append("|---|---|" + "---|" * len(columns))
    for key, row in wide[columns].iterrows():
        cells = ["" if pd.isna(value) else f"{value:.4f}" for value in row]
        lines.append(f"| {key[0]} | {key[1]} | {' | '.join(cells)} |")
    return [*lines, "", "</details>", ""]


def write() -> None:
    """Write the page from ``evidence.json``."""
    with writing(PAGE) as temporary:
        temporary.write_text(page(json.loads(SUMMARY.read_text())))
