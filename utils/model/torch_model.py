"""The PyTorch twin: a module built from the same ``Graph`` as the HugeCTR script, with HugeCTR's meaning.

Initialisations and evaluation follow HugeCTR 25.03 (the optimiser: ``utils.model.training.adam``): embeddings
U(-0.05, 0.05); InnerProduct W ~ N(0, sqrt(2 / (in + out)) / 0.87962566) and b ~ N(0, 1 / sqrt(out)); rows that
training never touched read as zero in evaluation.
"""

import hashlib
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from utils.model.graph import Graph, Layer, Slot, joined

ONE_DNN_FROM = 1 << 23
"""Multiplications from which oneDNN gains more than the conversion of its input and output costs."""
COUNTED_ROWS = 256
"""Rows of a list's table up to which the sum of its items is a product of counts and table: ten times as fast."""


class Twin(nn.Module):
    """``forward(codes)`` gives logits [batch]; ``codes`` maps a column to int [batch] or [batch, items].

    List columns are padded with code 0, whose row is zero and stays zero. Layers that depend on a frozen column alone
    are computed once per distinct code of the batch and then gathered (added first, where they are added), and a
    linear layer on a Concat is the sum of linear layers on its parts, each computed as often as it differs: the same
    numbers up to rounding, a fraction of the work.
    """

    def __init__(self, graph: Graph, frozen: Mapping[str, Tensor], seen: Mapping[str, Tensor], seed: int) -> None:
        """``frozen``: column to table [rows, width]. ``seen``: column to bool [rows], true for the codes in train."""
        super().__init__()
        self.graph = graph
        self.seen = seen
        self.tables = nn.ModuleDict(
            {slot.column: _table(slot, frozen, seen, _generator(seed, slot.column)) for slot in graph.slots}
        )
        self.linears = nn.ModuleDict(
            {
                layer.tops[0]: _linear(graph.widths[layer.bottoms[0]], layer, _generator(seed, layer.tops[0]))
                for layer in graph.layers
                if layer.kind == "InnerProduct"
            }
        )
        self._slots_behind = graph.slots_behind()
        self._dots = _dot_products(graph)
        self._joined = joined(graph)
        self._once = {slot.column for slot in graph.slots if slot.frozen and not slot.is_list}

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def forward(self, codes: Mapping[str, Tensor]) -> Tensor:
        """Return logits [batch] for the codes of a batch."""
        values, inverse = {}, {}
        for slot in self.graph.slots:
            keys = codes[slot.column]
            if slot.column in self._once:
                keys, inverse[slot.column] = torch.unique(keys, return_inverse=True)
            values[f"{slot.column}_embedding"] = self._look_up(slot, keys)
        short = self._run(values, inverse, {})
        logit = values[self.graph.logit]
        if self.graph.logit in short:
            logit = logit.index_select(0, inverse[short[self.graph.logit]])
        return logit.squeeze(1)

    def movie_side(self, movies: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what ``meet`` reads of ``movies``, codes of all columns but the user's: tensors [1, movies, w]."""
        slots = [slot for slot in self.graph.slots if slot.column in movies]
        values = {f"{slot.column}_embedding": self._look_up(slot, movies[slot.column])[None] for slot in slots}
        self._run(values, {}, self._dots)
        waiting = [layer for layer in self.graph.layers if layer.tops[0] not in values]
        wanted = {bottom for layer in waiting for bottom in layer.bottoms} | {self.graph.logit}
        wanted |= {name for parts in self._joined.values() for name, _, _ in parts}
        return {name: value for name, value in values.items() if name in wanted}

    def meet(self, users: Mapping[str, Tensor], movie_side: Mapping[str, Tensor]) -> Tensor:
        """Return the logits [users, movies] of every user with every movie of a ``movie_side``.

        ``users`` has the columns that the movies lack. What depends on a user or on a movie alone is computed once for
        each; only the layers where they meet see every pair, and a dot product of the two is a matrix product.
        """
        values = dict(movie_side)
        for slot in self.graph.slots:
            if slot.column in users:
                values[f"{slot.column}_embedding"] = self._look_up(slot, users[slot.column])[:, None]
        self._run(values, {}, self._dots)
        return values[self.graph.logit].squeeze(2)

    @property
    def pair_width(self) -> int:
        """Numbers that ``meet`` keeps for one pair of a user and a movie in its widest layer."""
        left_out = self._joined.keys() | {name for _, _, *inner in self._dots.values() for name in inner}
        met = [name for name, columns in self._slots_behind.items() if {"userId"} < columns and name not in left_out]
        return max((self.graph.widths[name] for name in met), default=1)

    def table(self, column: str) -> nn.Embedding:
        """Return the embedding table of a column."""
        return cast(nn.Embedding, self.tables[column])

    def linear(self, top: str) -> nn.Linear:
        """Return the linear layer of the InnerProduct that makes the tensor ``top``."""
        return cast(nn.Linear, self.linears[top])

    def _look_up(self, slot: Slot, keys: Tensor) -> Tensor:
        keys = keys if keys.dtype.itemsize >= 4 else keys.int()
        if not slot.is_list or slot.rows > COUNTED_ROWS:
            rows = self.table(slot.column)(keys)
            return rows.sum(-2) if slot.is_list else rows
        counts = torch.zeros(*keys.shape[:-1], slot.rows, device=keys.device)
        counts.scatter_add_(-1, keys.long(), torch.ones((), device=keys.device).expand(keys.shape))
        counts[..., 0] = 0  # Padding: its row gets no gradient.
        with torch.autocast(keys.device.type, enabled=False):
            return counts @ self.table(slot.column).weight

    def _run(
        self, values: dict[str, Tensor], inverse: Mapping[str, Tensor], dots: Mapping[str, tuple[str, ...]]
    ) -> dict[str, str]:
        """Add to ``values`` the tops of all layers whose bottoms are there; they may have any leading dimensions.

        ``inverse`` undoes ``unique``: returns the tensors that still have one row a distinct code, with their column.
        ``dots`` (see ``_dot_products``) are computed as matrix products of [users, 1, w] and [1, movies, w].
        """
        skipped = self._joined.keys() | {name for _, _, *inner in dots.values() for name in inner}
        short = {f"{column}_embedding": column for column in inverse}
        for layer in self.graph.layers[:-1]:
            if layer.tops[0] in values or layer.tops[0] in skipped or not self._needs(layer, dots) <= values.keys():
                continue
            if layer.tops[0] in dots:
                users, movies, *_ = dots[layer.tops[0]]
                if values[users].shape[1] > 1 or values[movies].shape[0] > 1:
                    users, movies = movies, users
                values[layer.tops[0]] = _product(values[users].squeeze(1), values[movies].squeeze(0), None)[..., None]
                continue
            if layer.bottoms[0] in self._joined:
                values[layer.tops[0]] = self._linear_of_parts(layer, values, short, inverse)
                continue
            columns = self._slots_behind[layer.tops[0]]
            alone = next(iter(columns)) if len(columns) == 1 else ""
            if alone in inverse and layer.kind != "Dropout" and all(bottom in short for bottom in layer.bottoms):
                short |= dict.fromkeys(layer.tops, alone)
            inputs: list[Tensor] = []
            for column, bottoms in itertools.groupby(layer.bottoms, short.get):
                parts = [values[bottom] for bottom in bottoms]
                if column is not None and layer.tops[0] not in short:
                    parts = [sum(parts[1:], start=parts[0])] if layer.kind == "Add" else parts
                    parts = [part.index_select(0, inverse[column]) for part in parts]
                inputs += parts
            values |= dict(zip(layer.tops, self._evaluate(layer, inputs), strict=True))
        return short

    def _needs(self, layer: Layer, dots: Mapping[str, tuple[str, ...]]) -> set[str]:
        """Return the tensors that ``_run`` reads to evaluate the layer."""
        if layer.tops[0] in dots:
            return set(dots[layer.tops[0]][:2])
        if layer.bottoms[0] in self._joined:
            return {name for name, _, _ in self._joined[layer.bottoms[0]]}
        return set(layer.bottoms)

    def _linear_of_parts(
        self, layer: Layer, values: Mapping[str, Tensor], short: Mapping[str, str], inverse: Mapping[str, Tensor]
    ) -> Tensor:
        """Return W concat(parts) + b as the sum over parts of one length, each multiplied before it is spread."""
        linear, parts = self.linear(layer.tops[0]), self._joined[layer.bottoms[0]]
        weights = linear.weight.split([stop - start for _, start, stop in parts], dim=1)
        groups: dict[Any, list[tuple[Tensor, Tensor]]] = {}
        for (name, start, stop), weight in zip(parts, weights, strict=True):
            length = short.get(name), values[name].shape[:-1]
            groups.setdefault(length, []).append((values[name][..., start:stop], weight))
        total: Tensor | None = None
        bias: Tensor | None = linear.bias
        for (column, _), group in groups.items():
            inputs, weight = (_concat(list(side)) for side in zip(*group, strict=True))
            term = _product(inputs, weight, bias)
            term = term if column is None else term.index_select(0, inverse[column])
            total, bias = term if total is None else total + term, None
        assert total is not None, "a Concat has parts"
        return total

    def _evaluate(self, layer: Layer, inputs: list[Tensor]) -> list[Tensor]:
        if layer.kind == "InnerProduct":
            linear = self.linear(layer.tops[0])
            return [_product(inputs[0], linear.weight, linear.bias)]
        if layer.kind == "Slice":
            return [inputs[0][..., start:stop] for start, stop in layer.arguments["ranges"]]
        if layer.kind == "Dropout":
            return [nn.functional.dropout(inputs[0], layer.arguments["dropout_rate"], self.training)]
        return [_OPERATIONS[layer.kind](inputs)]


def _dot_products(graph: Graph) -> dict[str, tuple[str, ...]]:
    """Find the sums of an elementwise product of a user's and a movie's tensor: the sum to its two factors.

    After the two factors come the tensors in between (the product, and its dropout), which nothing else
    may read.
    """
    readers: dict[str, list[Layer]] = {}
    for layer in graph.layers:
        for bottom in layer.bottoms:
            readers.setdefault(bottom, []).append(layer)
    behind, found = graph.slots_behind(), {}
    for layer in graph.layers:
        if layer.kind != "ElementwiseMultiply" or len(layer.bottoms) != 2:
            continue
        if sum(behind[bottom] == {"userId"} for bottom in layer.bottoms) != 1:
            continue
        if any("userId" in behind[bottom] and behind[bottom] != {"userId"} for bottom in layer.bottoms):
            continue
        inner = [layer.tops[0]]
        while len(readers.get(inner[-1], [])) == 1 and readers[inner[-1]][0].kind == "Dropout":
            inner.append(readers[inner[-1]][0].tops[0])
        last = readers.get(inner[-1], [])
        if len(last) == 1 and last[0].kind == "ReduceSum":
            found[last[0].tops[0]] = (*layer.bottoms, *inner)
    return found


def _product(values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return ``values`` [..., in] times ``weight`` [out, in] transposed, plus ``bias`` [out]: [..., out].

    A CPU leaves large ones to oneDNN: PyTorch's own choice for float32, MKL, reaches half of its speed on AMD's CPUs
    (for bfloat16 it is oneDNN).
    """
    large = values.numel() * len(weight) >= ONE_DNN_FROM and not torch.is_autocast_enabled(values.device.type)
    if large and values.device.type == "cpu" and torch.backends.mkldnn.is_available():
        return nn.functional.linear(values.to_mkldnn(), weight, bias).to_dense()
    return nn.functional.linear(values, weight, bias)


def _concat(inputs: list[Tensor]) -> Tensor:
    if len(inputs) == 1:
        return inputs[0]
    leading = torch.broadcast_shapes(*(value.shape[:-1] for value in inputs))
    return torch.cat([value.expand(*leading, value.shape[-1]) for value in inputs], -1)


_OPERATIONS: dict[str, Callable[[list[Tensor]], Tensor]] = {
    "Reshape": lambda inputs: inputs[0],
    "Concat": _concat,
    "ReLU": lambda inputs: torch.relu(inputs[0]),
    "Add": lambda inputs: sum(inputs[1:], start=inputs[0]),
    "ElementwiseMultiply": lambda inputs: math.prod(inputs[1:], start=inputs[0]),
    "ReduceSum": lambda inputs: inputs[0].sum(-1, keepdim=True),
}


def _generator(seed: int, name: str) -> torch.Generator:
    """Return the source of the first weights of ``name``: its own, so that what feature sets share starts alike."""
    digest = hashlib.blake2b(f"{name}:{seed}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little", signed=True))


def _table(
    slot: Slot, frozen: Mapping[str, Tensor], seen: Mapping[str, Tensor], generator: torch.Generator
) -> nn.Embedding:
    if slot.frozen:
        return nn.Embedding.from_pretrained(frozen[slot.column], freeze=True)
    weight = torch.empty(slot.rows, slot.width).uniform_(-0.05, 0.05, generator=generator)
    # A row that no training row reads gets no gradient; HugeCTR reads it as zero in evaluation.
    weight[~seen[slot.column]] = 0
    padding = 0 if slot.is_list else None
    if padding is not None:
        weight[padding] = 0
    return nn.Embedding(slot.rows, slot.width, padding_idx=padding, _weight=weight)


def _linear(width_in: int, layer: Layer, generator: torch.Generator) -> nn.Linear:
    width_out = layer.arguments["num_output"]
    linear = nn.Linear(width_in, width_out)
    with torch.no_grad():
        if "weight_init_type" in layer.arguments:
            linear.weight.zero_()
            linear.bias.zero_()
            return linear
        linear.weight.normal_(0, math.sqrt(2 / (width_in + width_out)) / 0.87962566, generator=generator)
        linear.bias.normal_(0, 1 / math.sqrt(width_out), generator=generator)
    return linear
