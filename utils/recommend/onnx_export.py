"""Stage 07: export a trained model for serving, as one ONNX file that takes raw ids and gives probabilities.

Vocabularies, genres and the content table are inside, so a server needs nothing else. Inputs: ``userId`` and
``movieId``, int64 [batch]. Output: ``probability``, float32 [batch]. Opset 17 with ai.onnx.ml 4. Unknown users and
movies get the out-of-vocabulary code, unknown movies mean content.

It is written node by node from the same ``Graph`` as the HugeCTR script and the PyTorch module. ``torch.onnx`` cannot
export that module's shortcuts, took 160 s instead of 1.5 s for the ids of ML-25M, and put paths of the machine inside.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
from onnx import TensorProto, helper, numpy_helper

from utils.etl.workflow import OUT_OF_VOCABULARY
from utils.handoff.atomic import writing
from utils.machine import threads
from utils.model.graph import Layer
from utils.model.list_model import HABIT, ListModel
from utils.model.torch_model import Twin
from utils.model.training.fit import SCORE_ROWS

OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 4)]
_OPERATIONS = {"InnerProduct": "Gemm", "ReLU": "Relu", "Add": "Sum", "ElementwiseMultiply": "Mul"}
_OPERATIONS |= dict.fromkeys(("Dropout", "Reshape"), "Identity")
_ATTRIBUTES = {"InnerProduct": {"transB": 1}, "Concat": {"axis": 1}, "ReduceSum": {"keepdims": 1}}


class ServingError(RuntimeError):
    """The exported model does not give the numbers of the trained one."""


class _Builder:
    """Nodes and constants of a file under construction; a node is called like the tensor it makes."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, values: np.ndarray | list[int]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))

    def codes(self, raw: str, codes: Mapping[int, int], unknown: int, output: str) -> None:
        pairs = {"keys_int64s": list(codes), "values_int64s": list(codes.values()), "default_int64": unknown}
        self.node("LabelEncoder", [raw], output, domain="ai.onnx.ml", **pairs)

    def save(self, path: Path, name: str, inputs: list[Any], outputs: list[Any]) -> None:
        graph = helper.make_graph(self.nodes, name, inputs, outputs, self.constants)
        model = helper.make_model(graph, opset_imports=OPSETS, ir_version=9, producer_name="multimodal-movielens")
        onnx.checker.check_model(model)
        with writing(path) as temporary:
            onnx.save(model, str(temporary))

    def layer(self, layer: Layer, twin: Twin) -> None:
        inputs, top = list(layer.bottoms), layer.tops[0]
        if layer.kind == "Slice":
            for name, ends in zip(layer.tops, layer.arguments["ranges"], strict=True):
                columns = self.constant(f"{name}_columns", np.arange(*ends))
                self.node("Gather", [*inputs, columns], name, axis=1)
            return
        if layer.kind == "InnerProduct":
            linear = twin.linear(top).named_parameters()
            inputs += [self.constant(f"{top}_{name}", values.numpy(force=True)) for name, values in linear]
        elif layer.kind == "ReduceSum":
            inputs.append("axis_1")
        self.node(_OPERATIONS.get(layer.kind, layer.kind), inputs, top, **_ATTRIBUTES.get(layer.kind, {}))


def export(
    path: Path, twin: Twin, user_codes: Mapping[int, int], movie_ids: np.ndarray, movies: Mapping[str, np.ndarray]
) -> None:
    """Write the model to ``path``, atomically.

    ``user_codes`` maps raw userId to code; ``movie_ids`` int64 [movies] are the catalogue and ``movies`` its
    codes, column to int [movies] or [movies, items] (``Catalogue.codes``).
    """
    build, count = _Builder(), len(movie_ids)
    build.constant("axis_1", [1])
    build.codes("userId", user_codes, OUT_OF_VOCABULARY, "userId_code")
    build.codes("movieId", dict(zip(movie_ids.tolist(), range(count), strict=True)), count, "movie_row")
    for column, codes in movies.items():
        unknown = np.full_like(codes[:1], 0 if codes.ndim > 1 else OUT_OF_VOCABULARY)
        table = build.constant(f"{column}_of_movie", np.concatenate([codes, unknown]).astype(np.int64))
        build.node("Gather", [table, "movie_row"], f"{column}_code")
    for slot in twin.graph.slots:
        table = build.constant(f"{slot.column}_table", twin.table(slot.column).weight.numpy(force=True))
        found = f"{slot.column}_rows" if slot.is_list else f"{slot.column}_embedding"
        build.node("Gather", [table, f"{slot.column}_code"], found)
        if slot.is_list:
            build.node("ReduceSum", [found, "axis_1"], f"{slot.column}_embedding", keepdims=0)
    for layer in twin.graph.layers[:-1]:
        build.layer(layer, twin)
    build.node("Sigmoid", [twin.graph.logit], "probabilities")
    build.node("Squeeze", ["probabilities", "axis_1"], "probability")
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch"]) for name in ("userId", "movieId")]
    outputs = [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["batch"])]
    build.save(path, twin.graph.name, inputs, outputs)


def export_lists(path: Path, model: ListModel, movie_ids: np.ndarray, k: int = 20) -> None:
    """Write the list model to ``path``, atomically: what someone liked in, the ``k`` best other movies out.

    Input: ``liked``, int64 [n], raw movieIds; unknown ones count for nothing. Outputs: ``movieId`` int64 and ``score``
    float32, [k] each (or all movies, where there are fewer), best first.
    """
    build, count, known = _Builder(), len(movie_ids), len(model.known)
    place = np.full(count + 1, known)
    place[model.known] = np.arange(known)
    build.codes("liked", dict(zip(movie_ids.tolist(), range(count), strict=True)), count, "row")
    build.constant("axis_0", [0])
    tables = {
        "weight": np.append(np.ones(count, np.float32), np.float32(0)),
        "content": np.vstack([model.content, np.zeros_like(model.content[:1])]),
        "place": place.astype(np.int64),
        "taken": np.full(count + 1, -np.inf, np.float32),
    }
    for name, table in tables.items():
        build.node("Gather", [build.constant(f"{name}_of", table), "row"], name)
    build.node("ReduceSum", ["weight", "axis_0"], "liked_movies", keepdims=1)
    build.node("ReduceSum", ["content", "axis_0"], "summed", keepdims=0)
    build.node("Max", ["liked_movies", build.constant("least", np.array([1e-9], np.float32))], "at_least")
    build.node("Sqrt", ["at_least"], "root")
    build.node("Div", ["summed", "root"], "profile")
    build.node("MatMul", ["profile", build.constant("mapped", model.mapped * model.of_content)], "of_content")
    for name, table in (("weights", model.weights), ("lift", model.lift)):
        longer = np.vstack([table, np.zeros((1, known), np.float32)])
        build.node("Gather", [build.constant(name, longer), "place"], f"{name}_of_each")
        build.node("ReduceSum", [f"{name}_of_each", "axis_0"], f"{name}_of_likes", keepdims=0)
    numbers = {
        "few": model.few,
        "habit": HABIT,
        "most": model.most,
        "one": 1.0,
        "prior": model.prior,
        "trend": model.trend,
    }
    for name, value in numbers.items():
        build.constant(name, np.array([value], np.float32))
    build.node("Div", ["liked_movies", "habit"], "habits")
    build.node("Add", ["habits", "one"], "known_of_them")
    build.node("Div", ["prior", "known_of_them"], "prior_left")
    build.node("Div", ["lift_of_likes", "at_least"], "lifted")
    build.node("Greater", ["liked_movies", "few"], "no_stranger")
    build.node("Where", ["no_stranger", "prior_left", "most"], "own_pull")
    build.node("Where", ["no_stranger", "weights_of_likes", "lifted"], "of_likes")
    build.node("Add", ["own_pull", "trend"], "pull")
    build.node("Mul", [build.constant("recent_known", model.recent[model.known]), "pull"], "of_all")
    build.node("Add", ["of_likes", "of_all"], "of_known")
    known_movies = build.constant("known", model.known)
    build.node("ScatterElements", ["of_content", known_movies, "of_known"], "all_scores", reduction="add")
    build.node("Greater", ["liked_movies", build.constant("zero", np.zeros(1, np.float32))], "anything")
    build.node("Where", ["anything", "all_scores", build.constant("recent", model.recent)], "scores")
    build.node("Concat", ["scores", build.constant("unknown_movie", np.zeros(1, np.float32))], "longer", axis=0)
    build.node("ScatterElements", ["longer", "row", "taken"], "open")
    every = build.constant("every", np.arange(count))
    build.node("Gather", ["open", every], "candidates", axis=0)
    build.constants.append(numpy_helper.from_array(np.array([min(k, count)], np.int64), "k"))
    build.nodes.append(helper.make_node("TopK", ["candidates", "k"], ["score", "best"]))
    build.node("Gather", [build.constant("movie_ids", movie_ids.astype(np.int64)), "best"], "movieId")
    inputs = [helper.make_tensor_value_info("liked", TensorProto.INT64, ["n"])]
    outputs = [
        helper.make_tensor_value_info("movieId", TensorProto.INT64, ["k"]),
        helper.make_tensor_value_info("score", TensorProto.FLOAT, ["k"]),
    ]
    build.save(path, "lists", inputs, outputs)


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads.THREADS
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def predict(path: Path, users: np.ndarray, movies: np.ndarray) -> np.ndarray:
    """Return the probabilities float32 [n] of raw ``users`` and ``movies`` int64 [n], by onnxruntime."""
    session = _session(path)
    scores = np.empty(len(users), np.float32)
    for start in range(0, len(users), SCORE_ROWS):
        rows = slice(start, start + SCORE_ROWS)
        feeds = {"userId": users[rows].astype(np.int64), "movieId": movies[rows].astype(np.int64)}
        scores[rows] = session.run(["probability"], feeds)[0]
    return scores


def lists(path: Path, liked: Sequence[int]) -> pd.DataFrame:
    """Return what the file of ``export_lists`` recommends to someone who liked these: movieId and score, best first."""
    found = _session(path).run(["movieId", "score"], {"liked": np.asarray(liked, np.int64)})
    best = pd.DataFrame(dict(zip(("movieId", "score"), found, strict=True)))
    return best[np.isfinite(best["score"])]  # what they liked themselves is no recommendation


def check(path: Path, users: np.ndarray, movies: np.ndarray, scores: np.ndarray, tolerance: float = 1e-5) -> float:
    """Return the largest difference of the file's probabilities from ``scores``; ServingError above ``tolerance``."""
    difference = float(np.abs(predict(path, users, movies) - scores).max(initial=0))
    if not difference <= tolerance:
        raise ServingError(
            f"{path} differs from the trained model by {difference:.2g}, more than {tolerance:g}. Export it again; "
            "if that does not help, the onnxruntime here computes something else than PyTorch."
        )
    return difference
