"""Stage 07: the content row of a movie that no notebook has seen, made the way 03, 04 and 05 made all others.

The same encoders, the same reductions (both proved by their sha256), the same imputation; ``utils.recommend.new_movie``
scores the row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from utils.etl import workflow
from utils.features import feature_store, imputation
from utils.features.feature_store import Reduced
from utils.handoff.store import HandOffError, Store
from utils.model.frozen_table import content_table
from utils.vectors import posters, texts
from utils.vectors.encoders.image import ImageEncoder
from utils.vectors.encoders.text import TextEncoder
from utils.vectors.shards import Failure, Item

NEW = -1
"""Stands for the movieId of a movie that has none."""
_MADE_BY = {
    "poster": ("poster_embeddings", "03-Feature-Extraction-Poster", "IMAGE_ENCODER"),
    "text": ("text_embeddings", "04-Feature-Extraction-Text", "TEXT_ENCODER"),
}


class NewcomerError(RuntimeError):
    """A new movie cannot be encoded as the others were; the message says what to do."""


@dataclass(frozen=True)
class NewMovie:
    """What is known of a movie; ``poster`` is an image file. Only the title must be known."""

    title: str
    synopsis: str | None = None
    poster: str | Path | None = None
    genres: Sequence[str] = ()
    year: int | None = None

    def table(self) -> pa.Table:
        """Return the movie as a row of movies_converted."""
        year = pa.array([self.year], pa.int16())
        genres = pa.array([list(self.genres)], pa.list_(pa.string()))
        return pa.table({"movieId": [NEW], "title": [self.title], "year": year, "genres": genres})


@dataclass(frozen=True)
class Encoders:
    """All that makes a content row from a poster and a text, as 03, 04 and 05 did for the feature store at hand.

    ``parts`` hold the reductions and the reduced vectors of the ``movie_ids`` int64 [n], ``known_ids`` are those with
    ratings in train. Use ``Encoders.open``.
    """

    image: ImageEncoder
    text: TextEncoder
    template: str
    parts: Mapping[str, Reduced]
    movie_ids: np.ndarray
    known_ids: np.ndarray
    missing: str

    @classmethod
    def open(cls, store: Store, cache: str | Path, device: str = "auto") -> "Encoders":
        """Load the encoders that made the embeddings of ``store`` and fit the reductions again, as 05 did.

        ``cache`` is the folder where 03 and 04 keep weights. Raises NewcomerError where vectors were made otherwise
        than by these encoders or these reductions, and as ``load_encoder`` where weights cannot be had.
        """
        made_by = {part: store.metadata(name) for part, (name, *_) in _MADE_BY.items()}
        image = posters.load_encoder(*_encoder_of("poster", made_by["poster"], device, cache))
        _check_same("poster", image, made_by["poster"])
        text = texts.load_encoder(*_encoder_of("text", made_by["text"], device, cache))
        _check_same("text", text, made_by["text"])
        described = store.metadata("feature_store")
        movie_ids = np.sort(store.read("movies_converted", ["movieId"])["movieId"].to_numpy())
        known_ids = np.unique(store.read("train", ["movieId"])["movieId"].to_numpy())
        parts = {part: _reduced(store, part, described, movie_ids, known_ids) for part in _MADE_BY}
        return cls(image, text, made_by["text"]["template"], parts, movie_ids, known_ids, described["imputation"])

    def content(self, movie: NewMovie) -> np.ndarray:
        """Return the row float32 [width] that ``content.content_table`` would have for the movie.

        What it lacks is imputed as 05 does, and flagged. Raises NewcomerError for a poster or text that cannot be read.
        """
        raw = {"poster": self._encoded_poster(movie), "text": self._encoded_text(movie)}
        grown = {part: _with_one_more(self.parts[part], raw[part]) for part in raw}
        filled = imputation.fill(grown, np.append(self.movie_ids, NEW), self.known_ids, self.missing)
        last = {name: replace(p, vectors=p.vectors[-1:], present=p.present[-1:]) for name, p in filled.items()}
        row = feature_store.table(np.array([NEW]), last["poster"], last["text"])
        return content_table(row, codes_of(0)).vectors[0]

    def _encoded_poster(self, movie: NewMovie) -> np.ndarray | None:
        if movie.poster is None:
            return None
        return _only(*posters.encode_images([Item(NEW, "", Path(movie.poster))], self.image, 1), "poster")

    def _encoded_text(self, movie: NewMovie) -> np.ndarray | None:
        enriched = pa.table({"movieId": [NEW], "synopsis": pa.array([movie.synopsis], pa.string())})
        items = texts.synopsis_items(enriched, movie.table(), self.template)
        return _only(*texts.encode_texts(items, self.text, 1), "synopsis") if items else None


def codes_of(content_code: int) -> pa.Table:
    """Return the row of movie_codes for a new movie."""
    return pa.table({"movieId": [NEW], "code": [workflow.OUT_OF_VOCABULARY], "content_code": [content_code]})


def _only(vectors: np.ndarray, failures: Sequence[Failure], what: str) -> np.ndarray:
    """Return the one vector, or raise NewcomerError for the failure in its place."""
    if failures or not np.isfinite(vectors).all():
        reason = failures[0].reason if failures else "the encoder gave a vector that is not finite"
        raise NewcomerError(f"The new movie's {what} cannot be encoded: {reason}. Give another, or None.")
    return vectors[0]


def _with_one_more(part: Reduced, raw: np.ndarray | None) -> Reduced:
    """Return ``part`` with one row more: ``raw`` float32 [d] reduced, or a gap where it is None."""
    vector = np.zeros((1, part.vectors.shape[1]), np.float32)
    if raw is not None:
        vector[:, : len(part.reduction.components)] = feature_store.project(part.reduction, raw[None])
    return replace(part, vectors=np.vstack([part.vectors, vector]), present=np.append(part.present, raw is not None))


def _encoder_of(part: str, made: Mapping[str, Any], device: str, cache: str | Path) -> tuple[str, str, str | Path, str]:
    """Return the arguments of ``load_encoder`` for the encoder of ``part``; NewcomerError where there was none."""
    name, (artefact, notebook, parameter) = made.get("encoder"), _MADE_BY[part]
    if name in (None, "precomputed"):
        raise NewcomerError(
            f"{artefact}.parquet was not made by an encoder but given by PRECOMPUTED, so no new {part} can be encoded "
            f"like them. Run {notebook}.ipynb with PRECOMPUTED=None and an {parameter}, and those after it."
        )
    # float16 is what "auto" takes on a GPU; elsewhere "auto" is float32, which differs in the last digits alone.
    precision = made.get("precision")
    precision = precision if precision in ("float32", "bfloat16") else "auto"
    return str(name), device, cache, precision


def _check_same(part: str, encoder: ImageEncoder | TextEncoder, made: Mapping[str, Any]) -> None:
    """Raise NewcomerError unless ``encoder`` is the one that made the embeddings, down to its weights."""
    artefact, notebook, parameter = _MADE_BY[part]
    settings = encoder.settings()
    for label in ("weights_sha256", "files_sha256", "width", "preprocessing"):
        if settings[label] != made.get(label):
            raise NewcomerError(
                f"{artefact}.parquet was made by {made['encoder']!r} with {label}={made.get(label)!r}, but it has "
                f"{settings[label]!r} now. Run {notebook}.ipynb again with this {parameter}, and those after it."
            )


def _reduced(
    store: Store, part: str, described: Mapping[str, Any], movie_ids: np.ndarray, known_ids: np.ndarray
) -> Reduced:
    """Return the embeddings of ``part`` reduced as 05 did, or raise NewcomerError where the result differs."""
    again = "Run 05-Create-Feature-Store.ipynb again, and those after it."
    if part not in described.get("reductions", {}):
        raise HandOffError(f"feature_store.parquet does not say how {part} vectors were reduced. {again}")
    recorded = described["reductions"][part]
    embeddings = store.read(_MADE_BY[part][0])
    reduced = feature_store.reduce(embeddings, movie_ids, known_ids, recorded["width"])
    if reduced.reduction.sha256() != recorded["sha256"]:
        raise NewcomerError(
            f"The reduction of {part} vectors cannot be repeated: fitted again, it is not that of the feature store, "
            f"which other files, or another machine or library, made. {again}"
        )
    return reduced
