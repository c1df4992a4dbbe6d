"""Train and judge everything that one case needs; its result file holds numbers, of which ``report`` makes a page.

Finished runs are kept as checkpoints, so a study that was stopped goes on where it was.
"""

import json
import subprocess
from typing import Any

import numpy as np

from benchmarks.evidence.cases import Case
from benchmarks.peers import evaluate
from utils.handoff.atomic import ROOT, writing
from utils.handoff.hashing import lowest
from utils.handoff.store import open_store
from utils.metrics import bootstrap, ranking, significance
from utils.model import frozen_table, list_model
from utils.model.feature_sets import FeatureSet, parse
from utils.model.training import launch
from utils.model.training.fit import Settings
from utils.study import tuning
from utils.study.data import StudyData
from utils.study.results import Outcome, Results
from utils.study.study import Study

MODEL = "multimodal"
SETS = [
    "ids",
    "ids+genres",
    "ids+genres+facts",
    "ids+genres+facts+poster",
    "ids+genres+facts+text",
    "ids+genres+facts+poster+text",
]
FULL, TABULAR = SETS[-1], SETS[2]
CONTROLS = [f"{FULL}(shuffled)", f"{FULL}(zeros)"]
HIDDEN = [f"{FULL}(50% missing, mean)", f"{FULL}(90% missing, mean)"]
SETTINGS = Settings(epochs=24, batch_size=2048, learning_rate=0.002)
REPLICATES = 200
NEW_USERS = 200


def complete(case: Case) -> str:
    """Do what is left to do of a case; return its name."""
    if not case.result.exists():
        case.prepare()
        run(case)
    if not case.peers.exists():
        peers(case)
    return f"{case.dataset}, {case.split}, draw {case.draw}"


def run(case: Case) -> None:
    """Do the study of a case that ``Case.prepare`` has made ready, and write its result file."""
    store = open_store(str(case.folder), case.dataset, case.draw, "07-Training-with-HugeCTR")
    features, codes = store.read("feature_store"), store.read("movie_codes")
    data = StudyData.open(store, features, codes, frozen_table.content_table(features, codes))
    study, results = Study(data, SETTINGS, "torch", launch.trainer(store, "torch", 1, [[0]])), Results(data)
    results.add(*study.baselines())
    for name in (*SETS, *CONTROLS):
        study.tune(MODEL, [parse(name)], 1, case.draw)
        results.add(study.run(MODEL, parse(name), case.draw))
    results.add(*(study.run(MODEL, parse(name), case.draw) for name in HIDDEN))
    study.tune("original", [parse(FULL)], 1, case.draw)
    results.add(study.run("original", parse(FULL), case.draw))
    for name in SETS:
        results.add(study.lists(parse(name), case.draw)[1])
    store.record("checkpoints", rows=None)
    found = {
        "about": _about(case, data),
        "auc": _replicated(results, case.draw),
        "metrics": _values(results.outcomes),
        "ndcg": {f"{one.model} {one.features}": _means(one) for one in results.outcomes},
        "new users": _new_users(study, parse(FULL)),
        "epochs": {f"{model} {one}": rows[0]["epoch"] for (model, one), rows in study.tuned.items()},
    }
    with writing(case.result) as path:
        path.write_text(json.dumps(found))


def peers(case: Case) -> None:
    """Train other libraries on the same files, judge their lists, and write what ``report`` makes rows of."""
    python = ROOT / "benchmarks" / "peers" / ".venv" / "bin" / "python"
    if not python.exists():
        print("other libraries are left out: `make peers` installs them")
        return
    log, folder = case.peers.with_suffix(".csv"), case.folder / case.dataset
    words = [python, "-m", "benchmarks.peers.run", folder, log, "--seed", str(case.draw)]
    subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    found = evaluate.ndcg(log.with_suffix(".parquet"), folder)
    values = {
        model: {part: np.round(resampled(one), 6).tolist() for part, one in by.items()} for model, by in found.items()
    }
    with writing(case.peers) as path:
        path.write_text(json.dumps(values))


def _about(case: Case, data: StudyData) -> dict[str, Any]:
    flags = {name: int(data.features[name].to_numpy().sum()) for name in data.features.column_names if "has_" in name}
    rows = {part: table.num_rows for part, table in data.raw.items()}
    cold = len(np.unique(data.raw["cold"]["movieId"].to_numpy()))
    about = {"dataset": case.dataset, "split": case.split, "draw": case.draw, "rows": rows, "cold movies": cold}
    return about | {"movies": len(data.catalogue), "users": len(data.users)} | flags


def _values(outcomes: list[Outcome]) -> list[list[Any]]:
    """Return model, features, slice, metric, value and n of every row of ``metrics.csv``."""
    keys = ("model", "features", "slice", "metric", "value", "n")
    return [[row[key] for key in keys] for one in outcomes for row in one.rows]


def _replicated(results: Results, seed: int) -> dict[str, dict[str, list[float]]]:
    """Return by slice and feature set the AUC of all rows, then of REPLICATES resamples of users and movies."""
    wanted = [one for one in results.outcomes if one.scores and one.model in (MODEL, "user+movie bias", "user mean")]
    found = {}
    for part, name in significance.SLICES.items():
        scores = {f"{one.model} {one.features}": [one.scores[part]] for one in wanted}
        rated = results.data.rated(part)
        values = significance.replicated_auc(rated, scores, f"{MODEL} ids", REPLICATES, seed)
        found[name] = {key: np.round(value, 6).tolist() for key, value in values.items()}
    return found


def resampled(values: np.ndarray) -> list[float]:
    """Return the mean of what each user has, then that of REPLICATES resamples of users (the same for every model)."""
    drawn = bootstrap.resamples(len(values), REPLICATES, seed=0)
    return [values.mean(), *(times @ values / len(values) for times in drawn)]


def _means(one: Outcome) -> dict[str, list[float]]:
    """Return by slice the mean NDCG@10, then that of resamples of users."""
    return {n: np.round(resampled(values), 6).tolist() if len(values) else [] for n, (_, values) in one.ndcg.items()}


def _new_users(study: Study, features: FeatureSet) -> dict[str, list[float]]:
    """Return NDCG@10 per user, of users left out of training: as if they had not been, by all their likes, by three.

    They are NEW_USERS users with at least five likes in train; "popularity" orders the same lists by likes of train. As
    many others are left out in their stead for "trained on them, not on others": a model of as few users.
    """
    data, ratings, seed = study.data, study.judge.ratings, study.data.store.seed
    enough = np.flatnonzero(np.bincount(ratings.user[ratings.liked], minlength=ratings.n_users) >= 5)
    drawn = enough[lowest(2 * NEW_USERS, seed, "new users", data.users[enough])]
    chosen, (late, cold) = np.sort(drawn[:NEW_USERS]), tuning.held_out(data, seed)
    out, others = (np.isin(ratings.user, users) for users in (chosen, drawn[NEW_USERS:]))
    without, equal = (
        list_model.fit(ratings.take(~one), data.described(features, seed), (late[~one], cold[~one]), seed)
        for one in (out, others)
    )
    known, rated = study.fit_lists(features, seed), ratings.matrix()[chosen]
    three = ratings.take(out).first(3).matrix()[chosen]
    user, movie = data.places("valid")
    asked = np.isin(user, chosen) & (data.splits["valid"].label.numpy() == 1)
    wanted = np.searchsorted(chosen, user[asked]), movie[asked]
    popular = np.broadcast_to(ratings.take(~out).recent(None), (len(chosen), ratings.n_movies)).astype(np.float32)

    def ndcg(scores: np.ndarray) -> list[float]:
        lists, _ = ranking.top_k(lambda a, b: scores[a:b], len(chosen), (rated.indptr, rated.indices), 10)
        return np.round(ranking.recall_ndcg(lists, *wanted, 10)[2], 6).tolist()

    scores = {
        "trained on them": known.scores(rated),
        "trained on them, not on others": equal.scores(rated),
        "given all their ratings": without.scores(rated),
        "given three likes": without.scores(three),
        "popularity": popular,
    }
    return {name: ndcg(values) for name, values in scores.items()}
