"""The graph of a click model, described once: HugeCTR script, PyTorch module and drawing come from it.

A ``Graph`` is built by calling its methods, each of which adds one HugeCTR layer, checks its shapes
and returns the name of the new tensor, so a graph that HugeCTR would refuse cannot be built. All
tensors are [batch, width] float32. Layer arguments, shapes and limits are those of HugeCTR
25.03. The models of the series are in ``utils.model.architectures``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from utils.handoff.contract import WIDEST

MOST_CONSUMERS = 5
"""HugeCTR throws when more layers than this read one tensor."""


ZERO = "hugectr.Initializer_t.Zero"


class GraphError(ValueError):
    """A layer does not fit the graph: an unknown or reused tensor, or widths that do not agree."""


@dataclass(frozen=True)
class Slot:
    """One categorical column and its embedding table of [rows, width]."""

    column: str
    rows: int
    width: int
    most_items: int | None = None
    """Most keys of a row of a list column, HugeCTR's nnz_per_slot; None where a row has one key and no list."""
    frozen: bool = False

    @property
    def is_list(self) -> bool:
        """Whether the column holds lists; a list of one key is one, too."""
        return self.most_items is not None


@dataclass(frozen=True)
class Layer:
    """One dense layer. ``arguments`` are HugeCTR's names."""

    kind: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""
    """A comment for the generated script and the drawing."""


class Graph:
    """A model under construction. ``slots``, ``layers`` and ``widths`` may be read, not changed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.slots: list[Slot] = []
        self.layers: list[Layer] = []
        self.widths: dict[str, int] = {"label": 1}

    @property
    def logit(self) -> str:
        """Name of the [batch, 1] tensor that the loss reads; its sigmoid is the probability."""
        if not self.layers or self.layers[-1].kind != "BinaryCrossEntropyLoss":
            raise GraphError(f"the graph {self.name!r} has no loss yet")
        return self.layers[-1].bottoms[0]

    def embedding(
        self, column: str, rows: int, width: int, *, most_items: int | None = None, frozen: bool = False
    ) -> str:
        """Look the column up in a table [rows, width], sum over the items of a list; return [batch, width]."""
        if not 1 <= width <= WIDEST:
            raise GraphError(f"embedding of {column!r}: width {width} is not in 1..{WIDEST}, HugeCTR's limit")
        if rows < 1 or (most_items is not None and most_items < 1):
            raise GraphError(f"embedding of {column!r}: rows={rows} and most_items={most_items} must be at least 1")
        if any(slot.column == column for slot in self.slots):
            raise GraphError(f"column {column!r} has an embedding already")
        self.slots.append(Slot(column, rows, width, most_items, frozen))
        # HugeCTR's lookup gives [batch, 1 slot, width].
        self.widths[f"{column}_embedding"] = width
        return self._add("Reshape", [f"{column}_embedding"], [f"{column}_vector"], [width], leading_dim=width)

    def slice(self, tensor: str, ranges: Mapping[str, tuple[int, int]], why: str = "") -> list[str]:
        """Cut [batch, width] in named half-open ranges, in ascending order; return their names in the order given."""
        width, ends = self._width(tensor), [list(side) for side in zip(*ranges.values(), strict=True)]
        if any(side != sorted(side) for side in ends):
            raise GraphError(f"slices of {tensor!r} must start and end in ascending order, not {dict(ranges)}")
        for name, (start, stop) in ranges.items():
            if not 0 <= start < stop <= width:
                raise GraphError(f"slice {name!r} [{start}, {stop}) leaves {tensor!r}, which is {width} wide")
        widths = [stop - start for start, stop in ranges.values()]
        self._add("Slice", [tensor], list(ranges), widths, why=why, ranges=list(ranges.values()))
        return list(ranges)

    def concat(self, tensors: Sequence[str], top: str, why: str = "") -> str:
        """Put tensors side by side: [batch, sum of widths]."""
        return self._add("Concat", tensors, [top], [sum(map(self._width, tensors))], why=why)

    def inner_product(self, tensor: str, width: int, top: str, why: str = "", zero: bool = False) -> str:
        """A linear layer with bias, [batch, in] to [batch, width]; ``zero`` weights to start with, or random ones."""
        starts = {"weight_init_type": ZERO, "bias_init_type": ZERO} if zero else {}
        return self._add("InnerProduct", [tensor], [top], [width], why=why, num_output=width, **starts)

    def relu(self, tensor: str, top: str) -> str:
        """max(0, x)."""
        return self._add("ReLU", [tensor], [top], [self._width(tensor)])

    def dropout(self, tensor: str, rate: float, top: str, why: str = "") -> str:
        """Zero a share ``rate`` of the values in training and scale up the rest."""
        if not 0 < rate < 1:
            raise GraphError(f"dropout {top!r}: rate {rate} is not in (0, 1)")
        return self._add("Dropout", [tensor], [top], [self._width(tensor)], why=why, dropout_rate=rate)

    def add(self, tensors: Sequence[str], top: str, why: str = "") -> str:
        """Sum of tensors of one width; one tensor alone is returned as it is."""
        return tensors[0] if len(tensors) == 1 else self._same("Add", tensors, top, why)

    def multiply(self, tensors: Sequence[str], top: str, why: str = "") -> str:
        """Elementwise product of tensors of one width."""
        return self._same("ElementwiseMultiply", tensors, top, why)

    def reduce_sum(self, tensor: str, top: str, why: str = "") -> str:
        """Sum over the width: [batch, 1]."""
        return self._add("ReduceSum", [tensor], [top], [1], why=why, axis=1)

    def loss(self, logit: str) -> "Graph":
        """Close the graph with the mean binary cross entropy of ``logit`` [batch, 1] and the label."""
        if self._width(logit) != 1:
            raise GraphError(f"the loss needs a [batch, 1] logit; {logit!r} is {self._width(logit)} wide")
        self._add("BinaryCrossEntropyLoss", [logit, "label"], ["loss"], [1])
        for tensor in self.widths:
            readers = sum(layer.bottoms.count(tensor) for layer in self.layers)
            if readers > MOST_CONSUMERS:
                raise GraphError(f"{tensor!r} is read by {readers} layers; HugeCTR allows {MOST_CONSUMERS}")
        return self

    def as_dict(self) -> dict[str, Any]:
        """The graph as JSON can hold it; ``from_dict`` builds it again."""
        return {
            "name": self.name,
            "slots": [asdict(slot) for slot in self.slots],
            "layers": [asdict(layer) for layer in self.layers],
            "widths": self.widths,
        }

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> "Graph":
        """Return the graph that ``as_dict`` described."""
        graph = cls(described["name"])
        graph.slots = [Slot(**slot) for slot in described["slots"]]
        graph.layers = [
            Layer(**layer | {"bottoms": tuple(layer["bottoms"]), "tops": tuple(layer["tops"])})
            for layer in described["layers"]
        ]
        graph.widths = dict(described["widths"])
        return graph

    def drawing(self) -> tuple[list[tuple[str, str, str]], list[tuple[str, str]]]:
        """Nodes (name, label, kind) and edges for ``graph_drawing``; reshapes are left out."""
        nodes = [("label", "label", "input")]
        made_by = {"label": "label"}
        for slot in self.slots:
            kind = "frozen table" if slot.frozen else "embedding"
            nodes.append((slot.column, f"{slot.column}\n{slot.rows:,} x {slot.width}", kind))
            made_by[f"{slot.column}_embedding"] = slot.column
        edges: list[tuple[str, str]] = []
        for layer in self.layers:
            if layer.kind == "Reshape":
                made_by[layer.tops[0]] = made_by[layer.bottoms[0]]
                continue
            name = layer.tops[0] if layer.kind != "Slice" else f"slice of {layer.bottoms[0]}"
            nodes.append((name, f"{layer.kind}\n{name} [{self.widths[layer.tops[0]]}]", "layer"))
            edges += [(made_by[bottom], name) for bottom in layer.bottoms]
            made_by |= dict.fromkeys(layer.tops, name)
        return nodes, list(dict.fromkeys(edges))

    def slots_behind(self) -> dict[str, frozenset[str]]:
        """For each tensor, the columns it is computed from."""
        behind = {f"{slot.column}_embedding": frozenset([slot.column]) for slot in self.slots}
        behind["label"] = frozenset()
        for layer in self.layers:
            union = frozenset().union(*(behind[bottom] for bottom in layer.bottoms))
            behind |= dict.fromkeys(layer.tops, union)
        return behind

    def _width(self, tensor: str) -> int:
        if tensor not in self.widths:
            raise GraphError(f"there is no tensor {tensor!r} in {self.name!r}; there are {sorted(self.widths)}")
        return self.widths[tensor]

    def _same(self, kind: str, tensors: Sequence[str], top: str, why: str) -> str:
        widths = {tensor: self._width(tensor) for tensor in tensors}
        if len(tensors) < 2 or len(set(widths.values())) != 1:
            raise GraphError(f"{kind} {top!r} needs two or more tensors of one width, not {widths}")
        return self._add(kind, tensors, [top], [widths[tensors[0]]], why=why)

    def _add(
        self,
        kind: str,
        bottoms: Sequence[str],
        tops: Sequence[str],
        widths: Sequence[int],
        why: str = "",
        **arguments: Any,
    ) -> str:
        for bottom in bottoms:
            self._width(bottom)
        for top in tops:
            if top in self.widths:
                raise GraphError(f"the name {top!r} is taken; HugeCTR has no in-place layers")
        self.layers.append(Layer(kind, tuple(bottoms), tuple(tops), arguments, why))
        self.widths |= dict(zip(tops, widths, strict=True))
        return tops[0]


def joined(graph: Graph) -> dict[str, list[tuple[str, int, int]]]:
    """Find the Concats of several columns that only linear layers read: their top to their parts.

    A part is (tensor, start, stop), a range of its width; neighbouring slices of one tensor are one part.
    """
    cuts = {
        top: (layer.bottoms[0], *span)
        for layer in graph.layers
        if layer.kind == "Slice"
        for top, span in zip(layer.tops, layer.arguments["ranges"], strict=True)
    }
    others = {bottom for layer in graph.layers if layer.kind != "InnerProduct" for bottom in layer.bottoms}
    behind, found = graph.slots_behind(), {}
    for layer in graph.layers:
        if layer.kind != "Concat" or layer.tops[0] in others or len(behind[layer.tops[0]]) == 1:
            continue
        parts: list[tuple[str, int, int]] = []
        for bottom in layer.bottoms:
            name, start, stop = cuts.get(bottom, (bottom, 0, graph.widths[bottom]))
            if parts and parts[-1][0] == name and parts[-1][2] == start:
                start = parts.pop()[1]
            parts.append((name, start, stop))
        found[layer.tops[0]] = parts
    return found
