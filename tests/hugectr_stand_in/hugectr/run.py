"""A compiled model over its data: tables, readers, checks before the first step, and the loop of ``fit``."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import forward, truth, weights
from .api import Record
from .errors import (
    EmptyEvaluation,
    EpochMismatch,
    FrozenWithoutWeights,
    InvalidValue,
    MaxEvalBatchesTooSmall,
    NotFrozen,
    OrderViolation,
    TooFewRows,
    UndefinedTensor,
    UnknownEmbedding,
    WrongOptimizer,
)
from .graph import Graph
from .reader import Data, read
from .session import Cursor, Metrics, log


class Run:
    """Made by Model.compile. ``sources`` are the file lists of training and evaluation."""

    def __init__(self, graph: Graph, solver: Record, reader: Record, optimizer: Record) -> None:
        if solver.repeat_dataset:
            raise EpochMismatch("CreateSolver: repeat_dataset=True evaluates on parts of the set; this is for epochs")
        self._graph, self._solver, self._reader = graph, solver, reader
        self._optimizer = optimizer
        generator = np.random.default_rng(solver.seed)
        self._tables = {
            config.sparse_embedding_name: weights.Table(
                config, config.optimizer or optimizer, sum(map(len, solver.vvgpu))
            )
            for config in graph.embeddings
        }
        self.dense = weights.initial_dense(graph, generator)
        self._generator = generator
        self.train_cursor = Cursor(solver.batchsize, solver.drop_incomplete_batch)
        self.eval_cursor = Cursor(solver.batchsize_eval, drop_incomplete=False)
        self._metrics = Metrics()
        self._out: dict[str, dict[str, np.ndarray]] = {"Train": {}, "Evaluate": {}}
        self._truth = truth.load()
        self._read: dict[str, Data] = {}
        self._seen: set[tuple[str, str]] = set()
        self._fitting = False
        self._evaluations = 0
        self.unsaved = False
        """Whether it was trained and not saved since."""
        source = reader.source if isinstance(reader.source, str) else reader.source[0]
        self.sources = (source, reader.eval_source)
        for name in self.sources:
            self.source(name)

    def source(self, name: str) -> Data:
        """Read a source once, and check that every table has room for its codes."""
        if name not in self._read:
            widths, sizes = self._graph.dense_widths, self._reader.slot_size_array
            data = read(name, self._graph.sparse, widths, sizes, long=self._solver.i64_input_key)
            for table in self._tables.values():
                rows = sum(slot.largest_code + 1 for slot in data.slots[table.config.bottom_name])
                table.check_room(rows, f"largest code + 1 in {name}")
            self._read[name] = data
        return self._read[name]

    def table(self, name: str) -> weights.Table:
        """The table of a SparseEmbedding."""
        if name not in self._tables:
            raise UnknownEmbedding(f"there is no SparseEmbedding {name!r}, only {list(self._tables)}")
        return self._tables[name]

    def set_frozen(self, name: str | None, frozen: bool) -> None:
        """Freeze or unfreeze one table, or all."""
        for table in self._tables.values() if name is None else [self.table(name)]:
            table.frozen = frozen

    def fit(self, given: Mapping[str, Any]) -> None:
        """Read every epoch, with the lines, evaluations and snapshots that ``fit``'s arguments ask for."""
        train, evaluation = (self.source(name) for name in self.sources)
        self._check_fit(given, train, evaluation)
        check_steps(self._solver, self._optimizer, self._tables.values())
        self._fitting = True
        log(f"Use epoch mode with number of epochs: {given['num_epochs']}")
        log(f"Training batchsize: {self._solver.batchsize}, evaluation batchsize: {self._solver.batchsize_eval}")
        for name, table in self._tables.items():
            log(f"Sparse embedding {name} trainable: {not table.frozen}")
        if self.eval_cursor.at_end:
            self.eval_cursor.set_source(evaluation)
        iteration = 0
        for epoch in range(given["num_epochs"]):
            log(f"-----------------------------------Epoch {epoch}-----------------------------------")
            self.train_cursor.set_source(train)
            more = True
            while more:
                more = self.train_batch()
                iteration += 1
                self._after_iteration(iteration, given, evaluation)
        if not self._evaluations:
            raise EmptyEvaluation(f"fit() ended without an evaluation: eval_interval={given['eval_interval']}")
        self._fitting, self.unsaved = False, True
        batch = self._solver.batchsize
        log(f"Finish {given['num_epochs']} epochs {iteration} global iterations with batchsize {batch} in 0.01s.")

    def train_batch(self) -> bool:
        """Read one training batch; False at the end of the epoch."""
        frozen = [table.name for table in self._tables.values() if table.frozen]
        if frozen and not self._fitting:
            raise NotFrozen(f"train() outside fit() trains {frozen}: freezing acts when fit sets the learning rate")
        return self._batch("Train", self.train_cursor) is not None

    def evaluate_batch(self) -> bool:
        """Evaluate one batch; False at the end of the source."""
        rows = self._batch("Evaluate", self.eval_cursor)
        if rows is not None:
            logit, label = self._graph.loss.bottom_names
            self._metrics.scores.append(self._out["Evaluate"][logit][:rows, 0].copy())
            self._metrics.labels.append(self._out["Evaluate"][label][:rows, 0].copy())
            self._metrics.losses.append(float(self.tensor(self._graph.loss.top_names[0], "Evaluate")[0, 0]))
        return rows is not None

    def take_metrics(self) -> list[tuple[str, float]]:
        """Metrics of what was evaluated since the last call."""
        return self._metrics.take([metric.name for metric in self._solver.metrics_spec])

    def loss(self) -> float:
        """Loss of the last training batch."""
        return float(self.tensor(self._graph.loss.top_names[0], "Train")[0, 0])

    def tensor(self, name: str, phase: str) -> np.ndarray:
        """A tensor of the last batch of ``Train`` or ``Evaluate``."""
        if name not in self._graph.shapes:
            raise UndefinedTensor(f"check_out_tensor: no tensor is named {name!r}")
        if name not in self._out[phase]:
            raise OrderViolation(f"check_out_tensor({name!r}, {phase}) before a batch was read")
        return self._out[phase][name]

    def save(self, prefix: str, iteration: int) -> None:
        """Write ``<prefix>_dense_<iteration>.model`` and its companions."""
        if not prefix:
            raise InvalidValue("snapshots need a prefix")
        for number, table in enumerate(self._tables.values()):
            states = Path(f"{prefix}{number}_opt_sparse_{iteration}.model")
            table.save(Path(f"{prefix}{number}_sparse_{iteration}.model"), states)
        log("Dumping sparse weights to files, successful")
        states = Path(f"{prefix}_opt_dense_{iteration}.model")
        kept = weights.STATES.get(self._optimizer.optimizer_type.name, 1)
        weights.save_dense(Path(f"{prefix}_dense_{iteration}.model"), self.dense, states, kept)
        log("Dumping dense weights to file, successful")
        self.unsaved = False

    def _check_fit(self, given: Mapping[str, Any], train: Data, evaluation: Data) -> None:
        if given["num_epochs"] <= 0:
            raise EpochMismatch("repeat_dataset=False is epoch mode: Model.fit needs num_epochs of at least 1")
        if train.rows < self._solver.batchsize and self._solver.drop_incomplete_batch:
            raise TooFewRows(
                f"{train.source} has {train.rows} rows, batchsize={self._solver.batchsize}: the incomplete batch is "
                "dropped and nothing is trained"
            )
        most = self._solver.max_eval_batches
        if given["eval_interval"] > 0 and most * self._solver.batchsize_eval < evaluation.rows:
            raise MaxEvalBatchesTooSmall(
                f"max_eval_batches={most} of batchsize_eval={self._solver.batchsize_eval} stop before the "
                f"{evaluation.rows} rows of {evaluation.source}"
            )
        if given["snapshot"] > 0 and not given["snapshot_prefix"]:
            raise InvalidValue("Model.fit: snapshot needs a snapshot_prefix")

    def _check_data(self, phase: str, data: Data) -> None:
        """Check, once a source, what each row will look up."""
        for table in self._tables.values():
            if table.frozen and not table.loaded:
                raise FrozenWithoutWeights(f"{table.name!r} is frozen at its random initial values: load it first")
            if table.frozen:
                table.check_holds(data.source, data.slots[table.config.bottom_name])
        if self._truth is not None:
            rows = self._truth.check(self._graph, data, self._tables, training=phase == "Train")
            log(f"{rows} rows of {data.source} look up the feature-store row of their movie")

    def _batch(self, phase: str, cursor: Cursor) -> int | None:
        """Read and compute one batch; return its rows, or None at the end. An incomplete one leaves old tails."""
        data = cursor.data
        if data is not None and (phase, data.source) not in self._seen:
            self._check_data(phase, data)
            if phase == "Train":
                for table in self._tables.values():
                    for slot in data.slots[table.config.bottom_name]:
                        table.insert(slot.keys, self._generator)
                    table.check_room(len(table.keys), "keys seen in training")
            self._seen.add((phase, data.source))
        rows = cursor.next()
        if rows is None or data is None:
            return None
        fresh = rows[1] - rows[0]
        for name, values in forward.run(self._graph, data, *rows, self._tables, self.dense).items():
            size = 1 if name in self._graph.loss.top_names else cursor.batch
            full = self._out[phase].setdefault(name, np.zeros((size, *values.shape[1:]), np.float32))
            full[: len(values)] = values
        return fresh

    def _after_iteration(self, iteration: int, given: Mapping[str, Any], evaluation: Data) -> None:
        display, interval, snapshot = given["display"], given["eval_interval"], given["snapshot"]
        if display > 0 and iteration % display == 0:
            log(f"Iter: {iteration} Time({display} iters): 0.01s Loss: {self.loss():.6g} lr:{self._solver.lr:g}")
        if interval > 0 and iteration % interval == 0:
            self._evaluate(iteration, evaluation)
        if snapshot > 0 and iteration % snapshot == 0 and iteration != 1:
            self.save(given["snapshot_prefix"], iteration)

    def _evaluate(self, iteration: int, evaluation: Data) -> None:
        most, batches, more = self._solver.max_eval_batches, 0, True
        while more and batches < most:
            more = self.evaluate_batch()
            batches += 1
        if self._metrics.rows < evaluation.rows:
            raise EmptyEvaluation(
                f"at iteration {iteration} the evaluation read {self._metrics.rows} of {evaluation.rows} rows: "
                f"max_eval_batches={most} ended the one before at its last batch, and a reader is only rewound by a "
                f"read that finds nothing. Use max_eval_batches={most + 1}."
            )
        if not more:
            self.eval_cursor.set_source(evaluation)
        for name, value in self.take_metrics():
            log(f"Evaluation, {name}: {value:.6g}")
        self._evaluations += 1
        log(f"Eval Time for {most} iters: 0.01s")


def check_solver(solver: Record) -> None:
    """Raise InvalidValue for settings that HugeCTR refuses, or that train on nothing or stop early."""
    if solver.lr < 0 or solver.end_lr < 0 or solver.decay_power < 1 or 0 in (solver.warmup_steps, solver.decay_steps):
        raise InvalidValue("CreateSolver: lr and end_lr must not be negative, steps and decay_power not be below 1")
    if solver.lr == 0:
        raise InvalidValue("CreateSolver: lr=0 trains nothing")
    if solver.use_mixed_precision and solver.enable_tf32_compute:
        raise InvalidValue("CreateSolver: use_mixed_precision and enable_tf32_compute exclude each other")
    if solver.use_mixed_precision and solver.scaler not in (128, 256, 512, 1024):
        raise InvalidValue(f"CreateSolver: scaler={solver.scaler} must be 128, 256, 512 or 1024 in mixed precision")
    for metric, limit in solver.metrics_spec.items():
        if metric.name == "AUC" and limit < 1:
            raise InvalidValue(f"CreateSolver: metrics_spec ends training at the first AUC above {limit}")


def check_steps(solver: Record, optimizer: Record, tables: Iterable[weights.Table]) -> None:
    """Raise WrongOptimizer, or InvalidValue for a combiner, unless all that is trained is so as in PyTorch."""
    used = {"the dense layers": optimizer} | {table.name: table.optimizer for table in tables if not table.frozen}
    for name, one in used.items():
        found = one.optimizer_type.name, one.update_type.name, one.beta1, one.beta2, one.epsilon
        if found != ("Adam", "Global", 0.9, 0.999, 1e-7):
            raise WrongOptimizer(f"{name!r}: {found} is not the Adam, global, 0.9, 0.999, 1e-7 of the PyTorch model")
    if solver.lr_policy.name != "fixed" or solver.warmup_steps > 1 or solver.decay_start:
        raise WrongOptimizer("CreateSolver: the PyTorch model keeps its learning rate from the first step to the last")
    for table in tables:
        if table.config.combiner != "sum":
            raise InvalidValue(f"{table.name!r}: combiner={table.config.combiner!r}; the PyTorch model sums")
