"""The contract between notebooks: which notebook writes which file, with which columns, and what holds of their values.

``Store`` (``utils.handoff.store``) enforces it on every read and write.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

VERSION = 3
"""Version of the schemas below; raise it when a column changes, and older files are refused."""
VECTOR = "fixed_size_list<float32>[d]"
"""Stands in a schema for a vector column of any width d."""
WIDEST = 1024
"""HugeCTR's limit on the width of an embedding, and so of all blocks of content together."""
BLOCKS = ("facts", "poster", "text")
"""What the content of a movie consists of: each is a vector column of the feature store, in this order."""
FLAGS = {block: f"has_{block}" for block in BLOCKS}
"""The column that is true where a movie has the block, and false where something else stands in for it."""
PEOPLE = ("directors", "writers", "cast")
FACT_LISTS = (*PEOPLE, "countries", "languages")
"""The columns of ``movie_facts`` that hold names."""
RESERVED = 3
"""NVTabular 23.08 keeps code 0 for padding, 1 for null, 2 for out of vocabulary; real ids follow."""
_MOST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Rule:
    """What holds of the values of a column. Numbers are finite and from ``low`` to ``high``, both included."""

    null: bool = False
    """Whether a value may be missing; within a list or a vector none ever is."""
    low: float = -_MOST
    high: float = _MOST
    codes: bool = False
    """Whether no value reaches the number of rows and reserved codes: a table of that many rows is made for them."""
    pattern: str | None = None
    """What each text must match as a whole."""


_NULL = Rule(null=True)
RULES = {
    "rating": Rule(low=-1e6, high=1e7),  # of implicit feedback a count
    "label": Rule(low=0, high=1),
    "rank": Rule(low=1),
    "code": Rule(low=0, codes=True),
    "content_code": Rule(low=0, codes=True),
    "runtime": Rule(null=True, low=0),
    # Of a file below the data folder.
    "poster_path": Rule(null=True, pattern=r"(?!/)(?!(?:.*/)?\.\.(?:/|$))[^\0]+"),
} | dict.fromkeys(
    (
        *("year", "imdbId", "tmdbId", "synopsis", "synopsis_source", "poster_source", "source", "provider", "detail"),
        *("originalId", "originalUserId", "originalMovieId"),
    ),
    _NULL,
)
"""By the name of a column, which means the same in every file. A column without a rule has no nulls."""


@dataclass(frozen=True)
class Artefact:
    """One file or folder of the contract. ``columns`` is None where it is not one parquet file."""

    path: str
    notebook: str
    columns: Mapping[str, pa.DataType | str] | None = None
    movies: str = ""
    """Which its rows are of: "all" of ``movies_converted``, each once; some, each "once"; or any that are "known"."""
    folder: bool = False
    own: str = ""
    """The parameters by which readers bring their own."""
    states: Mapping[str, type] = field(default_factory=dict)
    """What its metadata must hold, and as what."""


_INT64, _FLOAT32, _TEXT = pa.int64(), pa.float32(), pa.string()
_RATINGS = {"userId": _INT64, "movieId": _INT64, "rating": _FLOAT32, "timestamp": _INT64}
_EMBEDDINGS = {"movieId": _INT64, "embedding": VECTOR}
_ORIGINALS = {"originalUserId": _TEXT, "originalMovieId": _TEXT}
_PREDICTIONS = {
    "userId": _INT64, "movieId": _INT64, "rating": _FLOAT32, "label": _FLOAT32, "score": _FLOAT32, **_ORIGINALS,
}  # fmt: skip
_OWN, _CONTENT = "RATINGS and MOVIES of 01", "ENRICHMENT_DIR of 02"
_01 = "01-Download-Convert"
_02 = "02-Data-Enrichment"
_03 = "03-Feature-Extraction-Poster"
_04 = "04-Feature-Extraction-Text"
_05 = "05-Create-Feature-Store"
_06 = "06-ETL-with-NVTabular"
_07 = "07-Training-with-HugeCTR"

ARTEFACTS: dict[str, Artefact] = {
    "movies_converted": Artefact(
        "movies_converted.parquet",
        _01,
        {
            "movieId": _INT64, "title": _TEXT, "year": pa.int16(), "genres": pa.list_(_TEXT),
            "imdbId": _TEXT, "tmdbId": _INT64, "originalId": _TEXT,
        },
        movies="once",
        own=_OWN,
    ),
    "train": Artefact("train.parquet", _01, _RATINGS, movies="known", own=_OWN),
    "valid": Artefact("valid.parquet", _01, _RATINGS, movies="known", own=_OWN),
    "cold": Artefact("cold.parquet", _01, _RATINGS, movies="known", own=_OWN),
    "users": Artefact("users.parquet", _01, {"userId": _INT64, "originalId": _TEXT}, own=_OWN),
    # The raw columns of the source as text come first, whatever their names.
    "rejected": Artefact("rejected.parquet", _01, {"row": _INT64, "reason": _TEXT}),
    "enriched": Artefact(
        "enriched.parquet",
        _02,
        {"movieId": _INT64}
        | dict.fromkeys(("synopsis", "synopsis_source", "poster_path", "poster_source"), _TEXT),
        movies="all",
        own=_CONTENT,
    ),
    "movie_facts": Artefact(
        "movie_facts.parquet",
        _02,
        {"movieId": _INT64, "year": pa.int16()}
        | dict.fromkeys(FACT_LISTS, pa.list_(_TEXT))
        | {"runtime": _FLOAT32, "source": _TEXT},
        movies="all",
        own="FACTS of 02",
    ),
    "enrichment_report": Artefact(
        "enrichment_report.parquet",
        _02,
        {
            "movieId": _INT64, "modality": _TEXT, "provider": _TEXT, "outcome": _TEXT, "detail": _TEXT,
            "attempts": pa.int32(),
        },
        movies="known",
    ),
    "posters": Artefact("posters", _02, folder=True, own=_CONTENT),
    "poster_embeddings": Artefact(
        "poster_embeddings.parquet", _03, _EMBEDDINGS, movies="once", own="PRECOMPUTED of 03"
    ),
    "text_embeddings": Artefact(
        "text_embeddings.parquet", _04, _EMBEDDINGS, movies="once", own="PRECOMPUTED of 04"
    ),
    "feature_store": Artefact(
        "feature_store.parquet",
        _05,
        {"movieId": _INT64} | dict.fromkeys(BLOCKS, VECTOR) | dict.fromkeys(FLAGS.values(), pa.bool_()),
        movies="all",
    ),
    "reductions": Artefact("reductions.npz", _05),
    "train-hugectr": Artefact("train-hugectr", _06, folder=True),
    "valid-hugectr": Artefact("valid-hugectr", _06, folder=True),
    "cold-hugectr": Artefact("cold-hugectr", _06, folder=True),
    "workflow-hugectr": Artefact("workflow-hugectr", _06, folder=True),
    "movie_codes": Artefact(
        "movie_codes.parquet",
        _06,
        {"movieId": _INT64, "code": _INT64, "content_code": _INT64},
        movies="all",
        states={"rows": dict, "most_genres": int},
    ),
    "hugectr_pretrained_embedding": Artefact("hugectr_pretrained_embedding.model", _07, folder=True),
    "model": Artefact("model.py", _07),
    "hugectr_start": Artefact("hugectr_start", _07, folder=True),
    "serving": Artefact("model.onnx", _07),
    "serving_lists": Artefact("lists.onnx", _07),
    "checkpoints": Artefact("checkpoints", _07, folder=True),
    "metrics": Artefact("metrics.csv", _07),
    "valid_predictions": Artefact("valid_predictions.parquet", _07, _PREDICTIONS, movies="known"),
    "cold_predictions": Artefact("cold_predictions.parquet", _07, _PREDICTIONS, movies="known"),
    "recommendations": Artefact(
        "recommendations.parquet",
        _07,
        {"userId": _INT64, "rank": pa.int32(), "movieId": _INT64, "score": _FLOAT32, **_ORIGINALS},
        movies="known",
    ),
}  # fmt: skip


def table_of(name: str, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return ``rows``, each a value for every column of the parquet artefact ``name``, as a table of its types."""
    return pa.Table.from_pylist(list(rows), schema=pa.schema(list((ARTEFACTS[name].columns or {}).items())))


def mistyped(name: str, schema: pa.Schema) -> str | None:
    """Return what columns of a parquet artefact are missing or of another type; None where it is as agreed."""
    for column, kind in (ARTEFACTS[name].columns or {}).items():
        if schema.names.count(column) != 1:
            return f"must have one column {column!r}, but has {schema.names}"
        found = schema.field(column).type
        if not fits(found, kind):
            return f"column {column!r} is {found}, expected {kind}"
    return None


def fits(found: pa.DataType, wanted: pa.DataType | str) -> bool:
    """Say whether a column of the type ``found`` can be read as the type ``wanted``."""
    if isinstance(wanted, str):  # VECTOR
        return pa.types.is_fixed_size_list(found) and found.value_type == pa.float32()
    if pa.types.is_string(wanted):
        return pa.types.is_string(found) or pa.types.is_large_string(found)
    if pa.types.is_list(wanted):
        return (pa.types.is_list(found) or pa.types.is_large_list(found)) and fits(found.value_type, wanted.value_type)
    return found == wanted


def broken(name: str, table: pa.Table, movies: pa.ChunkedArray | None) -> str | None:
    """Return which rule the values of ``table`` break, columns of a parquet artefact; None where all hold.

    ``movies`` are the movieIds of ``movies_converted``, None where there are none to compare with.
    """
    artefact = ARTEFACTS[name]
    for column in table.column_names:
        if column in (artefact.columns or {}):
            said = _broken(table[column], RULES.get(column, Rule()))
            if said:
                return f"column {column!r} {said}"
    for column in ("movieId", "content_code") if artefact.movies in ("once", "all") else ():
        if column in table.column_names and (twice := _repeated(table[column])) is not None:
            return f"{column} {twice} is there more than once"
    if not artefact.movies or "movieId" not in table.column_names:
        return None
    ids = table["movieId"]
    if movies is None or name == "movies_converted":
        return None
    unknown = ids.filter(pc.invert(pc.is_in(ids, movies)))
    if len(unknown):
        return f"{len(unknown):,} rows are of movies that movies_converted.parquet lacks (first: {unknown[0]})"
    if artefact.movies == "all" and len(ids) < len(movies):
        lacking = movies.filter(pc.invert(pc.is_in(movies, ids)))
        return f"{len(lacking):,} movies of movies_converted.parquet are missing (first: {lacking[0]})"
    return None


def _broken(column: pa.ChunkedArray, rule: Rule) -> str | None:
    if column.null_count and not rule.null:
        return f"has {column.null_count:,} nulls, the first in row {pc.index(column.is_null(), True).as_py()}"
    high = min(rule.high, len(column) + RESERVED - 1) if rule.codes else rule.high
    row = 0
    for chunk in column.chunks:
        values, width = chunk, 1
        if pa.types.is_nested(chunk.type):
            width = chunk.type.list_size if pa.types.is_fixed_size_list(chunk.type) else 0
            values = chunk.flatten()
            if values.null_count:
                return "has a null within a list"
        numeric = pa.types.is_integer(values.type) or pa.types.is_floating(values.type)
        if numeric and len(values) > values.null_count:
            numbers = (values.drop_null() if values.null_count else values).to_numpy(zero_copy_only=False)
            # NaN is neither at least the one nor at most the other.
            if not (numbers.min() >= rule.low and numbers.max() <= high):
                wrong = int(np.flatnonzero(~((numbers >= rule.low) & (numbers <= high)))[0])
                where = f", the first in row {row + wrong // width}" if width and not values.null_count else ""
                return f"has {numbers[wrong]}{where}; finite numbers from {rule.low:g} to {high:g} are expected"
        row += len(chunk)
    if rule.pattern:
        for text in pc.unique(column.drop_null()).to_pylist():
            if not re.fullmatch(rule.pattern, text, re.DOTALL):
                return f"has {text!r:.80}, which is not the path of a file below the data folder"
    return None


def _repeated(ids: pa.ChunkedArray) -> Any:
    """Return the first value that is there more than once, None where there is none."""
    counted = pc.value_counts(ids)
    more = counted.filter(pc.greater(counted.field("counts"), 1))
    return more.field("values")[0].as_py() if len(more) else None
