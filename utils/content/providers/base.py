"""What a provider of content is, and what it hands over: a picture, a text, or the reason why there is none."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from PIL import Image

from utils.content.movie import Movie
from utils.fetching.answers import DAY, Answer, Client

MOST_LETTERS = 20_000
"""A longer synopsis is cut: encoders read a few hundred words."""
_BLANKS = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")


class NotGiven(ValueError):
    """A provider has nothing to give for a movie; the message is a short reason for the report.

    ``attempts`` counts what it took to find out: requests sent, or files looked at.
    """

    outcome = "missing"

    def __init__(self, reason: str, attempts: int = 1) -> None:
        super().__init__(reason)
        self.attempts = attempts


class Missing(NotGiven):
    """The provider knows that it has none."""


class Refused(NotGiven):
    """The provider found something for a movie that cannot be used."""

    outcome = "refused"


class Failed(NotGiven):
    """The provider could not be asked; another time it may have it."""

    outcome = "failed"


@dataclass(frozen=True)
class Synopsis:
    """A text on offer. ``detail`` is for the report: licence, address, language. ``attempts`` as in ``NotGiven``."""

    text: str
    detail: str | None = None
    attempts: int = 1


@dataclass(frozen=True)
class Picture:
    """A poster on offer.

    ``fingerprint`` names its content (a hash of the file, or of the facts it is drawn from), so that a poster already
    in place is recognised without work. ``image`` decodes or draws it as RGB, and raises ``images.ImageRefused`` where
    that fails. ``detail`` and ``attempts`` as in ``Synopsis``.
    """

    fingerprint: str
    image: Callable[[], Image.Image]
    detail: str | None = None
    attempts: int = 1


class Provider:
    """A source of posters and synopses, asked from several threads at once. A subclass overrides what it gives."""

    name: str
    workers: int | None = None
    """From how many threads to ask, or None for as many as pictures are decoded with."""

    def describe(self) -> str:
        """Return one line for the reader: what this source is and holds, and what of it was set aside."""
        raise NotImplementedError

    def prepare(self, lacking: Mapping[str, Sequence[Movie]]) -> None:
        """Get ready to be asked for "poster" and "synopsis" of these movies: for sources that answer in batches."""

    def stop(self) -> None:
        """End what is under way in other threads, soon: the run ends. ``prepare`` undoes it."""

    def synopsis(self, movie: Movie) -> Synopsis | None:
        """Return a text; None, or Missing raised, where there is none; raise Refused or Failed like ``poster``."""
        raise Missing("gives no synopses", 0)

    def poster(self, movie: Movie, size: tuple[int, int]) -> Picture | None:
        """Return a picture not yet decoded; None, or Missing raised, where there is none; raise Refused or Failed.

        ``size`` (width, height) in pixels is what the poster will be scaled to.
        """
        raise Missing("gives no posters", 0)


class Online(Provider):
    """A source that asks hosts, and remembers their answers."""

    most_days: float = float("inf")
    """For how many days an answer may be kept."""

    def __init__(self, client: Client) -> None:
        """Delete answers that are too old, or dated later than now, before anything is used."""
        self._client = client
        self._expired = client.answers.purge(self.name, time.time() - self.most_days * DAY)

    def prepare(self, lacking: Mapping[str, Sequence[Movie]]) -> None:
        """Give hosts that failed another chance."""
        self._client.resume()

    def stop(self) -> None:
        """End the requests under way."""
        self._client.http.stop()

    def _kept(self) -> str:
        """Say what is kept, for ``describe``."""
        answers = self._client.answers
        expired = f" ({self._expired:,} deleted that were too old)" if self._expired else ""
        return f"{answers.count(self.name):,} earlier answers in {answers.path.name}{expired}"


def body_of(answer: Answer, attempts: int) -> bytes:
    """Return what was answered, or raise Missing or Failed; ``attempts`` includes those of earlier answers."""
    if answer.outcome == "found":
        return answer.body
    kind = Missing if answer.outcome == "missing" else Failed
    raise kind(answer.detail or "", attempts)


def clean(text: object) -> str | None:
    """Return a text on one line without control characters, at most MOST_LETTERS long; None where nothing is left."""
    if not isinstance(text, str):
        return None
    # JSON can hold halves of letters, which no text file can.
    text = text.encode("utf-8", "ignore").decode()
    return _BLANKS.sub(" ", text).strip()[:MOST_LETTERS].rstrip() or None
