"""Stage 07: the audience of a movie that no notebook has seen, from its poster and synopsis, without any training.

``Encoders`` (see ``new_movie_content``) makes the movie's content row; ``audience`` scores it for every user with
a trained model, under the out-of-vocabulary id that training has practised.
"""

import copy
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from utils.etl import workflow
from utils.handoff.parameters import ParameterError
from utils.model.torch_model import Twin
from utils.model.training import fit
from utils.recommend.new_movie_content import Encoders, NewcomerError, NewMovie, codes_of
from utils.study.catalogue import Catalogue
from utils.study.study import Study
from utils.vectors.neighbours import directions

__all__ = ["Audience", "Encoders", "NewMovie", "NewcomerError", "audience"]

COMPARED = 2000
"""Users at most whose scores are compared with those of all other movies: it is for two means."""


@dataclass(frozen=True)
class Audience:
    """What a model says of a new movie: ``scores`` float32 [users], probabilities, of ``users`` int64 [users].

    ``in_train`` bool [users] are those the model knows. ``others`` is the catalogue: movieId, title, the cosine of its
    content to the new movie's, and its mean score. ``mean`` is that of the new movie; means are over the same users,
    at most ``COMPARED`` of those in train.
    """

    scores: np.ndarray
    users: np.ndarray
    in_train: np.ndarray
    mean: float
    others: pd.DataFrame

    @property
    def percentile(self) -> float:
        """The share of the catalogue's movies whose mean score is lower, from 0 to 100."""
        return float(100 * (self.others["score"] < self.mean).mean())

    def fans(self, k: int = 5) -> pd.DataFrame:
        """Return userId and score of the ``k`` users in train most likely to like it, best first."""
        known = pd.DataFrame({"userId": self.users, "score": self.scores})[self.in_train]
        return known.sort_values("score", ascending=False, kind="stable").head(k).reset_index(drop=True)

    def closest(self, k: int = 5) -> pd.DataFrame:
        """Return the ``k`` movies of the catalogue nearest by content, nearest first, as rows of ``others``."""
        return self.others.sort_values("cosine", ascending=False, kind="stable").head(k).reset_index(drop=True)


def audience(study: Study, twin: Twin, encoders: Encoders, movie: NewMovie) -> Audience:
    """Return what ``twin``, trained by ``study`` on its content, predicts for ``movie`` and every user.

    The movie gets the out-of-vocabulary id, a row of its own in a copy of the frozen table, and the codes of its
    genres; nothing is trained and ``twin`` is not changed. Raises ParameterError for genres that the model does not
    know, NewcomerError as ``Encoders.content`` and for a twin with other content than the study's.
    """
    row = encoders.content(movie)
    grown = _with_row(twin, study.content.vectors, row)
    own = Catalogue.of(
        study.store, _checked(study, movie), codes_of(len(study.content.vectors)), study.inputs.most_genres
    )
    scores_of = fit.catalogue_scorer(grown, own.codes)
    in_train = study.user_codes != workflow.OUT_OF_VOCABULARY
    known = study.user_codes[in_train] if in_train.any() else study.user_codes
    compared = known[np.unique(np.linspace(0, len(known) - 1, min(COMPARED, len(known))).astype(int))]
    return Audience(
        scores=scores_of(study.user_codes)[:, 0],
        users=study.users,
        in_train=in_train,
        mean=float(scores_of(compared).mean(dtype=np.float64)),
        others=_others(study, twin, row, compared),
    )


def _others(study: Study, twin: Twin, row: np.ndarray, users: np.ndarray) -> pd.DataFrame:
    """Return the catalogue beside the new movie's content ``row``: movieId, title, cosine, mean score of ``users``."""
    catalogue = study.catalogue
    content = slice(0, study.content.columns["text"][1])  # poster and text, without the flags
    vectors = study.content.vectors[catalogue.codes["movieId_duplicate"]][:, content]
    centre = vectors.mean(axis=0)
    cosines = directions(vectors, centre) @ directions(row[None, content], centre)[0]
    scores_of, total = fit.catalogue_scorer(twin, catalogue.codes), np.zeros(len(catalogue))
    for block in np.array_split(users, max(1, len(users) // 64)):
        total += scores_of(block).sum(axis=0, dtype=np.float64)
    movies = study.store.read("movies_converted", ["movieId", "title"]).sort_by("movieId")
    titles = movies["title"].to_pylist()
    means = total / max(1, len(users))
    return pd.DataFrame({"movieId": catalogue.movie_ids, "title": titles, "cosine": cosines, "score": means})


def _with_row(twin: Twin, vectors: np.ndarray, row: np.ndarray) -> Twin:
    """Return a copy of ``twin`` whose frozen table, ``vectors`` float32 [rows, width], has ``row`` as one more."""
    if "movieId_duplicate" not in twin.tables:  # It was trained without content.
        return twin
    own = twin.table("movieId_duplicate").weight
    if not np.array_equal(own.cpu().numpy(), vectors):
        raise NewcomerError(
            "This model was trained with other content than the study's: shuffled, hidden, or of an earlier run. "
            "Take the run of a feature set without a knock-out."
        )
    grown = copy.deepcopy(twin)
    table = torch.cat([own, torch.from_numpy(row)[None].to(own.device)])
    grown.tables["movieId_duplicate"] = torch.nn.Embedding.from_pretrained(table, freeze=True)
    return grown.eval()


def _checked(study: Study, movie: NewMovie) -> pa.Table:
    """Return the movie's row of movies_converted, or raise ParameterError for genres that the model cannot read."""
    known, most = workflow.vocabulary(study.store, "genres"), study.inputs.most_genres
    for genre in movie.genres:
        if genre not in known:
            raise ParameterError(f"genres: {genre!r} is not known to the model. It knows {', '.join(sorted(known))}.")
    if len(movie.genres) > most:
        raise ParameterError(f"genres: {len(movie.genres)} were given, the model reads at most {most} of a movie.")
    return movie.table()
