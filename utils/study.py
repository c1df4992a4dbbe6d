"""The experiment of notebook 07: the same data, several feature sets and seeds, one table of metrics.

A study holds what all runs share (splits, content table, catalogue) and proves on opening that encoded
rows are the raw rows they claim to be.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from utils import baselines, checkpoints, comparisons, etl, evaluation, ranking, training
from utils.artefacts import HandOffError, Store
from utils.content import ContentTable
from utils.models import MODELS, Inputs
from utils.training import Run, Settings, Split

SLICES = {"valid": "warm", "cold": "cold"}
"""Split of the data to slice of the metrics: validation movies are known, cold ones were never rated in train."""
LIKED = 3.0
"""A rating above this is a like."""


@dataclass(frozen=True)
class Catalogue:
    """All movies in ascending movieId, as the model reads them: column to int32 [movies] or [movies, items]."""

    movie_ids: np.ndarray
    codes: Mapping[str, np.ndarray]


@dataclass
class Study:
    """Runs of one data set: ``rows`` of metrics, ``history`` of learning, ``scores`` float32 [n] by run and split."""

    store: Store
    inputs: Inputs
    content: ContentTable
    settings: Settings
    trainer: str
    split_name: str
    raw: dict[str, pa.Table]
    splits: dict[str, Split]
    catalogue: Catalogue
    users: np.ndarray
    user_codes: np.ndarray
    fit: Callable[[training.Job, Path], Run]
    rows: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    scores: dict[tuple[str, str, int, str], np.ndarray] = field(default_factory=dict)

    @classmethod
    def open(
        cls, store: Store, movies: pa.Table, codes: pa.Table, content: ContentTable, settings: Settings, trainer: str,
        fit: Callable[[training.Job, Path], Run],
    ) -> "Study":  # fmt: skip
        """Read the splits of 06 and check each encoded row against the raw row that it stands for."""
        layout = store.metadata("movie_codes")
        rows, most = layout["rows"], layout["most_genres"]
        inputs = Inputs(
            users=rows["userId"],
            movies=rows["movieId"],
            genres=rows["genres"],
            most_genres=most,
            content_rows=len(content.vectors),
            content_columns=content.columns,
        )
        raw = {name: store.read(name) for name in ("train", "valid", "cold")}
        encoded = {name: etl.read_encoded(store, f"{name}-hugectr", most) for name in raw}
        known = etl.vocabulary(store, "userId")
        for name, table in raw.items():
            check_alignment(name, table, encoded[name], codes, known)
        splits = {name: Split.of(columns) for name, columns in encoded.items()}
        for name, split in splits.items():
            training.check_codes(name, split, inputs)
        users = np.unique(np.concatenate([table["userId"].to_numpy() for table in raw.values()]))
        return cls(
            store=store,
            inputs=inputs,
            content=content,
            settings=settings,
            trainer=trainer,
            fit=fit,
            split_name=store.manifest().get("train", {}).get("parameters", {}).get("SPLIT", "random"),
            raw=raw,
            splits=splits,
            catalogue=_catalogue(store, movies, codes, most),
            users=users,
            user_codes=_looked_up(known, users).astype(np.int32),
        )

    def run(self, model: str, features: str, seed: int) -> Run:
        """Train (or resume) one run, score valid and cold, and add its metrics; return it."""
        graph = MODELS[model](self.inputs, features)
        movie_rows = self.catalogue.codes["movieId_duplicate"]
        frozen = training.knocked_out(self.content.vectors, features, movie_rows, seed)
        train, monitor = self.splits["train"], self.splits["valid"]
        job = training.Job(graph, train, monitor, frozen, self.inputs, self.settings, seed)
        run = checkpoints.fit_or_resume(self.store, job, features, self.trainer, self.fit)
        tags = {"model": model, "features": features, "seed": seed}
        self.history += [tags | epoch for epoch in run.history]
        tags |= {"trainer": self.trainer, "split": self.split_name}
        for name, slice_name in SLICES.items():
            if not len(self.splits[name]):
                continue
            scores = training.score(run.twin, self.splits[name])
            self.scores[model, features, seed, name] = scores
            self._evaluate(name, scores, True, tags)
            items, _ = self.recommend(run, k=10, candidates=self._pool(name))
            self.rows += ranking.ranking_rows(items, *self._liked(name), **tags, slice=slice_name)
        return run

    def run_baselines(self) -> None:
        """Add the metrics of what needs no training: means, biases, popularity, item-kNN, fitted on train alone."""
        train = self._pairs(self.raw["train"])
        label = self.splits["train"].label.numpy()
        for name in baselines.BASELINES:
            fitted = baselines.fit(name, *train, label, len(self.users), len(self.catalogue.movie_ids))
            tags = {"trainer": "baseline", "model": name, "features": "ids", "seed": 0, "split": self.split_name}
            for part, slice_name in SLICES.items():
                if len(self.splits[part]):
                    self._evaluate(part, fitted.pairs(*self._pairs(self.raw[part])), fitted.probability, tags)
                    items, _ = ranking.top_k(
                        fitted.block, len(self.users), self._seen(), 10, candidates=self._pool(part)
                    )
                    self.rows += ranking.ranking_rows(items, *self._liked(part), **tags, slice=slice_name)

    def differences(self, model: str, features: list[str], seeds: list[int]) -> pd.DataFrame:
        """Return the paired AUC differences of feature sets from ``ids``, by slice, with intervals and Holm's p.

        Differences are of the same rows, averaged over seeds; intervals resample users (see ``comparisons``).
        """
        tables = []
        for part, slice_name in SLICES.items():
            if len(self.splits[part]):
                scores = {name: [self.scores[model, name, seed, part] for seed in seeds] for name in features}
                label = self.splits[part].label.numpy()
                found = comparisons.paired_differences(self.raw[part]["userId"].to_numpy(), label, scores)
                found.insert(0, "slice", slice_name)
                tables.append(found)
        return pd.concat(tables, ignore_index=True)

    def _evaluate(self, part: str, scores: np.ndarray, probabilities: bool, tags: Mapping[str, Any]) -> None:
        label, user = self.splits[part].label.numpy(), self.raw[part]["userId"].to_numpy()
        tags = dict(tags) | {"slice": SLICES[part]}
        self.rows += evaluation.evaluate(user, label, scores, probabilities=probabilities, **tags)

    def recommend(self, run: Run, k: int, candidates: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the ``k`` best movies of every user: positions in the catalogue int64 [users, k] and scores.

        Movies the user has in train are left out. ``candidates`` bool [movies] restricts the pool.
        """

        def block(start: int, stop: int) -> np.ndarray:
            return training.score_catalogue(run.twin, self.user_codes[start:stop], self.catalogue.codes)

        return ranking.top_k(block, len(self.users), self._seen(), k, candidates=candidates)

    def predictions(self, model: str, features: str, seed: int, name: str) -> pa.Table:
        """Return one row a rating of split ``name``: userId, movieId, rating, label, score."""
        table = self.raw[name].select(["userId", "movieId", "rating"])
        label = self.splits[name].label.numpy()
        scores = self.scores.get((model, features, seed, name), np.zeros(0, np.float32))
        return table.append_column("label", pa.array(label)).append_column("score", pa.array(scores))

    def recommendations(self, run: Run, k: int = 20) -> pa.Table:
        """Return userId, rank (1..k), movieId, score for every user."""
        items, scores = self.recommend(run, k)
        kept = items >= 0
        rank = np.broadcast_to(np.arange(1, k + 1, dtype=np.int32), items.shape)
        return pa.table(
            {
                "userId": np.repeat(self.users, kept.sum(1)),
                "rank": rank[kept],
                "movieId": self.catalogue.movie_ids[items[kept]],
                "score": scores[kept],
            }
        )

    def shelf(
        self, recommendations: pa.Table, enriched: pa.Table, movies: pa.Table, user: int, k: int = 8
    ) -> tuple[list[tuple[Any, str]], list[tuple[Any, str, float, str]]]:
        """Return the best liked of ``user``'s train, (poster, title), and the recommended, with score and genres.

        ``enriched`` and ``movies`` are in ascending movieId.
        """
        posters = [path and self.store.folder / path for path in enriched["poster_path"].to_pylist()]
        titles, genres = movies["title"].to_pylist(), movies["genres"].to_pylist()
        train = self.raw["train"].filter(pc.equal(self.raw["train"]["userId"], user))
        train = train.sort_by([("rating", "descending"), ("timestamp", "descending"), ("movieId", "ascending")])
        own = recommendations.filter(pc.equal(recommendations["userId"], user)).slice(0, k)
        at = {movie: row for row, movie in enumerate(self.catalogue.movie_ids.tolist())}
        liked = [(posters[at[movie]], titles[at[movie]]) for movie in train["movieId"].to_pylist()[:k]]
        scored = zip(own["movieId"].to_pylist(), own["score"].to_pylist(), strict=True)
        shown = [(posters[at[m]], titles[at[m]], score, ", ".join(genres[at[m]][:2])) for m, score in scored]
        return liked, shown

    def _pool(self, name: str) -> np.ndarray | None:
        """Candidates of a slice's ranking: all movies when warm, the held-out movies when cold."""
        if name != "cold":
            return None
        return np.isin(self.catalogue.movie_ids, self.raw["cold"]["movieId"].to_numpy())

    def _pairs(self, table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        user_index = np.searchsorted(self.users, table["userId"].to_numpy())
        return user_index, np.searchsorted(self.catalogue.movie_ids, table["movieId"].to_numpy())

    def _liked(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        liked = self.raw[name]["rating"].to_numpy() > LIKED
        return tuple(part[liked] for part in self._pairs(self.raw[name]))  # type: ignore[return-value]

    def _seen(self) -> tuple[np.ndarray, np.ndarray]:
        user_index, movie_index = self._pairs(self.raw["train"])
        order = np.argsort(user_index, kind="stable")
        counts = np.bincount(user_index, minlength=len(self.users))
        return np.concatenate([[0], np.cumsum(counts)]), movie_index[order]


def check_alignment(
    name: str, raw: pa.Table, encoded: Mapping[str, np.ndarray], codes: pa.Table, known_users: Mapping[int, int]
) -> None:
    """Raise HandOffError unless every encoded row carries the user, the content code and the label of its raw row."""
    content = dict(zip(codes["movieId"].to_pylist(), codes["content_code"].to_pylist(), strict=True))
    wanted = {
        "userId": _looked_up(known_users, raw["userId"].to_numpy()),
        "movieId_duplicate": _looked_up(content, raw["movieId"].to_numpy()),
        "label": (raw["rating"].to_numpy() > LIKED).astype(np.float32),
    }
    for column, values in wanted.items():
        if not np.array_equal(values, encoded[column]):
            raise HandOffError(
                f"{name}-hugectr does not have the rows of {name}.parquet in the same order: {column} differs. "
                "Run notebook 06 again."
            )


def _looked_up(codes: Mapping[int, int], values: np.ndarray) -> np.ndarray:
    """Return the code of each of ``values`` int64 [n], OUT_OF_VOCABULARY for those without one."""
    distinct, inverse = np.unique(values, return_inverse=True)
    found = np.array([codes.get(value, etl.OUT_OF_VOCABULARY) for value in distinct.tolist()], dtype=np.int64)
    return found[inverse]


def _catalogue(store: Store, movies: pa.Table, codes: pa.Table, most_genres: int) -> Catalogue:
    movies = movies.sort_by("movieId")
    known = etl.vocabulary(store, "genres")
    genres = np.zeros((movies.num_rows, most_genres), dtype=np.int32)
    for row, names in enumerate(movies["genres"].to_pylist()):
        genres[row, : len(names)] = [known.get(genre, etl.OUT_OF_VOCABULARY) for genre in names]
    columns = {
        "movieId": codes["code"].to_numpy().astype(np.int32),
        "movieId_duplicate": codes["content_code"].to_numpy().astype(np.int32),
        "genres": genres,
    }
    return Catalogue(movies["movieId"].to_numpy(), columns)


def fullest(feature_sets: list[str]) -> str:
    """Return the feature set with most content among those trained, controls left out."""
    real = [name for name in feature_sets if "(" not in name] or feature_sets
    return max(real, key=lambda name: name.count("+"))
