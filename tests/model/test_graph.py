"""A graph that HugeCTR would refuse cannot be built, and each refusal says why."""

import json
from collections.abc import Callable

import pytest

from tests.conftest import FULL
from utils.handoff.contract import WIDEST
from utils.model.architectures import MODELS, Inputs
from utils.model.graph import MOST_CONSUMERS, Graph, GraphError, Slot


@pytest.fixture
def graph() -> Graph:
    """Two embeddings, 4 and 6 wide, of an id and of a list."""
    graph = Graph("toy")
    graph.embedding("userId", 10, 4)
    graph.embedding("genres", 5, 6, most_items=3)
    return graph


def test_each_layer_gives_its_width(graph: Graph) -> None:
    assert graph.slots == [Slot("userId", 10, 4), Slot("genres", 5, 6, most_items=3)]
    assert graph.concat(["userId_vector", "genres_vector"], "both") == "both"
    assert graph.slice("both", {"left": (0, 4), "right": (4, 8), "rest": (8, 10)}) == ["left", "right", "rest"]
    graph.multiply(["left", "right"], "product")
    graph.add(["left", "right", "product"], "sum")
    assert graph.add(["sum"], "alone") == "sum", "one tensor is its own sum"
    graph.relu(graph.dropout("sum", 0.5, "dropped"), "positive")
    graph.inner_product("positive", 7, "dense")
    graph.reduce_sum("dense", "logit")
    assert graph.widths == {
        "label": 1, "userId_embedding": 4, "userId_vector": 4, "genres_embedding": 6, "genres_vector": 6, "both": 10,
        "left": 4, "right": 4, "rest": 2, "product": 4, "sum": 4, "dropped": 4, "positive": 4, "dense": 7, "logit": 1,
    }  # fmt: skip
    assert graph.loss("logit") is graph and graph.logit == "logit"


REFUSALS: dict[str, Callable[[Graph], object]] = {
    "embedding of 'x': width 0 is not in 1..1024, HugeCTR's limit": lambda g: g.embedding("x", 10, 0),
    "embedding of 'x': width 1025 is not in 1..1024": lambda g: g.embedding("x", 10, WIDEST + 1),
    "embedding of 'x': rows=0 and most_items=None must be at least 1": lambda g: g.embedding("x", 0, 4),
    "embedding of 'x': rows=1 and most_items=0 must": lambda g: g.embedding("x", 1, 4, most_items=0),
    "column 'userId' has an embedding already": lambda g: g.embedding("userId", 10, 4),
    r"slice 'cut' \[0, 5\) leaves 'userId_vector', which is 4": lambda g: g.slice("userId_vector", {"cut": (0, 5)}),
    r"slice 'cut' \[-1, 2\) leaves 'userId_vector'": lambda g: g.slice("userId_vector", {"cut": (-1, 2)}),
    r"slice 'cut' \[2, 2\) leaves 'userId_vector'": lambda g: g.slice("userId_vector", {"cut": (2, 2)}),
    "slices of 'userId_vector' must start and end in ascending": lambda g: g.slice(
        "userId_vector", {"b": (2, 4), "a": (0, 2)}
    ),
    "must start and end in ascending order, not {'a'": lambda g: g.slice("userId_vector", {"a": (0, 4), "b": (1, 2)}),
    r"dropout 'out': rate 1 is not in \(0, 1\)": lambda g: g.dropout("userId_vector", 1, "out"),
    r"dropout 'out': rate 0 is not in \(0, 1\)": lambda g: g.dropout("userId_vector", 0, "out"),
    "Add 'sum' needs two or more tensors of one width, not {'userId_vector': 4, 'genres_vector': 6}": lambda g: g.add(
        ["userId_vector", "genres_vector"], "sum"
    ),
    "ElementwiseMultiply 'product' needs two or more": lambda g: g.multiply(["userId_vector"], "product"),
    r"there is no tensor 'movie' in 'toy'; there are \['genres_embedding'": lambda g: g.relu("movie", "out"),
    "the name 'userId_vector' is taken; HugeCTR has no in-place": lambda g: g.relu("userId_vector", "userId_vector"),
    r"the loss needs a \[batch, 1\] logit; 'userId_vector' is 4": lambda g: g.loss("userId_vector"),
    "the graph 'toy' has no loss yet": lambda g: g.logit,
}


@pytest.mark.parametrize("message", REFUSALS)
def test_what_hugectr_would_refuse(graph: Graph, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        REFUSALS[message](graph)


@pytest.mark.parametrize("together", [True, False])
def test_a_tensor_has_at_most_five_readers(together: bool) -> None:
    for readers in (MOST_CONSUMERS, MOST_CONSUMERS + 1):
        graph = Graph("greedy")
        user = graph.embedding("userId", 10, 4)
        if together:
            logit = graph.inner_product(graph.concat([user] * readers, "all"), 1, "logit")
        else:
            logit = graph.inner_product(user, 1, "logit")
            for number in range(readers - 1):
                graph.relu(user, f"relu_{number}")
        if readers <= MOST_CONSUMERS:
            graph.loss(logit)
        else:
            with pytest.raises(GraphError, match="'userId_vector' is read by 6 layers; HugeCTR allows 5"):
                graph.loss(logit)


def test_a_graph_makes_the_round_trip_through_json(inputs: Inputs) -> None:
    for build in MODELS.values():
        graph = build(inputs, FULL)
        again = Graph.from_dict(json.loads(json.dumps(graph.as_dict())))
        assert (again.name, again.slots, again.widths, again.logit) == (
            graph.name,
            graph.slots,
            graph.widths,
            graph.logit,
        )
        assert json.dumps(again.as_dict()) == json.dumps(graph.as_dict())


def test_the_drawing_shows_every_layer_and_no_reshape(graph: Graph) -> None:
    graph.embedding("movieId_duplicate", 7, 6, frozen=True)
    graph.slice("movieId_duplicate_vector", {"left": (0, 4), "right": (4, 6)})
    graph.multiply(["userId_vector", "left"], "product")
    joined = graph.concat(["product", "genres_vector", "right"], "joined")
    graph.loss(graph.inner_product(joined, 1, "logit"))
    assert graph.slots_behind()["logit"] == {"userId", "genres", "movieId_duplicate"}
    nodes, edges = graph.drawing()
    cut = "slice of movieId_duplicate_vector"
    assert {name: kind for name, _, kind in nodes} == {
        "label": "input", "userId": "embedding", "genres": "embedding", "movieId_duplicate": "frozen table",
        cut: "layer", "product": "layer", "joined": "layer", "logit": "layer", "loss": "layer",
    }  # fmt: skip
    assert sorted(edges) == sorted([
        ("movieId_duplicate", cut), ("userId", "product"), (cut, "product"), ("product", "joined"), (cut, "joined"),
        ("genres", "joined"), ("joined", "logit"), ("logit", "loss"), ("label", "loss"),
    ])  # fmt: skip
