"""Boxes and arrows: nothing is left out, nothing overlaps, and everything can be read at page width."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from tests.plots.conftest import png, words
from utils.handoff import contract
from utils.model.architectures import MODELS, Inputs
from utils.model.feature_sets import parse
from utils.plots import graphs, style
from utils.plots.style import PlotError

LEGIBLE = 9 / 900 * style.WIDTH * 72
"""Points of type that is 9 pixels high where a picture of full width is 900 pixels wide."""
NODES = [("u", "userId", "column"), ("m", "movieId", "column"), ("cu", "Categorify\n943 users", "operator")]
NODES += [("cm", "Categorify", "operator"), ("all", "a long label of the output that is wrapped in lines", "output")]
EDGES = [("u", "cu"), ("m", "cm"), ("cu", "all"), ("cm", "all"), ("u", "all")]


def drawn(figure: style.Picture, height: float = style.HEIGHT) -> tuple[int, int]:
    """Return the number of boxes and of arrows, once the figure is found to fit the page and to be legible."""
    png(figure, height)
    assert min(text.get_fontsize() for text in figure.axes[0].texts if text.get_text()) >= LEGIBLE
    kinds = [type(patch) for patch in figure.axes[0].patches]
    return kinds.count(FancyBboxPatch), kinds.count(FancyArrowPatch)


def test_data_flow_map_names_every_file_of_the_contract():
    figure = graphs.data_flow_map()
    assert drawn(figure) == (7, 9)
    flat = words(figure).replace("\n", "")
    assert all(artefact.path.removesuffix(".parquet") in flat for artefact in contract.ARTEFACTS.values())


def test_graph_drawing():
    figure = graphs.graph_drawing(NODES, EDGES, "Workflow")
    assert drawn(figure) == (len(NODES), len(EDGES))
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert legend == ["column", "operator", "output"]


def test_nodes_of_one_kind_in_a_row_share_a_box():
    nodes = [("in", "in", "input"), *((name, f"{name}\nwide", "layer") for name in "abcd")]
    figure = graphs.graph_drawing(nodes, [("in", "a"), ("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")])
    assert drawn(figure) == (4, 4), "b and c are in one box; a leads to both, and d comes from both"
    assert all(f"{name}\nwide" in words(figure) for name in "abcd")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("features", [parse("ids"), parse("ids+genres+facts+poster+text")])
def test_the_models_of_the_series_are_legible(inputs: Inputs, model: str, features: str):
    graph = MODELS[model](inputs, features)
    figure = graphs.graph_drawing(*graph.drawing(), title=graph.name)
    assert drawn(figure, height=6.5)
    flat = words(figure).replace("\n", "")
    assert all(layer.tops[0] in flat for layer in graph.layers if layer.kind == "InnerProduct")


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 14), st.data())
def test_no_boxes_of_any_graph_overlap_and_arrows_go_forward_between_them(size, data):
    pairs = [(str(a), str(b)) for b in range(size) for a in range(b)]
    edges = data.draw(st.lists(st.sampled_from(pairs), max_size=20)) if pairs else []
    graph = graphs._graph([(str(number), f"layer {number}\nof the model", "layer") for number in range(size)], edges)
    chains, layers = graphs._layers(graph)
    boxes = graphs._boxes(graph, chains, layers)
    for layer in layers:
        column = [boxes[name] for name in sorted(layer, key=lambda name: boxes[name].y)]
        assert column[0].x > 0 and column[0].y >= graphs.HEAD - 1e-6 and len({box.x for box in column}) == 1
        assert all(above.y + above.height < below.y for above, below in pairwise(column))
    assert {(chain[0], chain[-1]) for chain in chains} == set(edges)
    assert all(boxes[a].x + boxes[a].width < boxes[b].x for chain in chains for a, b in pairwise(chain))


def test_a_graph_that_is_wider_than_the_page_is_drawn_smaller():
    nodes = [(str(number), "a label of many characters", str(number % 2)) for number in range(30)]
    png(graphs.graph_drawing(nodes, [(str(number), str(number + 1)) for number in range(29)]))


@pytest.mark.parametrize(
    ("nodes", "edges", "message"),
    [
        (NODES, [("u", "cu"), ("cu", "u")], r"has a cycle, \[\('u', 'cu'\), \('cu', 'u'\)\]"),
        (NODES, [("u", "nowhere")], "Edge 'u' -> 'nowhere': there is no node 'nowhere'"),
        ([*NODES, NODES[0]], [], "Node 'u' is there twice"),
    ],
)
def test_graph_refusals(nodes, edges, message):
    with pytest.raises(PlotError, match=message):
        graphs.graph_drawing(nodes, edges)
