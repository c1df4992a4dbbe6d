"""Stage 07: export a trained model for serving, as one ONNX file that takes raw ids and gives probabilities.

Vocabularies, genres and the content table are inside, so a server needs nothing else. The file is written
node by node from the same ``Graph`` as the HugeCTR script and the PyTorch module.
Inputs: ``userId`` and ``movieId``, int64 [batch]. Output: ``probability``, float32 [batch]. Opset 17 with
ai.onnx.ml 4. Unknown users and movies get the out-of-vocabulary code, unknown movies mean content.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from utils.etl.workflow import OUT_OF_VOCABULARY
from utils.handoff import store
from utils.model.graph import Layer
from utils.model.torch_model import Twin
from utils.model.training.fit import SCORE_ROWS

OPSETS = (helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 4))
_OPERATIONS = {"ReLU": "Relu", "Add": "Sum", "ElementwiseMultiply": "Mul", "Dropout": "Identity", "Reshape": "Identity"}


class ServingError(RuntimeError):
    """The exported model does not give the numbers of the trained one."""


@dataclass
class _Builder:
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)

    def constant(self, name: str, values: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=outputs[0], **attributes))
        return outputs[0]


def export(
    path: Path, twin: Twin, user_codes: Mapping[int, int], movie_ids: np.ndarray, movies: Mapping[str, np.ndarray]
) -> None:
    """Write the model to ``path``, atomically.

    ``user_codes`` maps raw userId to code; ``movie_ids`` int64 [movies] are the catalogue and ``movies`` its
    codes, column to int [movies] or [movies, items] (``Catalogue.codes``).
    """
    build = _Builder()
    users = {"keys_int64s": list(user_codes), "values_int64s": list(user_codes.values())}
    build.node(
        "LabelEncoder", ["userId"], ["userId_code"], domain="ai.onnx.ml", default_int64=OUT_OF_VOCABULARY, **users
    )
    rows = {"keys_int64s": movie_ids.tolist(), "values_int64s": list(range(len(movie_ids)))}
    build.node("LabelEncoder", ["movieId"], ["movie_row"], domain="ai.onnx.ml", default_int64=len(movie_ids), **rows)
    for column, codes in movies.items():
        unknown = np.full_like(codes[:1], 0 if codes.ndim > 1 else OUT_OF_VOCABULARY)
        table = build.constant(f"{column}_of_movie", np.concatenate([codes, unknown]).astype(np.int64))
        build.node("Gather", [table, "movie_row"], [f"{column}_code"])
    for slot in twin.graph.slots:
        table = build.constant(f"{slot.column}_table", twin.table(slot.column).weight.detach().cpu().numpy())
        found = f"{slot.column}_rows" if slot.most_items > 1 else f"{slot.column}_embedding"
        build.node("Gather", [table, f"{slot.column}_code"], [found])
        if slot.most_items > 1:
            axis = build.constant(f"{slot.column}_axis", np.array([1], np.int64))
            build.node("ReduceSum", [found, axis], [f"{slot.column}_embedding"], keepdims=0)
    for layer in twin.graph.layers[:-1]:
        _layer(build, layer, twin)
    build.node("Sigmoid", [twin.graph.logit], ["probabilities"])
    build.node("Squeeze", ["probabilities", build.constant("last", np.array([1], np.int64))], ["probability"])
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch"]) for name in ("userId", "movieId")]
    outputs = [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["batch"])]
    graph = helper.make_graph(build.nodes, twin.graph.name, inputs, outputs, build.constants)
    model = helper.make_model(graph, opset_imports=list(OPSETS), ir_version=9, producer_name="multimodal-movielens")
    onnx.checker.check_model(model)
    with store.writing(path) as temporary:
        onnx.save(model, str(temporary))


def _layer(build: _Builder, layer: Layer, twin: Twin) -> None:
    bottoms, top = list(layer.bottoms), layer.tops[0]
    if layer.kind == "InnerProduct":
        linear = twin.linear(top)
        weight = build.constant(f"{top}_weight", linear.weight.detach().cpu().numpy())
        bias = build.constant(f"{top}_bias", linear.bias.detach().cpu().numpy())
        build.node("Gemm", [*bottoms, weight, bias], [top], transB=1)
    elif layer.kind == "Concat":
        build.node("Concat", bottoms, [top], axis=1)
    elif layer.kind == "ReduceSum":
        build.node("ReduceSum", [*bottoms, build.constant(f"{top}_axis", np.array([1], np.int64))], [top], keepdims=1)
    elif layer.kind == "Slice":
        for name, (start, stop) in zip(layer.tops, layer.arguments["ranges"], strict=True):
            ends = [build.constant(f"{name}_{i}", np.array([n], np.int64)) for i, n in enumerate((start, stop, 1))]
            build.node("Slice", [*bottoms, *ends], [name])
    else:
        build.node(_OPERATIONS[layer.kind], bottoms, [top])


def predict(path: Path, users: np.ndarray, movies: np.ndarray) -> np.ndarray:
    """Return the probabilities float32 [n] of raw ``users`` and ``movies`` int64 [n], by onnxruntime."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    scores = np.empty(len(users), np.float32)
    for start in range(0, len(users), SCORE_ROWS):
        rows = slice(start, start + SCORE_ROWS)
        feeds = {"userId": users[rows].astype(np.int64), "movieId": movies[rows].astype(np.int64)}
        scores[rows] = session.run(["probability"], feeds)[0]
    return scores


def check(path: Path, users: np.ndarray, movies: np.ndarray, scores: np.ndarray, tolerance: float = 1e-5) -> float:
    """Return the largest difference of the file's probabilities from ``scores``; ServingError above ``tolerance``."""
    difference = float(np.abs(predict(path, users, movies) - scores).max(initial=0))
    if not difference <= tolerance:
        raise ServingError(
            f"{path} differs from the trained model by {difference:.2g}, more than {tolerance:g}. Export it again; "
            "if that does not help, the onnxruntime here computes something else than PyTorch."
        )
    return difference
