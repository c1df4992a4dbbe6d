"""The shape of each dense layer's output, and what it asks of its inputs.

A shape is that of one sample: (width,) for a tensor [batch, width], (slots, width) for [batch, slots, width].
"""

from collections.abc import Callable, Sequence
from math import prod

from .api import TABLE, Record
from .errors import InvalidValue, ShapeMismatch, UnsupportedLayer, UnusedArgument

Shape = tuple[int, ...]
_NAMES = {"layer_type", "bottom_names", "top_names"}


def shapes(layer: Record, bottoms: Sequence[Shape]) -> list[Shape]:
    """Return the shape of each top of a layer.

    Raises UnsupportedLayer, UnusedArgument, ShapeMismatch or InvalidValue where the layer cannot be meant.
    """
    kind = layer.layer_type.name
    if kind not in TABLE["layers"]:
        raise UnsupportedLayer(
            f"Layer_t.{kind}: broken in 25.03 (Select, Gather) or unknown to this stand-in. Use another layer."
        )
    facts = TABLE["layers"][kind]
    for role, names in (("bottoms", layer.bottom_names), ("tops", layer.top_names)):
        least, most = facts[role]
        if not least <= len(names) <= (most or len(names)):
            raise ShapeMismatch(f"{_name(layer)}: {len(names)} {role}, but {kind} takes {least} to {most or 'any'}")
    unread = layer.given - _NAMES - set(facts["reads"])
    if unread:
        raise UnusedArgument(f"{_name(layer)}: {kind} does not read {sorted(unread)}, only {facts['reads']}")
    found = _SHAPES[kind](layer, bottoms)
    if len(found) != len(layer.top_names):
        raise ShapeMismatch(f"{_name(layer)}: {kind} makes {len(found)} tensors, {len(layer.top_names)} are named")
    return found


def _name(layer: Record) -> str:
    return f"layer {layer.top_names}"


def _refuse_unless(condition: bool, layer: Record, message: str) -> None:
    if not condition:
        raise ShapeMismatch(f"{_name(layer)} ({layer.layer_type.name}): {message}")


def _same(layer: Record, bottoms: Sequence[Shape]) -> list[Shape]:
    _refuse_unless(len(set(bottoms)) == 1, layer, f"inputs must have one shape, not {list(bottoms)}")
    return [bottoms[0]]


def _flat(layer: Record, bottoms: Sequence[Shape]) -> list[Shape]:
    _refuse_unless(len(bottoms[0]) == 1, layer, f"the input must be [batch, width], not {bottoms[0]}")
    return [bottoms[0]]


def _reshape(layer: Record, bottoms: Sequence[Shape]) -> list[Shape]:
    numbers = prod(bottoms[0])
    if layer.selected:
        raise UnsupportedLayer(f"{_name(layer)}: Reshape with selected_slots is not known to this stand-in")
    if layer.leading_dim > 0:
        wanted: Shape = (layer.time_step, layer.leading_dim) if layer.time_step else (layer.leading_dim,)
        _refuse_unless(
            prod(wanted) == numbers, layer, f"{numbers} numbers a sample cannot become {wanted}: the batch would change"
        )
        return [wanted]
    _refuse_unless(
        sum(size < 0 for size in layer.shape) == 1, layer, f"shape={layer.shape} needs exactly one negative size"
    )
    tail = tuple(layer.shape[1:])
    _refuse_unless(layer.shape[0] < 0 and prod(tail) == numbers, layer, f"{numbers} numbers do not fit {layer.shape}")
    return [tail]


def _concat(layer: Record, bottoms: Sequence[Shape]) -> list[Shape]:
    ranks = {len(shape) for shape in bottoms}
    _refuse_unless(len(ranks) == 1, layer, f"inputs of 2 and 3 dimensions together: {list(bottoms)}")
    axis = layer.axis - 1 if len(bottoms[0]) == 2 else 0
    _refuse_unless(layer.axis in (1, len(bottoms[0])), layer, f"axis={layer.axis} of {list(bottoms)}")
    rest = {shape[:axis] + shape[axis + 1 :] for shape in bottoms}
    _refuse_unless(len(rest) == 1, layer, f"inputs differ beside the axis: {list(bottoms)}")
    joined = list(bottoms[0])
    joined[axis] = sum(shape[axis] for shape in bottoms)
    return [tuple(joined)]


def _inner_product(layer: Record, bottoms: Sequence[Shape]) -> list[Shape]:
    if "num_output" not in layer.given or layer.num_output < 1:
        raise InvalidValue(f"{_name(layer)}: InnerProduct needs num_output of at least 1, its default is not meant")
    return [(*bottoms[0][:-1], layer.num_output)]


def _mlp(layer: Record, bottoms: Sequence[Shape]) -> list[Shape]:
    widths = layer.num_outputs
    if not widths or layer.num_output != widths[-1]:
        raise InvalidValue(f"{_name(layer)}: MLP needs num_outputs={widths} and num_output equal to its last")
    for name in ("activations", "biases"):
        if getattr(layer, name) and len(getattr(layer, name)) != len(widths):
            raise InvalidValue(f"{_name(layer)}: {name} must have {len(widths)} entries")
    return [(*_flat(layer, bottoms)[0][:-1], widths[-1])]


def _dropout(layer: Record, bottoms: Sequence[Shape]) -> list[Shape]:
    if not 0 < layer.dropout_rate < 1:
        raise InvalidValue(f"{_name(layer)}: dropout_rate={layer.dropout_rate} must be in (0, 1)")
    return [bottoms[0]]


def _interaction(layer: Record, bottoms: Sequence[Shape]) -> list[Shape]:
    mlp, embedding = bottoms
    fit = len(mlp) == 1 and len(embedding) == 2 and mlp[0] == embedding[1]
    _refuse_unless(fit, layer, f"inputs must be [batch, v] and [batch, s, v], not {mlp} and {embedding}")
    slots, width = embedding
    return [(width + slots * (slots + 1) // 2 + 1,)]


def _multi_cross(layer: Record, bottoms: Sequence[Shape]) -> list[Shape]:
    if layer.num_layers < 1 or layer.projection_dim < 0:
        raise InvalidValue(f"{_name(layer)}: MultiCross needs num_layers of at least 1")
    return _flat(layer, bottoms)


def _fm_order2(layer: Record, bottoms: Sequence[Shape]) -> list[Shape]:
    width = _flat(layer, bottoms)[0][0]
    _refuse_unless(layer.out_dim > 0 and width % layer.out_dim == 0, layer, f"{width} is no multiple of out_dim")
    return [(layer.out_dim,)]


def _slice(layer: Record, bottoms: Sequence[Shape]) -> list[Shape]:
    width = _flat(layer, bottoms)[0][0]
    for start, stop in layer.ranges:
        _refuse_unless(0 <= start < stop <= width, layer, f"range ({start}, {stop}) leaves a width of {width}")
    for ends in zip(*layer.ranges, strict=True):
        _refuse_unless(list(ends) == sorted(ends), layer, f"ranges must start and end in order, not {layer.ranges}")
    return [(stop - start,) for start, stop in layer.ranges]


def _reduce_sum(layer: Record, bottoms: Sequence[Shape]) -> list[Shape]:
    _refuse_unless(1 <= layer.axis <= len(bottoms[0]), layer, f"axis={layer.axis} of a tensor {bottoms[0]}")
    shape = list(bottoms[0])
    shape[layer.axis - 1] = 1
    return [tuple(shape)]


def _loss(layer: Record, bottoms: Sequence[Shape]) -> list[Shape]:
    _refuse_unless(
        bottoms[0] == bottoms[1] == (1,), layer, f"logit and label must both be [batch, 1], not {list(bottoms)}"
    )
    return [(1,)]


_SHAPES: dict[str, Callable[[Record, Sequence[Shape]], list[Shape]]] = {
    "Reshape": _reshape,
    "Concat": _concat,
    "InnerProduct": _inner_product,
    "MLP": _mlp,
    "ReLU": _same,
    "Sigmoid": _same,
    "Dropout": _dropout,
    "BatchNorm": _flat,
    "LayerNorm": _same,
    "Interaction": _interaction,
    "MultiCross": _multi_cross,
    "FmOrder2": _fm_order2,
    "Add": _same,
    "ElementwiseMultiply": _same,
    "Slice": _slice,
    "ReduceSum": _reduce_sum,
    "BinaryCrossEntropyLoss": _loss,
}
