"""Which scale ratings are on and what is a like, from the values themselves: FEEDBACK, SCALE and LIKED of 01.

On a scale, a like is above 0.6 of its upper end: above 3 of 5, 6 of 10, 60 of 100, and 1 of the labels 0 and 1. Counts
of plays or clicks, and a column of one value, are implicit feedback: whoever is there at all was liked.
"""

import numpy as np

from utils.handoff.own_data import Likes
from utils.handoff.parameters import ParameterError, choice
from utils.ratings.columns import DataError
from utils.ratings.values import STRAYS

FEEDBACK = ("auto", "explicit", "implicit")
ENDS = (1, 5, 10, 20, 100)
"""Upper ends that scales are known to have."""
SHARE = 0.6


def check_parameters(feedback: object, scale: object, liked: object) -> None:
    """Raise ParameterError for a value of FEEDBACK, SCALE or LIKED that cannot be used."""
    choice("FEEDBACK", feedback, FEEDBACK)
    if scale != "auto":
        ends = list(scale) if isinstance(scale, list | tuple) else []
        if len(ends) != 2 or not all(_is_number(end) for end in ends) or ends[0] >= ends[1]:
            raise ParameterError(f'SCALE={scale!r} must be "auto" or [lowest, highest], such as [1, 10].')
        if feedback == "implicit":
            raise ParameterError(f'SCALE={scale!r} and FEEDBACK="implicit" contradict each other: give one of them.')
    if liked is not None and not _is_number(liked):
        raise ParameterError(f"LIKED={liked!r} must be a number (a rating above it is a like), or None.")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def likes(
    values: np.ndarray, counts: np.ndarray, feedback: str, scale: object, liked: float | None, *, counted: bool = False
) -> Likes:
    """Return what is a like among ``values`` float [k], ascending and all different, which occur ``counts`` int times.

    ``counted``: their column has the name of a count, such as "plays". Raises DataError where no rating is one.
    """
    told = feedback == "explicit" or scale != "auto" or liked is not None
    if feedback == "implicit" or (not told and _implicit(values, counts, counted=counted)):
        found = Likes("implicit", float(values[values > 0].min(initial=np.inf)), float(values.max()), 0.0)
    else:
        low, high = _scale(values, counts) if scale == "auto" else (float(end) for end in scale)  # type: ignore[attr-defined]
        known = values[(values >= low) & (values <= high)]
        above = min(low, 0) + SHARE * (high - min(low, 0))
        if scale == "auto" and liked is None and len(known) and known[-1] <= above:
            high = float(known[-1])  # No one gave more: three points, for example.
            above = min(low, 0) + SHARE * (high - min(low, 0))
        found = Likes("explicit", low, high, round(above if liked is None else float(liked), 6))
    if not found.of(values[(values >= found.low) & (values <= found.high)]).any():
        raise DataError(
            f"No rating is a like: {found}, but the ratings are from {values.min():g} to {values.max():g}. Lists and "
            'clicks are learned from likes. Set LIKED, SCALE, or FEEDBACK="implicit", which takes each row for one.'
        )
    return found


def _usual(values: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """Return the lowest and the highest value, strays left out."""
    share = np.cumsum(counts) / counts.sum()
    return float(values[np.searchsorted(share, STRAYS, "right")]), float(values[np.searchsorted(share, 1 - STRAYS)])


def _implicit(values: np.ndarray, counts: np.ndarray, *, counted: bool) -> bool:
    """Say whether values are one and the same, or counts: by name, beyond any scale, or fewer and fewer."""
    if len(values) == 1:
        return True
    low, high = _usual(values, counts)
    if low < 0 or high <= 1:
        return False
    if counted or high > ENDS[-1]:
        return True
    whole = bool((values == np.floor(values)).all())
    falling = len(values) > 3 and counts[0] > counts.sum() / 2 and bool((np.diff(counts[:4]) <= 0).all())
    return whole and falling and values[0] == 1 and values[-1] != 5


def _scale(values: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """Return the ends of the scale that all values but strays are on; a lone -1 stands for no rating, and is none."""
    rated = values != -1 if unrated(values) else np.ones(len(values), bool)
    values, counts = values[rated], counts[rated]
    least, most = _usual(values, counts)
    high = float(next((end for end in ENDS if end >= most), most))
    if least < 0:
        return -float(next((end for end in ENDS if -end <= least), -least)), high
    if high == 1 or (high > 5 and values[0] < 1):
        return 0.0, high
    halves = high == 5 and bool((values[(values >= least) & (values <= most)] % 1 != 0).any())
    return (0.0 if least < 0.5 else 0.5 if halves or least < 1 else 1.0), high


def unrated(values: np.ndarray) -> bool:
    """Say whether -1 stands for "not rated": it is the only value below 1, on a scale beyond 1."""
    return len(values) > 1 and values[0] == -1 and values[1] >= 1 and values[-1] > 1
