"""A movie nobody has seen gets the row and the scores that it would have had, had it been in the catalogue."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from tests.places import CACHE
from tests.study.test_study import COLD, GENRES, MOVIES, NAMES, encode, fit_here, rated
from utils.etl.workflow import OUT_OF_VOCABULARY
from utils.features import drift, feature_store, imputation
from utils.handoff.contract import ARTEFACTS
from utils.handoff.parameters import ParameterError
from utils.handoff.store import HandOffError, Store, open_store
from utils.model.frozen_table import content_table
from utils.model.training import fit
from utils.recommend import new_movie
from utils.recommend.new_movie import Audience, Encoders, NewcomerError, NewMovie
from utils.study import objectives
from utils.study.study import Study
from utils.vectors import posters, texts

pytestmark = pytest.mark.usefixtures("one_thread")
FULL = "ids+genres+poster+text"
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

    ratings = rated(0, MOVIES[:24], 15)
    parts = {"train": ratings.slice(60), "valid": ratings.slice(0, 60), "cold": rated(1, COLD, 3)}
    none = pa.nulls(len(MOVIES), pa.string())
    movies = {"movieId": MOVIES, "title": [f"Movie {m}" for m in MOVIES], "genres": GENRES, "imdbId": none}
    movies |= {"year": pa.array([1970 + m for m in MOVIES.tolist()], pa.int16()), "tmdbId": pa.nulls(30, pa.int64())}
    opened("train").write("movies_converted", pa.table(movies))
    for name, table in parts.items():
        opened("train").write(name, table)
        encode(opened("movie_codes"), name, table)
    _encode_content(opened)
    codes = pa.table({"movieId": MOVIES, "code": np.where(MOVIES < 25, MOVIES + 2, 2), "content_code": MOVIES + 2})
    rows = {"userId": 23, "movieId": 27, "genres": 6, "movieId_duplicate": 33}
    opened("movie_codes").write("movie_codes", codes, metadata={"rows": rows, "most_genres": 2})
    categories = opened("movie_codes").path("workflow-hugectr") / "categories"
    categories.mkdir(parents=True)
    for column, values in {"userId": list(range(1, 21)), "genres": NAMES}.items():
        pq.write_table(pa.table({column: values}), categories / f"unique.{column}.parquet")
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
    reading = opened("poster_embeddings")
    enriched, movies = reading.read("enriched"), reading.read("movies_converted")
    image, text = (load("cpu") for load in (_image, _text))
    reading.write("poster_embeddings", *posters.encode_posters(reading, enriched, image, 8).hand_off())
    reading = opened("text_embeddings")
    found = texts.encode_synopses(reading, enriched, text, 8, movies=movies, template=texts.TEMPLATE)
    reading.write("text_embeddings", *found.hand_off())
    making = opened("feature_store")
    tables = {part: making.read(f"{part}_embeddings") for part in ("poster", "text")}
    known = np.unique(making.read("train")["movieId"].to_numpy())
    measured = {part: feature_store.reduce(table, MOVIES, known, 5) for part, table in tables.items()}
    made_by = {part: making.metadata(f"{part}_embeddings") for part in tables}
    filled = imputation.fill(measured, MOVIES, known, "neighbour")
    described = drift.describe(filled, MOVIES, made_by) | {"imputation": "neighbour"}
    making.write("feature_store", feature_store.table(MOVIES, filled["poster"], filled["text"]), metadata=described)


def _image(device: str) -> posters.ImageEncoder:
    return posters.load_encoder(posters.DEFAULT, device, CACHE)


def _text(device: str) -> texts.TextEncoder:
    return texts.load_encoder(texts.DEFAULT, device, CACHE)


@pytest.fixture(scope="module")
def study(store: Store) -> Study:
    features, codes = store.read("feature_store"), store.read("movie_codes")
    content, settings = content_table(features, codes), objectives.settings("like", 3, 1, 64, 0.02)
    movies = store.read("movies_converted")
    opened = Study.open(store, movies, features, codes, content, settings, "torch", fit_here)
    opened.user_codes[-1] = OUT_OF_VOCABULARY  # As if user 20 had come after train.
    return opened


@pytest.fixture(scope="module")
def encoders(store: Store) -> Encoders:
    return Encoders.open(store, CACHE, "cpu")


@pytest.fixture(scope="module")
def twin(study: Study) -> fit.Twin:
    return study.run("multimodal", FULL, 1).twin


def as_new(store: Store, movie: int) -> NewMovie:
    """Return a movie of the catalogue as if only its poster file and facts were known."""
    path = poster_of(movie)
    return NewMovie(
        title=f"Movie {movie}",
        synopsis=synopsis_of(movie),
        poster=path and store.folder / path,
        genres=GENRES[movie - 1],
        year=1970 + movie,
    )


def test_the_row_is_the_one_that_the_movie_has_in_the_frozen_table(store: Store, study: Study, encoders: Encoders):
    for movie in [*COLD.tolist(), 1, 9, 14]:
        row = encoders.content(as_new(store, movie))
        np.testing.assert_allclose(row, study.content.vectors[movie + 2], atol=1e-5)
        assert row.dtype == np.float32 and row[-2:].tolist() == [movie % 7 > 0, movie % 9 > 0]
    assert (np.linalg.norm(np.diff(study.content.vectors[[m + 2 for m in COLD]], axis=0), axis=1) > 0.01).all()


def test_scores_are_those_of_the_model_for_the_same_movie_without_ratings(store, study, encoders, twin):
    every = fit.catalogue_scorer(twin, study.catalogue.codes)(study.user_codes)
    for movie in COLD.tolist():
        assert study.catalogue.codes["movieId"][movie - 1] == OUT_OF_VOCABULARY
        found = new_movie.audience(study, twin, encoders, as_new(store, movie))
        np.testing.assert_allclose(found.scores, every[:, movie - 1], atol=1e-5)
        assert found.users.tolist() == list(range(1, 21)) and found.in_train.tolist() == [True] * 19 + [False]
        means = every[:19].mean(axis=0)
        assert found.mean == pytest.approx(means[movie - 1], abs=1e-5)
        np.testing.assert_allclose(found.others["score"], means, atol=1e-5)
        closest = found.closest(3)
        assert closest["movieId"][0] == movie and closest["title"][0] == f"Movie {movie}"
        assert closest["cosine"][0] == pytest.approx(1, abs=1e-4) and closest["cosine"].is_monotonic_decreasing


def test_poster_text_and_genres_each_change_the_scores(store, study, encoders, twin):
    movie = as_new(store, 26)
    own = new_movie.audience(study, twin, encoders, movie).scores
    for changed in ({"poster": store.folder / poster_of(1)}, {"synopsis": PLOTS[0]}, {"genres": ["Drama"]}):
        other = new_movie.audience(study, twin, encoders, replace(movie, **changed)).scores
        assert np.abs(other - own).max() > 1e-4, changed


def test_the_model_is_as_it_was(store, study, encoders, twin):
    before = {name: value.clone() for name, value in twin.state_dict().items()}
    new_movie.audience(study, twin, encoders, NewMovie("A title is enough"))
    after = twin.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def test_a_model_without_content_gives_every_new_movie_the_same_audience(store, study, encoders):
    twin = study.run("multimodal", "ids", 1).twin
    one, other = (new_movie.audience(study, twin, encoders, as_new(store, movie)).scores for movie in (25, 26))
    assert np.array_equal(one, other)


def test_percentile_and_fans_by_hand(study: Study):
    others = study.catalogue.movie_ids[:4]
    table = pa.table({"movieId": others, "score": [0.1, 0.2, 0.3, 0.4], "cosine": [0.0, 0.9, 0.5, 0.9]})
    known = np.array([True, True, False, True])
    found = Audience(np.float32([0.2, 0.9, 1.0, 0.5]), np.array([7, 8, 9, 10]), known, 0.3, table.to_pandas())
    assert found.percentile == 50
    assert found.fans(2)["userId"].tolist() == [8, 10]
    assert found.closest(3)["movieId"].tolist() == [2, 4, 3]


def changed(monkeypatch: pytest.MonkeyPatch, artefact: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    real = Store.metadata
    monkeypatch.setattr(
        Store, "metadata", lambda own, name: change(real(own, name)) if name == artefact else real(own, name)
    )


@pytest.mark.parametrize(
    ("artefact", "change", "message"),
    [
        ("poster_embeddings", {"encoder": "precomputed"}, "given by PRECOMPUTED.*Run 03-Feature-Extraction-Poster"),
        ("text_embeddings", {"encoder": "precomputed"}, "given by PRECOMPUTED.*Run 04-Feature-Extraction-Text"),
        ("poster_embeddings", {"weights_sha256": "0" * 64}, "with weights_sha256='0+', but it has"),
        ("text_embeddings", {"preprocessing": "other"}, "with preprocessing='other', but it has"),
    ],
)
def test_vectors_that_cannot_be_made_again(store, monkeypatch, artefact, change, message):
    changed(monkeypatch, artefact, lambda metadata: metadata | change)
    with pytest.raises(NewcomerError, match=message):
        Encoders.open(store, CACHE, "cpu")


def test_a_reduction_that_cannot_be_made_again(store: Store, monkeypatch: pytest.MonkeyPatch):
    def other(metadata: dict[str, Any]) -> dict[str, Any]:
        text = metadata["reductions"]["text"] | {"sha256": "0" * 64}
        return metadata | {"reductions": metadata["reductions"] | {"text": text}}

    changed(monkeypatch, "feature_store", other)
    with pytest.raises(
        NewcomerError, match="reduction of text vectors cannot be repeated.*Run 05-Create-Feature-Store"
    ):
        Encoders.open(store, CACHE, "cpu")


def test_a_feature_store_that_does_not_say_how_it_was_made(store: Store, monkeypatch: pytest.MonkeyPatch):
    changed(monkeypatch, "feature_store", lambda metadata: metadata | {"reductions": {}})
    with pytest.raises(HandOffError, match="does not say how poster vectors were reduced. Run 05"):
        Encoders.open(store, CACHE, "cpu")


def test_a_poster_that_is_none(encoders: Encoders, tmp_path: Path):
    (tmp_path / "new.png").write_text("not a picture")
    for path in (tmp_path / "new.png", tmp_path / "absent.png"):
        with pytest.raises(NewcomerError, match="poster cannot be encoded: .* Give another, or None"):
            encoders.content(NewMovie("New", poster=path))


def test_genres_that_the_model_does_not_know(study, encoders, twin):
    with pytest.raises(ParameterError, match="'Westren' is not known to the model. It knows Comedy, Drama, War"):
        new_movie.audience(study, twin, encoders, NewMovie("New", genres=["Westren"]))
    with pytest.raises(ParameterError, match="3 were given, the model reads at most 2"):
        new_movie.audience(study, twin, encoders, NewMovie("New", genres=NAMES))


def test_a_model_of_other_content(study, encoders):
    shuffled = study.run("multimodal", f"{FULL}(shuffled)", 1).twin
    with pytest.raises(NewcomerError, match="other content than the study's"):
        new_movie.audience(study, shuffled, encoders, NewMovie("New"))
