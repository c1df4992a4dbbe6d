"""The generated ``model.py`` against a strict stand-in of the hugectr module, which has no GPU to run on.

The script of every model and feature set passes; then one defect at a time, in the script or in the
files, is caught by its name. The defects of the original series come first.
"""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.places import ROOT
from utils.etl.workflow import CATEGORIES, LABEL, OUT_OF_VOCABULARY, RESERVED
from utils.handoff import store as artefacts
from utils.model.architectures import FEATURE_SETS, MODELS, Inputs
from utils.model.frozen_table import content_table
from utils.model.hugectr_files import read_sparse, write_sparse
from utils.model.hugectr_script import Script, render
from utils.model.torch_model import Twin

STAND_IN = (ROOT / "tests") / "hugectr_stand_in"
USERS, MOVIES, GENRES, MOST_GENRES = 9, 30, 5, 3
UNSEEN = 4
"""The last movies of the catalogue: rated in valid, never in train."""
POSTER, TEXT = 4, 3
TRAIN_ROWS, VALID_ROWS, BATCH = 200, 50, 20
EVERYTHING = FEATURE_SETS[-1]


@dataclass(frozen=True)
class Rows:
    """The rows of a split: user and movie positions int [n], rating float32 [n], genre codes of each row."""

    users: np.ndarray
    movies: np.ndarray
    rating: np.ndarray
    genres: list[list[int]]

    @property
    def movie_codes(self) -> np.ndarray:
        """Codes of a vocabulary fitted on train, which lacks the unseen movies, with some ids dropped."""
        known = (self.movies < MOVIES - UNSEEN) & (np.arange(len(self.movies)) % 10 > 0)
        return np.where(known, self.movies + RESERVED, OUT_OF_VOCABULARY)

    def encoded(self) -> dict[str, pa.Array]:
        """Columns as notebook 06 writes them."""
        return {
            "userId": pa.array(self.users + RESERVED),
            "movieId": pa.array(self.movie_codes),
            "genres": pa.array(self.genres, pa.list_(pa.int64())),
            "movieId_duplicate": pa.array(self.movies + RESERVED),
            LABEL: pa.array((self.rating > 3).astype(np.float32)),
        }


def input_sizes() -> Inputs:
    """What the encoded data of this file look like."""
    columns = content_table(features(), codes()).columns
    users, movies = USERS + RESERVED, MOVIES - UNSEEN + RESERVED
    return Inputs(users, movies, GENRES + RESERVED, MOST_GENRES, MOVIES + RESERVED, columns)


def render_script(model: str, feature_set: str, epochs: int = 1, batch: int = BATCH) -> str:
    """Return the source of ``model.py``: the one place that knows how ``utils.model.hugectr_script`` is called."""
    script = Script(
        inputs=input_sizes(),
        epochs=epochs,
        batch_size=batch,
        learning_rate=0.002,
        seed=42,
        train_rows=TRAIN_ROWS,
        valid_rows=VALID_ROWS,
    )
    return render(MODELS[model](input_sizes(), feature_set), script)


def movie_ids() -> np.ndarray:
    """Raw ids, with gaps."""
    return np.arange(MOVIES) * 7 + 11


def features(seed: int = 0) -> pa.Table:
    """A feature store in which no two movies, and no two columns, are alike."""
    generator = np.random.default_rng(seed)
    return pa.table(
        {
            "movieId": movie_ids(),
            "poster": artefacts.vector_column(generator.normal(size=(MOVIES, POSTER))),
            "text": artefacts.vector_column(generator.normal(size=(MOVIES, TEXT))),
            "has_poster": pa.array(np.arange(MOVIES) % 3 > 0),
            "has_text": pa.array(np.arange(MOVIES) % 4 > 0),
        }
    )


def codes() -> pa.Table:
    """The catalogue with its codes."""
    position = np.arange(MOVIES)
    known = np.where(position < MOVIES - UNSEEN, position + RESERVED, OUT_OF_VOCABULARY)
    return pa.table({"movieId": movie_ids(), "code": known, "content_code": position + RESERVED})


def rows(count: int, movies: int, seed: int) -> Rows:
    """Random rows in which each of the first ``movies`` movies and each user occurs."""
    generator = np.random.default_rng(seed)
    of_movie = [
        generator.choice(GENRES, movie % (MOST_GENRES + 1), replace=False) + RESERVED for movie in range(MOVIES)
    ]
    chosen = generator.permutation(np.arange(count) % movies)
    return Rows(
        np.arange(count) % USERS,
        chosen,
        generator.integers(1, 6, count).astype(np.float32),
        [of_movie[movie].tolist() for movie in chosen],
    )


def write_encoded(folder: Path, columns: dict[str, pa.Array]) -> None:
    """Write an encoded split with ``_metadata.json`` and ``_file_list.txt``, in two files of two row groups."""
    folder.mkdir(exist_ok=True)
    table = pa.table(columns)
    half = table.num_rows // 2
    parts = {"part_0.parquet": table.slice(0, half), "part_1.parquet": table.slice(half)}
    for name, part in parts.items():
        pq.write_table(part, folder / name, row_group_size=-(-part.num_rows // 2))
    described = {
        "file_stats": [{"file_name": name, "num_rows": part.num_rows} for name, part in parts.items()],
        "cats": [{"col_name": n, "index": i} for i, n in enumerate(table.column_names) if n in CATEGORIES],
        "conts": [],
        "labels": [{"col_name": LABEL, "index": table.column_names.index(LABEL)}],
    }
    (folder / "_metadata.json").write_text(json.dumps(described))
    (folder / "_file_list.txt").write_text("\n".join(["2", *(f"{folder.name}/{name}" for name in parts)]) + "\n")


def write_table(folder: Path, store: pa.Table) -> None:
    """Write the frozen table as notebook 07 does."""
    vectors = content_table(store, codes()).vectors
    write_sparse(folder / "hugectr_pretrained_embedding.model", np.arange(len(vectors)), vectors)


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data folder as notebooks 01 to 07 leave it."""
    folder = tmp_path_factory.mktemp("hugectr")
    pq.write_table(features(), folder / "feature_store.parquet")
    pq.write_table(codes(), folder / "movie_codes.parquet")
    for name, split in (("train", rows(TRAIN_ROWS, MOVIES - UNSEEN, 1)), ("valid", rows(VALID_ROWS, MOVIES, 2))):
        raw = {"userId": split.users + 1, "movieId": movie_ids()[split.movies], "rating": split.rating}
        pq.write_table(pa.table(raw), folder / f"{name}.parquet")
        write_encoded(folder / f"{name}-hugectr", split.encoded())
    write_table(folder, features())
    (folder / "model.py").write_text(render_script("multimodal", EVERYTHING))
    return folder


@pytest.fixture
def data(pristine: Path, tmp_path: Path) -> Path:
    """A copy of the data folder, to be spoilt."""
    return shutil.copytree(pristine, tmp_path / "data")


def execute(data: Path, truth: Path) -> subprocess.CompletedProcess[str]:
    """Run ``model.py`` in its data folder with the stand-in in place of HugeCTR."""
    environment = os.environ | {
        "PYTHONPATH": str(STAND_IN),
        "HUGECTR_STAND_IN_TRUTH": str(truth),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run([sys.executable, "model.py"], cwd=data, env=environment, capture_output=True, text=True)


@pytest.fixture
def run(data: Path, pristine: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Run ``model.py`` as ``execute`` does, but in this process, which is faster."""
    monkeypatch.chdir(data)
    monkeypatch.syspath_prepend(str(STAND_IN))
    monkeypatch.setenv("HUGECTR_STAND_IN_TRUTH", str(pristine))
    yield lambda: runpy.run_path("model.py")
    for name in [name for name in sys.modules if name.split(".")[0] == "hugectr"]:
        del sys.modules[name]


def refusal(run: Callable[[], None]) -> tuple[str, str]:
    """Run and return the name and message of the error; fail where there is none."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the class is the stand-in's own, told by name
        run()
    return type(caught.value).__name__, str(caught.value)


def rewrite(data: Path, split: str, change: Callable[[dict[str, pa.Array]], None]) -> None:
    """Change the columns of an encoded split and write it again."""
    listed = (data / f"{split}-hugectr" / "_file_list.txt").read_text().split("\n")[1:]
    table = pa.concat_tables(pq.read_table(data / name, partitioning=None) for name in listed if name)
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    change(columns)
    write_encoded(data / f"{split}-hugectr", columns)


def replace(data: Path, old: str, new: str) -> None:
    """Change the script, which must hold ``old``."""
    source = (data / "model.py").read_text()
    assert old in source, f"the script no longer holds {old!r}: mend this test"
    (data / "model.py").write_text(source.replace(old, new, 1))


def describe(data: Path, change: Callable[[dict], None]) -> None:
    """Change ``_metadata.json`` of train."""
    path = data / "train-hugectr" / "_metadata.json"
    described = json.loads(path.read_text())
    change(described)
    path.write_text(json.dumps(described))


def change_table(data: Path, change: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> None:
    """Change the frozen table's keys and vectors."""
    folder = data / "hugectr_pretrained_embedding.model"
    write_sparse(folder, *change(*read_sparse(folder, POSTER + TEXT + 2)))


# --- What is right passes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_script_passes_in_a_process_of_its_own(data: Path, pristine: Path, model: str) -> None:
    """``python model.py`` ends well, has looked every row's content up, and leaves HugeCTR's files."""
    (data / "model.py").write_text(render_script(model, EVERYTHING))
    done = execute(data, pristine)
    assert done.returncode == 0, done.stderr
    for split, count in (("train", TRAIN_ROWS), ("valid", VALID_ROWS)):
        assert f"{count} rows of {split}-hugectr/_file_list.txt look up the feature-store row" in done.stdout
    assert re.search(
        r"\[HCTR\]\[[\d:.]+\]\[INFO\]\[RK0\]\[main\]: Iter: \d+ Time\(\d+ iters\): .*s Loss: ", done.stdout
    )
    assert "Evaluation, AUC: 0." in done.stdout
    keys, vectors = read_sparse(data / "checkpoints" / f"{model}3_sparse_0.model", POSTER + TEXT + 2)
    table = content_table(features(), codes()).vectors
    assert np.array_equal(keys, np.arange(len(table))) and np.array_equal(vectors, table), "the frozen table changed"


@pytest.mark.parametrize("feature_set", FEATURE_SETS)
@pytest.mark.parametrize("model", MODELS)
def test_every_feature_set_passes(data: Path, run: Callable[[], None], model: str, feature_set: str) -> None:
    """No feature set makes a graph that HugeCTR would refuse."""
    (data / "model.py").write_text(render_script(model, feature_set))
    run()


@pytest.mark.parametrize("model", MODELS)
def test_every_epoch_ends_with_an_evaluation_of_the_whole_set(data: Path, pristine: Path, model: str) -> None:
    """One evaluation an epoch, at its end, with all rows; one snapshot, at the end of all.

    The call that finds the end of an epoch counts as an iteration, and only a read that finds nothing
    rewinds the evaluation set: both are easily off by one.
    """
    (data / "model.py").write_text(render_script(model, EVERYTHING, epochs=3))
    done = execute(data, pristine)
    assert done.returncode == 0, done.stderr
    events = re.findall(r"Epoch \d|Evaluation, AUC|Finish", done.stdout)
    assert events == [event for epoch in range(3) for event in (f"Epoch {epoch}", "Evaluation, AUC")] + ["Finish"]
    snapshots = {path.name.split("_")[-1] for path in (data / "checkpoints").iterdir()}
    assert snapshots == {"0.model"}, f"fit wrote snapshots that nobody asked for: {snapshots}"


@pytest.mark.parametrize("model", MODELS)
def test_script_and_twin_are_one_model(data: Path, run: Callable[[], None], model: str) -> None:
    """The script's graph, evaluated with the weights of its snapshot, gives the PyTorch twin's probabilities."""
    script = render_script(model, EVERYTHING) + (
        "import numpy\n"
        "reader, scores = model.get_data_reader_eval(), []\n"
        "while model.eval():\n    pass\n"
        'reader.set_source("valid-hugectr/_file_list.txt")\n'
        "while model.eval():\n"
        '    scores.append(model.check_out_tensor("logit", hugectr.Tensor_t.Evaluate))\n'
        'numpy.save("scores.npy", numpy.concatenate(scores)[:, 0])\n'
    )
    (data / "model.py").write_text(script)
    run()
    scores = np.load(data / "scores.npy")[:VALID_ROWS]
    expected = _twin_scores(data, model)
    assert np.ptp(scores) > 0.01
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def _twin_scores(data: Path, model: str) -> np.ndarray:
    """Probabilities of the valid rows by a twin that holds the weights of the snapshot."""
    graph = MODELS[model](input_sizes(), EVERYTHING)
    seen = {slot.column: torch.ones(slot.rows, dtype=torch.bool) for slot in graph.slots}
    frozen = torch.from_numpy(content_table(features(), codes()).vectors)
    twin = Twin(graph, {"movieId_duplicate": frozen}, seen, seed=0).eval()
    slots = {slot.column: slot for slot in graph.slots}
    dense = np.fromfile(data / "checkpoints" / f"{model}_dense_0.model", "<f4")
    with torch.no_grad():
        for number, column in enumerate(name for name in CATEGORIES if name in slots):
            keys, vectors = read_sparse(data / "checkpoints" / f"{model}{number}_sparse_0.model", slots[column].width)
            weight = torch.zeros(slots[column].rows, slots[column].width)
            weight[keys] = torch.from_numpy(vectors)
            twin.tables[column].weight.copy_(weight)
        for layer in graph.layers:
            if layer.kind == "InnerProduct":
                linear = twin.linears[layer.tops[0]]
                for parameter in (linear.weight.T, linear.bias):
                    numbers, dense = dense[: parameter.numel()], dense[parameter.numel() :]
                    parameter.copy_(torch.from_numpy(numbers.copy()).reshape(parameter.shape))
        assert dense.size == 0, "the dense file holds more than the twin's layers"
        split = rows(VALID_ROWS, MOVIES, 2)
        padded = [genres + [0] * (MOST_GENRES - len(genres)) for genres in split.genres]
        columns = split.encoded() | {"genres": np.array(padded)}
        looked_up = {name: torch.from_numpy(np.array(columns[name], dtype=np.int32)) for name in slots}
        return torch.sigmoid(twin(looked_up)).numpy()


def test_slots_go_by_index_and_not_by_place_in_the_json(data: Path, run: Callable[[], None]) -> None:
    """The order of the entries in ``_metadata.json`` means nothing."""
    describe(data, lambda described: described["cats"].reverse())
    run()


def test_offsets_are_right_where_the_table_is_keyed_with_them(data: Path, run: Callable[[], None]) -> None:
    """With ``slot_size_array``, a table keyed by code + sizes of all slots before is found."""
    sizes = [USERS + RESERVED, MOVIES + RESERVED, GENRES + RESERVED, MOVIES + RESERVED]
    replace(data, "num_workers=1,", f"num_workers=1,\n    slot_size_array={sizes},")
    change_table(data, lambda keys, vectors: (keys + sum(sizes[:3]), vectors))
    run()


# --- What the original series got wrong -------------------------------------------------------------------------------


def offset_keys(data: Path) -> None:
    """HugeCTR adds the sizes of the slots before to each key; the frozen table is keyed from 0."""
    replace(data, "num_workers=1,", f"num_workers=1,\n    slot_size_array=[{USERS + 3}, 99, 99, {MOVIES + 3}],")


def wrong_columns(data: Path) -> None:
    """The table's text part was cut out of the poster part of the vector."""
    change_table(data, lambda keys, vectors: (keys, np.hstack([vectors[:, :4], vectors[:, 1:4], vectors[:, 7:]])))


def four_slots_for_three_columns(data: Path) -> None:
    """The files have no genres, but the script still declares the slot."""
    for split in ("train", "valid"):
        rewrite(data, split, lambda columns: columns.pop("genres"))


def text_slice_of_the_poster_part(data: Path) -> None:
    """The table is right, but the script's ``text`` tensor reads poster columns."""
    replace(data, "(4, 7)", "(1, 4)")


def off_by_three(data: Path) -> None:
    """Codes start at 0 instead of after the reserved ones."""
    rewrite(data, "train", lambda c: c.update(movieId_duplicate=pa.array(c["movieId_duplicate"].to_numpy() - 3)))


def off_by_three_upwards(data: Path) -> None:
    """Reserved codes are added twice, so the last movies have no row."""
    rewrite(data, "valid", lambda c: c.update(movieId_duplicate=pa.array(c["movieId_duplicate"].to_numpy() + 3)))


def movie_off_by_three(data: Path) -> None:
    """The same for the id itself."""
    rewrite(data, "valid", lambda c: c.update(movieId=pa.array(c["movieId"].to_numpy() + 3)))


def random_feature_store(data: Path) -> None:
    """The table was built from random numbers in the place of the features."""
    write_table(data, features(seed=1))


def content_by_the_train_vocabulary(data: Path) -> None:
    """Movies that train does not know share the out-of-vocabulary code, so their content is lost."""
    rewrite(data, "valid", lambda columns: columns.update(movieId_duplicate=columns["movieId"]))


SEED_DEFECTS = {
    offset_keys: "KeyNotInTable",
    wrong_columns: "WrongVector",
    four_slots_for_three_columns: "SlotCountMismatch",
    text_slice_of_the_poster_part: "WrongColumns",
    off_by_three: "WrongVector",
    off_by_three_upwards: "KeyNotInTable",
    movie_off_by_three: "WrongCode",
    random_feature_store: "WrongVector",
    content_by_the_train_vocabulary: "SharedCode",
}


@pytest.mark.parametrize(("defect", "name"), SEED_DEFECTS.items(), ids=lambda value: getattr(value, "__name__", value))
def test_defect_of_the_original_series_is_caught(data: Path, pristine: Path, defect: Callable, name: str) -> None:
    """Each ends the process with its name."""
    defect(data)
    done = execute(data, pristine)
    assert done.returncode != 0
    assert f"hugectr.errors.{name}: " in done.stderr, done.stderr


# --- Other defects of the script --------------------------------------------------------------------------------------

LOSS = "model.add(\n    hugectr.DenseLayer(\n        layer_type=hugectr.Layer_t.BinaryCrossEntropyLoss,"
FREEZE = 'model.freeze_embedding("movieId_duplicate_embedding")\n'
LOAD = 'model.load_sparse_weights({"movieId_duplicate_embedding": "hugectr_pretrained_embedding.model"})\n'


def layer(kind: str, bottoms: list[str], top: str, **arguments: object) -> str:
    """Source of one more DenseLayer."""
    rest = "".join(f", {name}={value!r}" for name, value in arguments.items())
    return (
        f"model.add(hugectr.DenseLayer(layer_type=hugectr.Layer_t.{kind}, bottom_names={bottoms!r}, "
        f"top_names={[top]!r}{rest}))\n"
    )


SCRIPT_DEFECTS = [
    ("seed=42,", "seeds=42,", "UnknownArgument", "Did you mean 'seed'"),
    ("seed=42,", 'seed=42, kafka_brokers="",', "UnknownArgument", "Did you mean 'kafka_brockers'"),
    ("batchsize=20,", "batchsize=20.0,", "WrongType", "batchsize=20.0 must be int"),
    ("batchsize=20,", "batchsize=True,", "WrongType", "batchsize=True must be int"),
    ("repeat_dataset=False,", "repeat_dataset=0,", "WrongType", "repeat_dataset=0 must be bool"),
    ("seed=42,", "seed=-1,", "WrongType", "seed=-1 must be unsigned"),
    ('bottom_names=["logit", "label"]', 'bottom_names=("logit", "label")', "WrongType", "List[str]"),
    ("CreateSolver(", 'CreateSolver("model", ', "PositionalArgument", "Use keywords"),
    ("    check_type=hugectr.Check_t.Non,\n", "", "MissingArgument", "'check_type' (Check_t) is required"),
    ("Optimizer_t.Adam", "Optimizer_t.ADAM", "UnknownEnumMember", "hugectr.Optimizer_t has no member 'ADAM'"),
    ("Layer_t.ReLU", "Layer_t.Relu", "UnknownEnumMember", "Did you mean 'ReLU'"),
    ("Layer_t.ReLU", "Activation_t.Relu", "WrongType", "must be Layer_t"),
    ("model.summary()", "model.predict()", "UnknownName", "Model.predict does not exist"),
    ("Layer_t.ReLU,", "Layer_t.ReLU, num_output=4,", "UnusedArgument", "ReLU does not read ['num_output']"),
    ("Layer_t.ReLU", "Layer_t.Select", "UnsupportedLayer", "Layer_t.Select"),
    ('bottom_names=["logit", "label"]', 'bottom_names=["logits", "label"]', "UndefinedTensor", "'logits'"),
    ('bottom_names=["logit", "label"]', 'bottom_names=["movie_factors", "label"]', "ShapeMismatch", "[batch, 1]"),
    ('top_names=["movie"]', 'top_names=["text"]', "ReusedTensor", "'text' is taken"),
    ("leading_dim=17,", "leading_dim=16,", "ShapeMismatch", "17 numbers a sample"),
    ("(16, 17)]", "(16, 18)]", "ShapeMismatch", "range (16, 18) leaves a width of 17"),
    (LOSS, "".join(layer("ReLU", ["user_bias"], f"r{n}") for n in range(6)) + LOSS, "TooManyConsumers", "'user_bias'"),
    (LOSS, layer("ReLU", ["user_bias"], "nobody") + LOSS, "UnusedTensor", "'nobody'"),
    (LOSS, layer("InnerProduct", ["movie"], "dense") + LOSS, "InvalidValue", "needs num_output"),
    ("embedding_vec_size=17,", "embedding_vec_size=1025,", "WidthTooLarge", "embedding_vec_size=1025"),
    ('combiner="sum"', 'combiner="max"', "InvalidValue", "combiner='max'"),
    ("workspace_size_per_gpu_in_mb=2,", "workspace_size_per_gpu_in_mb=0,", "WorkspaceTooSmall", "holds 0 rows"),
    ("model.compile()\n", "", "OrderViolation", "before Model.compile()"),
    (LOAD, "", "FrozenWithoutWeights", "random initial values"),
    (FREEZE, "", "NotFrozen", "left trainable"),
    (FREEZE, 'model.freeze_embedding("movieId_duplicate")\n', "UnknownEmbedding", "'movieId_duplicate'"),
    (LOAD, 'model.load_sparse_weights(["hugectr_pretrained_embedding.model"])\n', "UncheckedLoad", "{name: folder}"),
    ('{"movieId_duplicate_embedding":', '{"userId_embedding":', "WrongSize", "rows of 17 float32"),
    ("repeat_dataset=False,", "", "EpochMismatch", "repeat_dataset=True"),
    ("num_epochs=1,", "", "EpochMismatch", "num_epochs of at least 1"),
    ("batchsize=20,", "batchsize=400,", "TooFewRows", "nothing is trained"),
    ("i64_input_key=True,", "", "WrongColumnType", "i64_input_key=False"),
    ("vvgpu=[[0]]", "vvgpu=[[0, 1, 2]]", "InvalidValue", "must split over"),
    ("label_dim=1", "label_dim=2", "ShapeMismatch", "logit and label"),
    ("dense_dim=0", "dense_dim=1", "SlotCountMismatch", "declares 1 dense"),
    ('source="train-hugectr/', 'source="training/', "MissingFile", "training/_file_list.txt does not exist"),
]


@pytest.mark.parametrize(("old", "new", "name", "message"), SCRIPT_DEFECTS, ids=lambda value: value[:30])
def test_defect_of_the_script_is_caught(
    data: Path, run: Callable[[], None], old: str, new: str, name: str, message: str
) -> None:
    """One change of the script, and the refusal that names it."""
    replace(data, old, new)
    found, text = refusal(run)
    assert (found, message in text) == (name, True), f"{found}: {text}"


@pytest.mark.parametrize(("batches", "epochs", "name"), [(2, 1, "MaxEvalBatchesTooSmall"), (3, 3, "EmptyEvaluation")])
def test_an_evaluation_that_stops_too_soon_is_caught(
    data: Path, run: Callable[[], None], batches: int, epochs: int, name: str
) -> None:
    """50 rows are 3 batches of 20, and a fourth read finds the end and rewinds."""
    script = render_script("seed", EVERYTHING, epochs=epochs)
    (data / "model.py").write_text(re.sub(r"max_eval_batches=\d+", f"max_eval_batches={batches}", script))
    found, text = refusal(run)
    assert found == name and f"max_eval_batches={batches}" in text


def test_a_source_cannot_be_changed_before_it_is_read_to_its_end(data: Path, run: Callable[[], None]) -> None:
    """HugeCTR refuses it, and batches of the old source might be waiting."""
    with (data / "model.py").open("a") as script:
        script.write(
            "reader = model.get_data_reader_eval()\n"
            "while model.eval():\n    pass\n"
            "reader.set_source()\n"
            "model.eval()\n"
            "reader.set_source('train-hugectr/_file_list.txt')\n"
        )
    found, text = refusal(run)
    assert found == "OrderViolation" and "is not read to its end" in text


def test_a_dense_file_of_another_model_is_caught(data: Path, run: Callable[[], None]) -> None:
    """HugeCTR would read it without a word."""
    np.zeros(7, "<f4").tofile(data / "other.model")
    replace(data, "model.summary()", 'model.load_dense_weights("other.model")')
    found, text = refusal(run)
    assert found == "WrongSize" and "28 bytes" in text


# --- Defects of the files ---------------------------------------------------------------------------------------------


def swap_slots(data: Path) -> None:
    """Files whose columns stand in another order than the script's slots."""
    order = ["movieId", "userId", "genres", "movieId_duplicate", LABEL]
    for split in ("train", "valid"):
        rewrite(data, split, lambda c: [c.update({name: c.pop(name)}) for name in order])


def swap_indices(data: Path) -> None:
    """``_metadata.json`` alone swaps two columns."""

    def swap(described: dict) -> None:
        first, second = described["cats"][:2]
        first["index"], second["index"] = second["index"], first["index"]

    describe(data, swap)


def null_label(data: Path) -> None:
    """A rating that is missing."""
    rewrite(data, "train", lambda c: c.update({LABEL: pa.array([None, *c[LABEL].to_pylist()[1:]], pa.float32())}))


def null_in_a_list(data: Path) -> None:
    """A genre that is missing."""
    changed = {"genres": lambda old: pa.array([[None], *old.to_pylist()[1:]], pa.list_(pa.int64()))}
    rewrite(data, "valid", lambda c: c.update(genres=changed["genres"](c["genres"])))


def too_many_genres(data: Path) -> None:
    """A list longer than nnz_per_slot."""
    rewrite(data, "train", lambda c: c.update(genres=pa.array([[3, 4, 5, 6], *c["genres"].to_pylist()[1:]])))


def many_users(data: Path) -> None:
    """A code so large that the table does not fit its workspace."""
    rewrite(data, "train", lambda c: c.update(userId=pa.array([30_000, *c["userId"].to_pylist()[1:]])))


def empty_row_group(data: Path) -> None:
    """A file without rows, as NVTabular writes when there are more files than rows."""
    path = data / "train-hugectr" / "part_1.parquet"
    pq.write_table(pq.read_table(path, partitioning=None).slice(0, 0), path)
    describe(data, lambda described: described["file_stats"][1].update(num_rows=0))


def pandas_index(data: Path) -> None:
    """A frame written with its index."""
    path = data / "train-hugectr" / "part_0.parquet"
    frame = pq.read_table(path, partitioning=None).to_pandas()
    pq.write_table(pa.Table.from_pandas(frame.set_index(frame.index + 5), preserve_index=True), path)


def missing_key(data: Path) -> None:
    """The table lacks one movie's code."""
    change_table(data, lambda keys, vectors: (keys[keys != RESERVED], vectors[keys != RESERVED]))


def repeated_key(data: Path) -> None:
    """The table holds one code twice and another not at all."""
    change_table(data, lambda keys, vectors: (np.where(keys == 7, 6, keys), vectors))


def one_vector_off(data: Path) -> None:
    """One number of one movie differs in its last bit."""

    def nudge(keys: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        vectors = vectors.copy()
        vectors[RESERVED + 5, 2] = np.nextafter(vectors[RESERVED + 5, 2], np.float32(9))
        return keys, vectors

    change_table(data, nudge)


def rewrite_label_type(data: Path) -> None:
    """float64, whose bytes HugeCTR takes for float32."""
    rewrite(data, "train", lambda c: c.update({LABEL: c[LABEL].cast(pa.float64())}))


def narrow_keys(data: Path) -> None:
    """32-bit keys under i64_input_key."""
    rewrite(data, "train", lambda c: c.update(userId=c["userId"].cast(pa.int32())))


def negative_key(data: Path) -> None:
    """A code below zero."""
    rewrite(data, "train", lambda c: c.update(userId=pa.array([-1, *c["userId"].to_pylist()[1:]])))


def rows_in_another_order(data: Path) -> None:
    """An encoded split that was shuffled, while predictions rely on the order of its raw file."""
    rewrite(data, "valid", lambda c: c.update({name: column[::-1] for name, column in c.items()}))


def wrong_count(data: Path) -> None:
    """``num_rows`` differs from the footer."""
    describe(data, lambda described: described["file_stats"][0].update(num_rows=1))


def no_conts(data: Path) -> None:
    """A key of ``_metadata.json`` is missing."""
    describe(data, lambda described: described.pop("conts"))


def short_list(data: Path) -> None:
    """The count of the file list is wrong."""
    (data / "train-hugectr" / "_file_list.txt").write_text(
        "1\ntrain-hugectr/part_0.parquet\ntrain-hugectr/part_1.parquet"
    )


FILE_DEFECTS = {
    rewrite_label_type: ("WrongColumnType", "'rating' must be float32, not double"),
    narrow_keys: ("WrongColumnType", "'userId' is int32"),
    null_label: ("NullsInColumn", "'rating' has 1 nulls"),
    null_in_a_list: ("NullsInColumn", "'genres' has 1 nulls"),
    too_many_genres: ("ListTooLong", "4 items in row 0, nnz_per_slot is 3"),
    negative_key: ("KeyOutOfRange", "'userId' has keys outside 0.."),
    wrong_count: ("MetadataMismatch", "part_0.parquet has 1 rows, its footer says 100"),
    no_conts: ("MetadataMismatch", "lacks ['conts']"),
    swap_indices: ("MetadataMismatch", "puts 'userId' at index 1"),
    swap_slots: ("SlotOrderMismatch", "slot 0 is named 'userId' but would read 'movieId'"),
    short_list: ("FileListMismatch", "must be the number of paths below, 2"),
    empty_row_group: ("EmptyRowGroup", "part_1.parquet"),
    pandas_index: ("PandasIndexColumn", "__index_level_0__"),
    many_users: ("WorkspaceTooSmall", "30001 are needed"),
    missing_key: ("KeyNotInTable", "the first 3 = code 3 + offset 0"),
    repeated_key: ("DuplicateKey", "of 33 keys"),
    one_vector_off: ("WrongVector", f"movie {11 + 5 * 7}"),
    rows_in_another_order: ("WrongLabel", "valid-hugectr"),
}


@pytest.mark.parametrize(("defect", "named"), FILE_DEFECTS.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_defect_of_the_files_is_caught(
    data: Path, run: Callable[[], None], defect: Callable[[Path], object], named: tuple[str, str]
) -> None:
    """One change of the files, and the refusal that names it."""
    defect(data)
    found, text = refusal(run)
    assert found == named[0] and named[1] in text, f"{found}: {text}"
