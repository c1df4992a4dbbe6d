"""What the providers that ask a host have in common: remembered answers, one question at a time, checked addresses."""

import ipaddress
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from utils.content.movie import Movie
from utils.content.providers.base import Failed, Missing, Refused
from utils.fetching.answer_cache import Answer, Answers
from utils.fetching.fetcher import MOST_JSON, Fetcher, Reply, Site, Unreachable, Unusable
from utils.handoff.parameters import ParameterError

DAY = 86_400.0


class Client:
    """Asks through a ``Fetcher`` what ``Answers`` does not have.

    Threads that ask the same question at once share one request. What a host could not answer is kept for
    this run only, so that it is asked again in the next. An answer from before ``refresh_before`` (seconds
    since 1970) is asked for anew, and serves as a stand-by where that fails.
    """

    def __init__(self, provider: str, fetcher: Fetcher, answers: Answers, refresh_before: float = 0.0) -> None:
        self.provider, self.fetcher, self.answers = provider, fetcher, answers
        self._refresh_before = refresh_before
        self._failed: dict[str, Answer] = {}
        self._asking: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def resume(self) -> None:
        """Forget what failed, and let the fetcher go on after a stop."""
        self._failed.clear()
        self.fetcher.resume()

    def known(self, key: str) -> Answer | None:
        """Return the answer to ``key`` where it is there and fresh, or the failure of this run; else None."""
        if key in self._failed:
            return self._failed[key]
        answer = self.answers.get(self.provider, key)
        return answer if answer is not None and answer.fetched_at >= self._refresh_before else None

    def remember(self, key: str, outcome: str, **facts: Any) -> Answer:
        """Store an answer; a failure for this run only, and only where there is no older answer."""
        answer = Answer(self.provider, key, outcome, **facts)
        if outcome == "failed":
            self._failed[key] = self.answers.get(self.provider, key) or answer
            return self._failed[key]
        return self.answers.put(answer)

    def ask(
        self,
        key: str,
        site: Site,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        check: Callable[[bytes], object],
        believe: Callable[[Reply], str | None],
        most: int = MOST_JSON,
    ) -> Answer:
        """Return what is known of ``key``, or fetch it.

        ``check`` raises ValueError for a body that cannot be used. ``believe`` looks at an answer other than 200
        and returns the reason why nothing is there, or None where the answer proves nothing.
        """
        with self._lock:
            lock = self._asking.setdefault(key, threading.Lock())
        with lock:
            answer = self.known(key)
            if answer is None:
                answer = self._fetch(key, site, path, params, check, believe, most)
        with self._lock:
            self._asking.pop(key, None)
        return answer

    def _fetch(
        self,
        key: str,
        site: Site,
        path: str,
        params: Mapping[str, str] | None,
        check: Callable[[bytes], object],
        believe: Callable[[Reply], str | None],
        most: int,
    ) -> Answer:
        try:
            reply = self.fetcher.get(site, path, params, check=check, most=most)
        except Unusable as error:
            return self.remember(key, "refused", detail=str(error), attempts=error.attempts)
        except Unreachable as error:
            return self.remember(key, "failed", detail=str(error), attempts=error.attempts)
        if reply.status == 200:
            return self.remember(key, "found", status=200, body=reply.body, attempts=reply.attempts)
        reason = believe(reply)
        outcome = "failed" if reason is None else "missing"
        detail = reason or f"the host answered {reply.status}, but not as this service would"
        return self.remember(key, outcome, status=reply.status, detail=detail, attempts=reply.attempts)


def none_to_give(answer: Answer, attempts: int) -> Missing | Refused | Failed:
    """Return, to be raised, what an answer other than "found" means; ``attempts`` includes earlier requests."""
    kinds: dict[str, type[Missing | Refused | Failed]] = {"missing": Missing, "refused": Refused, "failed": Failed}
    return kinds[answer.outcome](answer.detail or "", attempts)


def imdb_of(movie: Movie) -> str | None:
    """Return the movie's IMDb id as IMDb writes it, tt and at least 7 digits; None where it is no number."""
    number = movie.imdbId or ""
    return f"tt{number:0>7}" if re.fullmatch(r"[0-9]{1,12}", number) else None


def json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in ``body``; raise ValueError where there is none."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the answer is not JSON ({type(error).__name__})") from None
    if not isinstance(value, dict):
        raise ValueError(f"the answer is a JSON {type(value).__name__}, not an object")
    return value


def base_url(name: str, value: str) -> str:
    """Return an address to ask, from the environment variable ``name``; raise ParameterError for an unsafe one."""
    try:
        parts = urlsplit(value)
        host = parts.hostname or ""
        plain = bool(host) and parts.port != 0 and not (parts.username or parts.password or parts.query)
    except ValueError:
        parts, host, plain = urlsplit(""), "", False
    if not plain or parts.fragment or not (parts.scheme == "https" or (parts.scheme == "http" and _loopback(host))):
        shown = value if "@" not in value else value.rpartition("@")[2]
        raise ParameterError(
            f"{name}={shown!r} cannot be asked. Give an https address (http only on this machine, as in "
            "http://127.0.0.1:8080), without name, password, query or fragment."
        )
    return value.rstrip("/")


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refresh_time(refresh_days: int | None) -> float:
    """Return REFRESH_DAYS as the time (seconds since 1970) before which answers are asked for anew; 0 for None."""
    return 0.0 if refresh_days is None else time.time() - refresh_days * DAY
