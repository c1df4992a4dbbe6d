"""What TMDB answers, read with suspicion, and the sizes in which it has posters."""

import math
import re
from collections.abc import Mapping
from typing import Any, TypeGuard

from utils.content.providers.client import json_object
from utils.fetching.fetcher import Reply
from utils.handoff.parameters import ParameterError

WIDTHS = (92, 154, 185, 342, 500, 780)
"""Widths of posters on the image host, in pixels; beside them there is "original"."""
_NO_SUCH = 34
"""TMDB's status_code for "The resource you requested could not be found"."""


def check_id(body: bytes, number: int | None) -> None:
    """Raise ValueError unless the reply is an object, with the id ``number`` where one was asked for."""
    found = json_object(body).get("id")
    if number is not None and (found != number or isinstance(found, bool)):
        raise ValueError(f"asked for {number}, TMDB answered with {found!r:.20}")


def why_nothing(reply: Reply) -> str | None:
    """Return why there is nothing, where TMDB itself says so; raise ParameterError where it refuses the key."""
    if reply.status == 401:
        raise ParameterError(
            "TMDB refuses the key (401). Set TMDB_API_KEY (32 hexadecimal digits) or TMDB_TOKEN (the long read access "
            "token) to a valid one from your account's API page, then run this again: it goes on where it was."
        )
    try:
        code = json_object(reply.body).get("status_code")
    except ValueError:
        return None
    return f"TMDB does not have it ({reply.status}/{code})" if (reply.status, code) == (404, _NO_SUCH) else None


def text_of(facts: Mapping[str, Any], field: str) -> str | None:
    """Return a field that holds text, None for anything else."""
    value = facts.get(field)
    return value if isinstance(value, str) else None


def is_language(value: object) -> TypeGuard[str]:
    """Whether ``value`` is the code of a language other than English, which is asked for first."""
    return isinstance(value, str) and re.fullmatch(r"[a-z]{2}", value) is not None and value not in ("en", "xx")


def image_width(size: tuple[int, int]) -> str:
    """Return the name of TMDB's smallest poster size that covers ``size`` (width, height); posters are 2 by 3."""
    needed = max(size[0], math.ceil(size[1] * 2 / 3))
    return next((f"w{width}" for width in WIDTHS if width >= needed), "original")
