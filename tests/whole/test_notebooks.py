"""The series as people run it: every notebook, in order, headless, on real ratings; then on awkward catalogues."""

import json
import re
import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import papermill
import pyarrow.parquet as pq
import pytest

from tests.places import ROOT
from tests.whole.conftest import share_cache
from utils.handoff import vector_columns
from utils.handoff.atomic import sha256
from utils.handoff.contract import ARTEFACTS, BLOCKS
from utils.handoff.store import Store, open_store
from utils.metrics import click
from utils.model import frozen_table
from utils.model.architectures import MODELS
from utils.model.feature_sets import parse
from utils.model.training import fit, launch
from utils.recommend import new_user, onnx_export
from utils.series import runner
from utils.study.data import StudyData
from utils.study.study import LISTS, Study

NOTEBOOKS = sorted(path.stem for path in ROOT.glob("[0-9]*.ipynb"))
FULL, TABULAR = "ids+genres+facts+poster+text", "ids+genres+facts"
SHUFFLED = f"{FULL}(shuffled)"
HIDDEN = [0.9]
LAST = "07-Training-with-HugeCTR"


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    """The whole series on 300 users of ml-100k; gives the folder and the parameters.

    Its name has a blank, a letter that is not ASCII, and what a pattern of files would take for one of its own.
    """
    folder = tmp_path_factory.mktemp("series") / "Daten für [1]"
    folder.mkdir()
    share_cache(folder / "data")
    given: dict[str, object] = {
        "DATA_DIR": str(folder / "data"), "SAMPLE_USERS": 300, "COLD_FRACTION": 0.2, "SEEDS": [42], "EPOCHS": 10,
        "FEATURES": ["ids", "ids+genres", TABULAR, FULL, SHUFFLED], "MISSING_SHARES": HIDDEN,
    }  # fmt: skip
    assert runner.run_all(given, runs=folder / "runs") == len(NOTEBOOKS)
    return folder, given


@pytest.fixture(scope="module")
def store(series: tuple[Path, dict[str, object]]) -> Store:
    return open_store(series[0] / "data", "ml-100k", 42, LAST)


@pytest.fixture(scope="module")
def metrics(store: Store) -> pd.DataFrame:
    return pd.read_csv(store.path("metrics"))


def test_there_are_eight_notebooks_and_each_was_run(series: tuple[Path, dict[str, object]]) -> None:
    assert [name[:2] for name in NOTEBOOKS] == [f"0{number}" for number in range(8)]
    assert sorted(path.stem for path in (series[0] / "runs" / "ml-100k").glob("*.ipynb")) == NOTEBOOKS


def test_every_file_of_the_contract_is_there_and_is_what_it_says(store: Store) -> None:
    manifest = store.manifest()
    for name, artefact in ARTEFACTS.items():
        path = store.need(name)
        assert manifest[name]["sha256"] == sha256(path), name
        assert manifest[name]["notebook"] == artefact.notebook
        if artefact.columns is not None:
            assert store.read(name).num_rows == manifest[name]["rows"]


def test_the_parts_of_the_ratings_are_disjoint_and_complete(store: Store) -> None:
    parts = {name: store.read(name).to_pandas() for name in ("train", "valid", "cold")}
    everything = pd.concat(parts.values())
    assert not everything.duplicated(["userId", "movieId"]).any()
    assert everything["userId"].nunique() == 300
    cold = set(parts["cold"]["movieId"])
    assert cold and not cold & (set(parts["train"]["movieId"]) | set(parts["valid"]["movieId"]))


def test_every_catalogue_file_lists_every_movie_once(store: Store) -> None:
    for name in ("movies_converted", "enriched", "feature_store", "movie_codes"):
        movies = store.read(name)["movieId"].to_pylist()
        assert len(movies) == len(set(movies)) == 1682, name


def test_the_frozen_row_of_every_movie_is_its_feature_store_row(store: Store) -> None:
    features, codes = store.read("feature_store"), store.read("movie_codes")
    folder = store.path("hugectr_pretrained_embedding")
    keys = np.fromfile(folder / "key", "<i8")
    vectors = np.fromfile(folder / "emb_vector", "<f4").reshape(len(keys), -1)
    assert keys.tolist() == list(range(1682 + 3))
    start = 0
    for block in BLOCKS:
        own = vector_columns.vectors(features[block])
        assert np.array_equal(vectors[codes["content_code"].to_numpy(), start : start + own.shape[1]], own), block
        start += own.shape[1]
    assert frozen_table.check_content(folder, features, codes) == 1682


def test_what_hugectr_reads_has_its_metadata_and_no_nulls(store: Store) -> None:
    for name in ("train", "valid", "cold"):
        folder = store.path(f"{name}-hugectr")
        count, *paths = (folder / "_file_list.txt").read_text().split()
        assert int(count) == len(paths)
        described = json.loads((folder / "_metadata.json").read_text())
        rows = {Path(path).name: pq.read_metadata(store.folder / path).num_rows for path in paths}
        assert {entry["file_name"]: entry["num_rows"] for entry in described["file_stats"]} == rows
        assert [entry["col_name"] for entry in described["cats"]] == [
            "userId", "movieId", "genres", "movieId_duplicate",
        ]  # fmt: skip
        assert sum(rows.values()) == store.manifest()[f"{name}-hugectr"]["rows"]
        assert sum(rows.values()) == store.read(name).num_rows
    label = pq.read_table(store.folder / paths[0])["rating"]
    assert str(label.type) == "float" and set(label.to_pylist()) <= {0.0, 1.0}


def test_training_rows_practise_the_unknown_id(store: Store) -> None:
    codes = pq.read_table(store.path("train-hugectr") / "part_0.parquet", columns=["movieId"], partitioning=None)
    share = np.mean(codes["movieId"].to_numpy() == 2)
    assert 0.27 < share < 0.33


def test_metrics_are_tidy_and_above_floors_that_a_broken_model_misses(metrics: pd.DataFrame) -> None:
    assert tuple(metrics.columns) == click.METRICS_COLUMNS
    assert {"warm", "few-shot", "cold", "cold with text", "cold among all"} == set(metrics["slice"])
    assert {"auc", "logloss", "gauc", "recall@10", "ndcg@10"} <= set(metrics["metric"])
    assert np.isfinite(metrics[["value", "low", "high"]]).all().all() and (metrics["n"] > 0).all()
    hidden = [parse(name).hidden for name in metrics["features"]]
    assert set(hidden) == {None, 90}
    ours = metrics[(metrics["model"] == "multimodal") & (metrics["metric"] == "auc")]
    auc = ours.groupby(["slice", "features"])["value"].mean()
    baseline = metrics.query("metric == 'auc' and model == 'user+movie bias'").set_index("slice")["value"]
    assert auc["warm"]["ids"] > baseline["warm"] - 0.003, "ids start at the two-term bias and must not fall below it"
    assert auc["warm"][FULL] > auc["warm"]["ids"] - 0.003
    assert auc["cold"][TABULAR] > auc["cold"]["ids"] + 0.02, "content must help where there is nothing else"
    assert auc["cold"][FULL] > auc["cold"][SHUFFLED], "the wrong movies' content must not help as much"
    gone = auc["cold"][f"{FULL}(90% missing, mean)"]
    assert gone > auc["cold"]["ids+genres"], "what is left must still be worth something"


def test_what_is_recommended_ranks_above_ease(metrics: pd.DataFrame) -> None:
    ndcg = metrics[metrics["metric"] == "ndcg@10"].groupby(["slice", "model", "features"])["value"].mean()
    assert ndcg["warm", LISTS, FULL] > ndcg["warm", "EASE", "ids"] - 0.01
    assert ndcg["warm", LISTS, FULL] > ndcg["warm", "popularity", "ids"] + 0.05
    assert ndcg["cold", LISTS, FULL] > ndcg["cold", LISTS, "ids+genres"] > ndcg["cold", "EASE", "ids"] + 0.02


def test_predictions_are_those_that_the_metrics_were_computed_from(store: Store, metrics: pd.DataFrame) -> None:
    for name, slice_name in (("valid", "warm"), ("cold", "cold")):
        rows, raw = store.read(f"{name}_predictions").to_pandas(), store.read(name).to_pandas()
        assert rows[["userId", "movieId"]].equals(raw[["userId", "movieId"]])
        assert ((rows["rating"] > 3) == (rows["label"] == 1)).all()
        assert rows["score"].between(0, 1).all()
        chosen = metrics.query("model == 'multimodal' and features == @FULL and seed == 42 and metric == 'auc'")
        value = chosen[chosen["slice"] == slice_name]["value"].item()
        assert click.auc(rows["label"].to_numpy(), rows["score"].to_numpy()) == pytest.approx(value, abs=1e-9)


def test_recommendations_are_twenty_unseen_movies_for_every_user(store: Store) -> None:
    rows, train = store.read("recommendations").to_pandas(), store.read("train").to_pandas()
    everybody = pd.concat([store.read(name).to_pandas() for name in ("train", "valid", "cold")])["userId"].unique()
    assert set(rows["userId"]) == set(everybody)
    assert (rows.groupby("userId")["rank"].apply(list).map(lambda ranks: ranks == list(range(1, 21)))).all()
    assert rows.groupby("userId")["score"].apply(lambda scores: scores.is_monotonic_decreasing).all()
    assert rows.merge(train, on=["userId", "movieId"]).empty


def test_the_exported_model_gives_the_predictions(store: Store) -> None:
    rows = store.read("cold_predictions").to_pandas()
    found = onnx_export.predict(store.path("serving"), rows["userId"].to_numpy(), rows["movieId"].to_numpy())
    assert np.abs(found - rows["score"]).max() < 1e-5


@pytest.fixture(scope="module")
def study(store: Store) -> Study:
    """The experiment of 07, opened again on the files of the series."""
    features, codes = store.read("feature_store"), store.read("movie_codes")
    data = StudyData.open(store, features, codes, frozen_table.content_table(features, codes))
    return Study(data, fit.Settings(4, 2048, 0.002), "torch", launch.trainer(store, "torch", 1, [[0]]))


def test_the_exported_lists_are_those_of_a_new_user(study: Study, store: Store) -> None:
    liked = store.read("train")["movieId"].to_pylist()[:3]
    model = study.fit_lists(parse(FULL), 42)
    wanted = new_user.recommend(study.data, model, liked, k=20)["movieId"].tolist()
    assert onnx_export.lists(store.path("serving_lists"), liked)["movieId"].tolist() == wanted


@pytest.mark.parametrize("model", sorted(MODELS))
def test_the_hugectr_script_passes_the_stand_in_and_its_weights_load_here(
    study: Study, store: Store, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests" / "hugectr_stand_in"))
    monkeypatch.setenv("HUGECTR_STAND_IN_TRUTH", str(store.folder))
    folder = store.path("checkpoints") / f"stand_in_{model}"
    folder.mkdir()
    try:
        found = launch.fit_hugectr(store, study.job(model, parse(FULL), 1), folder / model, [[0]])
    finally:
        shutil.rmtree(folder)
    assert len(found.history) == 4 and all("valid_auc" in epoch for epoch in found.history)
    assert fit.score(found.twin, study.data.splits["valid"]).std() > 0


def test_two_processes_give_the_auc_of_one(study: Study, store: Store) -> None:
    job = study.job("multimodal", parse(FULL), 1)
    folder = store.path("checkpoints") / "two_processes"
    folder.mkdir()
    try:
        runs = [fit.fit(job), launch.fit_distributed(store, job, folder / "multimodal", 2)]
    finally:
        shutil.rmtree(folder)
    valid = study.data.splits["valid"]
    one, two = (click.auc(valid.label.numpy(), fit.score(found.twin, valid)) for found in runs)
    assert one == pytest.approx(two, abs=0.003)


def test_a_second_run_does_nothing(series: tuple[Path, dict[str, object]]) -> None:
    assert runner.run_all(series[1], runs=series[0] / "runs") == 0


def test_a_hand_off_of_another_seed_is_refused(series: tuple[Path, dict[str, object]], tmp_path: Path) -> None:
    with pytest.raises(papermill.PapermillExecutionError, match=r"SEED=42, not 7\. Run 0[1-4]-"):
        papermill.execute_notebook(
            str(ROOT / "05-Create-Feature-Store.ipynb"),
            str(tmp_path / "out.ipynb"),
            {"DATA_DIR": series[1]["DATA_DIR"], "SEED": 7},
            cwd=str(ROOT),
            progress_bar=False,
        )


@pytest.mark.parametrize(
    ("kept", "genres"), [("synopses.csv", lambda _: ""), ("posters", lambda named: named.split("|")[0])]
)
def test_a_catalogue_without_posters_or_texts_and_with_a_genre_or_none_each_runs_to_the_end(
    example: Path, tmp_path: Path, kept: str, genres: Callable[[str], str]
) -> None:
    source, content, texts = example / "data" / "board-games-source", tmp_path / "content", kept == "synopses.csv"
    content.mkdir()
    (shutil.copy if texts else shutil.copytree)(source / "content" / kept, content / kept)
    share_cache(tmp_path / "data")
    games = pd.read_csv(source / "games.csv")
    games.assign(genres=games["genres"].map(genres)).to_csv(tmp_path / "games.csv", index=False)
    given: dict[str, object] = {
        "DATA_DIR": str(tmp_path / "data"), "DATASET": "games", "RATINGS": str(source / "plays.csv"),
        "MOVIES": str(tmp_path / "games.csv"), "COLD_FRACTION": 0.1, "ENRICHMENT": "local",
        "ENRICHMENT_DIR": str(content), "EPOCHS": 3, "SEEDS": [1], "FEATURES": ["ids", "ids+genres", FULL],
        "MISSING_SHARES": [0.5], "TUNING": int(texts), "FACTS": None,
    }  # fmt: skip
    assert runner.run_all(given, runs=tmp_path / "runs") == len(NOTEBOOKS)
    done = open_store(tmp_path / "data", "games", 42, LAST)
    assert done.metadata("movie_codes")["most_genres"] == 1
    features = done.read("feature_store").to_pandas()
    assert features["has_text"].all() == texts and features["has_poster"].all() == (not texts)
    assert {"warm", "cold"} <= set(pd.read_csv(done.path("metrics"))["slice"])
    assert done.read("recommendations").num_rows > 0


# The exercises


def solutions(name: str) -> tuple[int, list[str]]:
    """How many exercises docs/solutions.md solves of a notebook, and the code of the solutions."""
    page = (ROOT / "docs" / "solutions.md").read_text()
    section = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"^   ```python\n(.*?)^   ```$", section, re.DOTALL | re.MULTILINE)
    return len(re.findall(r"^\d\. ", section, re.MULTILINE)), [textwrap.dedent(block) for block in blocks]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_solutions_of_the_exercises_run(name: str, series: tuple[Path, dict[str, object]], tmp_path: Path) -> None:
    given, (count, blocks) = series[1], solutions(name)
    notebook = nbformat.read(ROOT / f"{name}.ipynb", 4)
    exercises = next(cell.source for cell in notebook.cells if "## Exercises\n" in cell.source).split("## Exercises\n")[
        1
    ]
    assert count == len(re.findall(r"^\d\. ", exercises, re.MULTILINE))
    assert blocks or name == NOTEBOOKS[0]
    if not blocks:
        return
    notebook.cells += [nbformat.v4.new_code_cell(block) for block in blocks]
    nbformat.write(notebook, tmp_path / "exercises.ipynb")
    own = papermill.inspect_notebook(str(tmp_path / "exercises.ipynb"))
    papermill.execute_notebook(
        str(tmp_path / "exercises.ipynb"),
        str(tmp_path / "solved.ipynb"),
        {key: value for key, value in given.items() if key in own},
        cwd=str(ROOT),
        kernel_name="python3",
        progress_bar=False,
    )
