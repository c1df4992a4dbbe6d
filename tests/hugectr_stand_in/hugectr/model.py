"""``hugectr.Model``: every method checks its call, its turn, and what it is given. Nothing is trained."""

import atexit
import functools
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import weights
from .api import ENUMS, TABLE, Member, bind
from .errors import InvalidValue, NotSaved, OrderViolation, UncheckedLoad, UnknownName
from .graph import Graph
from .reader import Data
from .run import Run, check_solver
from .session import KNOWN_METRICS, Cursor, log

RUNS: list[Run] = []


def check_saved() -> None:
    """Raise NotSaved where a model was trained and not saved, for when the script has ended."""
    if any(run.unsaved for run in RUNS):
        raise NotSaved("the script ends without save_params_to_files: what was trained is lost")


@atexit.register
def _at_exit() -> None:
    try:
        check_saved()
    except NotSaved:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # An exception alone would not change the exit code any more.


def checked(table: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Bind a method's call against ``TABLE[table]``; the method gets its values by name."""

    def wrap(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            values, _ = bind(f"{type(self).__name__}.{method.__name__}", TABLE[table][method.__name__], args, kwargs)
            return method(self, values)

        return call

    return wrap


class DataReader:
    """What get_data_reader_train and get_data_reader_eval return."""

    def __init__(self, cursor: Cursor, read_source: Callable[[str], Data]) -> None:
        self._cursor, self._read = cursor, read_source

    @checked("data_reader")
    def set_source(self, given: Mapping[str, Any]) -> None:
        """Start over, on another ``_file_list.txt`` where one is named."""
        data = self._read(given["file_name"]) if given["file_name"] else self._cursor.data
        if data is None:
            raise OrderViolation("set_source() without a file name before any source was read")
        self._cursor.set_source(data)

    @checked("data_reader")
    def is_started(self, _: Mapping[str, Any]) -> bool:
        """Whether a source was set."""
        return self._cursor.data is not None


class Model:
    """A model under construction, then compiled, then run over the data."""

    @checked("model")
    def __init__(self, given: Mapping[str, Any]) -> None:
        self._solver, self._reader, self._optimizer = given["solver"], given["reader_params"], given["opt_params"]
        self._graph = Graph()
        self._compiled: Run | None = None
        solver = self._solver
        gpus = sum(map(len, solver.vvgpu))
        for name in ("batchsize", "batchsize_eval"):
            if gpus < 1 or getattr(solver, name) < 1 or getattr(solver, name) % gpus:
                raise InvalidValue(f"CreateSolver: {name}={getattr(solver, name)} must split over vvgpu={solver.vvgpu}")
        if self._reader.data_reader_type.name != "Parquet":
            raise InvalidValue(f"DataReaderParams: {self._reader.data_reader_type} is not known to this stand-in")
        check_solver(solver)
        names = [metric.name for metric in solver.metrics_spec]
        if any(name not in KNOWN_METRICS for name in names):
            raise InvalidValue(f"CreateSolver: metrics_spec={names}; this stand-in knows {KNOWN_METRICS}")

    def __getattr__(self, name: str) -> Any:
        known = "exists in HugeCTR, but not in this stand-in" if name in TABLE["model"] else "does not exist"
        raise UnknownName(f"hugectr.Model.{name} {known}")

    def _run(self, method: str) -> Run:
        if self._compiled is None:
            raise OrderViolation(f"Model.{method}() before Model.compile()")
        return self._compiled

    @checked("model")
    def add(self, given: Mapping[str, Any]) -> None:
        """Add an Input, a SparseEmbedding or a DenseLayer."""
        if self._compiled is not None:
            raise OrderViolation("Model.add() after Model.compile()")
        kind, part = next(iter(given.items()))
        take = {"input": "add_input", "sparse_embedding": "add_embedding", "dense_layer": "add_layer"}[kind]
        getattr(self._graph, take)(part)

    @checked("model")
    def compile(self, given: Mapping[str, Any]) -> None:
        """Close the graph, read both sources and make the tables."""
        if self._compiled is not None:
            raise OrderViolation("Model.compile() twice")
        self._graph.close()
        label = self._graph.loss.bottom_names[1]
        if given.get("loss_names", [label]) != [label] or len(given.get("loss_weights", [1.0])) != 1:
            raise InvalidValue(f"Model.compile: losses go by the name of their label, here [{label!r}]")
        self._compiled = Run(self._graph, self._solver, self._reader, self._optimizer)
        RUNS.append(self._compiled)

    @checked("model")
    def summary(self, _: Mapping[str, Any]) -> None:
        """Print the layers with their shapes."""
        self._run("summary")
        for embedding in self._graph.embeddings:
            name = embedding.sparse_embedding_name
            print(f"{embedding.embedding_type.name:40} {embedding.bottom_name:30} {name:30} {self._graph.shapes[name]}")
        for layer in self._graph.layers:
            made = ", ".join(f"{top} {self._graph.shapes[top]}" for top in layer.top_names)
            print(f"{layer.layer_type.name:40} {', '.join(layer.bottom_names):30} {made}")

    @checked("model")
    def graph_to_json(self, given: Mapping[str, Any]) -> None:
        """Write the graph's names and kinds of layers."""
        layers: list[dict[str, Any]] = [{"type": "Data", "sparse": [{"top": name} for name in self._graph.sparse]}]
        for e in self._graph.embeddings:
            layers.append({"type": e.embedding_type.name, "bottom": e.bottom_name, "top": e.sparse_embedding_name})
        for layer in self._graph.layers:
            layers.append({"type": layer.layer_type.name, "bottom": layer.bottom_names, "top": layer.top_names})
        Path(given["graph_config_file"]).write_text(json.dumps({"layers": layers}, indent=1))

    @checked("model")
    def load_sparse_weights(self, given: Mapping[str, Any]) -> None:
        """Load tables by name. The list form is refused: HugeCTR only logs its failures."""
        run = self._run("load_sparse_weights")
        if "sparse_embedding_files_map" not in given:
            raise UncheckedLoad("Model.load_sparse_weights with a list only logs a failure; pass {name: folder}")
        for name, folder in given["sparse_embedding_files_map"].items():
            log(f"Loading sparse model: {folder}")
            run.table(name).load(Path(folder))

    @checked("model")
    def load_dense_weights(self, given: Mapping[str, Any]) -> None:
        """Load the dense file, whose size must be that of the model."""
        weights.load_dense(Path(given["dense_model_file"]), self._run("load_dense_weights").dense)

    @checked("model")
    def freeze_embedding(self, given: Mapping[str, Any]) -> None:
        """Freeze one table, or all."""
        self._run("freeze_embedding").set_frozen(given.get("embedding_name"), True)

    @checked("model")
    def unfreeze_embedding(self, given: Mapping[str, Any]) -> None:
        """Let one table be trained, or all."""
        self._run("unfreeze_embedding").set_frozen(given.get("embedding_name"), False)

    @checked("model")
    def fit(self, given: Mapping[str, Any]) -> None:
        """Walk the data for the epochs asked for, and print what HugeCTR prints."""
        self._run("fit").fit(given)

    @checked("model")
    def train(self, _: Mapping[str, Any]) -> bool:
        """Read one training batch; False where the epoch is over."""
        return self._run("train").train_batch()

    @checked("model")
    def eval(self, _: Mapping[str, Any]) -> bool:
        """Evaluate one batch; False, and nothing is evaluated, where the source is over."""
        return self._run("eval").evaluate_batch()

    @checked("model")
    def get_eval_metrics(self, _: Mapping[str, Any]) -> list[tuple[str, float]]:
        """Metrics of the batches evaluated since the last call."""
        return self._run("get_eval_metrics").take_metrics()

    @checked("model")
    def get_current_loss(self, _: Mapping[str, Any]) -> float:
        """Loss of the last training batch."""
        return self._run("get_current_loss").loss()

    @checked("model")
    def check_out_tensor(self, given: Mapping[str, Any]) -> np.ndarray:
        """A tensor of the last batch, float32 [batch size, ...]. After an incomplete batch its tail is old."""
        return self._run("check_out_tensor").tensor(given["tensor_name"], given["tensor_type"].name).copy()

    @checked("model")
    def start_data_reading(self, _: Mapping[str, Any]) -> None:
        """Refused in epoch mode, where set_source starts a reader."""
        raise OrderViolation("Model.start_data_reading() is not for epoch mode; call set_source of the reader")

    @checked("model")
    def set_source(self, given: Mapping[str, Any]) -> None:
        """Name the sources of the next fit."""
        self._run("set_source").sources = (given["source"], given["eval_source"])

    @checked("model")
    def get_data_reader_train(self, _: Mapping[str, Any]) -> DataReader:
        """The reader of training batches."""
        run = self._run("get_data_reader_train")
        return DataReader(run.train_cursor, run.source)

    @checked("model")
    def get_data_reader_eval(self, _: Mapping[str, Any]) -> DataReader:
        """The reader of evaluation batches."""
        run = self._run("get_data_reader_eval")
        return DataReader(run.eval_cursor, run.source)

    @checked("model")
    def save_params_to_files(self, given: Mapping[str, Any]) -> Member:
        """Write the snapshot: dense, sparse and the optimizer states of both."""
        self._run("save_params_to_files").save(given["prefix"], given["iter"])
        return ENUMS["Error_t"].Success
