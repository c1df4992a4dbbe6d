"""Leaks: nothing of the held-out ratings reaches what is fitted, shown on the notebooks as people run them.

01, 05 and 06 run on ratings with a planted taste. Then 05 and 06 run twice more: on the same train with quite other
held-out ratings, after which all that is fitted must be the same, and on another train, after which it must not.
"""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.fakes.facts import movie_facts
from tests.places import ROOT
from utils.etl import workflow
from utils.features import feature_store, imputation
from utils.handoff.contract import ARTEFACTS
from utils.handoff.store import Store, open_store
from utils.handoff.vector_columns import vector_column, vectors
from utils.metrics import click
from utils.model import baselines, frozen_table
from utils.model.feature_sets import parse
from utils.model.training import fit
from utils.model.training.fit import Settings, Split
from utils.series import runner
from utils.study.data import StudyData
from utils.study.results import Outcome
from utils.study.study import Study

USERS, OFTEN_RATED, MOVIES = 400, np.arange(1, 121), np.arange(1, 135)
"""Movies above 120 have one rating, the last has none."""
WESTERN = 8
"""The one movie of its genre, with a poster and a text."""
FULL, GENRES = parse("ids+genres+poster+text"), parse("ids+genres")
PAIR = ["userId", "movieId"]
EPOCHS = 6
pytestmark = pytest.mark.usefixtures("one_thread")


def planted_ratings() -> pd.DataFrame:
    """Users like the movies of their own parity, nine times of ten; 72 of the 120 movies each, and some rare ones."""
    generator = np.random.default_rng(0)
    pairs = [(user, movie) for user in range(1, USERS + 1) for movie in generator.permutation(OFTEN_RATED)[:72]]
    pairs += [(3 * number, movie) for number, movie in enumerate(MOVIES[len(OFTEN_RATED) : -1].tolist(), start=1)]
    user, movie = np.array(pairs).T
    likes = (user % 2 == movie % 2) ^ (generator.random(len(user)) < 0.1)
    rating = generator.integers(1, 3, len(user)) + 3.0 * likes
    return pd.DataFrame(
        {"userId": user, "movieId": movie, "rating": rating, "timestamp": generator.permutation(len(user))}
    )


def planted_movies() -> pd.DataFrame:
    genres = [("Crime|" if movie % 2 else "") + "Poetry" for movie in MOVIES.tolist()]
    genres[WESTERN - 1] += "|Western"
    return pd.DataFrame({"movieId": MOVIES, "title": [f"Movie {movie} (1999)" for movie in MOVIES], "genres": genres})


def embeddings(movies: np.ndarray, width: int, seed: int) -> pa.Table:
    """Vectors that tell the parity of a movie, with noise."""
    generator = np.random.default_rng(seed)
    kinds = generator.normal(size=(2, width))
    noise = generator.normal(0, 0.5, (MOVIES.max() + 1, width))
    return pa.table({"movieId": movies, "embedding": vector_column(1 + kinds[movies % 2] + noise[movies])})


POSTERS = embeddings(MOVIES[MOVIES % 5 > 0], 12, seed=1)
TEXTS = embeddings(MOVIES[MOVIES % 7 > 0], 10, seed=2)
_NONE = dict.fromkeys(
    ("synopsis", "synopsis_source", "poster_path", "poster_source"), pa.nulls(len(MOVIES), pa.string())
)
NO_CONTENT = pa.table({"movieId": MOVIES} | _NONE)
"""In place of 02, which 05 asks for pictures of its nearest neighbours: there are none."""


@dataclass(frozen=True)
class DataSet:
    """One data folder and the parameters of its notebooks."""

    folder: Path
    ratings: Path

    def run(self, *numbers: str) -> None:
        """Execute notebooks by number, as ``make run`` does."""
        given = {
            "DATA_DIR": str(self.folder), "DATASET": "planted", "POSTER_DIM": 6, "TEXT_DIM": 5, "MISSING": "neighbour",
            "RATINGS": str(self.ratings / "ratings.csv"), "MOVIES": str(self.ratings / "movies.csv"),
            "VALID_FRACTION": 0.5, "COLD_FRACTION": 0.1,
        }  # fmt: skip
        for step in runner.plan(given):
            if step.name[:2] in numbers:
                runner.run(step, self.folder / "runs" / step.path.name, self.folder / "planted", ROOT)

    def store(self, artefact: str = "metrics") -> Store:
        """Open the data set for the notebook that writes ``artefact``."""
        return open_store(self.folder, "planted", 42, ARTEFACTS[artefact].notebook)

    def frame(self, name: str) -> pd.DataFrame:
        return self.store().read(name).to_pandas()

    def copy(self, name: str, **parts: pd.DataFrame) -> "DataSet":
        """Return a copy whose ``parts`` (train, valid, cold) are other ratings, with 05 and 06 run again."""
        other = replace(self, folder=self.folder.with_name(name))
        shutil.copytree(self.folder, other.folder)
        for part, frame in parts.items():
            other.store(part).write(part, pa.Table.from_pandas(frame, preserve_index=False))
        other.run("05", "06")
        return other


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """The data set after 01, with vectors in place of 02 to 04, then 05 and 06."""
    folder = tmp_path_factory.mktemp("leaks")
    planted_ratings().to_csv(folder / "ratings.csv", index=False)
    planted_movies().to_csv(folder / "movies.csv", index=False)
    made = DataSet(folder / "base", folder)
    made.run("01")
    for name, table in {"poster_embeddings": POSTERS, "text_embeddings": TEXTS}.items():
        made.store(name).write(name, table, metadata={"encoder": "planted"})
    made.store("enriched").write("enriched", NO_CONTENT)
    made.store("movie_facts").write("movie_facts", movie_facts(NO_CONTENT["movieId"].to_numpy()))
    made.run("05", "06")
    return made


def other_ratings(part: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Deal the ratings out anew, copy them into the timestamps, drop a tenth and a movie, give a tenth to new users."""
    generator = np.random.default_rng(seed)
    part = part.assign(rating=generator.permutation(part["rating"].to_numpy()))
    part["timestamp"] = (2 * part["rating"]).astype("int64")
    kept = (generator.random(len(part)) > 0.1) & (part["movieId"] != part["movieId"].max())
    part = part[kept].reset_index(drop=True)
    new = generator.random(len(part)) < 0.1
    part.loc[new, "userId"] = 10_000 * seed + part[new].groupby("movieId").cumcount()
    return part


@pytest.fixture(scope="module")
def held_out_changed(data_set: DataSet) -> DataSet:
    """The same train; in valid and cold other ratings, users and movies."""
    valid, cold = (other_ratings(data_set.frame(name), seed) for seed, name in enumerate(("valid", "cold"), start=1))
    valid.loc[len(valid)] = [10_000, MOVIES[-1], 5.0, 10]
    return data_set.copy("held_out", valid=valid.astype({"userId": "int64", "movieId": "int64"}), cold=cold)


@pytest.fixture(scope="module")
def train_changed(data_set: DataSet) -> DataSet:
    """The same valid and cold; train lacks a movie and a user."""
    train = data_set.frame("train")
    return data_set.copy("train", train=train[(train["movieId"] != WESTERN) & (train["userId"] != 1)])


def fitted(data_set: DataSet) -> dict[str, Any]:
    """All that 05 and 06 fit on train or make of it, by name: tables, and what their metadata says of the fit."""
    store = data_set.store()
    paths = [*store.need("train-hugectr").glob("*.parquet")]
    paths += (store.need("workflow-hugectr") / "categories").glob("*.parquet")
    named = {f"{path.parent.name}/{path.name}": path for path in paths}
    found: dict[str, Any] = {name: pq.read_table(path, partitioning=None) for name, path in named.items()}
    found |= {name: store.read(name) for name in ("feature_store", "movie_codes")}
    found = {name: table.replace_schema_metadata(None) for name, table in found.items()}
    reductions = store.metadata("feature_store")["reductions"]
    found |= {f"reduction of {name}": reduction for name, reduction in reductions.items()}
    return found | {"rows": store.metadata("movie_codes")["rows"]}


def changed(one: DataSet, other: DataSet) -> set[str]:
    before, after = fitted(one), fitted(other)
    assert set(before) == set(after)
    return {name for name in before if before[name] != after[name]}


def encoded(data_set: DataSet, part: str) -> pd.DataFrame:
    """A part of the ratings with its codes and label as 07 reads them: columns ``code of …`` and ``label``."""
    store = data_set.store()
    columns = workflow.read_encoded(store, f"{part}-hugectr", store.metadata("movie_codes")["most_genres"])
    label = columns.pop("label")
    codes = {f"code of {name}": values.tolist() for name, values in columns.items()}
    return data_set.frame(part).assign(**codes, label=label)


def test_parts_share_no_rows_and_no_cold_movie(data_set: DataSet) -> None:
    train, valid, cold = (data_set.frame(name) for name in ("train", "valid", "cold"))
    assert min(len(train), len(valid), len(cold)) > 1000
    assert not pd.concat([train, valid, cold]).duplicated(PAIR).any()
    assert cold["movieId"].nunique() == 13
    for part in (train, valid):
        assert not set(part["movieId"]) & set(cold["movieId"])


def test_no_code_in_train_is_of_a_cold_movie(data_set: DataSet) -> None:
    codes = data_set.frame("movie_codes").set_index("movieId")
    cold, train = data_set.frame("cold")["movieId"].unique(), encoded(data_set, "train")
    assert (codes.loc[cold, "code"] == workflow.OUT_OF_VOCABULARY).all()
    assert not set(workflow.vocabulary(data_set.store(), "movieId")) & set(cold)
    assert not set(train["code of movieId_duplicate"]) & set(codes.loc[cold, "content_code"])
    assert set(train["code of movieId_duplicate"]) == set(codes.loc[train["movieId"], "content_code"])
    assert set(train["code of movieId"]) <= set(codes.loc[train["movieId"], "code"]) | {workflow.OUT_OF_VOCABULARY}


def test_held_out_movies_and_users_without_a_rating_in_train_are_out_of_vocabulary(held_out_changed: DataSet) -> None:
    train = held_out_changed.frame("train")
    assert (encoded(held_out_changed, "cold")["code of movieId"] == workflow.OUT_OF_VOCABULARY).all()
    valid = encoded(held_out_changed, "valid")
    for column in PAIR:
        unseen = ~valid[column].isin(train[column])
        assert 0 < unseen.sum() < len(valid)
        assert ((valid[f"code of {column}"] == workflow.OUT_OF_VOCABULARY) == unseen).all()


def test_what_is_fitted_does_not_depend_on_held_out_ratings(data_set: DataSet, held_out_changed: DataSet) -> None:
    for name in ("valid", "cold"):
        before, after = (encoded(each, name) for each in (data_set, held_out_changed))
        both = before.merge(after, on=PAIR, suffixes=("", " after"))
        assert len(after) < len(before) and len(both) > 0.7 * len(before)
        for column in ("rating", "label", "timestamp"):
            assert (both[column] != both[f"{column} after"]).mean() > 0.3, "the ratings must be others"
        assert set(after["userId"]) - set(before["userId"]) and set(after["movieId"]) != set(before["movieId"])
    assert changed(data_set, held_out_changed) == set()


def test_what_is_fitted_depends_on_train(data_set: DataSet, train_changed: DataSet) -> None:
    every_movie_has_a_content_code = {"categories/unique.movieId_duplicate.parquet"}
    assert changed(data_set, train_changed) == set(fitted(data_set)) - every_movie_has_a_content_code


def test_codes_of_a_held_out_row_do_not_tell_its_label(data_set: DataSet, held_out_changed: DataSet) -> None:
    for name in ("valid", "cold"):
        both = encoded(data_set, name).merge(encoded(held_out_changed, name), on=PAIR, suffixes=("", " after"))
        assert 0.3 < (both["label"] != both["label after"]).mean() < 0.7
        for column in ("userId", "movieId", "genres", "movieId_duplicate"):
            assert both[f"code of {column}"].tolist() == both[f"code of {column} after"].tolist()


@pytest.mark.parametrize("missing", ["mean", "neighbour"])
def test_a_held_out_movie_changes_no_other_row_and_fills_no_gap(data_set: DataSet, missing: str) -> None:
    known = data_set.frame("train")["movieId"].unique()
    held_out = np.setdiff1d(MOVIES, known)
    assert set(held_out) > set(data_set.frame("cold")["movieId"])

    def rows(*altered: int) -> np.ndarray:
        parts = {}
        for name, table, width in (("poster", POSTERS, 6), ("text", TEXTS, 5)):
            ids, values = table["movieId"].to_numpy(), vectors(table["embedding"]).copy()
            values[np.isin(ids, altered)] *= -3
            given = pa.table({"movieId": ids, "embedding": vector_column(values)})
            parts[name] = feature_store.reduce(given, MOVIES, known, width)
        filled = imputation.fill(parts, MOVIES, known, missing)
        return np.hstack([filled["poster"].vectors, filled["text"].vectors])

    before = rows()
    for movie in held_out.tolist():
        differs = (rows(movie) != before).any(axis=1)
        assert MOVIES[differs].tolist() == [movie] * bool(movie % 5 or movie % 7)
    gaps = np.isin(MOVIES, held_out) & (MOVIES % 5 == 0) & (MOVIES % 7 > 0)
    assert gaps.sum() > 2
    assert (rows(*known) != before)[gaps].any(axis=1).all(), "their posters come from movies of train"


def open_study(data_set: DataSet) -> Study:
    store = data_set.store()
    features, codes = (store.read(name) for name in ("feature_store", "movie_codes"))
    data = StudyData.open(store, features, codes, frozen_table.content_table(features, codes))
    return Study(data, Settings(EPOCHS, 512, 0.01), "torch", lambda job, _: fit.fit(job))


@pytest.fixture(scope="module")
def study(data_set: DataSet) -> Study:
    return open_study(data_set)


@pytest.fixture(scope="module")
def study_of_changed(held_out_changed: DataSet) -> Study:
    return open_study(held_out_changed)


@pytest.fixture(scope="module")
def found(study: Study) -> Outcome:
    return study.run("multimodal", FULL, 1)


@pytest.fixture(scope="module")
def found_of_changed(study_of_changed: Study) -> Outcome:
    return study_of_changed.run("multimodal", FULL, 1)


def train_on(study: Study, train: Split, monitor: Split) -> fit.Run:
    return fit.fit(replace(study.job("multimodal", FULL, 1), train=train, monitor=monitor))


def with_label_copied(split: Split) -> Split:
    """Write a code that tells the label into every column."""
    told = split.label.int() + workflow.RESERVED
    copies = {name: told.view(-1, *[1] * (values.dim() - 1)) for name, values in split.codes.items()}
    return replace(split, codes={name: copies[name].expand_as(values) for name, values in split.codes.items()})


def same_weights(one: fit.Run, other: fit.Run) -> bool:
    before, after = one.twin.state_dict(), other.twin.state_dict()
    assert before.keys() == after.keys()
    return all(torch.equal(before[name], after[name]) for name in before)


def curve(run: fit.Run, name: str) -> list[float]:
    return [epoch[name] for epoch in run.history]


def test_a_model_trained_beside_other_held_out_ratings_is_the_same_bit_for_bit(
    found: Outcome, found_of_changed: Outcome
) -> None:
    run, changed_run = found.run, found_of_changed.run
    assert run and changed_run and not run.resumed and not changed_run.resumed
    assert same_weights(run, changed_run)
    assert curve(run, "train_loss") == curve(changed_run, "train_loss")
    assert curve(run, "valid_auc") != curve(changed_run, "valid_auc")


def test_lists_and_settings_chosen_beside_other_held_out_ratings_are_the_same(
    study: Study, study_of_changed: Study, train_changed: DataSet
) -> None:
    def chosen(one: Study) -> dict[str, Any]:
        """All that a list model consists of, by movieId, and the settings of a search."""
        model, ids = one.fit_lists(FULL, 1), one.data.catalogue.movie_ids
        kept = {"known": ids[model.known].tolist(), "weights": model.weights.tolist(), "mapped": model.mapped.tolist()}
        kept |= {name: getattr(model, name) for name in ("penalty", "trend", "blend")}
        return kept | {"recent": model.recent.tolist(), "tuned": one.tune("multimodal", [GENRES], 1, 1)}

    first = chosen(study)
    assert chosen(study_of_changed) == first
    of_train = chosen(open_study(train_changed))
    assert of_train["weights"] != first["weights"] and of_train["tuned"] != first["tuned"]


def test_a_label_copied_into_features_of_valid_changes_no_weight(study: Study, found: Outcome) -> None:
    train, valid = study.data.splits["train"], study.data.splits["valid"]
    watched = train_on(study, train, with_label_copied(valid))
    assert found.run and same_weights(found.run, watched)
    assert curve(found.run, "valid_auc") != curve(watched, "valid_auc"), "the altered rows were not even watched"
    told = train_on(study, with_label_copied(train), valid)
    assert not same_weights(found.run, told), "copied into train it must matter"


def standard_error(label: np.ndarray) -> float:
    """Of the AUC of scores that tell nothing of ``label``: sqrt((n + 1) / (12 n1 n0)) (Mann and Whitney, 1947)."""
    liked = int(label.sum())
    return float(np.sqrt((len(label) + 1) / (12 * liked * (len(label) - liked))))


def test_permuted_labels_of_valid_give_an_auc_of_one_half(study: Study, found: Outcome) -> None:
    label, scores = study.data.splits["valid"].label.numpy(), found.scores["valid"]
    assert click.auc(label, scores) > 0.8
    generator = np.random.default_rng(3)
    reached = np.array([click.auc(generator.permutation(label), scores) for _ in range(50)])
    # With 12,948 rows the standard error is 0.0051: 0.02 is nearly four of them, for each of the fifty.
    assert standard_error(label) < 0.0052
    assert np.abs(reached - 0.5).max() < 0.02
    assert abs(reached.mean() - 0.5) < 4 * standard_error(label) / np.sqrt(50)


def auc_of(*outcomes: Outcome) -> dict[tuple[str, str], float]:
    """The AUC of outcomes by model and slice."""
    rows = [row for one in outcomes for row in one.rows if row["metric"] == "auc"]
    return {(row["model"], row["slice"]): row["value"] for row in rows}


def test_ratings_permuted_before_the_notebooks_give_an_auc_of_one_half_after_them(
    study: Study, study_of_changed: Study, found: Outcome, found_of_changed: Outcome
) -> None:
    real, permuted = auc_of(found, *study.baselines()), auc_of(found_of_changed, *study_of_changed.baselines())
    assert real["multimodal", "warm"] > 0.8 and real["multimodal", "cold"] > 0.8 and real["item-knn", "warm"] > 0.8
    assert {name for name, _ in permuted} == {"multimodal", *baselines.BASELINES}
    for slice_name, part in (("warm", "valid"), ("cold", "cold")):
        bound = 4 * standard_error(study_of_changed.data.splits[part].label.numpy())
        assert bound < {"warm": 0.022, "cold": 0.046}[slice_name]
        for name in ("multimodal", *baselines.BASELINES):
            assert abs(permuted[name, slice_name] - 0.5) < bound, (name, slice_name)


@pytest.mark.parametrize("seed", [1, 2])
def test_permuted_labels_of_train_teach_nothing_of_valid(study: Study, seed: int) -> None:
    train, valid = study.data.splits["train"], study.data.splits["valid"]
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(train)))
    shuffled = replace(study.job("multimodal", FULL, 1), train=replace(train, label=train.label[order]), start={})
    run = fit.fit(shuffled)
    by_heart = click.auc(train.label[order].numpy(), fit.score(run.twin, train))
    assert by_heart > 0.6, "it did not even learn the labels it was given"
    assert abs(click.auc(valid.label.numpy(), fit.score(run.twin, valid)) - 0.5) < 0.05


def test_content_of_other_movies_tells_nothing_and_hidden_content_costs_nothing(study: Study, found: Outcome) -> None:
    """The parity of a movie is what users like, and genres tell it, too; so the shuffled content is set beside ids."""
    true, shuffled = (auc_of(study.run("multimodal", parse(f"ids+poster+text{end}"), 1)) for end in ("", "(shuffled)"))
    assert true["multimodal", "cold"] > 0.8 and shuffled["multimodal", "cold"] < 0.65
    genres, hidden = (auc_of(study.run("multimodal", one, 1)) for one in (GENRES, FULL.without(0.9, "mean")))
    for slice_name in ("warm", "cold"):
        assert hidden["multimodal", slice_name] > genres["multimodal", slice_name] - 0.005
