"""The contract between notebooks: which notebook writes which file, with which columns.

``Store`` (``utils.handoff.store``) enforces it on every read and write.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

VERSION = 2
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
LIKED = 3.0
"""A rating above this is a like."""


@dataclass(frozen=True)
class Artefact:
    """One file or folder of the contract. ``columns`` is None where it is not one parquet file."""

    path: str
    notebook: str
    columns: Mapping[str, pa.DataType | str] | None = None


_INT64, _FLOAT32, _TEXT = pa.int64(), pa.float32(), pa.string()
_RATINGS = {"userId": _INT64, "movieId": _INT64, "rating": _FLOAT32, "timestamp": _INT64}
_EMBEDDINGS = {"movieId": _INT64, "embedding": VECTOR}
_PREDICTIONS = {"userId": _INT64, "movieId": _INT64, "rating": _FLOAT32, "label": _FLOAT32, "score": _FLOAT32}
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
            "imdbId": _TEXT, "tmdbId": _INT64,
        },
    ),
    "train": Artefact("train.parquet", _01, _RATINGS),
    "valid": Artefact("valid.parquet", _01, _RATINGS),
    "cold": Artefact("cold.parquet", _01, _RATINGS),
    # The raw columns of the source as text come first, whatever their names.
    "rejected": Artefact("rejected.parquet", _01, {"row": _INT64, "reason": _TEXT}),
    "enriched": Artefact(
        "enriched.parquet",
        _02,
        {"movieId": _INT64}
        | dict.fromkeys(("synopsis", "synopsis_source", "poster_path", "poster_source"), _TEXT),
    ),
    "movie_facts": Artefact(
        "movie_facts.parquet",
        _02,
        {"movieId": _INT64, "year": pa.int16()}
        | dict.fromkeys(FACT_LISTS, pa.list_(_TEXT))
        | {"runtime": _FLOAT32, "source": _TEXT},
    ),
    "enrichment_report": Artefact(
        "enrichment_report.parquet",
        _02,
        {
            "movieId": _INT64, "modality": _TEXT, "provider": _TEXT, "outcome": _TEXT, "detail": _TEXT,
            "attempts": pa.int32(),
        },
    ),
    "posters": Artefact("posters", _02),
    "poster_embeddings": Artefact("poster_embeddings.parquet", _03, _EMBEDDINGS),
    "text_embeddings": Artefact("text_embeddings.parquet", _04, _EMBEDDINGS),
    "feature_store": Artefact(
        "feature_store.parquet",
        _05,
        {"movieId": _INT64} | dict.fromkeys(BLOCKS, VECTOR) | dict.fromkeys(FLAGS.values(), pa.bool_()),
    ),
    "reductions": Artefact("reductions.npz", _05),
    "train-hugectr": Artefact("train-hugectr", _06),
    "valid-hugectr": Artefact("valid-hugectr", _06),
    "cold-hugectr": Artefact("cold-hugectr", _06),
    "workflow-hugectr": Artefact("workflow-hugectr", _06),
    "movie_codes": Artefact(
        "movie_codes.parquet", _06, {"movieId": _INT64, "code": _INT64, "content_code": _INT64}
    ),
    "hugectr_pretrained_embedding": Artefact("hugectr_pretrained_embedding.model", _07),
    "model": Artefact("model.py", _07),
    "hugectr_start": Artefact("hugectr_start", _07),
    "serving": Artefact("model.onnx", _07),
    "serving_lists": Artefact("lists.onnx", _07),
    "checkpoints": Artefact("checkpoints", _07),
    "metrics": Artefact("metrics.csv", _07),
    "valid_predictions": Artefact("valid_predictions.parquet", _07, _PREDICTIONS),
    "cold_predictions": Artefact("cold_predictions.parquet", _07, _PREDICTIONS),
    "recommendations": Artefact(
        "recommendations.parquet",
        _07,
        {"userId": _INT64, "rank": pa.int32(), "movieId": _INT64, "score": _FLOAT32},
    ),
}  # fmt: skip


def table_of(name: str, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return ``rows``, each a value for every column of the parquet artefact ``name``, as a table of its types."""
    return pa.Table.from_pylist(list(rows), schema=pa.schema(list((ARTEFACTS[name].columns or {}).items())))
