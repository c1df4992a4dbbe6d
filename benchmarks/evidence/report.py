"""The report of the full study, ``benchmarks/evidence.md``, written from the result files of its cases."""

import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks.evidence import checks, figures, tables
from benchmarks.evidence.conclusion import GENRES, conclusion
from benchmarks.evidence.results import Results, read
from benchmarks.evidence.study import FULL, MODEL
from utils.handoff.store import writing
from utils.metrics.significance import FEW

TITLE = """# Does it help to see the poster and read the plot?

Eight notebooks train a click model on ratings, genres, posters and plots. This report asks what each of them is
worth: for movies the model knows and for movies nobody has rated, for known and new users, for predicting a like and
for ranking what to watch next. It is written by `python -m benchmarks.evidence` from result files; conclusion and
checks are computed from the numbers."""

HOW_TO_READ = f"""## How to read

- **Intervals.** `value [low, high]` is the mean over seeds of training, then the lowest low and the highest high of
  the seeds' 95% intervals, which come from resampling users. Movies are not resampled: an interval says what other
  users would change, not what other movies would.
- **Differences** are taken on the same rows and the same resamples of users, and averaged over seeds. They can be
  clear where the intervals of two models overlap. An interval that includes 0 is not distinguishable from nothing.
- **p (Holm)** corrects for the number of differences taken together: all sets against the same one on the same slice,
  and all models against popularity.
- **n** counts ratings for AUC, logloss and ECE (lower is better for the last two); for GAUC, recall@10 and NDCG@10 it
  counts users. **seeds** counts training runs; what needs no training has one.
- **Slices.** warm: all validation ratings; their movies are not held out. few-shot: of these, movies with 1 to {FEW}
  ratings in train. new users: users without a rating in train. cold: every rating of held-out movies, which no model
  has seen; cold with poster, cold with text: those of them that have one. Ranking is full: every movie competes that
  the user has not rated in train; for cold only the held-out movies compete; for cold among all the likes of held-out
  movies must be found among all movies. What knows nothing of a cold movie scores them all alike, and equal scores go
  to the lower movieId, in MovieLens the older and better known movie: its NDCG within cold is not zero.
- **Splits.** random: validation ratings are drawn at random. temporal: they are the latest of all.
- **Knock-outs** keep the shape of the content and take its meaning: (shuffled) gives movies each other's vectors,
  (random) gives noise, (zeros) nothing. Vectors without meaning still tell the movies of train apart, as a second id
  would, so such a control can be a little above ids+genres on warm movies, and below on cold ones, where it misleads.
- **Models.** multimodal predicts a like; multimodal-rank, the same graph, is trained to tell likes from sampled
  movies; seed is the graph of the original series.
- **Stand-ins** are posters and synopses made from title, year and genres. They carry what genres carry and no more:
  numbers from them show that the machinery works, not what real posters and texts are worth."""


def write(cases: Sequence[Path], report: Path, figures: Path) -> None:
    """Write the report on the cases' folders to ``report`` and its pictures to ``figures``, both replaced whole.

    Cases with real content come first. Raises EvidenceError where a folder has no ``about.json`` or a damaged file.
    """
    found = sorted((read(case) for case in cases), key=lambda case: bool(case.about["stand_in"]))
    figures.mkdir(parents=True, exist_ok=True)
    report.parent.mkdir(parents=True, exist_ok=True)
    told = [TITLE, "", HOW_TO_READ, "", "## Conclusion", "", *conclusion(found), ""]
    for case in found:
        told += _section(case, report.parent, figures)
    checked = checks.lines(found)
    told += ["## What was checked", "", "Claims that the study was meant to test. A **no** is a result too.", *checked]
    with writing(report) as path:
        path.write_text("\n".join(told).rstrip() + "\n")


def _section(case: Results, base: Path, folder: Path) -> list[str]:
    """Return the lines on one case; what it has no rows for is left out."""
    pictures = {name: _picture(case, name, base, folder) for name in figures.FIGURES}
    told = [f"## {case.title}", ""]
    if case.absent:
        told += [f"Result files that are not there: {', '.join(case.absent)}.", ""]
    told += tables.data(case)
    told += _part("Settings", tables.settings(case), tables.peer_settings(case))
    told += _part(
        "Predicting a like",
        pictures["ablation"],
        tables.click(case, ("warm", "cold"), f"Warm and cold, {case.about['split']} split"),
        pictures["slices"],
        tables.click(case, tables.FURTHER_SLICES, f"Further slices, {case.about['split']} split", plain=True),
    )
    against = dict.fromkeys(case.differences.loc[case.differences["metric"] == "auc", "against"])
    wanted = [name for name in ("ids", GENRES) if name in against]
    others = [name for name in against if name not in wanted]
    told += _part("Differences", *(tables.differences(case, name) for name in (*wanted, *others)))
    told += _part(
        "Ranking",
        *(tables.ranking(case, name) for name in tables.RANKING_SLICES),
        tables.differences(case, "popularity", "ndcg@10"),
        tables.peer_errors(case),
    )
    told += _part("Missing content", pictures["missing"], tables.gaps(case))
    of = [f"{MODEL}, {FULL}, first seed, {case.about['split']} split.", ""] if pictures["reliability"] else []
    told += _part("Can the probabilities be believed?", pictures["reliability"], of)
    return told


def _part(title: str, *blocks: list[str]) -> list[str]:
    lines = [line for block in blocks for line in block]
    return [f"### {title}", "", *lines] if lines else []


def _picture(case: Results, name: str, base: Path, folder: Path) -> list[str]:
    saved = figures.save(case, name, folder)
    if saved is None:
        return []
    shows, path = saved
    return [f"![{shows}]({Path(os.path.relpath(path, base)).as_posix()})", ""]
