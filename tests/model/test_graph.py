"""A graph that HugeCTR would refuse cannot be built, and each refusal says why."""

import pytest

from utils.handoff.contract import WIDEST
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
    assert graph.widths == {
        "label": 1, "userId_embedding": 4, "userId_vector": 4, "genres_embedding": 6, "genres_vector": 6,
    }  # fmt: skip
    assert graph.concat(["userId_vector", "genres_vector"], "both") == "both"
    assert graph.slice("both", {"left": (0, 4), "right": (4, 8), "rest": (8, 10)}) == ["left", "right", "rest"]
    graph.multiply(["left", "right"], "product")
    graph.add(["left", "right", "product"], "sum")
    graph.relu(graph.dropout("sum", 0.5, "dropped"), "positive")
    graph.inner_product("positive", 7, "dense")
    graph.reduce_sum("dense", "logit")
    wanted = {"both": 10, "left": 4, "right": 4, "rest": 2, "product": 4, "sum": 4, "positive": 4, "dense": 7}
    assert {name: graph.widths[name] for name in wanted} == wanted
    assert graph.widths["logit"] == 1
    assert graph.loss("logit") is graph
    assert graph.logit == "logit"


def test_one_tensor_is_its_own_sum(graph: Graph) -> None:
    before = len(graph.layers)
    assert graph.add(["userId_vector"], "sum") == "userId_vector"
    assert len(graph.layers) == before


@pytest.mark.parametrize("width", [0, WIDEST + 1])
def test_embeddings_are_at_most_1024_wide(width: int) -> None:
    Graph("toy").embedding("userId", 10, WIDEST)
    with pytest.raises(GraphError, match=rf"embedding of 'userId': width {width} is not in 1..1024, HugeCTR's limit"):
        Graph("toy").embedding("userId", 10, width)


def test_embeddings_that_cannot_be(graph: Graph) -> None:
    with pytest.raises(GraphError, match=r"embedding of 'x': rows=0 and most_items=1 must be at least 1"):
        graph.embedding("x", 0, 4)
    with pytest.raises(GraphError, match=r"embedding of 'x': rows=1 and most_items=0 must be at least 1"):
        graph.embedding("x", 1, 4, most_items=0)
    with pytest.raises(GraphError, match="column 'userId' has an embedding already"):
        graph.embedding("userId", 10, 4)


@pytest.mark.parametrize("span", [(0, 5), (-1, 2), (2, 2), (3, 1)])
def test_slices_stay_inside(graph: Graph, span: tuple[int, int]) -> None:
    wanted = rf"slice 'cut' \[{span[0]}, {span[1]}\) leaves 'userId_vector', which is 4 wide"
    with pytest.raises(GraphError, match=wanted):
        graph.slice("userId_vector", {"cut": span})


@pytest.mark.parametrize("rate", [0, 1, -0.5])
def test_dropout_rates(graph: Graph, rate: float) -> None:
    with pytest.raises(GraphError, match=rf"dropout 'out': rate {rate} is not in \(0, 1\)"):
        graph.dropout("userId_vector", rate, "out")


def test_widths_must_agree(graph: Graph) -> None:
    wanted = r"Add 'sum' needs two or more tensors of one width, not {'userId_vector': 4, 'genres_vector': 6}"
    with pytest.raises(GraphError, match=wanted):
        graph.add(["userId_vector", "genres_vector"], "sum")
    with pytest.raises(GraphError, match="ElementwiseMultiply 'product' needs two or more tensors"):
        graph.multiply(["userId_vector"], "product")


def test_unknown_and_reused_names(graph: Graph) -> None:
    with pytest.raises(GraphError, match=r"there is no tensor 'movie' in 'toy'; there are \['genres_embedding'"):
        graph.relu("movie", "out")
    with pytest.raises(GraphError, match="the name 'userId_vector' is taken; HugeCTR has no in-place layers"):
        graph.relu("userId_vector", "userId_vector")


def test_the_loss_needs_one_number_a_row(graph: Graph) -> None:
    with pytest.raises(GraphError, match=r"the loss needs a \[batch, 1\] logit; 'userId_vector' is 4 wide"):
        graph.loss("userId_vector")
    with pytest.raises(GraphError, match="the graph 'toy' has no loss yet"):
        _ = graph.logit
    with pytest.raises(GraphError, match="has no loss yet"):
        _ = Graph("empty").logit


def test_a_tensor_has_at_most_five_readers(graph: Graph) -> None:
    logit = graph.inner_product("userId_vector", 1, "logit")
    for number in range(MOST_CONSUMERS - 1):
        graph.relu("userId_vector", f"relu_{number}")
    graph.loss(logit)

    graph = Graph("greedy")
    graph.embedding("userId", 10, 4)
    for number in range(MOST_CONSUMERS):
        graph.relu("userId_vector", f"relu_{number}")
    logit = graph.inner_product("userId_vector", 1, "logit")
    with pytest.raises(GraphError, match="'userId_vector' is read by 6 layers; HugeCTR allows 5"):
        graph.loss(logit)


def test_reading_twice_counts_twice() -> None:
    graph = Graph("greedy")
    graph.embedding("userId", 10, 4)
    logit = graph.inner_product(graph.concat(["userId_vector"] * 6, "six"), 1, "logit")
    with pytest.raises(GraphError, match="'userId_vector' is read by 6 layers"):
        graph.loss(logit)


def test_which_columns_a_tensor_comes_from(graph: Graph) -> None:
    graph.slice("genres_vector", {"left": (0, 4), "right": (4, 6)})
    graph.multiply(["userId_vector", "left"], "product")
    graph.loss(graph.reduce_sum("product", "logit"))
    behind = graph.slots_behind()
    assert behind["userId_vector"] == {"userId"}
    assert behind["right"] == {"genres"}
    assert behind["product"] == behind["logit"] == {"userId", "genres"}
    assert behind["label"] == frozenset()
    assert set(behind) == set(graph.widths)


def test_the_drawing_shows_every_layer_and_no_reshape(graph: Graph) -> None:
    graph.embedding("movieId_duplicate", 7, 6, frozen=True)
    graph.slice("movieId_duplicate_vector", {"left": (0, 4), "right": (4, 6)})
    graph.multiply(["userId_vector", "left"], "product")
    joined = graph.concat(["product", "genres_vector", "right"], "joined")
    graph.loss(graph.inner_product(joined, 1, "logit"))
    nodes, edges = graph.drawing()
    kinds = {name: kind for name, _, kind in nodes}
    assert kinds == {
        "label": "input", "userId": "embedding", "genres": "embedding", "movieId_duplicate": "frozen table",
        "slice of movieId_duplicate_vector": "layer", "product": "layer", "joined": "layer", "logit": "layer",
        "loss": "layer",
    }  # fmt: skip
    assert len(nodes) == len(kinds)
    assert set(edges) == {
        ("movieId_duplicate", "slice of movieId_duplicate_vector"),
        ("userId", "product"),
        ("slice of movieId_duplicate_vector", "product"),
        ("product", "joined"),
        ("genres", "joined"),
        ("slice of movieId_duplicate_vector", "joined"),
        ("joined", "logit"),
        ("logit", "loss"),
        ("label", "loss"),
    }
    assert len(edges) == len(set(edges))
