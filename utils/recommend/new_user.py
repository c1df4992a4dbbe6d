"""Someone who is in no training set: lists and click scores from a few ratings, without training.

A list needs nothing but what the person liked (``model.list_model``). A click score needs the vector that the model
would have learned for them: the ridge regression that fits their ratings best while every movie stays as it is.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from scipy.special import expit

from utils.handoff.parameters import ParameterError
from utils.model.list_model import ListModel, Ratings
from utils.model.torch_model import Twin
from utils.study.data import StudyData

RIDGE = 4.0
"""Penalty of a new user's vector: how many ratings' worth of information it takes to believe it."""
_STEPS = 15


def rated_row(data: StudyData, liked: Sequence[int], disliked: Sequence[int] = ()) -> sparse.csr_matrix:
    """Return one user's ratings as the list model reads them, float32 [1, movies].

    Raises ParameterError for movies that are unknown or named twice.
    """
    places = _places(data, [*liked, *disliked])
    nobody, likes = np.zeros(len(places), np.int64), np.arange(len(places)) < len(liked)
    return Ratings(nobody, places, likes, nobody, 1, len(data.catalogue)).matrix()


def recommend(
    data: StudyData, model: ListModel, liked: Sequence[int], disliked: Sequence[int] = (), k: int = 10
) -> pd.DataFrame:
    """Return the ``k`` best movies, movieId and score, for someone who liked and disliked these, without these."""
    rated = rated_row(data, liked, disliked)
    scores = model.scores(rated)[0]
    scores[rated.indices] = -np.inf
    best = np.argsort(-scores, kind="stable")[:k]
    best = best[np.isfinite(scores[best])]
    return pd.DataFrame({"movieId": data.catalogue.movie_ids[best], "score": scores[best]})


def click_scores(data: StudyData, twin: Twin, liked: Sequence[int], disliked: Sequence[int] = ()) -> np.ndarray:
    """Return the probability that a new user likes each movie of the catalogue, float32 [movies].

    With s = u.q + b + q_bias the logit of a movie, the user's u and b minimise the logistic loss of their ratings plus
    RIDGE / 2 times their squares, by Newton's method; movies' vectors q and biases are the model's. Raises
    ParameterError for movies that are unknown or named twice.
    """
    codes = {name: torch.from_numpy(values) for name, values in data.catalogue.codes.items()}
    with torch.inference_mode():
        movies = twin.movie_side(codes)
    vectors = movies["movie_factors"][0].numpy(force=True).astype(np.float64)
    bias = movies["movie_bias"][0, :, 0].numpy(force=True).astype(np.float64)
    places = _places(data, [*liked, *disliked])
    label = np.repeat([1.0, 0.0], [len(liked), len(disliked)])
    own = np.column_stack([vectors, np.ones(len(vectors))])
    known, user = own[places], np.zeros(own.shape[1])
    for _ in range(_STEPS if len(places) else 0):
        probability = expit(known @ user + bias[places])
        gradient = known.T @ (probability - label) + RIDGE * user
        curvature = (known * (probability * (1 - probability))[:, None]).T @ known + RIDGE * np.eye(len(user))
        user -= np.linalg.solve(curvature, gradient)
    return expit(own @ user + bias).astype(np.float32)


def _places(data: StudyData, movies: Sequence[int]) -> np.ndarray:
    """Return the places of ``movies`` in the catalogue, int64 [n]; ParameterError for unknown or repeated ones."""
    place_of = {movie: place for place, movie in enumerate(data.catalogue.movie_ids.tolist())}
    for movie in movies:
        if movie not in place_of:
            raise ParameterError(f"movieId {movie!r} is not in the catalogue. Choose among movies_converted.parquet.")
    if len(set(movies)) != len(movies):
        raise ParameterError("A movie is named twice: give each movie once, as liked or as disliked.")
    return np.array([place_of[movie] for movie in movies], np.int64)
