"""Run the NVTabular workflow of notebook 06 and write files that HugeCTR's parquet reader accepts.

The workflow itself (Categorify on train, content codes for the whole catalogue, label) is in the notebook. Here is
what surrounds it: id dropout, the files, and their checks. On a GPU with cuDF the same code runs through NVTabular's
own dispatch.
"""

import contextlib
import glob
import json
import re
import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from utils.handoff import parameters
from utils.handoff.atomic import explained
from utils.handoff.contract import RESERVED
from utils.handoff.hashing import drawn
from utils.handoff.manifest import HandOffError
from utils.handoff.store import Store
from utils.machine.dask_cluster import check_scheduler, cluster

CATEGORIES = ["userId", "movieId", "genres", "movieId_duplicate"]
"""Categorical columns of the encoded files, in the order of HugeCTR's slots."""
LABEL = "rating"
"""Column of the label: float32, 1 for a like (``likes_of``), else 0."""
OUT_OF_VOCABULARY = 2
NO_GENRE = "(no genres listed)"
"""Stands for an empty list of genres, as in MovieLens."""
ROWS_PER_FILE = 2_000_000
CATEGORY_FOLDER = ".categories"
"""Where Categorify keeps its files, in the data folder, until the workflow is saved with a copy of them."""


def check_parameters(dask_scheduler: object, part_size: object, movie_id_dropout: object) -> None:
    """Raise ParameterError unless the parameters of notebook 06 can be used."""
    check_scheduler(dask_scheduler)
    if not isinstance(part_size, str) or not re.fullmatch(r"[1-9]\d* ?([KMG]i?)?B", part_size, re.ASCII):
        raise parameters.ParameterError(f'PART_SIZE={part_size!r} must be a size such as "32MB".')
    parameters.fraction("MOVIE_ID_DROPOUT", movie_id_dropout)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence NVTabular, which says at every call that running on a CPU is experimental."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*CPU mode.*")
        warnings.filterwarnings("ignore", message=".*dtype mappings did not load.*")
        warnings.filterwarnings("ignore", category=FutureWarning)
        yield


@contextlib.contextmanager
def working(store: Store, scheduler: str | None) -> Iterator[None]:
    """Where NVTabular works: on the Dask cluster of ``scheduler``, quietly, with categories in the data folder.

    Raises DataFolderError where these cannot be written.
    """
    with cluster(scheduler), quiet(), explained(store.folder / CATEGORY_FOLDER):
        yield


def with_genres(movies: pa.Table) -> Any:
    """Return movieId and genres as a pandas frame in which no list is empty: a movie of none has NO_GENRE.

    Merlin takes a list's type from its first item, which some column, or some partition, may not have.
    """
    return movies.select(["movieId", "genres"]).to_pandas().assign(genres=lambda frame: frame["genres"].map(genres_of))


def genres_of(listed: Iterable[str]) -> list[str]:
    """Return the genres of a movie as they are encoded."""
    return list(listed) or [NO_GENRE]


def files_of(path: Path) -> str:
    """Return how a file is named to NVTabular's ``Dataset``, which takes every name for a pattern of several."""
    return glob.escape(str(path))


def drop_movie_ids(frame: Any, share: float, seed: int) -> Any:
    """Return a frame (pandas or cuDF) with OUT_OF_VOCABULARY for the movie id in about ``share`` of its rows.

    Content codes stay, so training meets movies of which only the content is known, as every new movie is. The rows are
    chosen by a hash of user, movie and seed, which does not depend on the partitioning.
    """
    if share == 0 or len(frame) == 0:
        return frame
    ids = [frame["userId"].to_numpy(), frame["movieId_duplicate"].to_numpy()]
    dropped = drawn(share, seed, "movie id dropout", *ids)
    codes = frame["movieId"].to_numpy().copy()
    codes[dropped] = OUT_OF_VOCABULARY
    return frame.assign(movieId=codes)


def write_encoded(
    workflow: Any, source: Path, folder: Path, part_size: str, dropout: float = 0.0, seed: int = 0
) -> int:
    """Transform the ratings of ``source`` and write them for HugeCTR, in their order; return the number of rows.

    ``folder`` gets ``part_*.parquet`` and ``_metadata.json``; ``finish`` adds ``_file_list.txt``.
    """
    from dask import dataframe
    from merlin.io import Dataset

    rows = pq.read_metadata(source).num_rows
    if rows == 0:
        _write_empty(folder)
        return 0
    with quiet():
        encoded = workflow.transform(Dataset(files_of(source), engine="parquet", part_size=part_size))
        if dropout:
            frames = encoded.to_ddf(), dropout, seed
            frame = dataframe.map_partitions(drop_movie_ids, *frames, align_dataframes=False)
            encoded = Dataset(frame, schema=encoded.schema)
        files = -(-rows // ROWS_PER_FILE)
        encoded.to_parquet(str(folder), output_files=files, cats=CATEGORIES, conts=[], labels=[LABEL])
    return rows


def how_split(store: Store) -> str:
    """Return how 01 split valid from train: "random" or "temporal"."""
    return store.manifest().get("train", {}).get("parameters", {}).get("SPLIT", "random")


def finish(folder: Path, final: Path, cardinalities: dict[str, int], most_genres: int, rows: int) -> None:
    """Write ``_file_list.txt``, with paths below ``final``, and check what HugeCTR assumes but does not check.

    Raises HandOffError for a null, a wrong type, a code out of range, too long a list, or row counts that disagree with
    ``_metadata.json``.
    """
    # Merlin's schema names DATA_DIR, in another order each time: the same rows would never be the same folder.
    shutil.rmtree(folder / ".merlin", ignore_errors=True)
    (folder / "schema.pbtxt").unlink(missing_ok=True)
    stats = json.loads((folder / "_metadata.json").read_text())["file_stats"]
    names = sorted((entry["file_name"] for entry in stats), key=lambda name: int(name.split("_")[1].split(".")[0]))
    (folder / "_file_list.txt").write_text(
        "\n".join([str(len(names)), *(f"{final.name}/{name}" for name in names)]) + "\n"
    )
    counted = 0
    for name in names:
        table = pq.read_table(folder / name, columns=[*CATEGORIES, LABEL], partitioning=None)
        counted += table.num_rows
        if said := _fault(table, cardinalities, most_genres):
            raise HandOffError(f"{folder / name}: {said}")
    if counted != rows or sum(entry["num_rows"] for entry in stats) != rows:
        raise HandOffError(f"{folder}: {counted} rows written of {rows}; _metadata.json counts {stats}")


def _fault(table: pa.Table, cardinalities: Mapping[str, int], most_genres: int) -> str | None:
    """Return what HugeCTR could not read in an encoded part, None where all is well."""
    for column in CATEGORIES:
        values, rows = table[column], cardinalities[column]
        keys = pc.list_flatten(values) if pa.types.is_list(values.type) else values
        if keys.type != pa.int64() or keys.null_count or values.null_count:
            return f"column {column!r} must be int64 keys without nulls, not {values.type}"
        if len(keys) and not 0 <= pc.min(keys).as_py() <= pc.max(keys).as_py() < rows:
            return f"column {column!r} has codes outside 0..{rows - 1}"
    if table.num_rows and pc.max(pc.list_value_length(table["genres"])).as_py() > most_genres:
        return f"a row has more than {most_genres} genres"
    if table[LABEL].type != pa.float32() or table[LABEL].null_count:
        return f"the label must be float32 without nulls, not {table[LABEL].type}"
    return None


def _write_empty(folder: Path) -> None:
    folder.mkdir(parents=True)
    types = {column: pa.int64() for column in CATEGORIES} | {"genres": pa.list_(pa.int64()), LABEL: pa.float32()}
    pq.write_table(pa.schema(list(types.items())).empty_table(), folder / "part_0.parquet")
    described = {
        "file_stats": [{"file_name": "part_0.parquet", "num_rows": 0}],
        "cats": [{"col_name": name, "index": index} for index, name in enumerate(CATEGORIES)],
        "conts": [],
        "labels": [{"col_name": LABEL, "index": len(CATEGORIES)}],
    }
    (folder / "_metadata.json").write_text(json.dumps(described))


def cardinalities(workflow: Any) -> dict[str, int]:
    """Return the rows that each column's embedding table needs: its largest code + 1, reserved codes included."""
    schema = workflow.output_schema
    return {column: int(schema[column].properties["embedding_sizes"]["cardinality"]) for column in CATEGORIES}


def movie_codes(workflow: Any, movie_ids: np.ndarray, any_user: int) -> pa.Table:
    """Return movieId, code and content_code of the whole catalogue, encoded by the fitted workflow itself."""
    import pandas as pd
    from merlin.io import Dataset

    catalogue = pd.DataFrame({"userId": any_user, "movieId": movie_ids, "rating": np.float32(0)})
    with quiet():
        encoded = workflow.transform(Dataset(catalogue)).to_ddf().compute()
    return pa.table(
        {
            "movieId": movie_ids,
            "code": encoded["movieId"].to_numpy(),
            "content_code": encoded["movieId_duplicate"].to_numpy(),
        }
    )


def read_encoded(store: Store, name: str, most_genres: int) -> dict[str, np.ndarray]:
    """Return an encoded split as HugeCTR reads it: codes int32 [n], genres [n, most_genres], label float32 [n].

    Genres are padded with code 0; they are int8 where that holds all codes (a quarter of the memory), else int32. Rows
    are in the order of ``_file_list.txt``. Memory holds one file at a time beside the result.
    """
    with store.reading(name) as folder:
        return _read_encoded(folder, most_genres)


def _read_encoded(folder: Path, most_genres: int) -> dict[str, np.ndarray]:
    listed = (folder / "_file_list.txt").read_text().split()[1:]
    paths = [folder / Path(line).name for line in listed]
    rows = [pq.read_metadata(path).num_rows for path in paths]
    columns = {name: np.empty(sum(rows), np.int32) for name in CATEGORIES if name != "genres"}
    columns |= {"genres": np.zeros((sum(rows), most_genres), np.int8), "label": np.empty(sum(rows), np.float32)}
    start = 0
    for path, count in zip(paths, rows, strict=True):
        table, here = pq.read_table(path, columns=[*CATEGORIES, LABEL], partitioning=None), slice(start, start + count)
        if said := _fault(table, dict.fromkeys(CATEGORIES, 1 << 31), most_genres):
            raise ValueError(f"{path.name}: {said}")
        for column in set(columns) - {"genres"}:
            columns[column][here] = table[LABEL if column == "label" else column].to_numpy()
        codes, lengths = (of(table["genres"]).to_numpy() for of in (pc.list_flatten, pc.list_value_length))
        if codes.max(initial=0) > np.iinfo(columns["genres"].dtype).max:
            columns["genres"] = columns["genres"].astype(np.int32)
        columns["genres"][here][np.arange(most_genres) < lengths[:, None]] = codes
        start += count
    return columns


def vocabulary(store: Store, column: str) -> dict[Any, int]:
    """Return the code of each value of userId, movieId or genres in the saved workflow.

    Source: NVTabular's category files, one row per code from RESERVED on.
    """
    with store.reading("workflow-hugectr") as folder:
        path = folder / "categories" / f"unique.{column}.parquet"
        values = pq.read_table(path, columns=[column], partitioning=None)[column].to_pylist()
    return {value: code for code, value in enumerate(values, start=RESERVED)}


def workflow_graph(workflow: Any) -> tuple[list[tuple[str, str, str]], list[tuple[str, str]]]:
    """Return nodes (name, label, kind) and edges of an NVTabular workflow that is not fitted yet, to be drawn."""
    nodes: dict[int, tuple[str, str, str]] = {}
    edges = []
    waiting = [workflow.output_node]
    while waiting:
        node = waiting.pop()
        if id(node) in nodes:
            continue
        operator = type(node.op).__name__ if node.op is not None else "input"
        operator = "LambdaOp" if operator == "UDF" else operator  # the name it has in the notebook
        selected = ", ".join(node.selector.names) if node.selector is not None else ""
        kind = {"input": "input", "SelectionOp": "columns", "ConcatColumns": "output"}.get(operator, "operator")
        nodes[id(node)] = (str(id(node)), "\n".join(filter(None, [operator, selected])), kind)
        for parent in node.parents_with_dependencies:
            edges.append((str(id(parent)), str(id(node))))
            waiting.append(parent)
    return list(nodes.values()), edges


def forget_categories(store: Store) -> None:
    """Remove the scratch folder of Categorify: the saved workflow has a copy."""
    shutil.rmtree(store.folder / CATEGORY_FOLDER, ignore_errors=True)
