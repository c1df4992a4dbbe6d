"""What a provider of enrichment hands over: a picture that is decoded only when it must be, or a refusal."""

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image


class Refused(ValueError):
    """A provider found something for a movie that cannot be used; the message is a short reason for the report."""


@dataclass(frozen=True)
class Picture:
    """A poster on offer.

    ``fingerprint`` names its content (a hash of the file, or of the facts it is drawn from), so that a
    poster already in place is known again without work. ``image`` decodes or draws it as RGB, and
    raises ``images.ImageRefused`` where that fails.
    """

    fingerprint: str
    image: Callable[[], Image.Image]
