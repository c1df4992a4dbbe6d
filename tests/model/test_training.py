"""Training: parameters, controls, resuming, and that a model learns what there is to learn and nothing else."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import Open
from utils.handoff.parameters import ParameterError
from utils.handoff.store import HandOffError, Store
from utils.metrics.click import auc
from utils.model.architectures import MODELS, Inputs
from utils.model.training import checkpoints, fit
from utils.model.training.fit import Job, Run, Settings, Split
from utils.study.catalogue import check_codes

FULL = "ids+genres+poster+text"
pytestmark = pytest.mark.usefixtures("one_thread")
SETTINGS = Settings(epochs=2, batch_size=64, learning_rate=0.01)


@pytest.fixture
def split(encoded: dict[str, np.ndarray]) -> Split:
    return Split.of(encoded)


@pytest.fixture
def store(open_for: Open) -> Store:
    return open_for("checkpoints")


# Parameters


def check(**changes: object) -> tuple[str, list[str], list[int]]:
    arguments = {
        "trainer": "torch", "model": "seed", "features": ["ids"], "epochs": 1, "batch_size": 8, "seeds": [1],
        "num_procs": 1, "precision": "auto",
    }  # fmt: skip
    return fit.check_parameters(**(arguments | changes))


def test_parameters_that_can_be_used() -> None:
    assert check() == ("torch", ["ids"], [1])
    assert check(features="ids", seeds=5) == ("torch", ["ids"], [5])
    assert check(features="ids, ids+genres")[1] == ["ids", "ids+genres"]
    assert check(features=(FULL, f"{FULL}(random)"), seeds=(0, 2**32 - 1))[1:] == (
        [FULL, f"{FULL}(random)"],
        [0, 2**32 - 1],
    )


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"trainer": "keras"}, "TRAINER='keras' is not known. Choose one of: 'auto', 'hugectr', 'torch'."),
        ({"model": "deep"}, "MODEL='deep' is not known. Choose one of: 'seed', 'multimodal'."),
        ({"features": "ids+poster"}, r"FEATURES='ids\+poster' is not known. Choose one of: 'ids', 'ids\+genres'"),
        ({"features": "ids+genres(shuffled)"}, r"FEATURES='ids\+genres\(shuffled\)' is not known"),
        ({"features": []}, r"FEATURES=\[\] must name one feature set or a list of them."),
        ({"features": None}, "FEATURES=None must name one feature set"),
        ({"features": ["ids", "ids"]}, r"FEATURES=\['ids', 'ids'\] names 'ids' twice."),
        ({"epochs": 0}, "EPOCHS=0 must be a whole number of at least 1."),
        ({"batch_size": 0.5}, "BATCH_SIZE=0.5 must be a whole number of at least 1."),
        ({"seeds": []}, r"SEEDS=\[\] must be a list of different whole numbers."),
        ({"seeds": [1, 1]}, r"SEEDS=\[1, 1\] must be a list of different whole numbers."),
        ({"seeds": "1"}, "SEEDS='1' must be a list of different whole numbers."),
        ({"seeds": [-1]}, "SEEDS=-1 must be a whole number of at least 0"),
        ({"seeds": [[1]]}, r"SEEDS=\[1\] must be a whole number"),
        ({"seeds": True}, "SEEDS=True must be a whole number"),
        ({"num_procs": 0}, "NUM_PROCS=0 must be a whole number of at least 1."),
        ({"precision": "int8"}, "PRECISION='int8' is not known. Choose one of: 'auto', 'float32', 'bfloat16'."),
    ],
)
def test_parameters_that_are_refused(changes: dict[str, object], wanted: str) -> None:
    with pytest.raises(ParameterError, match=wanted):
        check(**changes)


@pytest.mark.parametrize("rate", [0, -0.1, 1, "fast", None, float("nan")])
def test_learning_rates_that_are_refused(rate: object) -> None:
    with pytest.raises(ParameterError, match=r"LEARNING_RATE=.* must be a number of more than 0 and less than 1."):
        Settings(1, 8, rate)


@pytest.mark.parametrize(
    ("hugectr", "gpu", "lacking"), [(False, True, "hugectr cannot be imported"), (True, False, "no GPU is present")]
)
def test_hugectr_where_it_cannot_run(hugectr: bool, gpu: bool, lacking: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit.importlib.util, "find_spec", lambda name: object() if hugectr else None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    wanted = rf'TRAINER="hugectr" cannot run here: {lacking}. Use TRAINER="torch" \(the same model in PyTorch\)'
    with pytest.raises(ParameterError, match=wanted):
        check(trainer="hugectr")
    assert check(trainer="auto")[0] == "torch"


def test_hugectr_where_it_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [check(trainer=name)[0] for name in ("auto", "hugectr", "torch")] == ["hugectr", "hugectr", "torch"]
    assert check(trainer="torch", precision="bfloat16")[0] == "torch"
    with pytest.raises(ParameterError, match=r'PRECISION="bfloat16" is for the PyTorch model; .*TRAINER="torch"'):
        check(trainer="auto", precision="bfloat16")


# Starting, watching, codes


def test_what_feature_sets_share_starts_alike(job: Job, inputs: Inputs) -> None:
    twins = [replace(job, graph=MODELS["multimodal"](inputs, name)).twin() for name in ("ids", FULL)]
    for column in ("userId", "movieId"):
        assert torch.equal(twins[0].tables[column].weight, twins[1].tables[column].weight)
    assert not torch.equal(twins[0].tables["userId"].weight[:10], twins[0].tables["movieId"].weight[:10])


def test_watching_adds_to_the_curve_and_changes_nothing(job: Job) -> None:
    alone = fit.fit(job)
    watched = fit.fit(job, watch=lambda twin: {"rows": float(len(twin.tables["userId"].weight))})
    assert [row["rows"] for row in watched.history] == [15.0, 15.0]
    for name, weight in alone.twin.state_dict().items():
        assert torch.equal(weight, watched.twin.state_dict()[name])


@pytest.mark.parametrize(("column", "code"), [("userId", 15), ("movieId_duplicate", -1), ("genres", 8)])
def test_codes_without_a_row_are_refused(split: Split, inputs: Inputs, column: str, code: int) -> None:
    check_codes("valid", split, inputs)
    split.codes[column].view(-1)[3] = code
    with pytest.raises(HandOffError, match=f"valid-hugectr: column '{column}' has codes from .* Run notebook 06 again"):
        check_codes("valid", split, inputs)


def test_seen_codes(split: Split, inputs: Inputs) -> None:
    seen = fit.seen_codes(split, inputs)
    for column, rows in (("userId", inputs.users), ("movieId", inputs.movies), ("genres", inputs.genres)):
        assert set(np.flatnonzero(seen[column].numpy())) == set(split.codes[column].unique().tolist())
        assert len(seen[column]) == rows


# Fitting and scoring


@pytest.fixture
def job(split: Split, frozen: np.ndarray, inputs: Inputs) -> Job:
    return Job(MODELS["multimodal"](inputs, FULL), split, split, frozen, inputs, SETTINGS, seed=1)


def taste(inputs: Inputs, rows: int, seed: int) -> Split:
    """A learnable world: a user likes a movie if both their numbers are odd, or both even."""
    generator = np.random.default_rng(seed)
    user = generator.integers(3, inputs.users, rows)
    movie = generator.integers(3, inputs.movies, rows)
    codes = {
        "userId": user,
        "movieId": movie,
        "genres": np.full((rows, inputs.most_genres), 3),
        "movieId_duplicate": movie,
    }
    label = (user % 2 == movie % 2).astype(np.float32)
    return Split.of({name: values.astype(np.int32) for name, values in codes.items()} | {"label": label})


def reached(run: Run, split: Split) -> float:
    return auc(split.label.numpy(), fit.score(run.twin, split))


@pytest.mark.parametrize("model", MODELS)
def test_it_learns_what_can_be_learned_and_no_more(model: str, job: Job, inputs: Inputs) -> None:
    train, valid = taste(inputs, 1500, 0), taste(inputs, 600, 1)
    settings = Settings(epochs=25, batch_size=128, learning_rate=0.02)
    world = replace(job, graph=MODELS[model](inputs, "ids"), train=train, monitor=valid, settings=settings)
    run = fit.fit(world)
    assert reached(run, valid) > 0.95
    assert run.history[-1]["train_loss"] < run.history[0]["train_loss"]
    assert run.history[-1]["valid_auc"] == reached(run, valid)
    assert [epoch["epoch"] for epoch in run.history] == list(range(1, 26))
    assert not run.twin.training
    assert not run.resumed

    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    nothing = fit.fit(replace(world, train=replace(train, label=train.label[order])))
    assert 0.35 < reached(nothing, valid) < 0.65


def test_content_tells_new_movies_apart(job: Job, frozen: np.ndarray, inputs: Inputs) -> None:
    """Half the movies are never trained on; their vectors say what they are, and only the true vectors do."""
    every = taste(inputs, 4000, 0)
    known = every.codes["movieId"] < 13
    train, cold = (
        Split({name: values[rows] for name, values in every.codes.items()}, every.label[rows])
        for rows in (known, ~known)
    )
    cold.codes["movieId"][:] = 2
    train.codes["movieId"][::3] = 2
    true, none = frozen.copy(), frozen.copy()
    true[:, 0] = np.where(np.arange(len(frozen)) % 2, 1.0, -1.0)
    none[:, 0] = 0
    settings = Settings(epochs=20, batch_size=128, learning_rate=0.02)
    graph = MODELS["multimodal"](inputs, "ids+genres+poster")
    world = replace(job, graph=graph, train=train, monitor=cold, settings=settings)
    assert reached(fit.fit(replace(world, frozen=true)), cold) > 0.85
    assert reached(fit.fit(replace(world, frozen=none)), cold) < 0.7


def test_bfloat16_is_for_products_alone(job: Job, inputs: Inputs) -> None:
    world = replace(job, train=taste(inputs, 1500, 0), settings=Settings(8, 128, 0.02))
    exact, rounded = (
        fit.fit(replace(world, settings=replace(world.settings, precision=precision)))
        for precision in ("float32", "bfloat16")
    )
    weights = exact.twin.state_dict(), rounded.twin.state_dict()
    assert {weight.dtype for weight in weights[1].values()} == {torch.float32}
    assert any(not torch.equal(weight, weights[1][name]) for name, weight in weights[0].items())
    valid = taste(inputs, 600, 1)
    assert abs(reached(exact, valid) - reached(rounded, valid)) < 0.02
    with pytest.raises(ParameterError, match="PRECISION='half'"):
        replace(world.settings, precision="half")


def test_the_seed_decides_the_run(job: Job, split: Split) -> None:
    scores = []
    for seed in (1, 1, 2):
        torch.rand(5)
        scores.append(fit.score(fit.fit(replace(job, seed=seed)).twin, split))
    assert np.array_equal(scores[0], scores[1])
    assert not np.allclose(scores[0], scores[2])


def test_watching_does_not_change_the_run(job: Job, split: Split) -> None:
    watched, blind = (fit.fit(replace(job, monitor=part)) for part in (split, split.head(0)))
    assert np.array_equal(fit.score(watched.twin, split), fit.score(blind.twin, split))
    assert np.isnan(blind.history[0]["valid_auc"])


@pytest.mark.parametrize("size", [64, 400, 1000])
def test_an_epoch_reads_every_row_once(job: Job, size: int) -> None:
    numbered = replace(job.train, label=torch.arange(400.0))
    batches = list(fit._batches(replace(job, train=numbered, settings=Settings(1, size, 0.1)), torch.Generator(), 0, 1))
    labels = torch.cat([label for _, label in batches])
    assert sorted(labels.tolist()) == list(range(400))
    assert labels.tolist() != list(range(400))
    assert {len(label) for _, label in batches[:-1]} <= {size}
    codes, label = batches[0]
    rows = label.long()
    assert all(torch.equal(values, job.train.codes[name][rows]) for name, values in codes.items())


def test_ranks_share_each_batch_equally(job: Job) -> None:
    numbered = replace(job, train=replace(job.train, label=torch.arange(400.0)), settings=Settings(1, 64, 0.1))
    shares = []
    for rank in range(3):
        shuffle = torch.Generator().manual_seed(0)
        shares.append([label for _, label in fit._batches(numbered, shuffle, rank, 3)])
    whole = [label for _, label in fit._batches(numbered, torch.Generator().manual_seed(0), 0, 1)]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert len({len(part) for part in parts}) == 1
        assert torch.equal(torch.cat(parts), batch[: len(batch) // 3 * 3])


def test_scores_do_not_depend_on_the_block(job: Job, split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    run = fit.fit(job)
    whole = fit.score(run.twin, split)
    assert whole.shape == (len(split),)
    assert whole.dtype == np.float32
    assert ((whole > 0) & (whole < 1)).all()
    monkeypatch.setattr(fit, "SCORE_ROWS", 33)
    assert np.allclose(fit.score(run.twin, split), whole, atol=1e-6)
    assert fit.score(run.twin, split.head(0)).shape == (0,)


def test_the_catalogue_is_scored_as_rows_are(job: Job, split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    run = fit.fit(job)
    movies = {name: split.codes[name][:9].numpy() for name in ("movieId", "genres", "movieId_duplicate")}
    users = split.codes["userId"][:9].numpy()
    grid = fit.catalogue_scorer(run.twin, movies)(users)
    assert grid.shape == (9, 9)
    assert np.allclose(np.diag(grid), fit.score(run.twin, split.head(9)), atol=1e-6)
    monkeypatch.setattr(fit, "GRID_NUMBERS", 1)
    assert np.allclose(fit.catalogue_scorer(run.twin, movies)(users), grid, atol=1e-6)
    assert fit.catalogue_scorer(run.twin, movies)(users[:0]).shape == (0, 9)


@pytest.mark.parametrize("model", MODELS)
def test_the_movies_side_is_computed_once(
    model: str, job: Job, inputs: Inputs, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = replace(job, graph=MODELS[model](inputs, FULL)).twin().eval()
    movies = {name: split.codes[name][:9].numpy() for name in ("movieId", "genres", "movieId_duplicate")}
    looks: list[int] = []
    twin.tables["movieId_duplicate"].register_forward_hook(lambda _, keys, __: looks.append(keys[0].numel()))
    monkeypatch.setattr(fit, "GRID_NUMBERS", 9 * 2 * twin.pair_width)
    scores_of = fit.catalogue_scorer(twin, movies)
    users = split.codes["userId"][:5].numpy()
    assert np.array_equal(scores_of(users), scores_of(users))
    assert looks == [9]
    # The seed's layers see every pair 128 wide; of the towers only the dot product does.
    assert twin.pair_width == {"seed": 128, "multimodal": 1}[model]


# Checkpoints


def fit_here(job: Job, _: Path) -> Run:
    return fit.fit(job)


def resume(store: Store, job: Job, features: str = FULL, trainer: str = "torch") -> Run:
    return checkpoints.fit_or_resume(store, job, features, trainer, fit_here)


@pytest.mark.parametrize("features", ["ids", FULL])
@pytest.mark.parametrize("model", MODELS)
def test_a_finished_run_is_read_and_scores_the_same(
    model: str, features: str, store: Store, job: Job, split: Split, inputs: Inputs
) -> None:
    job = replace(job, graph=MODELS[model](inputs, features))
    first = resume(store, job, features)
    assert not first.resumed
    second = checkpoints.fit_or_resume(store, job, features, "torch", lambda *_: pytest.fail("it was trained again"))
    assert second.resumed
    assert second.history == first.history
    assert np.array_equal(fit.score(first.twin, split), fit.score(second.twin, split))


def test_different_runs_do_not_collide(store: Store, job: Job, inputs: Inputs) -> None:
    fast = replace(job, settings=Settings(1, 512, 0.01))
    other = job.frozen.copy()
    other[5, 0] += 1
    runs = [
        (fast, FULL, "torch"),
        (replace(fast, seed=2), FULL, "torch"),
        (replace(fast, settings=replace(fast.settings, epochs=2)), FULL, "torch"),
        (replace(fast, settings=replace(fast.settings, batch_size=511)), FULL, "torch"),
        (replace(fast, settings=replace(fast.settings, learning_rate=0.02)), FULL, "torch"),
        (replace(fast, graph=MODELS["multimodal"](inputs, "ids+genres+poster")), "ids+genres+poster", "torch"),
        (fast, f"{FULL}(shuffled)", "torch"),
        (replace(fast, graph=MODELS["seed"](inputs, FULL)), FULL, "torch"),
        (replace(fast, frozen=other), FULL, "torch"),
        (fast, FULL, "hugectr"),
    ]
    for run in runs:
        assert not resume(store, *run).resumed
    assert len(list(store.path("checkpoints").iterdir())) == len(runs)


def test_other_training_data_is_another_run(store: Store, job: Job, open_for: Open) -> None:
    etl_store = open_for("train-hugectr")
    folder = etl_store.path("train-hugectr")
    folder.mkdir()
    for content in ("one", "two"):
        (folder / "part").write_text(content)
        etl_store.record("train-hugectr", rows=1)
        assert not resume(store, job).resumed
        assert resume(store, job).resumed


def test_a_run_that_was_interrupted_leaves_no_checkpoint(store: Store, job: Job) -> None:
    def interrupted(_: Job, prefix: Path) -> Run:
        prefix.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoints.fit_or_resume(store, job, FULL, "torch", interrupted)
    assert list(store.path("checkpoints").iterdir()) == []
    assert not resume(store, job).resumed
