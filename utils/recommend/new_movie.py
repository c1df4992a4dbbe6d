"""Stage 07: the audience of a movie that no notebook has seen, from its facts, poster and synopsis, without training.

``Encoders`` makes the movie's content row as 03, 04 and 05 made all others: the same encoders (proved by the sha256 of
their files), the reductions that 05 left, the same imputation. ``audience`` scores the row for every user with a
trained model, under the out-of-vocabulary id that training has practised.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from utils.etl.workflow import NO_GENRE, OUT_OF_VOCABULARY, vocabulary
from utils.features import facts, feature_store, imputation, reductions
from utils.features.feature_store import Vectors
from utils.handoff.contract import ARTEFACTS, BLOCKS, FACT_LISTS, FLAGS, table_of
from utils.handoff.parameters import ParameterError
from utils.handoff.store import Store
from utils.handoff.vector_columns import vectors
from utils.model.frozen_table import content_table
from utils.model.torch_model import Twin
from utils.model.training import fit
from utils.study.catalogue import Catalogue
from utils.study.data import StudyData
from utils.vectors import posters, texts
from utils.vectors.encoders.base import PRECISIONS
from utils.vectors.encoders.image import ImageEncoder
from utils.vectors.encoders.text import TextEncoder
from utils.vectors.neighbours import directions
from utils.vectors.shards import Failure, Item

NEW = -1
"""Stands for the movieId of a movie that has none."""
ENCODED = ("poster", "text")
"""The blocks of content that encoders make."""
COMPARED = 2000
"""Users at most over whom scores are averaged."""
Encoder = TypeVar("Encoder", ImageEncoder, TextEncoder)


class NewcomerError(RuntimeError):
    """A new movie cannot be encoded as the others were; the message says what to do."""


@dataclass(frozen=True)
class NewMovie:
    """What is known of a movie; ``poster`` is an image file, ``runtime`` in minutes. Only the title must be known."""

    title: str
    synopsis: str | None = None
    poster: str | Path | None = None
    genres: Sequence[str] = ()
    year: int | None = None
    directors: Sequence[str] = ()
    writers: Sequence[str] = ()
    cast: Sequence[str] = ()
    countries: Sequence[str] = ()
    languages: Sequence[str] = ()
    runtime: float | None = None

    def table(self) -> pa.Table:
        """Return the movie as a row of movies_converted."""
        year = pa.array([self.year], pa.int16())
        genres = pa.array([list(self.genres)], pa.list_(pa.string()))
        return pa.table({"movieId": [NEW], "title": [self.title], "year": year, "genres": genres})

    def facts(self) -> pa.Table:
        """Return the movie as a row of movie_facts."""
        names = {name: list(getattr(self, name)) for name in FACT_LISTS}
        return table_of("movie_facts", [{"movieId": NEW, "year": self.year, "runtime": self.runtime} | names])


@dataclass(frozen=True)
class Encoders:
    """All that makes a content row from facts, a poster and a text. Use ``Encoders.open``.

    ``donors`` are posters and texts, float32 [m, width], of the m movies of train that have both: what the strategy
    ``missing`` takes a neighbour's vector from.
    """

    image: ImageEncoder
    text: TextEncoder
    template: str
    reductions: Mapping[str, Any]
    donors: Mapping[str, np.ndarray]
    missing: str

    @classmethod
    def open(cls, store: Store, cache: str | Path, device: str = "auto") -> "Encoders":
        """Load the encoders that made the embeddings of ``store``, and the reductions of its feature store.

        ``cache`` is the folder where 03 and 04 keep weights. Raises NewcomerError where the embeddings were not made
        by these encoders, HandOffError as ``reductions.read``, and as ``load_encoder`` where weights cannot be had.
        """
        made_by = {block: store.metadata(f"{block}_embeddings") for block in ENCODED}
        metadata, features = store.metadata("feature_store"), store.read("feature_store")
        in_train = np.isin(features["movieId"].to_numpy(), store.read("train", ["movieId"])["movieId"].to_numpy())
        complete = np.logical_and.reduce([in_train, *(features[FLAGS[block]].to_numpy() for block in ENCODED)])
        return cls(
            image=_same_encoder("poster", made_by["poster"], posters.load_encoder, device, cache),
            text=_same_encoder("text", made_by["text"], texts.load_encoder, device, cache),
            template=made_by["text"]["template"],
            reductions=reductions.read(store, metadata),
            donors={block: vectors(features[block])[complete] for block in ENCODED},
            missing=metadata["imputation"],
        )

    def content(self, movie: NewMovie) -> np.ndarray:
        """Return the row float32 [width] that ``frozen_table.content_table`` would have for the movie.

        What it lacks is imputed as 05 does, and flagged. Raises NewcomerError for a poster or text that cannot be read.
        """
        raw: dict[str, np.ndarray | None] = dict.fromkeys(ENCODED)
        if movie.poster is not None:
            item = Item(NEW, "", Path(movie.poster))
            raw["poster"] = _only("poster", *posters.encode_images([item], self.image, 1))
        enriched = pa.table({"movieId": [NEW], "synopsis": pa.array([movie.synopsis], pa.string())})
        if items := texts.synopsis_items(enriched, movie.table(), self.template):
            raw["text"] = _only("synopsis", *texts.encode_texts(items, self.text, 1))
        parts = {block: self._with_one_more(block, raw[block]) for block in ENCODED}
        rows = np.arange(len(parts["text"].vectors))  # The donors, then the new movie.
        filled = imputation.fill(parts, rows, rows[:-1], self.missing)
        own = {
            name: replace(part, vectors=part.vectors[-1:], present=part.present[-1:]) for name, part in filled.items()
        }
        known = self.reductions["facts"].project(movie.facts())
        own["facts"] = Vectors(known, facts.known(movie.facts()), np.zeros_like(known[0]))
        return content_table(feature_store.table(np.array([NEW]), own), _codes(0)).vectors[0]

    def _with_one_more(self, block: str, raw: np.ndarray | None) -> Vectors:
        """Return the donors' vectors and one more: ``raw`` float32 [d] reduced, or a gap where it is None."""
        reduction, donors = self.reductions[block], self.donors[block]
        vector = np.zeros((1, reduction.width), np.float32) if raw is None else reduction.project(raw[None])
        present = np.append(np.ones(len(donors), bool), raw is not None)
        return Vectors(np.vstack([donors, vector]), present, reduction.centre)


@dataclass(frozen=True)
class Audience:
    """What a model says of a new movie.

    ``users`` has one row per user: userId, ``score`` (the probability of a like), ``in_train``. ``others`` has one row
    per movie of the catalogue: movieId, title, ``cosine`` of its content and the new movie's, mean ``score``. ``mean``
    is the new movie's mean score; means are over the same users, at most ``COMPARED`` of those in train.
    """

    users: pd.DataFrame
    others: pd.DataFrame
    mean: float

    @property
    def percentile(self) -> float:
        """The share of the catalogue's movies whose mean score is lower, from 0 to 100."""
        return float(100 * (self.others["score"] < self.mean).mean())

    def fans(self, k: int = 5) -> pd.DataFrame:
        """Return userId and score of the ``k`` users in train most likely to like it, best first."""
        known = self.users.loc[self.users["in_train"], ["userId", "score"]]
        return known.nlargest(k, "score").reset_index(drop=True)

    def closest(self, k: int = 5) -> pd.DataFrame:
        """Return the ``k`` movies of the catalogue nearest by content, nearest first, as rows of ``others``."""
        return self.others.nlargest(k, "cosine").reset_index(drop=True)


def audience(data: StudyData, twin: Twin, encoders: Encoders, movie: NewMovie) -> Audience:
    """Return what ``twin``, trained on the content of ``data``, predicts for ``movie`` and every user.

    The movie gets the out-of-vocabulary id, a row of its own in a copy of the frozen table, and the codes of its
    genres; nothing is trained and ``twin`` is not changed. Raises ParameterError for genres that the model does not
    know, NewcomerError as ``Encoders.content`` and for a twin with other content than this one's.
    """
    _check_genres(data, movie)
    row, content = encoders.content(movie), data.content.vectors
    own = Catalogue.of(data.store, movie.table(), _codes(len(content)), data.inputs.most_genres)
    scores_of = fit.catalogue_scorer(_with_row(twin, content, row), own.codes)
    in_train = data.user_codes != OUT_OF_VOCABULARY
    known = data.user_codes[in_train] if in_train.any() else data.user_codes
    compared = known[np.unique(np.linspace(0, len(known) - 1, min(COMPARED, len(known))).astype(int))]
    scores = scores_of(data.user_codes)[:, 0]
    users = pd.DataFrame({"userId": data.users, "score": scores, "in_train": in_train})
    return Audience(users, _others(data, twin, row, compared), float(scores_of(compared).mean(dtype=np.float64)))


def _check_genres(data: StudyData, movie: NewMovie) -> None:
    known, most = vocabulary(data.store, "genres").keys() - {NO_GENRE}, data.inputs.most_genres
    for genre in movie.genres:
        if genre not in known:
            raise ParameterError(
                f"genres: {genre!r} is not known to the model. It knows {', '.join(sorted(known)) or 'none'}."
            )
    if len(movie.genres) > most:
        raise ParameterError(f"genres: {len(movie.genres)} were given, the model reads at most {most} of a movie.")


def _with_row(twin: Twin, content: np.ndarray, row: np.ndarray) -> Twin:
    """Return a copy of ``twin`` whose frozen table, ``content`` float32 [rows, width], has ``row`` as one more."""
    if "movieId_duplicate" not in twin.tables:  # It was trained without content.
        return twin
    own = twin.table("movieId_duplicate").weight
    if not np.array_equal(own.cpu().numpy(), content):
        raise NewcomerError(
            "This model was trained with other content than this one's: shuffled, hidden, or of an earlier run. "
            "Take the run of a feature set without a knock-out."
        )
    grown = copy.deepcopy(twin)
    table = torch.cat([own, torch.from_numpy(row)[None].to(own.device)])
    grown.tables["movieId_duplicate"] = torch.nn.Embedding.from_pretrained(table, freeze=True)
    return grown.eval()


def _others(data: StudyData, twin: Twin, row: np.ndarray, users: np.ndarray) -> pd.DataFrame:
    """Return the catalogue beside the new movie's content ``row``: movieId, title, cosine, mean score of ``users``."""
    catalogue, blocks = data.catalogue, slice(0, data.content.columns[BLOCKS[-1]][1])  # without the flags
    content = data.content.vectors[catalogue.codes["movieId_duplicate"], blocks]
    centre = content.mean(axis=0)
    cosines = directions(content, centre) @ directions(row[None, blocks], centre)[0]
    scores_of, total = fit.catalogue_scorer(twin, catalogue.codes), np.zeros(len(catalogue))
    for block in np.array_split(users, max(1, len(users) // 64)):
        total += scores_of(block).sum(axis=0, dtype=np.float64)
    titles = data.store.read("movies_converted", ["movieId", "title"]).sort_by("movieId")["title"].to_pylist()
    scores = total / max(1, len(users))
    return pd.DataFrame({"movieId": catalogue.movie_ids, "title": titles, "cosine": cosines, "score": scores})


def _codes(content_code: int) -> pa.Table:
    return pa.table({"movieId": [NEW], "code": [OUT_OF_VOCABULARY], "content_code": [content_code]})


def _only(what: str, encoded: np.ndarray, failures: Sequence[Failure]) -> np.ndarray:
    """Return the one vector, or raise NewcomerError for the failure in its place."""
    if failures or not np.isfinite(encoded).all():
        reason = failures[0].reason if failures else "the encoder gave a vector that is not finite"
        raise NewcomerError(f"The new movie's {what} cannot be encoded: {reason}. Give another, or None.")
    return encoded[0]


def _same_encoder(
    block: str, made: Mapping[str, Any], load: Callable[..., Encoder], device: str, cache: str | Path
) -> Encoder:
    """Return the encoder that ``made`` a block's embeddings, down to its weights; NewcomerError where there is none."""
    artefact, name = ARTEFACTS[f"{block}_embeddings"], made.get("encoder")
    if name in (None, "precomputed"):
        raise NewcomerError(
            f"{artefact.path} was not made by an encoder but given by PRECOMPUTED, so no new {block} can be encoded "
            f"like them. Run {artefact.notebook}.ipynb with PRECOMPUTED=None and an encoder, and those after it."
        )
    # float16 is what "auto" takes on a GPU; float32 differs from it in the last digits alone.
    precision = made["precision"] if made.get("precision") in PRECISIONS else "float32"
    encoder = load(name, device, cache, precision)
    settings = encoder.settings()
    for label in ("weights_sha256", "files_sha256", "width", "preprocessing"):
        if settings[label] != made.get(label):
            raise NewcomerError(
                f"{artefact.path} was made by {name!r} with {label}={made.get(label)!r}, but it has "
                f"{settings[label]!r} now. Run {artefact.notebook}.ipynb again with this encoder, and those after it."
            )
    return encoder
