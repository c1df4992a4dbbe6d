"""04-Feature-Extraction-Text: the vectors of all synopses.

What is read of a movie is put together by a template; a movie without a synopsis has no text, whatever
else is known of it. The encoders themselves are in ``encoders_text``.
"""

import hashlib
import string
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from utils.handoff.parameters import ParameterError, whole
from utils.handoff.store import HandOffError, Store
from utils.vectors.encoders.text import DEFAULT, TextEncoder, encode, forward, load_encoder, windows
from utils.vectors.on_dask import on_worker
from utils.vectors.shards import SHARD_SIZE, Embeddings, Failure, Item, encode_in_shards

__all__ = ["DEFAULT", "TEMPLATE", "TextEncoder", "check_template", "compose_text", "encode_synopses", "encode_texts",
           "forward", "load_encoder", "synopsis_items"]  # fmt: skip

TEMPLATE = "{title}. {tagline} {synopsis} Genres: {genres}"
"""The default of notebook 04. A plot summary rarely says what the movie is called, to which series it belongs or what
kind of movie it is; a language model makes use of all three. Measured with MiniLM on 1,200 movies of
ml-latest-small, 300 of them held out and ranked by their likeness to what a user liked: AUC 0.647 against
0.643 for "{synopsis}" with Wikipedia's lead, and 0.634 against 0.625 without its first sentence."""
FIELDS = ("title", "year", "tagline", "synopsis", "genres")
MAX_CHARACTERS = 1_000_000
"""Longest text that is read, in characters: a novel, but not a file that was taken for a text."""
_AT_ONCE = 1024


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


def compose_text(values: Mapping[str, str], template: str = "{synopsis}") -> str | None:
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
    template: str = "{synopsis}",
    client: Any = None,
    shard_size: int = SHARD_SIZE,
) -> Embeddings:
    """Return the vectors of all movies of ``enriched`` that have a synopsis; the metadata counts those read in windows.

    ``movies`` is ``movies_converted``, for a ``template`` that wants its title, year or genres. The same, but
    for rounding, whatever ``batch_size`` (windows), ``shard_size`` (movies) and the workers of ``client`` (a Dask
    cluster; None for this process). Goes on where an earlier run stopped; call ``shards.clear`` when the result is
    written.
    Raises ParameterError for a template that cannot be used, and as ``encode_in_shards``.
    """
    whole("BATCH_SIZE", batch_size)
    items = synopsis_items(enriched, movies, template)
    if client is None:
        run: Any = partial(encode_texts, encoder=encoder, batch_size=batch_size)
    else:
        run = on_worker(load_encoder, encoder, encode_texts, batch_size)
    found = encode_in_shards(store, "text_embeddings", items, run, encoder.settings(), shard_size, client)
    long = sum(len(parts) > 1 for parts in _windows_of(encoder, items))
    if long:
        print(f"{long:,} of {len(items):,} texts are longer than {encoder.max_tokens} tokens: read in several windows.")
    has = np.isin(enriched["movieId"].to_numpy(), found.ids)
    counted = Counter(enriched["synopsis_source"].filter(pa.array(has)).to_pylist())
    sources = {str(source): count for source, count in sorted(counted.items())}
    return replace(found, metadata=dict(found.metadata) | {"template": template, "windowed": long, "source": sources})


def synopsis_items(enriched: pa.Table, movies: pa.Table | None = None, template: str = "{synopsis}") -> list[Item]:
    """Return one item for each movie of ``enriched`` that has a synopsis; its content is the text of the template.

    Raises ParameterError for a template that cannot be used, HandOffError for a movie that is not in ``movies``.
    """
    check_template(template)
    facts = _facts(movies, {field for _, field in _pieces(template)})
    has_tagline = "tagline" in enriched.column_names
    taglines = enriched["tagline"].to_pylist() if has_tagline else [None] * len(enriched)
    items = []
    for movie, synopsis, tagline in zip(
        enriched["movieId"].to_pylist(), enriched["synopsis"].to_pylist(), taglines, strict=True
    ):
        if facts is not None and movie not in facts:
            raise HandOffError(
                f"movieId {movie} of enriched.parquet is not in movies_converted.parquet. "
                "Run 02-Data-Enrichment.ipynb again."
            )
        known = (facts or {}).get(movie, {})
        text = compose_text(known | {"synopsis": synopsis or "", "tagline": tagline or ""}, template)
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
    wanted = {field for field in fields if field in ("title", "year", "genres")}
    if not wanted:
        return None
    if movies is None:
        raise ParameterError(f"TEMPLATE has {sorted(wanted)}, which needs movies_converted: give it as movies.")
    columns = {name: movies[name].to_pylist() for name in ("title", "year", "genres")}
    return {
        movie: {
            "title": columns["title"][row] or "",
            "year": "" if columns["year"][row] is None else str(columns["year"][row]),
            "genres": ", ".join(columns["genres"][row] or ()),
        }
        for row, movie in enumerate(movies["movieId"].to_pylist())
    }


def _pieces(template: Any) -> list[tuple[str, str | None]]:
    """Return (text before, placeholder or None) of a template; the format in "{title!r:>9}" is part of its name."""
    pieces: list[tuple[str, str | None]] = []
    for before, field, form, conversion in string.Formatter().parse(template):
        described = f"!{conversion}" if conversion else ""
        described += f":{form}" if form else ""
        pieces.append((before, None if field is None else field + described))
    return pieces


def _windows_of(encoder: TextEncoder, items: Sequence[Item]) -> Iterator[list[list[int]]]:
    # Some at a time: the tokens of a whole catalogue with their offsets would fill the memory.
    texts = _readable(items)
    for start in range(0, len(texts), _AT_ONCE):
        yield from windows(encoder, texts[start : start + _AT_ONCE])
