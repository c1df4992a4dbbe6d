"""Ratings of MovieLens 25M's shape: readable by notebook 01, no pair twice, a long tail, likes that can be learned."""

import hashlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks import generator
from utils.ratings import movielens
from utils.ratings.movielens import Converted
from utils.ratings.splits import split

RATINGS = 20_000


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generator, "CACHE", tmp_path_factory.mktemp("shaped"))
        folder = generator.archive(RATINGS)
        return movielens.convert(movielens.locate(generator.NAME, folder.parent, folder))


def test_notebook_01_reads_every_row_and_the_tails_are_long(converted: Converted) -> None:
    assert converted.counts["ratings"] == RATINGS and converted.counts["rejected"] == 0
    assert set(converted.movies["genres"].explode().drop_nulls()) == set(generator.GENRES)
    ratings = converted.ratings
    pairs = ratings.select("userId", "movieId")
    assert pairs.is_unique().all() and pairs.equals(pairs.sort("userId", "movieId"))
    of_user, of_movie = (ratings[name].value_counts()["count"].to_numpy() for name in ("userId", "movieId"))
    assert of_user.min() >= generator.LEAST and of_user.max() > 5 * np.median(of_user)
    assert 4 * np.median(of_movie) < of_movie.max() < len(of_user) and len(of_movie) < converted.counts["movies"]
    stars, counts = np.unique(ratings["rating"].to_numpy(), return_counts=True)
    assert stars.tolist() == [0.5 * step for step in range(1, 11)]
    np.testing.assert_allclose(counts / RATINGS, generator.SHARES, atol=0.05)
    assert pl.from_epoch(ratings["timestamp"]).dt.year().is_between(1995, 2019).all()


def test_likes_can_be_learned(converted: Converted) -> None:
    train, valid, _ = split(converted.ratings, "random", 0.2, 0.0, 0)
    for name in ("userId", "movieId"):
        valid = valid.join(train.group_by(name).agg(pl.col("rating").mean().alias(f"{name} mean")), on=name)
    assert roc_auc_score(valid["rating"] > 3, valid["userId mean"] + valid["movieId mean"]) > 0.6


def test_the_same_seed_makes_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = []
    for number, seed in enumerate((3, 3, 4)):
        monkeypatch.setattr(generator, "CACHE", tmp_path / str(number))
        digests.append(hashlib.sha256((generator.archive(5_000, seed) / "ratings.csv").read_bytes()).hexdigest())
    assert digests[0] == digests[1] != digests[2]
    with pytest.raises(ValueError, match="ratings=100 is too few for a long tail"):
        generator.archive(100)


def test_the_full_size_has_the_published_numbers() -> None:
    users, draw = generator.USERS, np.random.default_rng(0)
    wanted = generator.per_user(generator.RATINGS, users, generator.RATED // 2, draw)
    assert wanted.sum() == generator.RATINGS and wanted.min() == 20 and np.median(wanted) == pytest.approx(71, abs=1)
    some, weight = wanted[::100], generator.weights(generator.RATINGS, users, generator.RATED)
    movie = generator.choose(some, weight, draw) % len(weight)
    assert len(movie) == some.sum()
    share = np.bincount(movie, minlength=len(weight)) / len(some)
    near = [share[0], share[5:15].mean(), share[80:120].mean(), share[900:1100].mean()]
    np.testing.assert_allclose(near, np.array(generator.COUNTS[:4]) / users, rtol=0.15)
