"""What all runs of a study share: the encoded ratings of 06, the raw ones, the catalogue, and the content."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from utils.etl import workflow
from utils.handoff.own_data import Likes, likes_of
from utils.handoff.store import Store
from utils.metrics import significance
from utils.metrics.checks import one_sided
from utils.metrics.click import Rated
from utils.model import baselines, list_model
from utils.model.architectures import Inputs
from utils.model.feature_sets import FeatureSet, controlled
from utils.model.frozen_table import ContentTable, content_table
from utils.model.training.fit import Split
from utils.study import missing_content
from utils.study.catalogue import Catalogue, check_alignment, check_codes, look_up

PARTS = ("train", "valid", "cold")


@dataclass(frozen=True)
class StudyData:
    """The data of a study; opening it proves that encoded rows are the raw rows they stand for.

    ``raw`` and ``splits`` are by part; ``masks`` are the slices of valid and cold, bool [rows] each, by name. ``users``
    are raw ids, ascending, and ``user_codes`` their codes, both int [users].
    """

    store: Store
    likes: Likes
    inputs: Inputs
    features: pa.Table
    codes: pa.Table
    content: ContentTable
    split_name: str
    raw: Mapping[str, pa.Table]
    splits: Mapping[str, Split]
    masks: Mapping[str, Mapping[str, np.ndarray]]
    catalogue: Catalogue
    users: np.ndarray
    user_codes: np.ndarray

    @classmethod
    def open(cls, store: Store, features: pa.Table, codes: pa.Table, content: ContentTable) -> "StudyData":
        """Read the splits and check every encoded row. Raises HandOffError for rows or codes of another run."""
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
        raw, likes = {name: store.read(name) for name in PARTS}, likes_of(store)
        known, splits = workflow.vocabulary(store, "userId"), {}
        for name in PARTS:
            columns = workflow.read_encoded(store, f"{name}-hugectr", most)
            check_alignment(name, raw[name], columns, codes, known, likes)
            splits[name] = Split.of(columns)
            check_codes(name, splits[name], inputs)
        users = np.unique(np.concatenate([table["userId"].to_numpy() for table in raw.values()]))
        movies = store.read("movies_converted").sort_by("movieId")
        return cls(
            store=store,
            likes=likes,
            inputs=inputs,
            features=features,
            codes=codes,
            content=content,
            split_name=workflow.how_split(store),
            raw=raw,
            splits=splits,
            masks={part: significance.part_masks(part, raw, features) for part in significance.SLICES},
            catalogue=Catalogue.of(store, movies, codes, most),
            users=users,
            user_codes=look_up(known, users).astype(np.int32),
        )

    def places(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the place of each rating's user in ``users`` and of its movie in the catalogue, int64 [n] each."""
        user = np.searchsorted(self.users, self.raw[part]["userId"].to_numpy())
        return user, np.searchsorted(self.catalogue.movie_ids, self.raw[part]["movieId"].to_numpy())

    def rated(self, part: str) -> Rated:
        """Return the rows of a part as click metrics judge them."""
        raw = self.raw[part]
        return Rated(raw["userId"].to_numpy(), raw["movieId"].to_numpy(), self.splits[part].label.numpy())

    @property
    def one_class(self) -> dict[str, str]:
        """The slices without an AUC, and why: "no dislikes", for example."""
        found: dict[str, str] = {}
        for part, masks in self.masks.items():
            label = self.splits[part].label.numpy()
            found |= {name: why for name, mask in masks.items() if (why := one_sided(label[mask]))}
        return found

    def ratings(self) -> list_model.Ratings:
        """Return train as the list model reads it."""
        raw = self.raw["train"]
        liked, time = self.likes.of(raw["rating"].to_numpy()), raw["timestamp"].to_numpy()
        return list_model.Ratings(*self.places("train"), liked, time, len(self.users), len(self.catalogue))

    def frozen(self, features: FeatureSet, seed: int) -> np.ndarray:
        """Return the frozen table float32 [rows, width] of a feature set, as its control leaves it."""
        if features.hidden is None:
            rows = self.catalogue.codes["movieId_duplicate"]
            return controlled(self.content.vectors, self.content.columns, features, rows, seed)
        known = np.unique(self.raw["train"]["movieId"].to_numpy())
        hidden = missing_content.hide(self.features, known, features, seed)
        return content_table(hidden, self.codes).vectors

    def described(self, features: FeatureSet, seed: int) -> np.ndarray:
        """Return what a feature set says of every movie of the catalogue, float32 [movies, f]: genres, then content."""
        parts = [np.zeros((len(self.catalogue), 0), np.float32)]
        if "genres" in features.blocks:
            listed = self.catalogue.codes["genres"]
            genres = np.zeros((len(listed), self.inputs.genres), np.float32)
            genres[np.arange(len(listed))[:, None], listed] = 1
            parts.append(genres[:, workflow.RESERVED :])
        table = self.frozen(features, seed)[self.catalogue.codes["movieId_duplicate"]]
        for block in features.content:
            for start, stop in (self.content.columns[n] for n in (block, f"has_{block}") if n in self.content.columns):
                parts.append(table[:, start:stop])
        return np.hstack(parts)

    def biases(self, rows: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Return by column the biases that tables start from, float32 [rows of the table]: a ridge regression on train.

        ``rows`` bool [n] are the ratings to fit on, all by default. A movie whose id is unknown starts at the mean of
        all, a genre at 0; the logit of a like's probability p changes by 1 / (p (1 - p)) for each unit of p.
        """
        train = self.splits["train"]
        movie = self.catalogue.codes["movieId"][self.places("train")[1]]
        user, label = train.codes["userId"].numpy(), train.label.numpy()
        if rows is not None:
            user, movie, label = user[rows], movie[rows], label[rows]
        fitted = baselines.fit("user+movie bias", user, movie, label, self.inputs.users, self.inputs.movies)
        assert isinstance(fitted, baselines.Additive), "the two-term bias is a sum"
        mean = float(np.clip(label.mean(), 0.01, 0.99))
        slope = 1 / (mean * (1 - mean))
        of_user = (fitted.user - label.mean()) * slope
        of_movie = fitted.movie * slope + np.log(mean / (1 - mean))
        found = {"userId": of_user, "movieId": of_movie, "genres": np.zeros(self.inputs.genres)}
        return {column: biases.astype(np.float32) for column, biases in found.items()}
