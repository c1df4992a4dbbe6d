"""Reading batches as HugeCTR's epoch mode does, and its log lines.

Where HugeCTR's loops surprise, they are followed: the call that finds the end of an epoch counts as an
iteration of ``fit``; evaluation keeps the incomplete last batch, training drops it; a reader is rewound
only after a read that found nothing.
"""

import time
from dataclasses import dataclass, field

import numpy as np

from .errors import OrderViolation
from .forward import auc
from .reader import Data

KNOWN_METRICS = ("AUC", "AverageLoss")


def log(message: str) -> None:
    """Print a line as HugeCTR's logger does."""
    now = time.time()
    stamp = f"{time.strftime('%H:%M:%S', time.localtime(now))}.{int(now % 1 * 1000):03d}"
    print(f"[HCTR][{stamp}][INFO][RK0][main]: {message}", flush=True)


@dataclass
class Cursor:
    """A data reader: where it stands in its source. ``data`` is None until a source is set."""

    batch: int
    drop_incomplete: bool
    data: Data | None = None
    position: int = 0
    at_end: bool = True
    """Whether the last read found nothing, which is when a source may be set."""

    def set_source(self, data: Data) -> None:
        """Start over on ``data``. Refused midway: batches of the old source may be waiting in the buffers."""
        if not self.at_end:
            raise OrderViolation(
                f"set_source({data.source!r}) while {self.data and self.data.source!r} is not read to its end. "
                "Read until train() or eval() returns False."
            )
        self.data, self.position, self.at_end = data, 0, False

    def next(self) -> tuple[int, int] | None:
        """Return the rows [start, stop) of the next batch, or None at the end."""
        if self.data is None:
            raise OrderViolation("train() or eval() before its data reader was started: set a source first")
        left = self.data.rows - self.position
        if left <= 0 or (left < self.batch and self.drop_incomplete):
            self.at_end = True
            return None
        start = self.position
        self.position = min(start + self.batch, self.data.rows)
        return start, self.position


@dataclass
class Metrics:
    """What was evaluated since the metrics were last asked for."""

    labels: list[np.ndarray] = field(default_factory=list)
    scores: list[np.ndarray] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Rows evaluated."""
        return sum(map(len, self.labels))

    def take(self, names: list[str]) -> list[tuple[str, float]]:
        """Return the metrics by name and forget the rows."""
        if not self.labels:
            raise OrderViolation("get_eval_metrics() before any batch was evaluated")
        found = {
            "AUC": auc(np.concatenate(self.labels), np.concatenate(self.scores)),
            "AverageLoss": float(np.mean(self.losses)),
        }
        self.__init__()  # type: ignore[misc]
        return [(name, found[name]) for name in names]
