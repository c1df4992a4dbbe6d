"""Draws an acyclic graph in layers: the workflow of 06 and the model of 07.

The layout follows Sugiyama, Tagawa and Toda (IEEE Trans. SMC 11, 1981): layers by longest path, order by
barycentres, coordinates by relaxation. It is here because graphviz is a system package readers may not have.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes

from utils.plots.boxes import canvas, draw_box, draw_link
from utils.plots.style import COLOURS, FILLS, HEIGHT, QUIET, WIDTH, Picture, PlotError, printable, style, text_width

LINE = 0.0185
"""Inches a line is high for each point of the type's size."""
TITLE, LEGEND, MARGIN, APART, BETWEEN = 0.34, 0.26, 0.1, 0.12, 0.24
"""Inches: of title and legend, around the drawing, between boxes of a layer, between layers."""
SIZES, WRAPS = (8.0, 7.5, 7.0, 6.5, 6.0, 5.5, 5.0), (26, 20, 15, 12)

Slot = tuple[str, ...]
"""A node (name,), or the place (from, to, layer) where an edge passes a layer."""


def graph_drawing(nodes: Sequence[tuple[str, str, str]], edges: Sequence[tuple[str, str]], title: str = "") -> Picture:
    """Draw ``nodes`` (name, label, kind) and ``edges`` (from name, to name); kinds have a colour and a legend entry.

    Left to right or top to bottom, whichever keeps the text larger. A label may hold line breaks.
    Raises PlotError for a name that is there twice, an edge from or to nowhere, or a cycle.
    """
    labels = {name: label for name, label, _ in nodes}
    _check(nodes, edges)
    layers, chains = _layers(list(labels), list(dict.fromkeys(edges)))
    layout = _best_layout(layers, chains, labels)
    kinds = list(dict.fromkeys(kind for _, _, kind in nodes))
    with style():
        figure, axes = canvas(*layout.extent)
        axes.text(MARGIN, 0.09, printable(title), va="top", fontsize=10)
        for chain in chains:
            draw_link(axes, [layout.boxes[slot] for slot in chain], layout.across)
        for name, _, kind in nodes:
            number = kinds.index(kind) % len(FILLS)
            x, y, width, height = layout.boxes[name,]
            draw_box(axes, x, y, width, height, FILLS[number], COLOURS[number])
            text = "\n".join(layout.lines[name])
            axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=layout.size, zorder=3)
        _legend(axes, kinds, layout.extent)
        if not nodes:
            axes.text(MARGIN, 0.6, "nothing to draw", color=QUIET)
    return figure


def _legend(axes: Axes, kinds: Sequence[str], extent: tuple[float, float]) -> None:
    x, y = MARGIN + 0.05, extent[1] - 0.13
    for number, kind in enumerate(kinds if len(kinds) > 1 else []):
        number %= len(FILLS)
        axes.plot([x], [y], "s", ms=6, mfc=FILLS[number], mec=COLOURS[number], clip_on=False)
        axes.text(x + 0.1, y, printable(kind), va="center", fontsize=7, color=QUIET)
        x += 0.3 + text_width(printable(kind), 7)


def _check(nodes: Sequence[tuple[str, str, str]], edges: Sequence[tuple[str, str]]) -> None:
    names = [name for name, _, _ in nodes]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise PlotError(f"Node {twice!r} is there twice: give each node its own name.")
    for edge in edges:
        for end in edge:
            if end not in set(names):
                raise PlotError(f"Edge {edge[0]!r} -> {edge[1]!r}: there is no node {end!r}, only {names}.")


def _layers(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> tuple[list[list[Slot]], list[list[Slot]]]:
    """Return the slots of each layer, in order, and for each edge the chain of slots it goes through."""
    depth: dict[str, int] = {}
    waiting = {name: {a for a, b in edges if b == name} for name in names}
    while waiting:
        ready = [name for name, before in waiting.items() if before <= depth.keys()]
        if not ready:
            raise PlotError(f"The graph has a cycle through some of {list(waiting)}: only acyclic graphs can be drawn.")
        for name in ready:
            depth[name] = max((depth[a] + 1 for a in waiting.pop(name)), default=0)
    for name in names:
        after = [depth[b] for a, b in edges if a == name]
        # An input stands just before what uses it, which shortens its arrows.
        if after and all(b != name for _, b in edges):
            depth[name] = min(after) - 1
    layers: list[list[Slot]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for name in names:
        layers[depth[name]].append((name,))
    chains = []
    for a, b in edges:
        passed: list[Slot] = [(a, b, str(layer)) for layer in range(depth[a] + 1, depth[b])]
        for layer, slot in enumerate(passed, depth[a] + 1):
            layers[layer].append(slot)
        chains.append([(a,), *passed, (b,)])
    return _ordered(layers, [pair for chain in chains for pair in pairwise(chain)]), chains


def _neighbours(links: Sequence[tuple[Slot, Slot]]) -> tuple[dict[Slot, list[Slot]], dict[Slot, list[Slot]]]:
    before: dict[Slot, list[Slot]] = {}
    after: dict[Slot, list[Slot]] = {}
    for a, b in links:
        after.setdefault(a, []).append(b)
        before.setdefault(b, []).append(a)
    return before, after


def _ordered(layers: list[list[Slot]], links: Sequence[tuple[Slot, Slot]]) -> list[list[Slot]]:
    """Return the layers in the order, of several sweeps by barycentre, that has the fewest crossings."""
    before, after = _neighbours(links)
    best, fewest = layers, _crossings(layers, links)
    for sweep in range(12):
        layers = [list(layer) for layer in layers]
        known, order = (before, layers) if sweep % 2 == 0 else (after, layers[::-1])
        for fixed, moving in pairwise(order):
            place = {slot: (i + 0.5) / len(fixed) for i, slot in enumerate(fixed)}
            own = {slot: (i + 0.5) / len(moving) for i, slot in enumerate(moving)}
            moving.sort(key=lambda slot: float(np.mean([place[o] for o in known.get(slot, [])] or [own[slot]])))
        crossings = _crossings(layers, links)
        if crossings < fewest:
            best, fewest = layers, crossings
    return best


def _crossings(layers: Sequence[Sequence[Slot]], links: Sequence[tuple[Slot, Slot]]) -> int:
    place = {slot: (number, i) for number, layer in enumerate(layers) for i, slot in enumerate(layer)}
    ends = np.array([(*place[a], place[b][1]) for a, b in links], int).reshape(-1, 3)
    layer, start, stop = ends.T
    same = layer[:, None] == layer
    return int((same & (start[:, None] < start) & (stop[:, None] > stop)).sum())


@dataclass
class _Layout:
    boxes: dict[Slot, tuple[float, float, float, float]]
    lines: dict[str, list[str]]
    extent: tuple[float, float]
    size: float
    across: bool


def _best_layout(
    layers: Sequence[Sequence[Slot]], chains: Sequence[Sequence[Slot]], labels: Mapping[str, str]
) -> _Layout:
    """Return the layout with the largest type that fits the page; failing that, the smallest type scaled down."""
    links = [pair for chain in chains for pair in pairwise(chain)]
    smallest = None
    for size in SIZES:
        for wrap in WRAPS:
            lines = {name: _wrapped(label, wrap) for name, label in labels.items()}
            for across in (True, False):
                layout = _placed(layers, links, lines, size, across)
                if layout.extent[0] <= WIDTH and layout.extent[1] <= HEIGHT:
                    return layout
                excess = max(layout.extent[0] / WIDTH, layout.extent[1] / HEIGHT)
                if smallest is None or excess < smallest[0]:
                    smallest = (excess, layout)
    assert smallest is not None
    scale, layout = smallest
    boxes = {slot: (x / scale, y / scale, w / scale, h / scale) for slot, (x, y, w, h) in layout.boxes.items()}
    extent = (layout.extent[0] / scale, layout.extent[1] / scale)
    return _Layout(boxes, layout.lines, extent, layout.size / scale, layout.across)


def _wrapped(label: str, width: int) -> list[str]:
    wrapped = [textwrap.wrap(printable(line), width, break_long_words=False) or [""] for line in label.split("\n")]
    return [piece for pieces in wrapped for piece in pieces]


def _placed(
    layers: Sequence[Sequence[Slot]],
    links: Sequence[tuple[Slot, Slot]],
    lines: Mapping[str, list[str]],
    size: float,
    across: bool,
) -> _Layout:
    """Return boxes in inches: layers side by side (``across``) or one below the other."""
    box = {
        (name,): (max(text_width(line, size) for line in text) + 0.18, LINE * size * len(text) + 0.13)
        for name, text in lines.items()
    }
    thick = {slot: box[slot][1 if across else 0] if slot in box else 0.0 for layer in layers for slot in layer}
    centre = _centres(layers, links, thick)
    boxes: dict[Slot, tuple[float, float, float, float]] = {}
    along = MARGIN + (0 if across else TITLE)
    for layer in layers:
        deep = max(box[slot][0 if across else 1] for slot in layer if slot in box)
        for slot in layer:
            # A box that is narrower than its layer is centred; a passing edge goes straight through the layer.
            own = box[slot][0 if across else 1] if slot in box else deep
            a, b = along + (deep - own) / 2, centre[slot] - thick[slot] / 2 + (TITLE if across else 0) + MARGIN
            boxes[slot] = (a, b, own, thick[slot]) if across else (b, a, thick[slot], own)
        along += deep + BETWEEN
    across_end = max((centre[slot] + thick[slot] / 2 for slot in thick), default=0.5) + 2 * MARGIN
    along_end = along - BETWEEN + MARGIN if layers else 2.0
    width, height = (along_end, across_end + TITLE) if across else (across_end, along_end)
    return _Layout(boxes, dict(lines), (max(width, 3.0), height + LEGEND), size, across)


def _centres(
    layers: Sequence[Sequence[Slot]], links: Sequence[tuple[Slot, Slot]], thick: Mapping[Slot, float]
) -> dict[Slot, float]:
    """Return where each slot is in its layer: near the mean of its neighbours, in order, without overlap, from 0 on."""
    before, after = _neighbours(links)
    need = {layer_number: _offsets(layer, thick) for layer_number, layer in enumerate(layers)}
    page = max(
        (offsets[-1] + thick[layer[-1]] / 2 for layer, offsets in zip(layers, need.values(), strict=True)), default=0
    )
    centre: dict[Slot, float] = {}
    for layer, offsets in zip(layers, need.values(), strict=True):
        shift = (page - offsets[-1] - thick[layer[-1]] / 2) / 2
        centre |= {slot: float(offset + shift) for slot, offset in zip(layer, offsets, strict=True)}
    for sweep in range(16):
        known = before if sweep % 2 == 0 else after
        for number in range(len(layers)) if sweep % 2 == 0 else range(len(layers) - 1, -1, -1):
            layer, offsets = layers[number], need[number]
            wish = np.array([np.mean([centre[o] for o in known.get(s, [])] or [centre[s]]) for s in layer]) - offsets
            # The wish less the packed offset must not fall: the mean of both running bounds is such a sequence.
            level = (np.maximum.accumulate(wish) + np.minimum.accumulate(wish[::-1])[::-1]) / 2
            level = np.clip(level, 0, page - offsets[-1] - thick[layer[-1]] / 2)
            centre |= {slot: float(value) for slot, value in zip(layer, level + offsets, strict=True)}
    return centre


def _offsets(layer: Sequence[Slot], thick: Mapping[Slot, float]) -> np.ndarray:
    """Return the centres of a layer's slots when packed from 0."""
    sizes = np.array([thick[slot] for slot in layer])
    return np.cumsum(sizes + APART) - APART - sizes / 2
