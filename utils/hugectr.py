"""Stage 07, HugeCTR's side: the frozen table in its file format, and ``model.py`` from the graph.

Formats and arguments are those of HugeCTR 25.03. A sparse model folder holds ``key`` (int64) and
``emb_vector`` (float32, row-major). With one DataReaderSparseParam and one SparseEmbedding a slot and
no ``slot_size_array``, keys are the codes of the parquet files as they are.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from utils import artefacts
from utils.artefacts import HandOffError
from utils.contract import WIDEST
from utils.etl import CATEGORIES
from utils.graph import Graph, Layer, Slot
from utils.models import Inputs

CONTENT = "movieId_duplicate"
"""The column whose codes are rows of the frozen table."""


@dataclass(frozen=True)
class ContentTable:
    """The frozen table: ``vectors`` float32 [every content_code, width] and its ``columns`` by name."""

    vectors: np.ndarray
    columns: Mapping[str, tuple[int, int]]


def content_columns(poster: int, text: int) -> dict[str, tuple[int, int]]:
    """Return the column ranges of a frozen table: poster, then text, then the flags where they fit in 1024."""
    columns = {"poster": (0, poster), "text": (poster, poster + text)}
    if poster + text + 2 <= WIDEST:
        columns |= {
            "has_poster": (poster + text, poster + text + 1),
            "has_text": (poster + text + 1, poster + text + 2),
        }
    return columns


def content_table(features: pa.Table, codes: pa.Table) -> ContentTable:
    """Lay the feature store out by content_code.

    Rows that belong to no movie (the reserved codes) hold the mean of all movies, flagged as absent.
    Raises HandOffError where a movie has no code, or the reverse, or a vector is not finite.
    """
    movie_ids = features["movieId"].to_numpy()
    if not np.array_equal(movie_ids, codes["movieId"].to_numpy()):
        raise HandOffError(
            "movie_codes.parquet and feature_store.parquet do not list the same movies. Run notebooks 05 and 06 again."
        )
    poster, text = artefacts.vectors(features["poster"]), artefacts.vectors(features["text"])
    for name, values in (("poster", poster), ("text", text)):
        if not np.isfinite(values).all():
            broken = movie_ids[~np.isfinite(values).all(axis=1)][0]
            raise HandOffError(f"feature_store.parquet: the {name} vector of movieId {broken} holds NaN. Run notebook 05 again.")
    columns = content_columns(poster.shape[1], text.shape[1])
    rows = codes["content_code"].to_numpy()
    if len(np.unique(rows)) != len(rows):
        raise HandOffError("movie_codes.parquet: two movies share a content_code. Run notebook 06 again.")
    vectors = np.zeros((rows.max() + 1, max(stop for _, stop in columns.values())), dtype=np.float32)
    parts = {"poster": poster, "text": text}
    parts |= {name: features[name].to_numpy()[:, None] for name in ("has_poster", "has_text") if name in columns}
    reserved = np.setdiff1d(np.arange(len(vectors)), rows)
    for name, (start, stop) in columns.items():
        vectors[rows, start:stop] = parts[name]
        if name in ("poster", "text"):
            vectors[reserved, start:stop] = parts[name].mean(axis=0)
    return ContentTable(vectors, columns)


def write_sparse(folder: Path, keys: np.ndarray, vectors: np.ndarray) -> None:
    """Write a sparse model folder: ``keys`` int64 [n], ``vectors`` float32 [n, width]. Atomic."""
    with artefacts.writing(folder) as temporary:
        temporary.mkdir()
        keys.astype("<i8").tofile(temporary / "key")
        vectors.astype("<f4").tofile(temporary / "emb_vector")


def read_sparse(folder: Path, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Read a sparse model folder: keys int64 [n] and vectors float32 [n, width].

    Raises HandOffError where the files' sizes do not fit the width.
    """
    keys = np.fromfile(folder / "key", dtype="<i8")
    vectors = np.fromfile(folder / "emb_vector", dtype="<f4")
    if vectors.size != keys.size * width:
        raise HandOffError(f"{folder}: {keys.size} keys of width {width} need {keys.size * width} numbers, not {vectors.size}")
    return keys, vectors.reshape(-1, width)


def check_content(folder: Path, features: pa.Table, codes: pa.Table) -> int:
    """Prove the property the series stands on, from the files: the frozen row of every movie is its feature vector.

    Reads the table back, looks every movie up by its content_code as HugeCTR would by key, and compares
    each named part bit for bit. Returns the movies checked; raises HandOffError naming the first that differs.
    """
    columns = content_columns(features["poster"].type.list_size, features["text"].type.list_size)
    keys, vectors = read_sparse(folder, max(stop for _, stop in columns.values()))
    if not np.array_equal(np.sort(keys), np.arange(len(keys))):
        raise HandOffError(f"{folder}: keys must be every code from 0 to {len(keys) - 1}, each once")
    code_of = dict(zip(codes["movieId"].to_pylist(), codes["content_code"].to_pylist(), strict=True))
    movie_ids = features["movieId"].to_pylist()
    position = np.empty(len(keys), dtype=np.int64)
    position[keys] = np.arange(len(keys))
    rows = vectors[position[[code_of[movie] for movie in movie_ids]]]
    for name, (start, stop) in columns.items():
        column = features[name]
        wanted = column.to_numpy()[:, None] if name.startswith("has_") else artefacts.vectors(column)
        same = (rows[:, start:stop] == wanted.astype(np.float32)).all(axis=1)
        if not same.all():
            raise HandOffError(f"{folder}: the {name} columns of movieId {movie_ids[int(np.argmin(same))]} are not its feature-store row")
    return len(movie_ids)


@dataclass(frozen=True)
class Script:
    """What ``model.py`` needs beside the graph."""

    inputs: Inputs
    epochs: int
    batch_size: int
    learning_rate: float
    seed: int
    train_rows: int
    valid_rows: int
    vvgpu: tuple[tuple[int, ...], ...] = ((0,),)


def render(graph: Graph, script: Script) -> str:
    """Return the source of ``model.py``: the graph as a HugeCTR program, run inside the data folder."""
    steps = max(1, script.train_rows // script.batch_size)
    eval_batches = math.ceil(script.valid_rows / script.batch_size)
    used = {slot.column: slot for slot in graph.slots}
    most = {"genres": script.inputs.most_genres}
    reader_slots = "\n".join(
        f'            hugectr.DataReaderSparseParam(\n                top_name="{column}", nnz_per_slot={most.get(column, 1)}, '
        f"is_fixed_length={column not in most}, slot_num=1\n            ),"
        for column in CATEGORIES
    )
    frozen = [slot for slot in graph.slots if slot.frozen]
    load = "".join(
        f'model.load_sparse_weights({{"{slot.column}_embedding": "hugectr_pretrained_embedding.model"}})\n'
        f'model.freeze_embedding("{slot.column}_embedding")\n'
        for slot in frozen
    )
    embeddings = "".join(_embedding(used[column]) for column in CATEGORIES if column in used)
    return _TEMPLATE.format(
        name=graph.name,
        seed=script.seed,
        lr=script.learning_rate,
        eval_batches=max(1, eval_batches),
        batch=script.batch_size,
        vvgpu=[list(gpus) for gpus in script.vvgpu],
        reader_slots=reader_slots,
        embeddings=embeddings,
        layers="".join(_dense(layer) for layer in graph.layers),
        load=load and "# The content of every movie, looked up by content_code and never trained.\n" + load,
        epochs=script.epochs,
        display=max(1, steps // 2),
        steps=steps,
        never=script.epochs * steps + 1,
    )


def _embedding(slot: Slot) -> str:
    optimizer_states = 0 if slot.frozen else 2
    needed = slot.rows * slot.width * 4 * (1 + optimizer_states) / 2**20
    optimizer = "hugectr.CreateOptimizer(optimizer_type=hugectr.Optimizer_t.SGD)" if slot.frozen else "optimizer"
    return f"""model.add(
    hugectr.SparseEmbedding(
        embedding_type=hugectr.Embedding_t.DistributedSlotSparseEmbeddingHash,
        workspace_size_per_gpu_in_mb={math.ceil(needed * 1.25) + 1},  # {slot.rows} rows of {slot.width}{", frozen" if slot.frozen else ""}
        embedding_vec_size={slot.width},
        combiner="sum",
        sparse_embedding_name="{slot.column}_embedding",
        bottom_name="{slot.column}",
        optimizer={optimizer},
    )
)
"""


def _dense(layer: Layer) -> str:
    names = {key: list(value) for key, value in (("bottom_names", layer.bottoms), ("top_names", layer.tops))}
    arguments = [f"layer_type=hugectr.Layer_t.{layer.kind}"]
    arguments += [f"{key}={_quoted(value)}" for key, value in names.items()]
    arguments += [f"{key}={value!r}" for key, value in layer.arguments.items()]
    why = f"# {layer.why}\n" if layer.why else ""
    body = "".join(f"        {argument},\n" for argument in arguments)
    return f"{why}model.add(\n    hugectr.DenseLayer(\n{body}    )\n)\n"


def _quoted(names: list[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"


_TEMPLATE = '''"""The {name} model for HugeCTR 25.03, written by notebook 07. Run inside the data folder: python model.py"""

import hugectr

solver = hugectr.CreateSolver(
    model_name="{name}",
    seed={seed},
    lr={lr},
    max_eval_batches={eval_batches},
    batchsize_eval={batch},
    batchsize={batch},
    vvgpu={vvgpu},
    repeat_dataset=False,
    i64_input_key=True,
)
reader = hugectr.DataReaderParams(
    data_reader_type=hugectr.DataReaderType_t.Parquet,
    source="train-hugectr/_file_list.txt",
    eval_source="valid-hugectr/_file_list.txt",
    check_type=hugectr.Check_t.Non,
    num_workers=1,
)
optimizer = hugectr.CreateOptimizer(
    optimizer_type=hugectr.Optimizer_t.Adam,
    update_type=hugectr.Update_t.Global,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-07,
)
model = hugectr.Model(solver=solver, reader_params=reader, opt_params=optimizer)

# One slot a parameter and no slot_size_array: keys stay the codes of the parquet files.
model.add(
    hugectr.Input(
        label_dim=1,
        label_name="label",
        dense_dim=0,
        dense_name="dense",
        data_reader_sparse_param_array=[
{reader_slots}
        ],
    )
)
{embeddings}{layers}model.compile()
model.summary()
{load}model.fit(
    num_epochs={epochs},
    display={display},
    eval_interval={steps},
    snapshot={never},
    snapshot_prefix="checkpoints/{name}",
)
model.save_params_to_files(prefix="checkpoints/{name}")
'''
