"""The experiment of 07 on a tiny data set: metrics complete, runs kept, nothing learned from valid and cold."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.conftest import FULL, SETS, Open
from tests.study import toy
from utils.handoff.contract import FLAGS
from utils.metrics import click
from utils.model import baselines
from utils.model.architectures import MODELS
from utils.model.feature_sets import CONTENT, parse
from utils.model.training import fit
from utils.study.results import Results
from utils.study.study import LISTS, Study

pytestmark = pytest.mark.usefixtures("one_thread")
IDS, GENRES = SETS[:2]


def values(outcome, metric: str) -> dict[str, float]:
    return {row["slice"]: row["value"] for row in outcome.rows if row["metric"] == metric}


def test_a_run_is_judged_in_clicks_and_in_lists_on_every_slice(study: Study) -> None:
    before = {path for path in study.data.store.folder.rglob("*") if "checkpoints" not in path.parts}
    found = study.run("multimodal", FULL, 1)
    slices = {"warm", "cold"}
    assert values(found, "auc").keys() == values(found, "logloss").keys() == values(found, "gauc").keys() == slices
    assert values(found, "ndcg@10").keys() == values(found, "recall@10").keys() == {"warm", "cold", "cold among all"}
    assert {(row["trainer"], row["model"], row["features"], row["seed"], row["split"]) for row in found.rows} == {
        ("torch", "multimodal", str(FULL), 1, "random")
    }
    assert found.run is not None and not found.run.resumed and study.run("multimodal", FULL, 1).run.resumed
    for part in ("valid", "cold"):
        assert np.array_equal(found.scores[part], fit.score(found.run.twin, study.data.splits[part]))
    label = study.data.splits["cold"].label.numpy()
    assert values(found, "auc")["cold"] == click.auc(label, found.scores["cold"])
    for name, mask in study.data.masks["cold"].items():
        assert values(found, "auc")[name] == click.auc(label[mask], found.scores["cold"][mask])
    after = {path for path in study.data.store.folder.rglob("*") if "checkpoints" not in path.parts}
    assert after == before, "a study writes checkpoints and nothing else"


def test_slices_of_content_are_those_that_have_it(study: Study) -> None:
    cold = study.data.raw["cold"]["movieId"].to_numpy()
    for content in ("poster", "text"):
        having = study.data.features["movieId"].to_numpy()[study.data.features[FLAGS[content]].to_numpy()]
        mask = study.data.masks["cold"].get(f"cold with {content}")
        assert np.isin(cold, having).all() if mask is None else np.array_equal(mask, np.isin(cold, having))


def test_without_cold_movies(open_for: Open) -> None:
    study = toy.open_study(open_for, cold=0)
    found = study.run("original", IDS, 1)
    assert {row["slice"] for row in found.rows} == {"warm"}
    assert Results(study.data).predictions(found, "cold").num_rows == 0
    model, listed = study.lists(FULL, 1)
    assert {row["slice"] for row in listed.rows} == {"warm"} and len(model.known) == 24


@pytest.mark.parametrize("each", [1, 0])
def test_movies_of_at_most_one_genre_are_trained_on(open_for: Open, each: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy, "GENRES", [toy.NAMES[movie % 3 :][:each] for movie in range(30)])
    study = toy.open_study(open_for)
    assert study.data.catalogue.codes["genres"].shape == (30, 1)
    for model in MODELS:
        found = study.run(model, GENRES, 1)
        assert np.isfinite(found.scores["valid"]).all() and values(found, "ndcg@10").keys() >= {"warm", "cold"}
    assert np.isfinite(study.fit_lists(GENRES, 1).scores(study.judge.ratings.matrix())).all()


def test_hidden_content_shares_a_run_where_nothing_is_hidden(study: Study) -> None:
    complete = dict.fromkeys(FLAGS.values(), pa.array(toy.MOVIES > 0))
    columns = {name: study.data.features[name] for name in study.data.features.column_names}
    study.data = toy.open_data(study.data.store, pa.table(columns | complete))
    names = {share: FULL.without(share, "zero") for share in (0.0, 0.5)}
    start, stop = study.data.content.columns[CONTENT[-1]]
    tables = {share: study.job("multimodal", name, 1).frozen[3:, start:stop] for share, name in names.items()}
    assert tables[0.0].any(axis=1).all() and 0 < (tables[0.5] == 0).all(axis=1).sum() < 30
    first = study.run("multimodal", names[0.0], 1)
    assert study.run("multimodal", FULL.without(0.0, "mean"), 1).run.resumed
    assert not study.run("multimodal", names[0.5], 1).run.resumed
    results = Results(study.data)
    results.add(first)
    assert results.metrics().empty and set(results.metrics(hidden=True)["features"]) == {f"{FULL}(0% missing, zero)"}


def test_baselines_are_judged_like_models(study: Study) -> None:
    found = study.baselines()
    assert [one.model for one in found] == [*baselines.BASELINES, "EASE"]
    by_name = {one.model: one for one in found}
    assert {row["metric"] for row in by_name["popularity"].rows} == {"auc", "gauc", "recall@10", "ndcg@10"}
    assert {row["metric"] for row in by_name["user mean"].rows} >= {"logloss", "ece"}
    assert {row["metric"] for row in by_name["EASE"].rows} == {"recall@10", "ndcg@10"}
    assert all(row["trainer"] == "baseline" and row["features"] == "ids" for one in found for row in one.rows)
    users = {tuple(one.ndcg["warm"][0]) for one in found}
    assert len(users) == 1, "all are judged by the same users"


def test_results_are_compared_and_handed_on(study: Study) -> None:
    results = Results(study.data)
    for features in (IDS, GENRES):
        for seed in (1, 2):
            results.add(study.run("multimodal", features, seed))
    found = results.differences("multimodal", [IDS, GENRES], IDS, slices=["cold"])
    label = study.data.splits["cold"].label.numpy()
    auc = {f: [click.auc(label, results.of("multimodal", f, s).scores["cold"]) for s in (1, 2)] for f in (IDS, GENRES)}
    assert found[["slice", "features", "seeds"]].values.tolist() == [["cold", "ids+genres", 2]]
    assert found["difference"][0] == pytest.approx(np.mean(auc[GENRES]) - np.mean(auc[IDS]))
    assert set(results.differences("multimodal", [GENRES], IDS)["slice"]) == {"warm", "cold"}
    with pytest.raises(KeyError, match=r"There is no run of original, ids\+genres, seed None"):
        results.of("original", GENRES)
    assert [(row["features"], row["epoch"]) for row in results.curves("multimodal", 2)] == [
        ("ids", 1),
        ("ids+genres", 1),
    ]
    first = results.of("multimodal", IDS)
    assert set(results.reliability(first)) == {"warm", "cold"}
    for part in ("valid", "cold"):
        table, raw = results.predictions(first, part), study.data.raw[part]
        assert table.select(["userId", "movieId", "rating"]).equals(raw.select(["userId", "movieId", "rating"]))
        assert table["label"].to_pylist() == [float(rating > 3) for rating in raw["rating"].to_pylist()]
        assert pc.min(table["score"]).as_py() > 0 and pc.max(table["score"]).as_py() < 1


def test_lists_are_fitted_and_chosen_on_train_alone(open_for: Open) -> None:
    study = toy.open_study(open_for)
    model, found = study.lists(FULL, 1)
    assert found.model == LISTS and {row["trainer"] for row in found.rows} == {"closed form"}
    ease = next(one for one in study.baselines() if one.model == "EASE")
    parts, generator = toy.ratings(), np.random.default_rng(0)
    for name in ("valid", "cold"):
        table = parts[name].take(generator.permutation(len(parts[name]))[: len(parts[name]) * 2 // 3])
        parts[name] = table.set_column(2, "rating", pa.array(5.5 - table["rating"].to_numpy(), pa.float32()))
        open_for("train").write(name, parts[name])
        toy.encode(open_for("movie_codes"), name, parts[name])
    other = Study(toy.open_data(open_for("metrics")), toy.SETTINGS, "torch", toy.fit_here)
    again, judged = other.lists(FULL, 1)
    for part in ("known", "weights", "content", "mapped", "recent", "penalty", "trend", "blend"):
        assert np.array_equal(getattr(model, part), getattr(again, part)), part
    assert values(found, "ndcg@10") != values(judged, "ndcg@10")
    assert values(ease, "ndcg@10") != values(next(o for o in other.baselines() if o.model == "EASE"), "ndcg@10")
    shuffled = study.fit_lists(parse(f"{FULL}(shuffled)"), 1)
    assert not np.array_equal(shuffled.mapped, model.mapped) and np.array_equal(shuffled.weights, model.weights)
