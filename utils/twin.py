"""The PyTorch twin: a module built from the same ``Graph`` as the HugeCTR script, with HugeCTR's meaning.

Initialisations, optimiser and evaluation follow HugeCTR 25.03: embeddings U(-0.05, 0.05);
InnerProduct W ~ N(0, sqrt(2 / (in + out)) / 0.87962566) and b ~ N(0, 1 / sqrt(out)); rows that
training never touched read as zero in evaluation.
"""

import hashlib
import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from utils.graph import Graph, Layer, Slot


class Twin(nn.Module):
    """``forward(codes)`` gives logits [batch]; ``codes`` maps a column to int [batch] or [batch, items].

    List columns are padded with code 0, whose row is zero and stays zero. Layers that depend on a
    frozen column alone are computed once per distinct code of the batch and then gathered: the same
    numbers, a fraction of the work.
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
        self._once = {slot.column for slot in graph.slots if slot.frozen and slot.most_items == 1}

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
        return self._run(values, inverse).squeeze(1)

    def grid(self, users: Mapping[str, Tensor], movies: Mapping[str, Tensor]) -> Tensor:
        """Return the logits [users, movies] of every user with every movie.

        ``users`` and ``movies`` share the columns between them. What depends on a user or on a movie
        alone is computed once for each; only the layers where they meet see every pair, and a dot
        product of the two is a matrix product.
        """
        values = {}
        for slot in self.graph.slots:
            rows = self._look_up(slot, users[slot.column] if slot.column in users else movies[slot.column])
            values[f"{slot.column}_embedding"] = rows[:, None] if slot.column in users else rows[None]
        return self._run(values, {}, self._dots).squeeze(2)

    def _look_up(self, slot: Slot, keys: Tensor) -> Tensor:
        rows = self.tables[slot.column](keys)
        return rows.sum(-2) if slot.most_items > 1 else rows

    def _run(
        self,
        values: dict[str, Tensor],
        inverse: Mapping[str, Tensor],
        dots: Mapping[str, tuple[str, ...]] | None = None,
    ) -> Tensor:
        """Evaluate the layers. Values may have any leading dimensions that broadcast; ``inverse`` undoes ``unique``.

        ``dots`` (see ``_dot_products``) are computed as matrix products of [users, 1, w] and [1, movies, w].
        """
        dots = dots or {}
        skipped = {name for _, _, *inner in dots.values() for name in inner}
        short = {f"{column}_embedding": column for column in inverse}
        for layer in self.graph.layers:
            if layer.kind == "BinaryCrossEntropyLoss":
                break
            if layer.tops[0] in skipped:
                continue
            if layer.tops[0] in dots:
                users, movies, *_ = dots[layer.tops[0]]
                if values[users].shape[1] > 1 or values[movies].shape[0] > 1:
                    users, movies = movies, users
                values[layer.tops[0]] = (values[users].squeeze(1) @ values[movies].squeeze(0).T)[..., None]
                continue
            columns = self._slots_behind[layer.tops[0]]
            alone = next(iter(columns)) if len(columns) == 1 else None
            if alone in inverse and layer.kind != "Dropout" and all(bottom in short for bottom in layer.bottoms):
                short |= dict.fromkeys(layer.tops, alone)
            inputs = []
            for bottom in layer.bottoms:
                value = values[bottom]
                if bottom in short and layer.tops[0] not in short:
                    value = value.index_select(0, inverse[short[bottom]])
                inputs.append(value)
            values |= dict(zip(layer.tops, self._evaluate(layer, inputs), strict=True))
        logit = values[self.graph.logit]
        return logit.index_select(0, inverse[short[self.graph.logit]]) if self.graph.logit in short else logit

    def _evaluate(self, layer: Layer, inputs: list[Tensor]) -> list[Tensor]:
        if layer.kind == "InnerProduct":
            return [self.linears[layer.tops[0]](inputs[0])]
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


def _concat(inputs: list[Tensor]) -> Tensor:
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
    padding = 0 if slot.most_items > 1 else None
    if padding is not None:
        weight[padding] = 0
    return nn.Embedding(slot.rows, slot.width, padding_idx=padding, _weight=weight)


def _linear(width_in: int, layer: Layer, generator: torch.Generator) -> nn.Linear:
    width_out = layer.arguments["num_output"]
    linear = nn.Linear(width_in, width_out)
    with torch.no_grad():
        linear.weight.normal_(0, math.sqrt(2 / (width_in + width_out)) / 0.87962566, generator=generator)
        linear.bias.normal_(0, 1 / math.sqrt(width_out), generator=generator)
    return linear


class HugeCTRAdam(torch.optim.Adam):
    """Adam as HugeCTR steps it: lr * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + eps), eps 1e-7.

    PyTorch adds eps after the bias correction of v, so its eps is set to 1e-7 / sqrt(1 - b2^t) before
    step t, which makes the two formulas equal. Like HugeCTR's ``Update_t.Global``, moments of rows
    that are absent from a batch decay.
    """

    def __init__(self, parameters: "list[nn.Parameter]", lr: float) -> None:
        super().__init__(parameters, lr=lr, betas=(0.9, 0.999), eps=1e-7, fused=True)
        self._steps = 0

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take one step."""
        self._steps += 1
        for group in self.param_groups:
            group["eps"] = 1e-7 / math.sqrt(1 - group["betas"][1] ** self._steps)
        super().step(closure)
