"""The graph of a model as it is added: names, shapes, who reads what, and where a tensor's numbers come from."""

from collections import Counter
from dataclasses import dataclass, field

from .api import Record
from .errors import (
    InvalidValue,
    OrderViolation,
    ReusedTensor,
    SlotCountMismatch,
    SlotOrderMismatch,
    TooManyConsumers,
    UndefinedTensor,
    UnusedTensor,
    WidthTooLarge,
)
from .shapes import Shape, shapes

WIDEST = 1024
MOST_CONSUMERS = 5


@dataclass(frozen=True)
class Origin:
    """A tensor that is columns [start, stop) of one embedding, unchanged."""

    embedding: str
    start: int
    stop: int


@dataclass
class Graph:
    """What was added so far. ``shapes`` and ``origins`` are by tensor name."""

    input: Record | None = None
    embeddings: list[Record] = field(default_factory=list)
    layers: list[Record] = field(default_factory=list)
    shapes: dict[str, Shape] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    readers: Counter[str] = field(default_factory=Counter)

    @property
    def sparse(self) -> dict[str, Record]:
        """The DataReaderSparseParams by name, in the order of the reader's slots."""
        return {param.top_name: param for param in self.input.data_reader_sparse_param_array} if self.input else {}

    @property
    def dense_widths(self) -> tuple[int, int]:
        """Numbers a row in the label columns and in the dense columns."""
        if self.input is None:
            raise OrderViolation("the model has no Input")
        single = "label_dim" in vars(self.input)
        return self.input.label_dim if single else sum(self.input.label_dims), self.input.dense_dim

    def add_input(self, given: Record) -> None:
        """Take the one Input, which comes first."""
        if self.input is not None:
            raise OrderViolation("Model.add(Input) twice: a model has one")
        single = "label_dim" in vars(given)
        labels = {given.label_name: given.label_dim} if single else dict(zip(given.label_names, given.label_dims))  # noqa: B905
        self.input = given
        for name, width in labels.items():
            self._define(name, (width,), f"label {name!r}")
        self._define(given.dense_name, (given.dense_dim,), "dense")
        names = [param.top_name for param in given.data_reader_sparse_param_array]
        for param in given.data_reader_sparse_param_array:
            if names.count(param.top_name) > 1 or param.top_name in self.shapes:
                raise ReusedTensor(f"Input: the name {param.top_name!r} is taken")
            nnz = param.nnz_per_slot if isinstance(param.nnz_per_slot, list) else [param.nnz_per_slot]
            if param.slot_num < 1 or min(nnz, default=0) < 1:
                raise InvalidValue(f"DataReaderSparseParam {param.top_name!r}: slot_num and nnz_per_slot start at 1")
            if isinstance(param.nnz_per_slot, list) and len(nnz) != param.slot_num:
                raise SlotCountMismatch(
                    f"DataReaderSparseParam {param.top_name!r}: nnz_per_slot={nnz} for slot_num={param.slot_num}"
                )

    def add_embedding(self, given: Record) -> None:
        """Take a SparseEmbedding: [batch, slots of its bottom, embedding_vec_size]."""
        name, width = given.sparse_embedding_name, given.embedding_vec_size
        if self.input is None or self.layers:
            raise OrderViolation(f"SparseEmbedding {name!r}: add Input first, then embeddings, then dense layers")
        if given.bottom_name not in self.sparse:
            raise UndefinedTensor(
                f"SparseEmbedding {name!r} reads {given.bottom_name!r}; Input has {list(self.sparse)}"
            )
        if not 1 <= width <= WIDEST:
            raise WidthTooLarge(f"SparseEmbedding {name!r}: embedding_vec_size={width} must be in 1..{WIDEST}")
        if given.combiner not in ("sum", "mean"):
            raise InvalidValue(f"SparseEmbedding {name!r}: combiner={given.combiner!r} must be 'sum' or 'mean'")
        named = name.removesuffix("_embedding")
        if named in self.sparse and named != given.bottom_name:
            raise SlotOrderMismatch(f"SparseEmbedding {name!r} reads the slot {given.bottom_name!r}")
        slots = self.sparse[given.bottom_name].slot_num
        if given.slot_size_array and len(given.slot_size_array) != slots:
            raise SlotCountMismatch(f"SparseEmbedding {name!r}: slot_size_array must have {slots} sizes")
        self._define(name, (slots, width), f"SparseEmbedding {name!r}")
        self.embeddings.append(given)
        if slots == 1:
            self.origins[name] = Origin(name, 0, width)

    def add_layer(self, given: Record) -> None:
        """Take a DenseLayer after checking its names, its inputs and its arguments."""
        if self.input is None:
            raise OrderViolation(f"DenseLayer {given.top_names}: add Input first")
        for bottom in given.bottom_names:
            if bottom not in self.shapes:
                raise UndefinedTensor(
                    f"DenseLayer {given.top_names} reads {bottom!r}, which no layer before it makes. "
                    f"There are {list(self.shapes)}"
                )
        made = shapes(given, [self.shapes[bottom] for bottom in given.bottom_names])
        for top, shape in zip(given.top_names, made, strict=True):
            self._define(top, shape, f"DenseLayer {given.layer_type!r}")
        for bottom in set(given.bottom_names):
            self.readers[bottom] += given.bottom_names.count(bottom)
            if self.readers[bottom] > MOST_CONSUMERS:
                raise TooManyConsumers(f"{bottom!r} is read by more than {MOST_CONSUMERS} layers")
        self.layers.append(given)
        self._trace(given)

    def close(self) -> None:
        """Check what can only be seen when all is added: one loss, and no tensor that nobody reads."""
        losses = [layer for layer in self.layers if layer.layer_type.name == "BinaryCrossEntropyLoss"]
        if self.input is None or not self.embeddings or len(losses) != 1:
            raise OrderViolation("Model.compile(): the model needs an Input, embeddings and one loss")
        made = [name for layer in self.layers for name in layer.top_names]
        made += [embedding.sparse_embedding_name for embedding in self.embeddings]
        for name in made:
            if not self.readers[name] and name not in losses[0].top_names:
                raise UnusedTensor(f"{name!r} is read by no layer, so its gradient is undefined. Leave it out.")

    @property
    def loss(self) -> Record:
        """The loss layer; its bottoms are logit and label."""
        return next(layer for layer in self.layers if layer.layer_type.name == "BinaryCrossEntropyLoss")

    def _define(self, name: str, shape: Shape, what: str) -> None:
        if name in self.shapes or name in self.sparse:
            raise ReusedTensor(f"{what}: the name {name!r} is taken; HugeCTR has no in-place layers")
        self.shapes[name] = shape

    def _trace(self, layer: Record) -> None:
        """Remember which tensors are still plain columns of an embedding."""
        origin = self.origins.get(layer.bottom_names[0])
        if origin is None:
            return
        if layer.layer_type.name == "Reshape" and len(self.shapes[layer.top_names[0]]) == 1:
            self.origins[layer.top_names[0]] = origin
        if layer.layer_type.name == "Slice":
            for top, (start, stop) in zip(layer.top_names, layer.ranges, strict=True):
                self.origins[top] = Origin(origin.embedding, origin.start + start, origin.start + stop)
