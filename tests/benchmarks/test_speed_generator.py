"""Archives of MovieLens's shape: readable by notebook 01, no pair twice, a long tail, structure that can be learned."""

import hashlib
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks.speed import generator, shape
from utils.handoff.vector_columns import vectors
from utils.ratings import movielens
from utils.ratings.movielens import Converted
from utils.ratings.splits import split

RATINGS = 20_000


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generator.generate(tmp_path_factory.mktemp("shaped") / "made.zip", RATINGS, seed=3)


@pytest.fixture(scope="module")
def converted(archive: Path) -> Converted:
    return movielens.convert(movielens.locate(generator.NAME, archive.parent, archive))


def test_notebook_01_reads_every_row_and_rejects_none(converted: Converted) -> None:
    assert converted.layout == "csv"
    assert converted.counts["ratings"] == converted.counts["lines"] == RATINGS
    assert converted.counts["rejected"] == converted.counts["cleaned titles"] == 0


def test_no_pair_comes_twice_and_rows_are_sorted_as_in_the_original(converted: Converted) -> None:
    pairs = converted.ratings.select("userId", "movieId")
    assert pairs.is_unique().all()
    assert pairs.equals(pairs.sort("userId", "movieId"))
    assert pairs["userId"].unique().sort().to_list() == list(range(1, converted.counts["users"] + 1))


def test_users_and_movies_have_a_long_tail(converted: Converted) -> None:
    of_user = converted.ratings["userId"].value_counts()["count"].to_numpy()
    of_movie = converted.ratings["movieId"].value_counts()["count"].to_numpy()
    assert of_user.min() >= shape.LEAST and of_user.max() > 5 * np.median(of_user)
    assert of_movie.max() > 4 * np.median(of_movie) and of_movie.max() < len(of_user)
    assert len(of_movie) < converted.counts["movies"], "some movies of the catalogue are never rated"


def test_values_are_those_of_movielens(converted: Converted) -> None:
    stars, counts = np.unique(converted.ratings["rating"].to_numpy(), return_counts=True)
    assert stars.tolist() == [0.5 * step for step in range(1, 11)]
    np.testing.assert_allclose(counts / RATINGS, shape.SHARES, atol=0.05)
    years = pl.from_epoch(converted.ratings["timestamp"]).dt.year()
    assert years.min() >= 1995 and years.max() <= 2019 and years.n_unique() > 20
    movies = converted.movies
    assert (
        set(movies["genres"].explode().drop_nulls()) == set(generator.GENRES)
        and (movies["genres"].list.len() == 0).any()
    )
    assert movies["year"].null_count() == 0 and movies["imdbId"].null_count() == 0
    assert movies["title"].str.starts_with("The ").any(), "a moved article is put to the front"


def test_ratings_can_be_learned(converted: Converted) -> None:
    train, valid, _ = split(converted.ratings, "random", 0.2, 0.0, 0)
    score = pl.lit(0.0)
    for name in ("userId", "movieId"):
        mean = train.group_by(name).agg(((pl.col("rating") - 3.5).sum() / (pl.len() + 5)).alias(f"{name} mean"))
        valid = valid.join(mean, on=name, how="left")
        score = score + pl.col(f"{name} mean").fill_null(0)
    assert roc_auc_score(valid["rating"] > 3, valid.select(score).to_series()) > 0.6


def test_the_same_seed_makes_the_same_bytes(archive: Path, tmp_path: Path) -> None:
    def digest(path: Path) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest()

    assert digest(generator.generate(tmp_path / "again.zip", RATINGS, seed=3)) == digest(archive)
    assert digest(generator.generate(tmp_path / "other.zip", RATINGS, seed=4)) != digest(archive)


def test_the_full_size_has_the_published_numbers() -> None:
    full = shape.shape(shape.RATINGS, np.random.default_rng(0))
    assert (len(full.per_user), full.movies, len(full.weight)) == (162_541, 62_423, 59_047)
    assert full.per_user.sum() == shape.RATINGS and full.per_user.min() == 20
    assert np.median(full.per_user) == pytest.approx(71, abs=1) and 10_000 < full.per_user.max() < 59_047 // 2 + 1
    some = full.per_user[::100]
    movie = shape.choose(some, full.weight, np.random.default_rng(1)) % len(full.weight)
    assert (movie == 0).sum() / len(some) == pytest.approx(81_000 / 162_541, abs=0.05)


def test_successive_sampling_takes_heavy_and_light_users_alike() -> None:
    weight = np.array([8.0, 4, 2, 1, 1, *[0.01] * 60])
    light = shape.choose(np.full(4000, 3), weight, np.random.default_rng(0)) % len(weight)
    # The same clocks that serve heavy users.
    clocks = np.random.default_rng(1).standard_exponential((4000, len(weight))) / weight
    exact = np.argsort(clocks, axis=1)[:, :3]
    shares = [np.bincount(chosen.ravel(), minlength=len(weight))[:5] / 4000 for chosen in (light, exact)]
    np.testing.assert_allclose(*shares, atol=0.04)


def test_too_few_ratings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ratings=100 is too few for a long tail"):
        generator.generate(tmp_path / "a.zip", 100)


def test_vectors_are_those_that_notebooks_03_and_04_write(tmp_path: Path) -> None:
    ids = np.arange(1, 201)
    found = pq.read_table(generator.vectors(tmp_path / "v.parquet", ids, 32, seed=1))
    assert found["movieId"].to_pylist() == ids.tolist()
    values = vectors(found["embedding"])
    assert values.shape == (200, 32) and np.isfinite(values).all()
    again = pq.read_table(generator.vectors(tmp_path / "w.parquet", ids, 32, seed=1))
    assert found.equals(again)


def test_the_cache_is_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "CACHE", tmp_path)
    folder = generator.unpacked(5_000, 0)
    assert sorted(path.name for path in folder.iterdir()) == ["links.csv", "movies.csv", "ratings.csv"]
    before = (folder / "ratings.csv").stat().st_mtime_ns
    assert generator.unpacked(5_000, 0) == folder and (folder / "ratings.csv").stat().st_mtime_ns == before


def test_the_command_writes_an_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator.main([str(tmp_path / "out.zip"), "--ratings", "5000"])
    assert "5,000 ratings" in capsys.readouterr().out
