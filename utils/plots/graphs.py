"""Graphs as boxes and arrows, left to right: the way of the data (00), the workflow of 06 and the model of 07.

networkx checks the graph and sorts it into layers. Boxes are placed near the mean of their neighbours, after Sugiyama,
Tagawa and Toda (IEEE Trans. SMC 11, 1981); graphviz would do that too, but it is a system package readers may not have.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import networkx as nx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path
from scipy.optimize import isotonic_regression

from utils.handoff.contract import ARTEFACTS
from utils.plots.style import COLOURS, FILLS, QUIET, WIDTH, Picture, PlotError, canvas, printable, style, text_width

SIZE = 7.5
"""Points of the type: more than 9 pixels where a page of 10 inches is shown 900 pixels wide."""
LINE, INSIDE, APART, BETWEEN, MARGIN, HEAD, FOOT = 0.14, 0.08, 0.13, 0.24, 0.1, 0.36, 0.28
"""Inches: a line, around the text of a box, between boxes of a layer, between layers, around all, title, legend."""
WRAPS = (24, 22, 20, 18, 16, 14)
"""Characters of a line, tried from the longest until the drawing fits the page."""
SWEEPS = 24
"""Rounds in which every place moves towards its neighbours."""
READS = ("01-02", "02-03", "02-04", "03-05", "04-05", "05-06", "01-06", "05-07", "06-07")
"""Who wrote and who reads, where it is worth an arrow."""

Place = str | tuple[str, str, int]
"""A node, or where an edge passes a layer: (from, to, layer)."""


@dataclass
class Box:
    """Where a node is drawn, in inches from the top left corner, with its lines (text, bold)."""

    x: float
    y: float
    width: float
    height: float
    lines: Sequence[tuple[str, bool]] = ()


def data_flow_map() -> Picture:
    """Draw the way of the data: each notebook, the files it writes, and who reads them."""
    labels: dict[str, str] = {}
    for artefact in ARTEFACTS.values():
        number, _, title = artefact.notebook.partition("-")
        folder = "/" * ("." not in artefact.path)
        labels.setdefault(number, f"{number} {title.replace('-', ' ')}")
        labels[number] += f"\n{artefact.path.removesuffix('.parquet')}{folder}"
    graph = _graph([(number, label, number) for number, label in labels.items()], [(r[:2], r[3:]) for r in READS])
    note = "Each notebook reads only what earlier ones wrote. A file without an ending is .parquet."
    return _drawing(graph, "The way of the data", note)


def graph_drawing(nodes: Sequence[tuple[str, str, str]], edges: Sequence[tuple[str, str]], title: str = "") -> Picture:
    """Draw ``nodes`` (name, label, kind) and ``edges`` (from name, to name); kinds have a colour and a legend entry.

    The first line of a label is its heading. Nodes of one kind in a row, of which each has only the next, share a box.
    Raises PlotError for a name that is there twice, an edge from or to nowhere, or a cycle.
    """
    graph = _graph(nodes, edges)
    for name in list(nx.topological_sort(graph)):
        before = list(graph.pred[name])
        if len(before) == 1 and len(graph.succ[before[0]]) == 1:
            above, own = graph.nodes[before[0]], graph.nodes[name]
            if above["kind"] == own["kind"]:
                above["labels"] += own["labels"]
                graph.add_edges_from([(before[0], after) for after in graph.succ[name]])
                graph.remove_node(name)
    return _drawing(graph, printable(title))


def _graph(nodes: Sequence[tuple[str, str, str]], edges: Sequence[tuple[str, str]]) -> nx.DiGraph:
    graph = nx.DiGraph()
    for name, label, kind in nodes:
        if name in graph:
            raise PlotError(f"Node {name!r} is there twice: give each node its own name.")
        graph.add_node(name, labels=[label], kind=kind)
    for edge in edges:
        for end in edge:
            if end not in graph:
                raise PlotError(f"Edge {edge[0]!r} -> {edge[1]!r}: there is no node {end!r}, only {list(graph)}.")
    graph.add_edges_from(edges)
    if not nx.is_directed_acyclic_graph(graph):
        raise PlotError(f"The graph has a cycle, {nx.find_cycle(graph)}: only acyclic graphs can be drawn.")
    return graph


def _drawing(graph: nx.DiGraph, title: str, note: str = "") -> Picture:
    """Draw a checked graph; ``note`` stands below it in place of the legend."""
    kinds = list(dict.fromkeys(kind for _, kind in graph.nodes(data="kind")))
    chains, layers = _layers(graph)
    boxes = _boxes(graph, chains, layers)
    width = max([3.0, *(box.x + box.width + MARGIN for box in boxes.values())])
    height = max([HEAD + 0.4, *(box.y + box.height for box in boxes.values())]) + FOOT
    scale = min(1.0, WIDTH / width)
    with style():
        figure, axes = canvas(width * scale, height * scale)
        axes.set(xlim=(0, width), ylim=(height, 0))
        axes.text(MARGIN, 0.09, title, va="top", fontsize=10 * scale)
        for chain in chains:
            _arrow(axes, [boxes[name] for name in chain])
        for name, kind in graph.nodes(data="kind"):
            _box(axes, boxes[name], kinds.index(kind) % len(FILLS), scale)
        axes.text(MARGIN, height - FOOT / 2, note, va="center", fontsize=SIZE * scale, color=QUIET)
        if len(kinds) > 1 and not note:
            looks = zip(map(printable, kinds), FILLS, COLOURS, strict=False)
            marks = [Line2D([], [], ls="", marker="s", mfc=fill, mec=edge, label=kind) for kind, fill, edge in looks]
            axes.legend(handles=marks, loc="lower left", ncols=9, fontsize=SIZE * scale, labelcolor=QUIET)
        if not graph:
            axes.text(MARGIN, HEAD + 0.2, "nothing to draw", color=QUIET)
    return figure


def _layers(graph: nx.DiGraph) -> tuple[list[list[Place]], list[list[Place]]]:
    """Return for each edge the chain of places it goes through, and the places of each layer."""
    layer: dict[Place, int] = {}
    for depth, names in enumerate(nx.topological_generations(graph)):
        layer |= dict.fromkeys(names, depth)
    for name in graph:
        # An input stands just before what uses it, which shortens its arrows.
        if not graph.pred[name] and graph.succ[name]:
            layer[name] = min(layer[after] for after in graph.succ[name]) - 1
    chains = []
    for a, b in graph.edges:
        passed: dict[Place, int] = {(a, b, depth): depth for depth in range(layer[a] + 1, layer[b])}
        layer |= passed
        chains.append([a, *passed, b])
    return chains, [[name for name in layer if layer[name] == depth] for depth in sorted(set(layer.values()))]


def _boxes(graph: nx.DiGraph, chains: list[list[Place]], layers: list[list[Place]]) -> dict[Place, Box]:
    """Return where each node is, and each place where an edge passes a layer: as wide as the layer, without height."""
    for wrap in WRAPS:
        lines = {name: _lines(labels, wrap) for name, labels in graph.nodes(data="labels")}
        texts = [[line for name in layer for line in lines.get(name, [])] for layer in layers]
        widths = [max(text_width(text, SIZE, bold) for text, bold in own) + 2 * INSIDE for own in texts]
        if sum(widths) + (len(widths) - 1) * BETWEEN + 2 * MARGIN <= WIDTH:
            break
    height = {name: LINE * len(text) + 2 * INSIDE for name, text in lines.items()}
    centre = _centres(chains, layers, height)
    top = min((middle - height.get(name, 0.0) / 2 for name, middle in centre.items()), default=0.0) - HEAD
    boxes, x = {}, MARGIN
    for layer, width in zip(layers, widths, strict=True):
        for name in layer:
            high = height.get(name, 0.0)
            boxes[name] = Box(x, centre[name] - high / 2 - top, width, high, lines.get(name, []))
        x += width + BETWEEN
    return boxes


def _lines(labels: Sequence[str], wrap: int) -> list[tuple[str, bool]]:
    """Return the lines of a box, the first of each label bold; names may break after an underscore."""
    lines = []
    for label in labels:
        for number, line in enumerate(label.split("\n")):
            breakable = printable(line).replace("_", "_\t")
            pieces = textwrap.wrap(breakable, wrap, expand_tabs=False, replace_whitespace=False, break_long_words=False)
            lines += [(piece.replace("\t", ""), number == 0) for piece in pieces or [""]]
    return lines


def _centres(chains: list[list[Place]], layers: list[list[Place]], height: Mapping[Place, float]) -> dict[Place, float]:
    """Return where the middle of each place is: near the mean of its neighbours, in its layer without overlap."""
    links = nx.DiGraph()
    for chain in chains:
        nx.add_path(links, chain)
    links.add_nodes_from(name for layer in layers for name in layer)
    centre: dict[Place, float] = {}
    for sweep in range(SWEEPS):
        # Down, up, and in the end by both sides at once.
        near = (links.pred, links.succ, nx.Graph(links).adj)[2 if sweep > SWEEPS - 5 else sweep % 2]
        for layer in layers if sweep % 2 == 0 else layers[::-1]:
            wish = {a: np.mean([centre[b] for b in near[a] if b in centre] or [centre.get(a, 0.0)]) for a in layer}
            layer.sort(key=lambda name: wish[name])
            sizes = np.array([height.get(name, 0.0) + APART for name in layer])
            packed = sizes.cumsum() - sizes / 2
            # Least squares from the wishes among all places in this order that leave each its room.
            centre |= zip(layer, isotonic_regression([wish[a] for a in layer] - packed).x + packed, strict=True)
    return centre


def _box(axes: Axes, box: Box, number: int, scale: float) -> None:
    corner, inner = (box.x + 0.04, box.y + 0.04), (box.width - 0.08, box.height - 0.08)
    shape = FancyBboxPatch(corner, *inner, "round,pad=0.04", fc=FILLS[number], ec=COLOURS[number], lw=1.1, zorder=2)
    axes.add_patch(shape)
    for row, (text, bold) in enumerate(box.lines):
        y, weight = box.y + INSIDE + LINE * (row + 0.5), "bold" if bold else "normal"
        axes.text(box.x + INSIDE, y, text, va="center", fontsize=SIZE * scale, weight=weight, zorder=3)


def _arrow(axes: Axes, boxes: Sequence[Box]) -> None:
    """Draw an arrow from the first box to the last, straight through the places between them."""
    points, codes = [], []
    for before, after in pairwise(boxes):
        x, y = before.x + before.width, before.y + before.height / 2
        end, level = after.x, after.y + after.height / 2
        points += [(x, y), ((x + end) / 2, y), ((x + end) / 2, level), (end, level)]
        codes += [Path.LINETO if points[4:] else Path.MOVETO, *[Path.CURVE4] * 3]
    path = Path(points, codes)
    axes.add_patch(FancyArrowPatch(path=path, arrowstyle="-|>", mutation_scale=8, lw=1, color=QUIET, zorder=1))
