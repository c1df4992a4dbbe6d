"""The PyTorch twin: shortcuts change no number, HugeCTR's meaning is kept, the frozen table stays frozen."""

import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

import utils.model.torch_model
from tests.conftest import FULL, SETS
from utils.model.architectures import MODELS, Inputs
from utils.model.feature_sets import FeatureSet
from utils.model.graph import Graph, joined
from utils.model.torch_model import Twin
from utils.model.training.adam import HugeCTRAdam
from utils.model.training.fit import Split, seen_codes

pytestmark = pytest.mark.usefixtures("one_thread")
IDS, GENRES = SETS[:2]


def first_twin(graph: Graph, split: Split, frozen: np.ndarray, inputs: Inputs, seed: int = 0) -> Twin:
    return Twin(graph, {"movieId_duplicate": torch.from_numpy(frozen)}, seen_codes(split, inputs), seed)


def make_twin(graph: Graph, split: Split, frozen: np.ndarray, inputs: Inputs) -> Twin:
    """A twin none of whose layers is at 0, as after training."""
    twin = first_twin(graph, split, frozen, inputs)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in twin.linears.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    return twin


def naive(twin: Twin, codes: Mapping[str, Tensor]) -> Tensor:
    """Evaluate the graph layer by layer, every row on its own, with nothing shared."""
    values: dict[str, Tensor] = {}
    for slot in twin.graph.slots:
        rows = twin.tables[slot.column].weight[codes[slot.column].long()]
        values[f"{slot.column}_embedding"] = rows.sum(1) if slot.is_list else rows
    for layer in twin.graph.layers[:-1]:
        first, *others = (values[bottom] for bottom in layer.bottoms)
        if layer.kind == "Slice":
            spans = layer.arguments["ranges"]
            values |= {top: first[:, a:b] for top, (a, b) in zip(layer.tops, spans, strict=True)}
            continue
        if layer.kind == "InnerProduct":
            linear = twin.linears[layer.tops[0]]
            result = first @ linear.weight.T + linear.bias
        elif layer.kind == "Concat":
            result = torch.cat([first, *others], 1)
        elif layer.kind == "Add":
            result = first + sum(others)
        elif layer.kind == "ElementwiseMultiply":
            result = first * math.prod(others)
        elif layer.kind == "ReduceSum":
            result = first.sum(1, keepdim=True)
        elif layer.kind == "ReLU":
            result = first.clamp(min=0)
        else:
            assert layer.kind in ("Reshape", "Dropout"), layer.kind
            result = first
        values[layer.tops[0]] = result
    return values[twin.graph.logit][:, 0]


def check_forward(twin: Twin, split: Split) -> None:
    logits = twin(split.codes)
    assert logits.shape == (len(split),)
    torch.testing.assert_close(logits, naive(twin, split.codes), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(twin({name: v[5:6] for name, v in split.codes.items()}), logits[5:6])


def check_grid(twin: Twin, split: Split, users: int = 7, movies: int = 11) -> None:
    user_codes = torch.arange(3, 3 + users, dtype=torch.int32)
    catalogue = {name: split.codes[name][:movies] for name in ("movieId", "genres", "movieId_duplicate")}
    pairs = {name: values.repeat(users, *[1] * (values.dim() - 1)) for name, values in catalogue.items()}
    pairs["userId"] = user_codes.repeat_interleave(movies)
    grid = twin.meet({"userId": user_codes}, twin.movie_side(catalogue))
    assert grid.shape == (users, movies)
    torch.testing.assert_close(grid.reshape(-1), twin(pairs), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("features", SETS, ids=str)
@pytest.mark.parametrize("model", MODELS)
def test_forward_and_grid_equal_the_naive_evaluation(
    model: str, features: FeatureSet, split: Split, frozen: np.ndarray, inputs: Inputs
) -> None:
    twin = make_twin(MODELS[model](inputs, features), split, frozen, inputs).eval()
    check_forward(twin, split)
    for shape in ((7, 11), (1, 11), (7, 1), (1, 1)):
        check_grid(twin, split, *shape)


@pytest.mark.parametrize("model", MODELS)
def test_gradients_equal_those_of_the_naive_evaluation(
    model: str, split: Split, frozen: np.ndarray, inputs: Inputs
) -> None:
    twin = make_twin(MODELS[model](inputs, FULL), split, frozen, inputs).eval()
    trained = {name: parameter for name, parameter in twin.named_parameters() if parameter.requires_grad}
    (twin(split.codes) * split.label).sum().backward()
    shared = {name: parameter.grad.clone() for name, parameter in trained.items()}
    twin.zero_grad()
    (naive(twin, split.codes) * split.label).sum().backward()
    for name, parameter in trained.items():
        wanted = parameter.grad
        if name == "tables.genres.weight":
            wanted[0] = 0  # The padding row is not trained.
        torch.testing.assert_close(shared[name], wanted, rtol=1e-4, atol=1e-4)


def test_one_dnn_changes_no_number(
    split: Split, frozen: np.ndarray, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = make_twin(MODELS["original"](inputs, FULL), split, frozen, inputs)
    found = []
    for least in (0, 1 << 62):
        monkeypatch.setattr(utils.model.torch_model, "ONE_DNN_FROM", least)
        twin.zero_grad()
        (twin(split.codes) * split.label).sum().backward()
        found.append({name: parameter.grad for name, parameter in twin.named_parameters() if parameter.requires_grad})
        check_grid(twin, split)
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], rtol=1e-4, atol=1e-3)


def pieces(width: int) -> Graph:
    """Linear layers on neighbouring slices, on the same slices the other way round, and on a tensor twice."""
    graph = Graph("pieces")
    user = graph.embedding("userId", 15, 4)
    table = graph.embedding("movieId_duplicate", 21, width, frozen=True)
    one, two, three = graph.slice(table, {"one": (0, 2), "two": (2, 5), "three": (5, 7)})
    linear = [
        graph.inner_product(graph.concat(parts, f"all_{number}"), 3, f"linear_{number}")
        for number, parts in enumerate([[one, two, user, three], [three, user, two, one], [user, two, user]])
    ]
    graph.loss(graph.reduce_sum(graph.multiply(linear, "product"), "logit"))
    assert joined(graph)["all_0"] == [(table, 0, 5), (user, 0, 4), (table, 5, 7)]
    assert joined(graph)["all_1"] == [(table, 5, 7), (user, 0, 4), (table, 2, 5), (table, 0, 2)]
    return graph


def concat_read_twice(width: int) -> Graph:
    graph = Graph("read twice")
    both = graph.concat([graph.embedding("userId", 15, 4), graph.embedding("movieId", 21, 4)], "both")
    graph.loss(graph.add([graph.reduce_sum(both, "sum"), graph.inner_product(both, 1, "linear")], "logit"))
    assert not joined(graph)
    return graph


def dropout_of_content(width: int) -> Graph:
    graph = Graph("dropout")
    graph.embedding("userId", 15, 4)
    graph.embedding("movieId_duplicate", 21, width, frozen=True)
    dropped = graph.dropout("movieId_duplicate_vector", 0.5, "dropped")
    content = graph.inner_product(graph.relu(dropped, "positive"), 4, "content")
    return graph.loss(graph.reduce_sum(graph.multiply(["userId_vector", content], "product"), "logit"))


def dot_product(width: int, order: int = 1) -> Graph:
    graph = Graph("dot")
    towers = [graph.embedding("userId", 15, 4), graph.embedding("movieId", 21, 4)]
    product = graph.dropout(graph.multiply(towers[::order], "product"), 0.5, "dropped")
    return graph.loss(graph.reduce_sum(product, "logit"))


def dot_product_turned(width: int) -> Graph:
    return dot_product(width, -1)


def content_alone(width: int) -> Graph:
    graph = Graph("content alone")
    graph.embedding("movieId_duplicate", 21, width, frozen=True)
    return graph.loss(graph.inner_product("movieId_duplicate_vector", 1, "logit"))


@pytest.mark.parametrize(
    "build", [pieces, concat_read_twice, dropout_of_content, dot_product, dot_product_turned, content_alone]
)
def test_shortcuts_of_other_graphs(build, split: Split, frozen: np.ndarray, inputs: Inputs) -> None:
    twin = make_twin(build(frozen.shape[1]), split, frozen, inputs).eval()
    check_forward(twin, split)
    if build is not content_alone:
        check_grid(twin, split)


def test_rows_of_one_movie_do_not_share_a_dropout_mask(split: Split, frozen: np.ndarray, inputs: Inputs) -> None:
    twin = make_twin(dropout_of_content(frozen.shape[1]), split, frozen, inputs).train()
    one = {name: values[:1].expand(500, *values.shape[1:]) for name, values in split.codes.items()}
    assert len(twin(one).unique()) > 20


def train_a_little(twin: Twin, split: Split) -> None:
    optimizer = HugeCTRAdam([parameter for parameter in twin.parameters() if parameter.requires_grad], 0.01)
    for _ in range(5):
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(twin(split.codes), split.label).backward()
        optimizer.step()


@pytest.mark.parametrize("model", MODELS)
def test_zero_rows_stay_zero_and_the_frozen_table_stays(
    model: str, split: Split, frozen: np.ndarray, inputs: Inputs
) -> None:
    twin = make_twin(MODELS[model](inputs, FULL), split, frozen, inputs)
    before = {name: table.weight.clone() for name, table in twin.tables.items()}
    train_a_little(twin, split)
    for column, seen in seen_codes(split, inputs).items():
        assert set(np.flatnonzero(seen.numpy())) == set(split.codes[column].unique().tolist())
        weight, unseen = twin.tables[column].weight, ~seen
        if column == "genres":
            unseen[0] = True
        assert unseen[0] and unseen[-1] and not unseen.all()
        assert not weight[unseen].any(), f"{column}: a row that training never reads is not zero"
        assert (weight[~unseen] != before[column][~unseen]).any(1).all(), f"{column}: a row was not trained"
    table = twin.tables["movieId_duplicate"].weight
    assert table.grad is None and not table.requires_grad
    assert torch.equal(table, torch.from_numpy(frozen))


@pytest.mark.parametrize("model", MODELS)
def test_a_list_of_one_is_a_list_and_padding_adds_nothing(
    model: str, split: Split, frozen: np.ndarray, inputs: Inputs
) -> None:
    twin = make_twin(MODELS[model](inputs, GENRES), split, frozen, inputs)
    train_a_little(twin, split)
    twin.eval()
    codes = {name: values[:50].clone() for name, values in split.codes.items()}
    codes["genres"][:] = torch.tensor([3, 0, 0])
    moved = codes | {"genres": codes["genres"][:, [2, 0, 1]]}
    alone = codes | {"genres": codes["genres"][:, :1]}
    for other in (moved, alone):
        torch.testing.assert_close(twin(codes), twin(other))
        check_grid(twin, Split(other, split.label))


def test_never_seen_codes_score_as_zero_vectors(split: Split, frozen: np.ndarray, inputs: Inputs) -> None:
    twin = first_twin(MODELS["multimodal"](inputs, IDS), split, frozen, inputs)
    unseen = {"userId": torch.tensor([inputs.users - 1]), "movieId": torch.tensor([inputs.movies - 1])}
    assert twin(unseen).item() == 0


def test_initial_values_are_hugectrs() -> None:
    graph = Graph("wide")
    graph.embedding("userId", 2000, 100)
    nothing = graph.inner_product("userId_vector", 400, "nothing", zero=True)
    hidden = graph.add([graph.inner_product("userId_vector", 400, "dense"), nothing], "hidden")
    graph.loss(graph.inner_product(hidden, 1, "logit"))
    twin = Twin(graph, {}, {"userId": torch.ones(2000, dtype=torch.bool)}, seed=1)
    table = twin.tables["userId"].weight.detach()
    assert -0.05 <= table.min() < -0.0499 and 0.0499 < table.max() <= 0.05
    assert table.std().item() == pytest.approx(0.1 / math.sqrt(12), rel=0.01)
    dense = twin.linears["dense"]
    assert dense.weight.std().item() == pytest.approx(math.sqrt(2 / 500) / 0.87962566, rel=0.02)
    assert dense.weight.mean().item() == pytest.approx(0, abs=0.002)
    assert dense.bias.std().item() == pytest.approx(1 / math.sqrt(400), rel=0.15)
    assert not twin.linears["nothing"].weight.any() and not twin.linears["nothing"].bias.any()


def test_the_seed_alone_decides_the_initial_values(split: Split, frozen: np.ndarray, inputs: Inputs) -> None:
    graph = MODELS["original"](inputs, FULL)
    one = first_twin(graph, split, frozen, inputs, seed=1).state_dict()
    torch.rand(3)
    again, other = (first_twin(graph, split, frozen, inputs, seed=seed).state_dict() for seed in (1, 2))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert [name for name in one if torch.equal(one[name], other[name])] == ["tables.movieId_duplicate.weight"]
    alone = first_twin(MODELS["original"](inputs, IDS), split, frozen, inputs, seed=1).state_dict()
    for column in ("userId", "movieId"):
        assert torch.equal(alone[f"tables.{column}.weight"], one[f"tables.{column}.weight"]), "what sets share"
