"""Train and judge everything that one case needs; write its result files.

``about.json``, ``metrics.csv``, ``differences.csv``, ``tuned.csv`` and ``reliability.csv`` go to the case's folder.
Finished runs are kept as checkpoints, so a study that was stopped goes on where it was.
"""

import json
from collections.abc import Callable
from importlib import metadata
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from benchmarks.evidence import cases
from benchmarks.evidence.cases import Case
from utils.handoff.store import Store, open_store, writing
from utils.metrics import significance
from utils.model import frozen_table
from utils.model.architectures import FEATURE_SETS
from utils.model.training import launch
from utils.series.runner import ROOT
from utils.study import missing_content, objectives, study

MODEL, FULL = "multimodal", FEATURE_SETS[-1]
CONTROLS = (
    f"{FULL}(shuffled)",
    f"{FULL}(random)",
    f"{FULL}(zeros)",
    "ids+genres+poster(shuffled)",
    "ids+genres+text(shuffled)",
)
EPOCHS, RANK_EPOCHS, BATCH_SIZE, LEARNING_RATE = 36, 16, 2048, 0.002
"""As in notebook 07, but for a few more epochs to choose from."""
TRIES = {"like": 3, "rank": 1}
SEEDS = {"random": (42, 43, 44, 45, 46), "temporal": (42, 43, 44)}
FEWER_SEEDS = (42, 43, 44)
SWEEP_SEEDS = (42, 43)
PACKAGES = ("torch", "numpy", "nvtabular", "pandas", "polars", "scikit-learn")


def run(case: Case, threads: int, started: float) -> None:
    """Do the whole study of a case that ``cases.prepare`` has made ready, on ``threads`` threads of PyTorch.

    Progress is printed with the minutes since ``started`` (see ``cases.say``).
    """

    def say(words: str) -> None:
        cases.say(started, f"{case.name}  {words}")

    torch.set_num_threads(threads)
    store = open_store(str(ROOT / case.data_dir), case.dataset, 42, "07-Training-with-HugeCTR")
    experiment = _open(store)
    seeds, random = SEEDS[case.split], case.split == "random"
    sets = [*FEATURE_SETS, *(CONTROLS if random else CONTROLS[:1])]
    experiment.run_baselines()
    _train(experiment, "like", sets, seeds, say)
    for features in (FEATURE_SETS[0], FULL):
        for seed in FEWER_SEEDS:
            experiment.run("seed", features, seed)
    _train(experiment, "rank", [*FEATURE_SETS], FEWER_SEEDS, say)
    if random:
        _sweep(experiment, say)
    store.record("checkpoints", rows=None)
    case.results.mkdir(parents=True, exist_ok=True)
    tables = {
        "metrics": experiment.metrics(gaps=True),
        "differences": pd.concat([_auc_differences(experiment, sets, seeds), _ranking_differences(experiment)]),
        "tuned": pd.DataFrame([row for rows in experiment.tuned.values() for row in rows]),
        "reliability": pd.concat(
            [part.assign(slice=name) for name, part in experiment.reliability(MODEL, FULL, seeds[0]).items()]
        ),
    }
    for name, table in tables.items():
        with writing(case.results / f"{name}.csv") as path:
            table.to_csv(path, index=False)
    about = _about(case, experiment, seeds)
    with writing(case.results / "about.json") as path:
        path.write_text(json.dumps(about, indent=1))


def _open(store: Store) -> study.Study:
    features, codes = store.read("feature_store"), store.read("movie_codes")
    movies = store.read("movies_converted").sort_by("movieId")
    settings = objectives.settings("both", EPOCHS, RANK_EPOCHS, BATCH_SIZE, LEARNING_RATE)
    table = frozen_table.content_table(features, codes)
    fit = launch.trainer(store, "torch", 1, [[0]])
    return study.Study.open(store, movies, features, codes, table, settings, "torch", fit)


def _train(
    experiment: study.Study, objective: str, sets: list[str], seeds: tuple[int, ...], say: Callable[[str], None]
) -> None:
    for features in sets:
        experiment.tune(MODEL, [features], objective, TRIES[objective], seeds[0])
        for seed in seeds:
            experiment.run(MODEL, features, seed, objective)
        say(f"{objective}: {features}, {len(seeds)} seeds")


def _sweep(experiment: study.Study, say: Callable[[str], None]) -> None:
    for share in missing_content.SHARES:
        for strategy in missing_content.STRATEGIES:
            for seed in SWEEP_SEEDS:
                experiment.run(MODEL, missing_content.name(FULL, share, strategy), seed)
        say(f"{share:.0%} missing")


def _auc_differences(experiment: study.Study, sets: list[str], seeds: tuple[int, ...]) -> pd.DataFrame:
    """Return paired differences in AUC: all sets against ids and ids+genres, and content against its shuffled twin."""
    slices = list(dict.fromkeys(name for masks in experiment.masks.values() for name in masks))
    pairs = [("ids", sets), ("ids+genres", sets)]
    pairs += [(f"{name}(shuffled)", [name]) for name in sets if f"{name}(shuffled)" in sets]
    tables = [
        experiment.differences(MODEL, features, list(seeds), against, slices).assign(against=against)
        for against, features in pairs
    ]
    return pd.concat(tables).assign(model=MODEL, metric="auc")


def _ranking_differences(experiment: study.Study) -> pd.DataFrame:
    """Return the paired differences in NDCG@10 among all movies from popularity; ``features`` names the model too."""
    runs: dict[str, tuple[str, list[tuple[np.ndarray, np.ndarray]]]] = {}
    for (model, features, _, name), found in experiment.ndcg.items():
        ours = model.startswith(MODEL) and features in FEATURE_SETS
        if name == "warm" and (ours or model in ("item-knn", "recent popularity")):
            runs.setdefault(f"{model} {features}" if ours else model, (model, []))[1].append(found)
    (popular,) = [found for key, found in experiment.ndcg.items() if key[0] == "popularity" and key[3] == "warm"]
    tables = [
        # Popularity has one run: it stands beside each seed.
        significance.paired_means({"popularity": [popular] * len(found), name: found}, "popularity").assign(model=model)
        for name, (model, found) in runs.items()
    ]
    table = pd.concat(tables)
    return table.assign(
        against="popularity", slice="warm", metric="ndcg@10", p_holm=significance.holm(table["p"].to_numpy())
    )


def _about(case: Case, experiment: study.Study, seeds: tuple[int, ...]) -> dict[str, Any]:
    """Return what a reader must know of the case."""
    raw, features = experiment.raw, experiment.features
    layout, made = experiment.store.metadata("movie_codes"), experiment.store.metadata("feature_store")
    enriched = experiment.store.read("enriched")
    given = {name: case.given.get(f"{number}:PRECOMPUTED") for number, name in (("03", "poster"), ("04", "text"))}
    new = np.setdiff1d(raw["valid"]["userId"].to_numpy(), raw["train"]["userId"].to_numpy())
    return {
        "dataset": case.dataset,
        "split": case.split,
        "stand_in": "offline" in enriched["poster_source"].unique().to_pylist(),
        "poster_source": _source(enriched["poster_source"], given["poster"], made["reductions"]["poster"]["encoder"]),
        "text_source": _source(enriched["synopsis_source"], given["text"], made["reductions"]["text"]["encoder"]),
        "rows": {name: table.num_rows for name, table in raw.items()},
        "movies": features.num_rows,
        "cold_movies": len(np.unique(raw["cold"]["movieId"].to_numpy())),
        "users": len(experiment.users),
        "new_users": len(new),
        "movies_with_poster": int(np.sum(features["has_poster"].to_numpy())),
        "movies_with_text": int(np.sum(features["has_text"].to_numpy())),
        "seeds": list(seeds),
        "rank_seeds": list(FEWER_SEEDS),
        "half_life": experiment.half_life,
        "negatives": layout.get("negatives"),
        "better_ranker": experiment.better_ranker(MODEL, FULL),
        "versions": {name: metadata.version(name) for name in PACKAGES},
    }


def _source(column: pa.ChunkedArray, precomputed: str | None, encoder: str | None) -> str:
    """Return in words where content came from (the sources that notebook 02 recorded) and what made its vectors."""
    names = [name for name in column.unique().to_pylist() if name]
    ready = ["ready-made vectors"] if precomputed and not names else []
    return f"{', '.join(names + ready) or 'none'}; encoder {encoder}"
