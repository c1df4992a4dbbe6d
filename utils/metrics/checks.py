"""Labels and scores as every metric of notebook 07 takes them, and what is said when they are none."""

import numpy as np


class EvaluationError(ValueError):
    """Labels, scores or lists that no metric can be computed from."""


def checked(label: np.ndarray, score: np.ndarray, user: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return (liked bool [n], score [n] as it came).

    Raises EvaluationError unless ``label`` [n] is of 0 and 1, ``score`` is finite, and both, and ``user``, are as long.
    """
    label, score = np.asarray(label), np.asarray(score)
    shapes = {"label": label.shape, "score": score.shape} | ({} if user is None else {"user": np.shape(user)})
    if label.ndim != 1 or len(set(shapes.values())) != 1:
        raise EvaluationError(f"Shapes {shapes} differ: give one-dimensional arrays of one length, one entry a rating.")
    liked = label == 1
    if not (liked | (label == 0)).all():
        row = int(np.flatnonzero(~(liked | (label == 0)))[0])
        raise EvaluationError(f"label[{row}] is {label[row]!r}: labels must be 0 or 1 (1 for a like).")
    if not np.isfinite(score).all():
        row = int(np.flatnonzero(~np.isfinite(score))[0])
        raise EvaluationError(
            f"score[{row}] is {score[row]!r}: the model diverged; lower its learning rate, train again."
        )
    return liked, score


def as_probabilities(score: np.ndarray) -> np.ndarray:
    """Return ``score`` [n] as float64; raises EvaluationError where one is not in [0, 1]."""
    outside = (score < 0) | (score > 1)
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise EvaluationError(
            f"score[{row}] is {score[row]!r}: logloss and calibration need probabilities; apply the sigmoid first."
        )
    return score.astype(np.float64)


def one_sided(label: np.ndarray) -> str:
    """Return which of the labels 0 and 1 is not there at all, "no dislikes" for example; "" where both are."""
    if not len(label):
        return "no ratings"
    return "no dislikes" if np.all(label == 1) else "no likes" if np.all(label == 0) else ""


def ratio(part: float, whole: float) -> float:
    """Return ``part / whole``; nan where ``whole`` is 0: a metric of no rows."""
    return float(part) / float(whole) if whole else float("nan")
