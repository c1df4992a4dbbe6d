"""The PyTorch twin: shortcuts change no number, HugeCTR's meaning is kept, the frozen table stays frozen."""

import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

import utils.model.torch_model
from utils.model.adam import HugeCTRAdam
from utils.model.architectures import FEATURE_SETS, MODELS, Inputs
from utils.model.graph import Graph
from utils.model.shortcuts import joined
from utils.model.torch_model import Twin
from utils.model.training.fit import Split, seen_codes

Encoded = dict[str, np.ndarray]
FULL = "ids+genres+poster+text"
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def split(encoded: Encoded) -> Split:
    return Split.of(encoded)


def make_twin(graph: Graph, split: Split, frozen: np.ndarray, inputs: Inputs, seed: int = 0) -> Twin:
    return Twin(graph, {"movieId_duplicate": torch.from_numpy(frozen)}, seen_codes(split, inputs), seed)


def naive(twin: Twin, codes: Mapping[str, Tensor]) -> Tensor:
    """Evaluate the graph layer by layer, every row on its own, with nothing shared."""
    values: dict[str, Tensor] = {}
    for slot in twin.graph.slots:
        rows = twin.tables[slot.column].weight[codes[slot.column].long()]
        values[f"{slot.column}_embedding"] = rows.sum(1) if slot.most_items > 1 else rows
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


@pytest.mark.parametrize("features", FEATURE_SETS)
@pytest.mark.parametrize("model", MODELS)
def test_forward_equals_the_naive_evaluation(
    model: str, features: str, split: Split, frozen: np.ndarray, inputs: Inputs
) -> None:
    twin = make_twin(MODELS[model](inputs, features), split, frozen, inputs).eval()
    logits = twin(split.codes)
    assert logits.shape == (len(split),)
    torch.testing.assert_close(logits, naive(twin, split.codes), rtol=1e-6, atol=1e-6)
    # One row alone has the logit that it has in a batch.
    torch.testing.assert_close(twin({name: v[5:6] for name, v in split.codes.items()}), logits[5:6])


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
        torch.testing.assert_close(shared[name], wanted, rtol=1e-4, atol=1e-5)


def test_one_dnn_changes_no_number(
    split: Split, frozen: np.ndarray, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = make_twin(MODELS["seed"](inputs, FULL), split, frozen, inputs)
    found = []
    for least in (0, 1 << 62):
        monkeypatch.setattr(utils.model.torch_model, "ONE_DNN_FROM", least)
        twin.zero_grad()
        (twin(split.codes) * split.label).sum().backward()
        found.append({name: parameter.grad for name, parameter in twin.named_parameters() if parameter.requires_grad})
        check_grid(twin, split, 7, 11)
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], rtol=1e-4, atol=1e-5)


def test_a_linear_layer_on_pieces_in_any_order(split: Split, frozen: np.ndarray, inputs: Inputs) -> None:
    """Neighbouring slices, the same slices the other way round, and a tensor twice."""
    graph = Graph("pieces")
    user = graph.embedding("userId", 15, 4)
    table = graph.embedding("movieId_duplicate", 21, frozen.shape[1], frozen=True)
    one, two, three = graph.slice(table, {"one": (0, 2), "two": (2, 5), "three": (5, 7)})
    linear = [
        graph.inner_product(graph.concat(parts, f"all_{number}"), 3, f"linear_{number}")
        for number, parts in enumerate([[one, two, user, three], [three, user, two, one], [user, two, user]])
    ]
    graph.loss(graph.reduce_sum(graph.multiply(linear, "product"), "logit"))
    assert joined(graph)["all_0"] == [(table, 0, 5), (user, 0, 4), (table, 5, 7)]
    assert joined(graph)["all_1"] == [(table, 5, 7), (user, 0, 4), (table, 2, 5), (table, 0, 2)]
    twin = make_twin(graph, split, frozen, inputs)
    torch.testing.assert_close(twin(split.codes), naive(twin, split.codes), rtol=1e-5, atol=1e-6)
    check_grid(twin, split, 7, 11)


def test_a_concat_that_others_read_too_is_made(split: Split, frozen: np.ndarray, inputs: Inputs) -> None:
    graph = Graph("read twice")
    both = graph.concat([graph.embedding("userId", 15, 4), graph.embedding("movieId", 21, 4)], "both")
    logit = graph.add([graph.reduce_sum(both, "sum"), graph.inner_product(both, 1, "linear")], "logit")
    graph.loss(logit)
    assert not joined(graph)
    twin = make_twin(graph, split, frozen, inputs)
    torch.testing.assert_close(twin(split.codes), naive(twin, split.codes), rtol=1e-5, atol=1e-6)


def graph_with_dropout(frozen_width: int) -> Graph:
    graph = Graph("dropout")
    graph.embedding("userId", 15, 4)
    graph.embedding("movieId_duplicate", 21, frozen_width, frozen=True)
    dropped = graph.dropout("movieId_duplicate_vector", 0.5, "dropped")
    content = graph.inner_product(graph.relu(dropped, "positive"), 4, "content")
    return graph.loss(graph.reduce_sum(graph.multiply(["userId_vector", content], "product"), "logit"))


def test_layers_after_dropout_are_computed_a_row(split: Split, frozen: np.ndarray, inputs: Inputs) -> None:
    twin = make_twin(graph_with_dropout(frozen.shape[1]), split, frozen, inputs).eval()
    torch.testing.assert_close(twin(split.codes), naive(twin, split.codes), rtol=1e-6, atol=1e-6)
    twin.train()
    one = {name: values[:1].expand(500, *values.shape[1:]) for name, values in split.codes.items()}
    assert len(twin(one).unique()) > 50, "all rows of one movie share one dropout mask"


def test_a_logit_of_the_frozen_column_alone(split: Split, frozen: np.ndarray, inputs: Inputs) -> None:
    graph = Graph("content alone")
    graph.embedding("movieId_duplicate", 21, frozen.shape[1], frozen=True)
    graph.loss(graph.inner_product("movieId_duplicate_vector", 1, "logit"))
    twin = make_twin(graph, split, frozen, inputs)
    torch.testing.assert_close(twin(split.codes), naive(twin, split.codes), rtol=1e-6, atol=1e-6)


def check_grid(twin: Twin, split: Split, users: int, movies: int) -> None:
    user_codes = torch.arange(3, 3 + users, dtype=torch.int32)
    catalogue = {name: split.codes[name][:movies] for name in ("movieId", "genres", "movieId_duplicate")}
    pairs = {name: values.repeat(users, *[1] * (values.dim() - 1)) for name, values in catalogue.items()}
    pairs["userId"] = user_codes.repeat_interleave(movies)
    grid = twin.grid({"userId": user_codes}, catalogue)
    assert grid.shape == (users, movies)
    torch.testing.assert_close(grid.reshape(-1), twin(pairs), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(7, 11), (1, 11), (7, 1), (1, 1)])
@pytest.mark.parametrize("features", ["ids", FULL])
@pytest.mark.parametrize("model", MODELS)
def test_the_grid_equals_forward_on_every_pair(
    model: str, features: str, shape: tuple[int, int], split: Split, frozen: np.ndarray, inputs: Inputs
) -> None:
    check_grid(make_twin(MODELS[model](inputs, features), split, frozen, inputs).eval(), split, *shape)


@pytest.mark.parametrize("shape", [(7, 11), (1, 11), (7, 1), (1, 1)])
@pytest.mark.parametrize("order", [1, -1])
def test_a_dot_product_in_either_order(
    order: int, shape: tuple[int, int], split: Split, frozen: np.ndarray, inputs: Inputs
) -> None:
    graph = Graph("dot")
    towers = [graph.embedding("userId", 15, 4), graph.embedding("movieId", 21, 4)]
    product = graph.dropout(graph.multiply(towers[::order], "product"), 0.5, "dropped")
    graph.loss(graph.reduce_sum(product, "logit"))
    check_grid(make_twin(graph, split, frozen, inputs).eval(), split, *shape)


def train_a_little(twin: Twin, split: Split, steps: int = 5) -> None:
    trained = [parameter for parameter in twin.parameters() if parameter.requires_grad]
    optimizer = HugeCTRAdam(trained, 0.01)
    for _ in range(steps):
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
        weight = twin.tables[column].weight
        unseen = ~seen
        if column == "genres":
            unseen[0] = True
        assert unseen[0] and unseen[-1] and not unseen.all()
        assert not weight[unseen].any(), f"{column}: a row that training never reads is not zero"
        assert (weight[~unseen] != before[column][~unseen]).any(1).all(), f"{column}: a row was not trained"
    table = twin.tables["movieId_duplicate"].weight
    assert table.grad is None and not table.requires_grad
    assert torch.equal(table, torch.from_numpy(frozen))


def test_padding_adds_nothing(split: Split, frozen: np.ndarray, inputs: Inputs) -> None:
    twin = make_twin(MODELS["multimodal"](inputs, "ids+genres"), split, frozen, inputs)
    train_a_little(twin, split)
    twin.eval()
    codes = {name: values[:50].clone() for name, values in split.codes.items()}
    codes["genres"][:] = torch.tensor([3, 4, 0])
    moved = codes | {"genres": codes["genres"][:, [2, 0, 1]]}
    torch.testing.assert_close(twin(codes), twin(moved))
    torch.testing.assert_close(twin(codes), twin(codes | {"genres": codes["genres"][:, :2]}))


def test_never_seen_codes_score_as_zero_vectors(split: Split, frozen: np.ndarray, inputs: Inputs) -> None:
    twin = make_twin(MODELS["multimodal"](inputs, "ids"), split, frozen, inputs)
    unseen = {"userId": torch.tensor([inputs.users - 1]), "movieId": torch.tensor([inputs.movies - 1])}
    assert twin(unseen).item() == 0


def test_initial_values_are_hugectrs() -> None:
    graph = Graph("wide")
    graph.embedding("userId", 2000, 100)
    hidden = graph.inner_product("userId_vector", 400, "dense")
    graph.loss(graph.inner_product(hidden, 1, "logit"))
    twin = Twin(graph, {}, {"userId": torch.ones(2000, dtype=torch.bool)}, seed=1)
    table = twin.tables["userId"].weight.detach()
    assert table.abs().max() <= 0.05
    assert table.min() < -0.0499
    assert table.max() > 0.0499
    assert table.std().item() == pytest.approx(0.1 / math.sqrt(12), rel=0.01)
    dense = twin.linears["dense"]
    assert dense.weight.std().item() == pytest.approx(math.sqrt(2 / 500) / 0.87962566, rel=0.02)
    assert dense.weight.mean().item() == pytest.approx(0, abs=0.002)
    assert dense.bias.std().item() == pytest.approx(1 / math.sqrt(400), rel=0.15)


def test_the_seed_alone_decides_the_initial_values(split: Split, frozen: np.ndarray, inputs: Inputs) -> None:
    graph = MODELS["multimodal"](inputs, FULL)
    one = make_twin(graph, split, frozen, inputs, seed=1).state_dict()
    torch.rand(3)
    again, other = (make_twin(graph, split, frozen, inputs, seed=seed).state_dict() for seed in (1, 2))
    assert all(torch.equal(one[name], again[name]) for name in one)
    trained = [name for name in one if name != "tables.movieId_duplicate.weight"]
    assert not any(torch.equal(one[name], other[name]) for name in trained)


def test_adam_steps_as_hugectr_does() -> None:
    generator = np.random.default_rng(0)
    start = generator.normal(size=(6, 3))
    gradients = [generator.normal(0, scale, size=(6, 3)) for scale in (1, 1e-6, 1, 1e-7, 1e-3, 10, 1e-8)]
    for gradient in gradients[1:]:
        gradient[2] = 0  # A row that is absent from the batch.
    lr, beta1, beta2, epsilon = 0.01, 0.9, 0.999, 1e-7

    parameter = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = HugeCTRAdam([parameter], lr)
    weight, m, v = start.copy(), np.zeros_like(start), np.zeros_like(start)
    for step, gradient in enumerate(gradients, start=1):
        parameter.grad = torch.from_numpy(gradient)
        optimizer.step()
        m = beta1 * m + (1 - beta1) * gradient
        v = beta2 * v + (1 - beta2) * gradient**2
        rate = lr * math.sqrt(1 - beta2**step) / (1 - beta1**step)
        before = weight
        weight = weight - rate * m / (np.sqrt(v) + epsilon)
        assert np.abs(parameter.detach().numpy() - weight).max() < 1e-6
        assert (weight[2] != before[2]).all(), "moments of an absent row decay, and move it"


def test_adams_epsilon_is_not_pytorchs() -> None:
    """With tiny gradients the two formulas differ: the test above could not tell them apart by luck."""
    moved = []
    for optimizer_class, options in ((HugeCTRAdam, {}), (torch.optim.Adam, {"eps": 1e-7})):
        parameter = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
        parameter.grad = torch.full((1,), 1e-7, dtype=torch.float64)
        optimizer_class([parameter], lr=0.01, **options).step()
        moved.append(parameter.item())
    # m / (sqrt(v) + eps) with eps = 1e-7, against sqrt(v / (1 - b2)) + eps.
    assert moved[0] == pytest.approx(-0.01 * math.sqrt(0.001) * 1e-7 / (math.sqrt(0.001) * 1e-7 + 1e-7), rel=1e-6)
    assert moved[1] == pytest.approx(-0.005, rel=1e-6)
