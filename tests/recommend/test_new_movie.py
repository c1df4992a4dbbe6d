"""A movie nobody has seen gets the row and the scores that it would have had, had it been in the catalogue."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from PIL import Image

from tests.conftest import FULL, SETS
from tests.fakes.facts import movie_facts
from tests.places import CACHE
from tests.study import toy
from tests.study.toy import COLD, GENRES, MOVIES, NAMES
from utils.etl.workflow import OUT_OF_VOCABULARY
from utils.features import drift, facts, feature_store, imputation, pca, reductions
from utils.handoff.contract import ARTEFACTS, BLOCKS, FACT_LISTS
from utils.handoff.parameters import ParameterError
from utils.handoff.store import HandOffError, Store, open_store
from utils.model.feature_sets import parse
from utils.model.training import fit
from utils.recommend.new_movie import ENCODED, Audience, Encoders, NewcomerError, NewMovie, audience
from utils.study.data import StudyData
from utils.study.study import Study
from utils.vectors import posters, texts

pytestmark = pytest.mark.usefixtures("one_thread")
PLOTS = ["A robot falls in love on Mars.", "A cowboy rides home.", "Two lawyers argue over an inheritance."]


def synopsis_of(movie: int) -> str | None:
    return None if movie % 9 == 0 else f"{PLOTS[movie % 3]} It happens on day {movie} of the year."


def poster_of(movie: int) -> str | None:
    return None if movie % 7 == 0 else f"posters/{movie}.png"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A data set of 30 movies, six of them cold, some without poster or text, as notebooks 01 to 06 leave it."""
    folder = tmp_path_factory.mktemp("data")

    def opened(artefact: str) -> Store:
        return open_store(folder, "toy", 42, ARTEFACTS[artefact].notebook)

    toy.write(opened, toy.ratings())
    _encode_content(opened)
    return opened("metrics")


def _encode_content(opened: Callable[[str], Store]) -> None:
    """Write posters, synopses, their vectors and the feature store as notebooks 02 to 05 do."""
    enriching, generator, movie_ids = opened("enriched"), np.random.default_rng(5), MOVIES.tolist()
    (enriching.folder / "posters").mkdir()
    for path in filter(None, map(poster_of, movie_ids)):
        pixels = np.repeat(np.repeat(generator.integers(0, 256, (6, 4, 3)), 10, 0), 10, 1).astype(np.uint8)
        Image.fromarray(pixels).save(enriching.folder / path)
    columns = {"synopsis": list(map(synopsis_of, movie_ids)), "poster_path": list(map(poster_of, movie_ids))}
    sources = {"synopsis_source": ["local"] * 30, "poster_source": ["local"] * 30}
    enriching.write("enriched", pa.table({"movieId": MOVIES} | columns | sources))
    opened("movie_facts").write("movie_facts", movie_facts(MOVIES))
    reading = opened("poster_embeddings")
    enriched, movies = reading.read("enriched"), reading.read("movies_converted")
    image, text = (load("cpu") for load in (_image, _text))
    reading.write("poster_embeddings", *posters.encode_posters(reading, enriched, image, 8).hand_off())
    reading = opened("text_embeddings")
    found = texts.encode_synopses(reading, enriched, text, 8, movies=movies, template=texts.TEMPLATE)
    reading.write("text_embeddings", *found.hand_off())
    making = opened("feature_store")
    tables = {block: making.read(f"{block}_embeddings") for block in ENCODED}
    known = np.unique(making.read("train")["movieId"].to_numpy())
    measured = {block: feature_store.reduce(table, MOVIES, known, 5) for block, table in tables.items()}
    made_by = {block: making.metadata(f"{block}_embeddings") for block in ENCODED}
    measured["facts"] = feature_store.reduce_facts(making.read("movie_facts"), known, 4)
    filled = imputation.fill(measured, MOVIES, known, "neighbour")
    reductions.write(making, {block: part.reduction for block, part in measured.items()})
    described = drift.describe(filled, made_by) | {"imputation": "neighbour"}
    making.write("feature_store", feature_store.table(MOVIES, filled), metadata=described)


def _image(device: str) -> posters.ImageEncoder:
    return posters.load_encoder(posters.DEFAULT, device, CACHE)


def _text(device: str) -> texts.TextEncoder:
    return texts.load_encoder(texts.DEFAULT, device, CACHE)


@pytest.fixture(scope="module")
def data(store: Store) -> StudyData:
    opened = toy.open_data(store, store.read("feature_store"))
    opened.user_codes[-1] = OUT_OF_VOCABULARY  # As if user 20 had come after train.
    return opened


@pytest.fixture(scope="module")
def study(data: StudyData) -> Study:
    return Study(data, replace(toy.SETTINGS, epochs=3, learning_rate=0.02), "torch", toy.fit_here)


@pytest.fixture(scope="module")
def encoders(store: Store) -> Encoders:
    return Encoders.open(store, CACHE, "cpu")


@pytest.fixture(scope="module")
def twin(study: Study) -> fit.Twin:
    return study.run("multimodal", FULL, 1).run.twin


def as_new(store: Store, movie: int) -> NewMovie:
    """Return a movie of the catalogue as if only its poster file and facts were known."""
    path, known = poster_of(movie), movie_facts(np.array([movie])).to_pylist()[0]
    return NewMovie(
        title=f"Movie {movie}",
        synopsis=synopsis_of(movie),
        poster=path and store.folder / path,
        genres=GENRES[movie - 1],
        **{name: known[name] for name in (*FACT_LISTS, "year", "runtime")},
    )


def test_the_row_is_the_one_that_the_movie_has_in_the_frozen_table(store: Store, data: StudyData, encoders: Encoders):
    for movie in [*COLD.tolist(), 1, 9, 14]:
        row = encoders.content(as_new(store, movie))
        np.testing.assert_allclose(row, data.content.vectors[movie + 2], atol=1e-5)
        assert row.dtype == np.float32 and row[-3:].tolist() == [movie % 11 > 0, movie % 7 > 0, movie % 9 > 0]
    assert (np.linalg.norm(np.diff(data.content.vectors[[m + 2 for m in COLD]], axis=0), axis=1) > 0.01).all()


def test_nothing_is_fitted_again(store: Store, data: StudyData, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(pca, "fit")
    monkeypatch.delattr(facts, "fit")
    row = Encoders.open(store, CACHE, "cpu").content(as_new(store, 26))
    np.testing.assert_allclose(row, data.content.vectors[28], atol=1e-5)


@pytest.mark.parametrize("missing", feature_store.MISSING)
def test_a_movie_without_content_has_what_05_puts_into_gaps(encoders: Encoders, missing: str):
    row = replace(encoders, missing=missing).content(NewMovie("A title is enough"))
    centres = np.hstack([encoders.reductions[block].centre for block in ENCODED])
    unknown = [float(name == "year unknown") for name in encoders.reductions["facts"].columns]
    assert row.tolist() == [*unknown, *centres * (missing != "zero"), 0, 0, 0]


def test_scores_are_those_of_the_model_for_the_same_movie_without_ratings(store, data, encoders, twin):
    every = fit.catalogue_scorer(twin, data.catalogue.codes)(data.user_codes)
    before = {name: value.clone() for name, value in twin.state_dict().items()}
    for movie in COLD.tolist():
        assert data.catalogue.codes["movieId"][movie - 1] == OUT_OF_VOCABULARY
        found = audience(data, twin, encoders, as_new(store, movie))
        np.testing.assert_allclose(found.users["score"], every[:, movie - 1], atol=1e-5)
        assert found.users["userId"].tolist() == list(range(1, 21))
        assert found.users["in_train"].tolist() == [True] * 19 + [False]
        means = every[:19].mean(axis=0)
        assert found.mean == pytest.approx(means[movie - 1], abs=1e-5)
        np.testing.assert_allclose(found.others["score"], means, atol=1e-5)
        closest = found.closest(3)
        assert closest["movieId"][0] == movie and closest["title"][0] == f"Movie {movie}"
        assert closest["cosine"][0] == pytest.approx(1, abs=1e-4) and closest["cosine"].is_monotonic_decreasing
    after = twin.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def test_poster_text_and_genres_each_change_the_scores(store, data, encoders, twin):
    movie = as_new(store, 26)
    own = audience(data, twin, encoders, movie).users["score"]
    for changed in ({"poster": store.folder / poster_of(1)}, {"synopsis": PLOTS[0]}, {"genres": ["Drama"]}):
        other = audience(data, twin, encoders, replace(movie, **changed)).users["score"]
        assert (other - own).abs().max() > 1e-4, changed


def test_a_model_without_content_gives_every_new_movie_the_same_audience(store, data, study, encoders):
    twin = study.run("multimodal", SETS[0], 1).run.twin
    one, other = (audience(data, twin, encoders, as_new(store, movie)).users for movie in (25, 26))
    assert one.equals(other)


def test_percentile_fans_and_closest_by_hand():
    others = pd.DataFrame({"movieId": [1, 2, 3, 4], "score": [0.1, 0.2, 0.3, 0.4], "cosine": [0.0, 0.9, 0.5, 0.9]})
    users = pd.DataFrame({"userId": [7, 8, 9, 10], "score": [0.2, 0.9, 1, 0.5], "in_train": [True, True, False, True]})
    found = Audience(users, others, 0.3)
    assert found.percentile == 50
    assert found.fans(2)["userId"].tolist() == [8, 10]
    assert found.closest(3)["movieId"].tolist() == [2, 4, 3]


@pytest.mark.parametrize(
    ("artefact", "change", "error", "message"),
    [
        ("poster_embeddings", {"encoder": "precomputed"}, NewcomerError, "by PRECOMPUTED.*Run 03-Feature-Extraction"),
        ("text_embeddings", {"encoder": "precomputed"}, NewcomerError, "by PRECOMPUTED.*Run 04-Feature-Extraction"),
        ("poster_embeddings", {"weights_sha256": "0" * 64}, NewcomerError, "with weights_sha256='0+', but it has"),
        ("text_embeddings", {"preprocessing": "other"}, NewcomerError, "with preprocessing='other', but it has"),
        ("feature_store", {"reductions": {block: {"sha256": ""} for block in BLOCKS}}, HandOffError, "not the file"),
    ],
)
def test_vectors_that_cannot_be_made_again(store, monkeypatch, artefact, change, error, message):
    real = Store.metadata
    monkeypatch.setattr(Store, "metadata", lambda own, name: real(own, name) | (change if name == artefact else {}))
    with pytest.raises(error, match=message):
        Encoders.open(store, CACHE, "cpu")


def test_a_poster_that_is_none(encoders: Encoders, tmp_path: Path):
    (tmp_path / "new.png").write_text("not a picture")
    for path in (tmp_path / "new.png", tmp_path / "absent.png"):
        with pytest.raises(NewcomerError, match="poster cannot be encoded: .* Give another, or None"):
            encoders.content(NewMovie("New", poster=path))


def test_genres_that_the_model_does_not_know(data, encoders, twin):
    with pytest.raises(ParameterError, match="'Westren' is not known to the model. It knows Comedy, Drama, War"):
        audience(data, twin, encoders, NewMovie("New", genres=["Westren"]))
    with pytest.raises(ParameterError, match="3 were given, the model reads at most 2"):
        audience(data, twin, encoders, NewMovie("New", genres=NAMES))


def test_a_model_of_other_content(data, study, encoders):
    shuffled = study.run("multimodal", parse(f"{FULL}(shuffled)"), 1).run.twin
    with pytest.raises(NewcomerError, match="other content than this one's"):
        audience(data, shuffled, encoders, NewMovie("New"))
