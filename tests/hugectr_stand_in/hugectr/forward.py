"""The values of a batch, layer by layer in numpy, for the layers of our models: what evaluation would read."""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce

import numpy as np

from .api import Record
from .errors import UnsupportedLayer
from .graph import Graph
from .reader import Data, Slot
from .weights import Table


def run(
    graph: Graph,
    data: Data,
    start: int,
    stop: int,
    tables: Mapping[str, Table],
    dense: Mapping[str, Sequence[np.ndarray]],
) -> dict[str, np.ndarray]:
    """Return every tensor for rows [start, stop), float32 [stop - start, ...]; ``loss`` is the mean over them.

    As in HugeCTR, the loss applies the sigmoid in place: the logit's tensor ends as a probability.
    """
    values = {name: data.labels[start:stop] for name in graph.shapes if name == graph.loss.bottom_names[1]}
    for embedding in graph.embeddings:
        name = embedding.sparse_embedding_name
        vectors = [_combined(slot, start, stop, tables[name]) for slot in data.slots[embedding.bottom_name]]
        values[name] = np.stack(vectors, 1)
    for layer in graph.layers:
        kind = layer.layer_type.name
        inputs = [values[bottom] for bottom in layer.bottom_names]
        if kind == "BinaryCrossEntropyLoss":
            logit, label = inputs
            loss = np.maximum(logit, 0) - logit * label + np.log1p(np.exp(-np.abs(logit)))
            values[layer.top_names[0]] = loss.mean(keepdims=True)
            with np.errstate(over="ignore"):
                values[layer.bottom_names[0]] = 1 / (1 + np.exp(-logit))
        elif kind == "Slice":
            values |= {top: inputs[0][:, a:b] for top, (a, b) in zip(layer.top_names, layer.ranges, strict=True)}
        elif kind == "InnerProduct":
            weight, bias = dense[layer.top_names[0]]
            values[layer.top_names[0]] = inputs[0] @ weight + bias
        elif kind in _PLAIN:
            values[layer.top_names[0]] = _PLAIN[kind](layer, inputs)
        else:
            raise UnsupportedLayer(
                f"layer {layer.top_names}: the stand-in cannot evaluate {kind}, only check its shapes"
            )
    return values


def _combined(slot: Slot, start: int, stop: int, table: Table) -> np.ndarray:
    """Sum (or mean) of each row's vectors: float32 [stop - start, width]."""
    ends = np.concatenate([[0], np.cumsum(slot.lengths)])
    vectors = table.look_up(slot.keys[ends[start] : ends[stop]])
    lengths = slot.lengths[start:stop]
    total = np.zeros((stop - start, vectors.shape[1]), np.float32)
    np.add.at(total, np.repeat(np.arange(stop - start), lengths), vectors)
    return total / np.maximum(lengths, 1)[:, None] if table.config.combiner == "mean" else total


_PLAIN: dict[str, Callable[[Record, Sequence[np.ndarray]], np.ndarray]] = {
    "Reshape": lambda layer, inputs: inputs[0].reshape(len(inputs[0]), *_after(layer)),
    "Concat": lambda layer, inputs: np.concatenate(inputs, axis=layer.axis),
    "ReLU": lambda _, inputs: np.maximum(inputs[0], 0),
    "Sigmoid": lambda _, inputs: 1 / (1 + np.exp(-inputs[0])),
    "Dropout": lambda _, inputs: inputs[0],
    "Add": lambda _, inputs: reduce(np.add, inputs),
    "ElementwiseMultiply": lambda _, inputs: reduce(np.multiply, inputs),
    "ReduceSum": lambda layer, inputs: inputs[0].sum(axis=layer.axis, keepdims=True),
}


def _after(layer: Record) -> tuple[int, ...]:
    if layer.leading_dim:
        return (layer.time_step, layer.leading_dim) if layer.time_step else (layer.leading_dim,)
    return tuple(layer.shape[1:])


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Exact area under the ROC curve of n labels and scores, ties counting half; NaN with one class only."""
    positives = int((labels > 0).sum())
    negatives = len(labels) - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return float((ranks[labels > 0].sum() - positives * (positives + 1) / 2) / (positives * negatives))
