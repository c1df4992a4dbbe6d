"""Stage 07, HugeCTR's side: ``model.py`` rendered from the graph, with the arguments of HugeCTR 25.03.

With one DataReaderSparseParam and one SparseEmbedding per slot and no ``slot_size_array``, HugeCTR adds no
offsets: keys are the codes of the parquet files as they are, and so are those of the frozen table.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from utils.etl.workflow import CATEGORIES
from utils.model.architectures import Inputs
from utils.model.graph import Graph, Layer, Slot


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
    """GPUs a node: ((0, 1),) are two of one machine."""
    table: str = "hugectr_pretrained_embedding.model"
    start: Mapping[str, str] = field(default_factory=dict)
    """Column to the folder of the values that its embedding table starts with."""
    snapshot: str = ""
    """Prefix of the files that hold the trained weights; by default in ``checkpoints/``."""


def render(graph: Graph, script: Script) -> str:
    """Return the source of ``model.py``: the graph as a HugeCTR program, run inside the data folder."""
    # The read that finds the end of the data counts as an iteration, so an epoch has one more than batches.
    iterations = max(1, script.train_rows // script.batch_size) + 1
    slots = {slot.column: slot for slot in graph.slots}
    frozen = [f"{slot.column}_embedding" for slot in graph.slots if slot.frozen]
    return _TEMPLATE.format(
        name=graph.name,
        seed=script.seed,
        learning_rate=script.learning_rate,
        # One more than batches: only a read past the end rewinds the evaluation data.
        eval_batches=math.ceil(script.valid_rows / script.batch_size) + 1,
        batch=script.batch_size,
        vvgpu=[list(gpus) for gpus in script.vvgpu],
        reader_slots="".join(_reader_slot(column, script.inputs) for column in CATEGORIES),
        embeddings="".join(_embedding(slots[column]) for column in CATEGORIES if column in slots),
        layers="".join(_dense(layer) for layer in graph.layers),
        load=_START * bool(script.start)
        + "".join(_LOAD.format(name=f"{column}_embedding", table=table) for column, table in script.start.items())
        + "".join(_FROZEN + (_LOAD + _FREEZE).format(name=name, table=script.table) for name in frozen),
        epochs=script.epochs,
        display=max(1, iterations // 10),
        iterations=iterations,
        snapshot=script.snapshot or f"checkpoints/{graph.name}",
        tables=len(graph.slots),
    )


def _reader_slot(column: str, inputs: Inputs) -> str:
    # Of a column of fixed length the reader keeps the row offsets of an earlier batch: never declare a list so.
    is_list = column == "genres"
    arguments = {
        "top_name": column,
        "nnz_per_slot": inputs.most_genres if is_list else 1,
        "is_fixed_length": not is_list,
        "slot_num": 1,
    }
    return _call("hugectr.DataReaderSparseParam", arguments, indent=12, after=",")


def _embedding(slot: Slot) -> str:
    optimizer_states = 0 if slot.frozen else 2  # Adam keeps two moments a number, SGD none
    megabytes = slot.rows * slot.width * 4 * (1 + optimizer_states) / 2**20
    table = f"# {slot.column}: {slot.rows:,} rows of {slot.width}{', frozen' if slot.frozen else ''}\n"
    return table + _add(
        "SparseEmbedding",
        {
            "embedding_type": Name("hugectr.Embedding_t.DistributedSlotSparseEmbeddingHash"),
            "workspace_size_per_gpu_in_mb": math.ceil(megabytes * 1.25) + 1,
            "embedding_vec_size": slot.width,
            "combiner": "sum",
            "sparse_embedding_name": f"{slot.column}_embedding",
            "bottom_name": slot.column,
            "optimizer": Name("frozen_optimizer" if slot.frozen else "optimizer"),
        },
    )


def _dense(layer: Layer) -> str:
    names = {"bottom_names": list(layer.bottoms), "top_names": list(layer.tops)}
    why = f"# {layer.why}\n" if layer.why else ""
    arguments = {name: Name(value) if name.endswith("_init_type") else value for name, value in layer.arguments.items()}
    return why + _add("DenseLayer", {"layer_type": Name(f"hugectr.Layer_t.{layer.kind}")} | names | arguments)


class Name(str):
    """A Python expression that is written as it is, without quotes."""


def _add(kind: str, arguments: Mapping[str, Any]) -> str:
    return "model.add(\n" + _call(f"hugectr.{kind}", arguments, indent=4) + ")\n"


def _call(function: str, arguments: Mapping[str, Any], indent: int, after: str = "") -> str:
    """Write a call with one argument per line."""
    margin = " " * indent
    lines = [
        f"{margin}    {key}={value if isinstance(value, Name) else _literal(value)},\n"
        for key, value in arguments.items()
    ]
    return f"{margin}{function}(\n{''.join(lines)}{margin}){after}\n"


def _literal(value: Any) -> str:
    return (
        json.dumps(value)
        if isinstance(value, str) or (isinstance(value, list) and all(isinstance(v, str) for v in value))
        else repr(value)
    )


_START = "# Where training starts: biases from a ridge regression on users and movies, and movies' factors of 0.\n"
_FROZEN = "# The content of every movie, looked up by content_code and never trained.\n"
_LOAD = 'model.load_sparse_weights({{"{name}": "{table}"}})\n'
_FREEZE = 'model.freeze_embedding("{name}")\n'

_TEMPLATE = '''"""The {name} model for HugeCTR 25.03, written by notebook 07.

Run it inside the data folder: python model.py
"""

import shutil
from pathlib import Path

import hugectr

# What the trained weights are written to. HugeCTR would write over longer files without cutting them to length.
dense = Path("{snapshot}_dense_0.model")
tables = [Path(f"{snapshot}{{number}}_sparse_0.model") for number in range({tables})]
dense.parent.mkdir(parents=True, exist_ok=True)
dense.unlink(missing_ok=True)
for old in filter(Path.exists, tables):
    shutil.rmtree(old)

solver = hugectr.CreateSolver(
    model_name="{name}",
    seed={seed},
    lr={learning_rate},
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
frozen_optimizer = hugectr.CreateOptimizer(optimizer_type=hugectr.Optimizer_t.SGD)
model = hugectr.Model(solver=solver, reader_params=reader, opt_params=optimizer)

# One slot per parameter and no slot_size_array: keys stay the codes of the parquet files.
model.add(
    hugectr.Input(
        label_dim=1,
        label_name="label",
        dense_dim=0,
        dense_name="dense",
        data_reader_sparse_param_array=[
{reader_slots}        ],
    )
)
{embeddings}{layers}model.compile()
model.summary()
{load}model.fit(
    num_epochs={epochs},
    display={display},
    eval_interval={iterations},
    snapshot=0,
    snapshot_prefix="{snapshot}",
)
status = model.save_params_to_files(prefix="{snapshot}", iter=0)

# HugeCTR does not raise when it cannot write.
missing = [str(file) for file in [dense, *(table / "key" for table in tables)] if not file.is_file()]
if missing or status != hugectr.Error_t.Success:
    raise SystemExit(f"HugeCTR saved with {{status}} and lacks {{missing}}. See its log above; is the disk full?")
'''
