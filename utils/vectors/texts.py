"""04-Feature-Extraction-Text: the vectors of all synopses.

What is read of a movie is put together by a template; a movie without a synopsis has no text, whatever
else is known of it. The encoders themselves are in ``encoders.text``.
"""

import hashlib
import string
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from utils.handoff.parameters import ParameterError, whole
from utils.handoff.store import HandOffError, Store
from utils.vectors.encoders.text import DEFAULT, TextEncoder, encode, forward, load_encoder, windows
from utils.vectors.on_dask import encode_with
from utils.vectors.shards import SHARD_SIZE, Embeddings, Failure, Item, encode_in_shards

__all__ = ["DEFAULT", "TEMPLATE", "TextEncoder", "check_template", "compose_text", "encode_synopses", "encode_texts",
           "forward", "load_encoder", "synopsis_items", "windows"]  # fmt: skip

TEMPLATE = "{synopsis}"
"""The default of notebook 04. Genres, year and people reach a model as features of their own. Beside those, title and
genres in the text are worth nothing: "{title}. {synopsis} Genres: {genres}" gave an AUC of 0.7305 on cold movies, the
synopsis alone 0.7303 (ml-100k with our plots, a fifth of the movies cold, mean of two draws)."""
FIELDS = ("title", "year", "synopsis", "genres")
MAX_CHARACTERS = 1_000_000
"""Longest text that is read, in characters: a novel, but not a file that was taken for a text."""


def check_template(template: object) -> None:
    """Raise ParameterError unless TEMPLATE is text with {synopsis} and no placeholder but those of ``FIELDS``."""
    try:
        fields = [field for _, field in _pieces(template)]
    except (ValueError, TypeError) as error:
        raise ParameterError(
            f"TEMPLATE={template!r} cannot be read ({error}). It is text with placeholders such as {TEMPLATE!r}."
        ) from error
    unknown = [field for field in fields if field not in (None, *FIELDS)]
    if unknown:
        known = ", ".join(f"{{{field}}}" for field in FIELDS)
        raise ParameterError(f"TEMPLATE={template!r} has the placeholder {{{unknown[0]}}}. Those known are {known}.")
    if "synopsis" not in fields:
        raise ParameterError(
            f"TEMPLATE={template!r} has no {{synopsis}}. Without it, titles or genres alone would pass for texts."
        )


def compose_text(values: Mapping[str, str], template: str = TEMPLATE) -> str | None:
    """Return the text that stands for a movie; None where it has no synopsis.

    ``values`` has a text for each of ``FIELDS`` that the template names, "" where nothing is known. Words
    that stand before an empty placeholder are left out with it ("Genres: {genres}"), and white space is
    made single blanks. The one place where that text is put together.
    """
    if not (values.get("synopsis") or "").strip():
        return None
    written = []
    for before, field in _pieces(template):
        value = (values.get(field) or "").strip() if field is not None else ""
        if value or field is None or not any(letter.isalpha() for letter in before):
            written += [before, value]
    return " ".join("".join(written).split())


def encode_synopses(
    store: Store,
    enriched: pa.Table,
    encoder: TextEncoder,
    batch_size: int = 64,
    *,
    movies: pa.Table | None = None,
    template: str = TEMPLATE,
    client: Any = None,
    shard_size: int = SHARD_SIZE,
) -> Embeddings:
    """Return the vectors of all movies of ``enriched`` that have a synopsis; the metadata counts those read in windows.

    ``movies`` is ``movies_converted``, for a ``template`` that wants its title, year or genres. The same, but
    for rounding, whatever ``batch_size`` (windows), ``shard_size`` (movies) and the workers of ``client`` (a Dask
    cluster; None for this process). Goes on where an earlier run stopped; call ``shards.clear`` when the result is
    written. Raises ParameterError for a template that cannot be used, and as ``encode_in_shards``.
    """
    whole("BATCH_SIZE", batch_size)
    items = synopsis_items(enriched, movies, template)
    run = encode_with(load_encoder, encoder, encode_texts, batch_size, client)
    found = encode_in_shards(store, "text_embeddings", items, run, encoder.settings(), shard_size, client)
    long = sum(len(parts) > 1 for parts in windows(encoder, _readable(items)))
    if long:
        print(f"{long:,} of {len(items):,} texts are longer than {encoder.max_tokens} tokens: read in several windows.")
    said = dict(found.metadata) | {"template": template, "windowed": long}
    return replace(found, metadata=said).with_sources(enriched, "synopsis_source", encoder.reason)


def synopsis_items(enriched: pa.Table, movies: pa.Table | None = None, template: str = TEMPLATE) -> list[Item]:
    """Return one item for each movie of ``enriched`` that has a synopsis; its content is the text of the template.

    Raises ParameterError for a template that cannot be used, HandOffError where ``movies`` lacks a movie.
    """
    check_template(template)
    facts = _facts(movies, {field for _, field in _pieces(template)})
    items = []
    for movie, synopsis in zip(enriched["movieId"].to_pylist(), enriched["synopsis"].to_pylist(), strict=True):
        if facts is not None and movie not in facts:
            raise HandOffError(
                f"movieId {movie} of enriched.parquet is not in movies_converted.parquet. "
                "Run 02-Data-Enrichment.ipynb again."
            )
        text = compose_text((facts or {}).get(movie, {}) | {"synopsis": synopsis or ""}, template)
        if text is not None:
            items.append(Item(movie, hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest(), text))
    return items


def encode_texts(items: Sequence[Item], encoder: TextEncoder, batch_size: int) -> tuple[np.ndarray, list[Failure]]:
    """Return float32 [m, width] of the m texts that can be read, in their order, and the failures."""
    failures = [
        Failure(item.movieId, f"the text has {len(item.content):,} characters, at most {MAX_CHARACTERS:,} are read")
        for item in items
        if len(item.content) > MAX_CHARACTERS
    ]
    return encode(encoder, _readable(items), batch_size), failures


def _readable(items: Sequence[Item]) -> list[str]:
    return [item.content for item in items if len(item.content) <= MAX_CHARACTERS]


def _facts(movies: pa.Table | None, fields: set[str | None]) -> dict[int, dict[str, str]] | None:
    """Return title, year and genres by movieId, as texts; None where the template wants none of them."""
    wanted = {"title", "year", "genres"} & fields
    if not wanted:
        return None
    if movies is None:
        raise ParameterError(f"TEMPLATE has {sorted(wanted)}, which needs movies_converted: give it as movies.")
    rows = zip(*(movies[name].to_pylist() for name in ("movieId", "title", "year", "genres")), strict=True)
    return {
        movie: {"title": title or "", "year": "" if year is None else str(year), "genres": ", ".join(genres or ())}
        for movie, title, year, genres in rows
    }


def _pieces(template: Any) -> list[tuple[str, str | None]]:
    """Return (text before, placeholder or None) of a template; the format in "{title!r:>9}" is part of its name."""
    pieces: list[tuple[str, str | None]] = []
    for before, field, form, conversion in string.Formatter().parse(template):
        described = (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
        pieces.append((before, None if field is None else field + described))
    return pieces
