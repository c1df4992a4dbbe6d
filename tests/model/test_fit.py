"""Training: what is refused, and that a model learns what there is to learn and nothing else."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import FULL, SETS
from utils.handoff.parameters import ParameterError
from utils.metrics.click import auc
from utils.model.architectures import MODELS, Inputs
from utils.model.feature_sets import CONTENT, FeatureSet, parse
from utils.model.training import fit
from utils.model.training.adam import HugeCTRAdam
from utils.model.training.fit import Job, Run, Settings, Split

pytestmark = pytest.mark.usefixtures("one_thread")
SETTINGS = Settings(epochs=2, batch_size=64, learning_rate=0.01)


@pytest.fixture
def job(split: Split, frozen: np.ndarray, inputs: Inputs) -> Job:
    return Job(MODELS["multimodal"](inputs, FULL), split, split, frozen, inputs, SETTINGS, seed=1)


# Parameters


def check(**changes: Any) -> tuple[str, list[FeatureSet], list[int]]:
    given = {"trainer": "torch", "model": "original", "features": ["ids"], "seeds": [1], "num_procs": 1}
    return fit.check_parameters(**(given | {"settings": SETTINGS} | changes))


def test_parameters_that_can_be_used() -> None:
    assert check(features="ids", seeds=5) == ("torch", [parse("ids")], [5])
    assert check(features=(str(FULL), f"{FULL}(random)"), seeds=(0, 2**32 - 1))[1:] == (
        [FULL, parse(f"{FULL}(random)")],
        [0, 2**32 - 1],
    )


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"trainer": "keras"}, "TRAINER='keras' is not known. Choose one of: 'auto', 'hugectr', 'torch'."),
        ({"model": "deep"}, "MODEL='deep' is not known. Choose one of: 'original', 'multimodal'."),
        ({"features": "ids+plot"}, r"FEATURES: 'ids\+plot' is not a feature set"),
        ({"seeds": []}, r"SEEDS=\[\] must be a list of different whole numbers."),
        ({"seeds": [1, 1]}, r"SEEDS=\[1, 1\] must be a list of different whole numbers."),
        ({"seeds": "1"}, "SEEDS='1' must be a list of different whole numbers."),
        ({"seeds": [-1]}, "SEEDS=-1 must be a whole number of at least 0"),
        ({"seeds": [[1]]}, r"SEEDS=\[1\] must be a whole number"),
        ({"seeds": True}, "SEEDS=True must be a whole number"),
        ({"num_procs": 0}, "NUM_PROCS=0 must be a whole number of at least 1."),
    ],
)
def test_parameters_that_are_refused(changes: dict[str, object], wanted: str) -> None:
    with pytest.raises(ParameterError, match=wanted):
        check(**changes)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [({"epochs": 0}, "EPOCHS=0 must"), ({"batch_size": 0.5}, "BATCH_SIZE=0.5"), ({"precision": "int8"}, "PRECISION=")]
    + [({"learning_rate": rate}, "LEARNING_RATE=.* must be a number of more than 0 and less than 1")
       for rate in (0, -0.1, 1, "fast", None, float("nan"))],
)  # fmt: skip
def test_settings_that_are_refused(changes: dict[str, Any], wanted: str) -> None:
    with pytest.raises(ParameterError, match=wanted):
        replace(SETTINGS, **changes)


@pytest.mark.parametrize(("hugectr", "gpu"), [(False, True), (True, False), (True, True)])
def test_hugectr_trains_where_it_can(hugectr: bool, gpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit.importlib.util, "find_spec", lambda name: object() if hugectr else None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    bfloat16 = replace(SETTINGS, precision="bfloat16")
    assert check(trainer="torch", settings=bfloat16)[0] == "torch"
    if hugectr and gpu:
        assert [check(trainer=name)[0] for name in ("auto", "hugectr", "torch")] == ["hugectr", "hugectr", "torch"]
        with pytest.raises(ParameterError, match=r'PRECISION="bfloat16" is for the PyTorch model; .*TRAINER="torch"'):
            check(trainer="auto", settings=bfloat16)
    else:
        lacking = "no GPU is present" if hugectr else "hugectr cannot be imported"
        wanted = rf'TRAINER="hugectr" cannot run here: {lacking}. Use TRAINER="torch" \(the same model in PyTorch\)'
        with pytest.raises(ParameterError, match=wanted):
            check(trainer="hugectr")
        assert check(trainer="auto")[0] == "torch"


# Starting


@pytest.mark.parametrize("features", SETS, ids=str)
def test_an_untrained_twin_is_the_sum_of_the_biases_it_starts_from(
    features: FeatureSet, job: Job, split: Split, inputs: Inputs
) -> None:
    generator = np.random.default_rng(5)
    sizes = {"userId": inputs.users, "movieId": inputs.movies, "genres": inputs.genres}
    start = {column: generator.normal(size=size).astype(np.float32) for column, size in sizes.items()}
    start = {name: values for name, values in start.items() if name != "genres" or "genres" in features.blocks}
    start.get("genres", np.zeros(1))[0] = 0  # padding
    twin = replace(job, graph=MODELS["multimodal"](inputs, features), start=start).twin().eval()
    user, movie = (split.codes[column].long() for column in ("userId", "movieId"))
    wanted = torch.from_numpy(start["userId"])[user] + torch.from_numpy(start["movieId"])[movie]
    if "genres" in start:
        wanted += torch.from_numpy(start["genres"])[split.codes["genres"].long()].sum(1)
    torch.testing.assert_close(twin(split.codes), wanted, rtol=1e-6, atol=1e-6)
    unseen = {"userId": torch.tensor([inputs.users - 1]), "movieId": torch.tensor([inputs.movies - 1])}
    one = {name: values[:1] for name, values in split.codes.items()} | unseen
    assert one["genres"].zero_() is not None and twin(one).item() == 0, "rows that training never reads are 0"
    assert (twin.table("userId").weight[twin.seen["userId"], :-1] != 0).all(), "or the factors could never be learned"


# Fitting


def taste(inputs: Inputs, rows: int, seed: int) -> Split:
    """A learnable world: a user likes a movie if both their numbers are odd, or both even."""
    generator = np.random.default_rng(seed)
    user = generator.integers(3, inputs.users, rows)
    movie = generator.integers(3, inputs.movies, rows)
    codes = {"userId": user, "movieId": movie, "movieId_duplicate": movie}
    codes["genres"] = np.full((rows, inputs.most_genres), 3)
    label = (user % 2 == movie % 2).astype(np.float32)
    return Split.of({name: values.astype(np.int32) for name, values in codes.items()} | {"label": label})


def reached(run: Run, split: Split) -> float:
    return auc(split.label.numpy(), fit.score(run.twin, split))


@pytest.mark.parametrize("model", MODELS)
def test_it_learns_what_can_be_learned_and_no_more(model: str, job: Job, inputs: Inputs) -> None:
    train, valid = taste(inputs, 1500, 0), taste(inputs, 600, 1)
    settings = Settings(epochs=25, batch_size=128, learning_rate=0.02)
    world = replace(job, graph=MODELS[model](inputs, SETS[0]), train=train, monitor=valid, settings=settings)
    run = fit.fit(world)
    assert reached(run, valid) > 0.95
    assert run.history[-1]["train_loss"] < run.history[0]["train_loss"]
    assert run.history[-1]["valid_auc"] == reached(run, valid)
    assert [epoch["epoch"] for epoch in run.history] == list(range(1, 26))
    assert not run.twin.training and not run.resumed

    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    nothing = fit.fit(replace(world, train=replace(train, label=train.label[order])))
    assert 0.35 < reached(nothing, valid) < 0.65


def test_content_tells_new_movies_apart(job: Job, frozen: np.ndarray, inputs: Inputs) -> None:
    """Half the movies are never trained on; their vectors say what they are, and only the true vectors do."""
    every = taste(inputs, 4000, 0)
    known = (every.codes["movieId"] < 13).numpy()
    train, cold = every.take(known), every.take(~known)
    cold.codes["movieId"][:] = 2
    train.codes["movieId"][::3] = 2
    graph = MODELS["multimodal"](inputs, parse(f"ids+genres+{CONTENT[0]}"))
    settings = Settings(epochs=20, batch_size=128, learning_rate=0.02)
    world = replace(job, graph=graph, train=train, monitor=cold, settings=settings)
    true, none = frozen.copy(), frozen.copy()
    true[:, 0] = np.where(np.arange(len(frozen)) % 2, 1.0, -1.0)
    none[:, 0] = 0
    assert reached(fit.fit(replace(world, frozen=true)), cold) > 0.85
    assert reached(fit.fit(replace(world, frozen=none)), cold) < 0.7


def test_bfloat16_is_for_products_alone(job: Job, inputs: Inputs) -> None:
    world = replace(job, train=taste(inputs, 1500, 0), settings=Settings(8, 128, 0.02))
    rounded = replace(world, settings=replace(world.settings, precision="bfloat16"))
    runs = [fit.fit(one) for one in (world, rounded)]
    weights = [run.twin.state_dict() for run in runs]
    assert {weight.dtype for weight in weights[1].values()} == {torch.float32}
    assert any(not torch.equal(weight, weights[1][name]) for name, weight in weights[0].items())
    valid = taste(inputs, 600, 1)
    assert abs(reached(runs[0], valid) - reached(runs[1], valid)) < 0.02


def test_the_seed_decides_the_run_and_watching_does_not(job: Job, split: Split) -> None:
    scores = []
    for seed in (1, 1, 2):
        torch.rand(5)
        scores.append(fit.score(fit.fit(replace(job, seed=seed)).twin, split))
    blind = fit.fit(replace(job, monitor=split.head(0)))
    watched = fit.fit(job, watch=lambda twin: {"rows": float(len(twin.tables["userId"].weight))})
    assert np.isnan(blind.history[0]["valid_auc"]) and [row["rows"] for row in watched.history] == [15.0, 15.0]
    for same in (scores[1], fit.score(blind.twin, split), fit.score(watched.twin, split)):
        assert np.array_equal(scores[0], same)
    assert not np.allclose(scores[0], scores[2])


@pytest.mark.parametrize("size", [64, 400, 1000])
def test_an_epoch_reads_every_row_once_and_ranks_share_each_batch_equally(job: Job, size: int) -> None:
    numbered = replace(job, train=replace(job.train, label=torch.arange(400.0)), settings=Settings(1, size, 0.1))
    batches = list(fit._batches(numbered, torch.Generator().manual_seed(0), 0, 1))
    labels = torch.cat([label for _, label in batches])
    assert sorted(labels.tolist()) == list(range(400)) != labels.tolist()
    assert {len(label) for _, label in batches[:-1]} <= {size}
    codes, label = batches[0]
    assert all(torch.equal(values, job.train.codes[name][label.long()]) for name, values in codes.items())
    shares = [fit._batches(numbered, torch.Generator().manual_seed(0), rank, 3) for rank in range(3)]
    for (_, whole), *parts in zip(batches, *shares, strict=True):
        assert len({len(part) for _, part in parts}) == 1
        assert torch.equal(torch.cat([part for _, part in parts]), whole[: len(whole) // 3 * 3])


# Scoring


def test_scores_do_not_depend_on_the_block(job: Job, split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    twin = fit.fit(job).twin
    whole = fit.score(twin, split)
    assert whole.shape == (len(split),) and whole.dtype == np.float32
    assert ((whole > 0) & (whole < 1)).all()
    monkeypatch.setattr(fit, "SCORE_ROWS", 33)
    assert np.allclose(fit.score(twin, split), whole, atol=1e-6)
    assert fit.score(twin, split.head(0)).shape == (0,)


@pytest.mark.parametrize("model", MODELS)
def test_the_catalogue_is_scored_as_rows_are_and_the_movies_side_once(
    model: str, job: Job, inputs: Inputs, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = fit.fit(replace(job, graph=MODELS[model](inputs, FULL))).twin
    movies = {name: split.codes[name][:9].numpy() for name in ("movieId", "genres", "movieId_duplicate")}
    users, looks = split.codes["userId"][:9].numpy(), []
    wanted = fit.score(twin, split.head(9))
    twin.tables["movieId_duplicate"].register_forward_hook(lambda _, keys, __: looks.append(keys[0].numel()))
    for numbers in (fit.GRID_NUMBERS, 9 * 2 * twin.pair_width, 1):
        monkeypatch.setattr(fit, "GRID_NUMBERS", numbers)
        scores_of = fit.catalogue_scorer(twin, movies)
        grid = scores_of(users)
        assert grid.shape == (9, 9) and np.allclose(np.diag(grid), wanted, atol=1e-6)
        assert scores_of(users[:0]).shape == (0, 9)
    assert looks == [9] * 3
    # The seed's layers see every pair 128 wide; of the towers only the dot product does.
    assert twin.pair_width == {"original": 128, "multimodal": 1}[model]


# The optimiser


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
