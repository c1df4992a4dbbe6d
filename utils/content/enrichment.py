"""Gives every movie a poster and a synopsis, or the reason why it has none.

``enrich`` asks providers in the order in which the reader names them (``ENRICHMENT="local,tmdb,offline"``); the first
that has a poster gives the poster, the first that has a synopsis gives the synopsis, and the source of each is
recorded. A provider is asked only for what the ones before it did not have.
"""

import contextlib
import re
import sys
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm.auto import tqdm

from utils.content import images
from utils.content.movie import Movie, movies_of
from utils.content.providers import open_providers
from utils.content.providers.base import NotGiven, Picture, Provider, Refused, Synopsis
from utils.content.providers.offline import Offline
from utils.content.providers.tmdb import MOST_DAYS
from utils.fetching.answers import DAY, FILE, Answers
from utils.handoff import manifest, parameters
from utils.handoff.atomic import DataFolderError, make_folder
from utils.handoff.contract import ARTEFACTS, table_of
from utils.handoff.parameters import ParameterError
from utils.handoff.store import Store

__all__ = ["enrich", "has_stand_ins", "left_to_do", "open_providers", "poster_size"]

MODALITIES = ("poster", "synopsis")
_MARK = b"multimodal-movielens "
"""Begins the comment in every poster that is written here."""


def poster_size(value: object) -> tuple[int, int]:
    """Return POSTER_SIZE as (width, height) in pixels; raise ParameterError unless each is 16 to 2000."""
    sides = list(value) if isinstance(value, (list, tuple)) else []
    whole = all(isinstance(side, int) and not isinstance(side, bool) and 16 <= side <= 2000 for side in sides)
    if len(sides) != 2 or not whole:
        raise ParameterError(f"POSTER_SIZE={value!r} must be [width, height] in pixels, each 16 to 2000.")
    return sides[0], sides[1]


def has_stand_ins(*sources: Iterable[str | None]) -> bool:
    """Say whether stand-ins are among the recorded ``sources``: columns of them, or counts by source."""
    return any(Offline.name in set(source) for source in sources)


@dataclass
class _Found:
    """What enrichment came to for one movie: a row of ``enriched`` and its rows of the report by modality."""

    movie: Movie
    row: dict[str, Any]
    report: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {name: [] for name in MODALITIES})

    def lacks(self, modality: str) -> bool:
        return self.row[f"{modality}_source"] is None

    def note(self, modality: str, provider: str | None, outcome: str, detail: str | None, attempts: int) -> None:
        values = (self.movie.movieId, modality, provider, outcome, detail, attempts)
        self.report[modality].append(dict(zip(ARTEFACTS["enrichment_report"].columns or (), values, strict=True)))


def enrich(
    store: Store,
    movies: pa.Table,
    providers: Sequence[Provider],
    poster_size: tuple[int, int],
    max_movies: int | None = None,
    workers: int = 2,
) -> tuple[pa.Table, pa.Table]:
    """Return (enriched, enrichment_report) for every movie of ``movies_converted``; write the posters.

    Both tables are in ascending movieId and the same whatever ``workers`` (threads for providers that ask no host) is
    and whatever was there before. Posters go to ``posters/<movieId>.jpg`` in the data folder, ``poster_size`` (width,
    height) pixels each, every one atomically; one that is there already and was made from the same source is kept, so a
    run that was stopped goes on where it was. With ``max_movies`` only the first movies are enriched and the rest have
    outcome "skipped". Other outcomes are "found", "missing", "refused" (it cannot be used) and "failed" (a host could
    not be asked: run again). Posters of earlier runs that belong to no row are removed at the end; what was not
    written here is left alone. Raises DataFolderError when the disk is full or the folder is not writable.
    """
    parameters.whole("MAX_MOVIES", max_movies, least=0, none=True)
    parameters.whole("WORKERS", workers)
    folder = make_folder(store.path("posters"))
    empty = dict.fromkeys(ARTEFACTS["enriched"].columns or ())
    found = [_Found(movie, empty | {"movieId": movie.movieId}) for movie in movies_of(movies)]
    chosen = found[:max_movies]
    for provider in providers:
        lacking = [each for each in chosen if any(each.lacks(modality) for modality in MODALITIES)]
        if lacking:
            _ask_for_all(provider, lacking, folder, poster_size, provider.workers or workers)
    for each in found[len(chosen) :]:
        for modality in MODALITIES:
            each.note(modality, None, "skipped", "beyond MAX_MOVIES", attempts=0)
    own = {Path(each.row["poster_path"]).name for each in found if each.row["poster_path"]}
    _remove_leftovers(folder, own)
    report = [line for each in found for modality in MODALITIES for line in each.report[modality]]
    failed = len({line["movieId"] for line in report if line["outcome"] == "failed"})
    if failed:
        said = f"A host could not be asked for {failed:,} of {len(found):,} movies."
        tqdm.write(f"{said} Run this again: only they are asked for.", file=sys.stderr)
    return table_of("enriched", [each.row for each in found]), table_of("enrichment_report", report)


def _remove_leftovers(folder: Path, own: Collection[str]) -> None:
    """Remove our posters that are not in ``own``, and halves of interrupted writes; tell of files that are not ours."""
    others = []
    for path in sorted(folder.iterdir()):
        if path.name in own:
            continue
        poster = re.fullmatch(r"\d+\.jpg", path.name) and (images.comment_of(path) or b"").startswith(_MARK)
        if path.is_file() and (poster or re.fullmatch(r"\.\d+\.jpg\..+\.tmp", path.name)):
            path.unlink()
        else:
            others.append(path.name)
    if others:
        tqdm.write(f"{folder}: {len(others)} not written here are left alone, such as {others[0]!r}.", file=sys.stderr)


def _ask_for_all(
    provider: Provider, lacking: Sequence[_Found], folder: Path, size: tuple[int, int], workers: int
) -> None:
    """Ask one provider for what each movie still lacks, from several threads, and note its answers."""
    errors: list[BaseException] = []

    def end(error: BaseException) -> None:
        errors.append(error)
        provider.stop()

    def one(found: _Found) -> None:
        if not errors:
            try:
                _ask_for_one(provider, found, folder, size)
            except BaseException as error:
                end(error)

    with ThreadPoolExecutor(workers) as pool:
        try:
            provider.prepare({name: [each.movie for each in lacking if each.lacks(name)] for name in MODALITIES})
            for _ in tqdm(pool.map(one, lacking), total=len(lacking), desc=f"From {provider.name}", unit="movie"):
                pass
        except BaseException as error:
            # Ctrl-C: the movies in flight finish or give up, the queue is dropped.
            end(error)
    if errors:
        # The first: what other threads raise afterwards is only that they were stopped.
        raise errors[0]


def _ask_for_one(provider: Provider, found: _Found, folder: Path, size: tuple[int, int]) -> None:
    path = folder / f"{found.movie.movieId}.jpg"
    if found.lacks("poster"):
        picture = _answer(found, "poster", provider, lambda: _saved_poster(provider, found.movie, path, size))
        if picture is not None:
            found.row |= {"poster_path": f"{folder.name}/{path.name}", "poster_source": provider.name}
    if found.lacks("synopsis"):
        synopsis = _answer(found, "synopsis", provider, lambda: provider.synopsis(found.movie))
        if synopsis is not None:
            found.row |= {"synopsis": synopsis.text, "synopsis_source": provider.name}


def _answer(found: _Found, modality: str, provider: Provider, ask: Callable[[], Any]) -> Any:
    """Return the Picture or Synopsis that ``ask`` gives, or None; note it in the report."""
    try:
        given: Picture | Synopsis | None = ask()
    except NotGiven as reason:
        found.note(modality, provider.name, reason.outcome, str(reason) or None, reason.attempts)
        return None
    if given is None:
        found.note(modality, provider.name, "missing", None, attempts=1)
    else:
        found.note(modality, provider.name, "found", given.detail, given.attempts)
    return given


def _saved_poster(provider: Provider, movie: Movie, path: Path, size: tuple[int, int]) -> Picture | None:
    attempts = 1
    try:
        picture = provider.poster(movie, size)
        if picture is None:
            return None
        attempts = picture.attempts
        source = f"{provider.name} {picture.fingerprint} {size[0]}x{size[1]} q{images.QUALITY}"
        origin = _MARK + source.encode()
        if images.comment_of(path) != origin:
            images.save_jpeg(picture.image(), path, size, origin)
    except images.ImageRefused as refusal:
        raise Refused(str(refusal), attempts) from refusal
    return picture


def left_to_do(folder: Path) -> str | None:
    """Return why 02 should run again although nothing that it reads has changed; None where it need not.

    ``folder`` is DATA_DIR/DATASET. Either its last run could not ask a host for some movies, or answers of hosts have
    grown too old since: older than REFRESH_DAYS, or than TMDB's terms allow.
    """
    entry, path = manifest.read(folder).get("enrichment_report"), folder / ARTEFACTS["enrichment_report"].path
    if entry is None or not path.is_file():
        return None
    report = pq.read_table(path, columns=["movieId", "outcome"]).to_pandas()
    failed = report.loc[report["outcome"] == "failed", "movieId"].nunique()
    if failed:
        return f"a host could not be asked for {failed:,} movies"
    if not (folder / FILE).is_file():
        return None
    given = f"{entry['parameters'].get('ENRICHMENT')},{entry['parameters'].get('FACTS')}"
    names = [name.strip() for name in given.split(",")]
    refresh, now, last_run = entry["parameters"].get("REFRESH_DAYS"), time.time(), path.stat().st_mtime
    try:
        with contextlib.closing(Answers(folder / FILE)) as answers:
            for name in names:
                days = [each for each in (refresh, MOST_DAYS if name == "tmdb" else None) if each is not None]
                # Those that were too old at the last run already are of movies that nobody asks for any more.
                due = sum(answers.count(name, last_run - DAY * each, now - DAY * each) for each in days)
                due += answers.count(name, after=now)
                if due:
                    return f"{due:,} answers of {name} are too old"
    except DataFolderError as error:
        return str(error)
    return None
