"""The stand-in catches one defect at a time, in the script or in the files, by its name.

The defects of the original series come first.
"""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.hugectr_stand_in.data_folder import (
    COLUMNS,
    MOVIE_IDS,
    MOVIES,
    TABLE,
    USERS,
    WIDTH,
    data,
    execute,
    frozen_vectors,
    pristine,
    render_script,
    run,
    write_encoded,
)
from utils.etl.workflow import LABEL, OUT_OF_VOCABULARY, RESERVED
from utils.handoff.contract import BLOCKS
from utils.model.hugectr_files import read_sparse, write_sparse

__all__ = ["data", "pristine", "run"]
Columns = dict[str, pa.Array]


def refusal(run: Callable[[], None]) -> tuple[str, str]:
    """Run and return the name and message of the error; fail where there is none."""
    with pytest.raises((Exception, SystemExit)) as caught:
        run()
    return type(caught.value).__name__, str(caught.value)


def rewrite(data: Path, split: str, change: Callable[[Columns], object]) -> None:
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


def describe(data: Path, change: Callable[[dict], object]) -> None:
    """Change ``_metadata.json`` of train."""
    path = data / "train-hugectr" / "_metadata.json"
    described = json.loads(path.read_text())
    change(described)
    path.write_text(json.dumps(described))


def change_table(data: Path, change: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> None:
    """Change the frozen table's keys and vectors."""
    write_sparse(data / TABLE, *change(*read_sparse(data / TABLE, WIDTH)))


def change_start(data: Path, change: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> None:
    """Change the keys and vectors that the users' table starts from."""
    write_sparse(data / "start" / "userId.model", *change(*read_sparse(data / "start" / "userId.model", 33)))


def set_row(column: pa.Array, row: int, value: object) -> pa.Array:
    """Return a column with another value in a row."""
    values = column.to_pylist()
    values[row] = value
    return pa.array(values, column.type)


def test_slots_go_by_index_and_not_by_place_in_the_json(data: Path, run: Callable[[], None]) -> None:
    """The order of the entries in ``_metadata.json`` means nothing."""
    describe(data, lambda described: described["cats"].reverse())
    run()


SIZES = [USERS + RESERVED, MOVIES + RESERVED, 8, MOVIES + RESERVED]


def test_offsets_are_right_where_the_tables_are_keyed_with_them(
    data: Path, run: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``slot_size_array``, a table keyed by code + sizes of all slots before is found."""
    monkeypatch.delenv("HUGECTR_STAND_IN_TRUTH")
    replace(data, "num_workers=1,", f"num_workers=1,\n    slot_size_array={SIZES},")
    change_table(data, lambda keys, vectors: (keys + sum(SIZES[:3]), vectors))
    run()


# --- What the original series got wrong


def shifted(data: Path, split: str, column: str, by: int) -> None:
    rewrite(data, split, lambda c: c.update({column: pa.array(c[column].to_numpy() + by)}))


def four_slots_for_three_columns(data: Path) -> None:
    for split in ("train", "valid"):
        rewrite(data, split, lambda columns: columns.pop("genres"))


def second_block_of_the_first(keys: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    start, stop = COLUMNS[BLOCKS[1]]
    return keys, np.hstack([vectors[:, :start], vectors[:, : stop - start], vectors[:, stop:]])


SEED_DEFECTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "HugeCTR adds sizes of slots to keys, the table is keyed from 0": (
        lambda data: replace(data, "num_workers=1,", f"num_workers=1,\n    slot_size_array={SIZES},"), "KeyNotInTable",
    ),
    "a block of the table was cut out of another": (
        lambda data: change_table(data, second_block_of_the_first), "WrongVector",
    ),
    "the files have no genres, the script declares them": (four_slots_for_three_columns, "SlotCountMismatch"),
    "the script's tensor reads the columns of another block": (
        lambda data: replace(data, f'["{BLOCKS[0]}", "{BLOCKS[1]}"', f'["{BLOCKS[1]}", "{BLOCKS[0]}"'), "WrongColumns",
    ),
    "content codes start at 0": (lambda data: shifted(data, "train", "movieId_duplicate", -3), "WrongVector"),
    "reserved codes are added twice": (lambda data: shifted(data, "valid", "movieId_duplicate", 3), "KeyNotInTable"),
    "so are those of the id": (lambda data: shifted(data, "valid", "movieId", 3), "WrongCode"),
    "the table is of random numbers": (
        lambda data: write_sparse(data / TABLE, np.arange(MOVIES + 3), frozen_vectors(seed=1)), "WrongVector",
    ),
    "content by the vocabulary of train": (
        lambda data: rewrite(data, "valid", lambda c: c.update(movieId_duplicate=c["movieId"])), "SharedCode",
    ),
}  # fmt: skip


@pytest.mark.parametrize("defect", SEED_DEFECTS)
def test_defect_of_the_original_series_is_caught(data: Path, run: Callable[[], None], defect: str) -> None:
    harm, name = SEED_DEFECTS[defect]
    harm(data)
    found, text = refusal(run)
    assert found == name, text


def test_a_defect_ends_the_process_with_its_name(data: Path, pristine: Path) -> None:
    (data / "model.py").write_text((data / "model.py").read_text().split("status = ")[0])
    done = execute(data, pristine)
    assert done.returncode == 1 and "hugectr.errors.NotSaved: " in done.stderr, done.stderr
    shifted(data, "valid", "movieId_duplicate", 3)
    done = execute(data, pristine)
    assert done.returncode == 1 and "hugectr.errors.KeyNotInTable: " in done.stderr, done.stderr


# --- Other defects of the script

LOSS = "model.add(\n    hugectr.DenseLayer(\n        layer_type=hugectr.Layer_t.BinaryCrossEntropyLoss,"
FREEZE = 'model.freeze_embedding("movieId_duplicate_embedding")\n'
LOAD = f'model.load_sparse_weights({{"movieId_duplicate_embedding": "{TABLE}"}})\n'
START = 'model.load_sparse_weights({"userId_embedding": "start/userId.model"})\n'
SAVE = 'status = model.save_params_to_files(prefix="checkpoints/multimodal", iter=0)\n'
DROPOUT = "Layer_t.Dropout,"


def layer(kind: str, bottoms: list[str], top: str) -> str:
    """Source of one more DenseLayer."""
    arguments = f"layer_type=hugectr.Layer_t.{kind}, bottom_names={bottoms!r}, top_names={[top]!r}"
    return f"model.add(hugectr.DenseLayer({arguments}))\n"


SCRIPT_DEFECTS = [
    # How functions are called
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
    (DROPOUT, "Layer_t.DropOut,", "UnknownEnumMember", "Did you mean 'Dropout'"),
    (DROPOUT, "Activation_t.Relu,", "WrongType", "must be Layer_t"),
    ("model.summary()", "model.predict()", "UnknownName", "Model.predict does not exist"),
    # The graph
    (DROPOUT, "Layer_t.Dropout, num_output=4,", "UnusedArgument", "Dropout does not read ['num_output']"),
    (DROPOUT, "Layer_t.Select,", "UnsupportedLayer", "Layer_t.Select"),
    ('bottom_names=["logit", "label"]', 'bottom_names=["logits", "label"]', "UndefinedTensor", "'logits'"),
    ('bottom_names=["logit", "label"]', 'bottom_names=["movie_factors", "label"]', "ShapeMismatch", "[batch, 1]"),
    ('top_names=["movie"]', f'top_names=["{BLOCKS[0]}"]', "ReusedTensor", f"'{BLOCKS[0]}' is taken"),
    ("leading_dim=33,", "leading_dim=32,", "ShapeMismatch", "33 numbers a sample"),
    ("(32, 33)]", "(32, 34)]", "ShapeMismatch", "range (32, 34) leaves a width of 33"),
    ("[(0, 32), (32, 33)]", "[(0, 33), (30, 32)]", "ShapeMismatch", "must start and end in order"),
    ("[(0, 32), (32, 33)]", "[(1, 33), (0, 1)]", "ShapeMismatch", "must start and end in order"),
    (LOSS, "".join(layer("ReLU", ["user_bias"], f"r{n}") for n in range(6)) + LOSS, "TooManyConsumers", "'user_bias'"),
    (LOSS, layer("ReLU", ["user_bias"], "nobody") + LOSS, "UnusedTensor", "'nobody'"),
    (LOSS, layer("InnerProduct", ["movie"], "dense") + LOSS, "InvalidValue", "needs num_output"),
    ("weight_init_type=hugectr.Initializer_t.Zero,\n", "", "InvalidValue", "draws Default or Zero for both"),
    ("embedding_vec_size=33,", "embedding_vec_size=1025,", "WidthTooLarge", "embedding_vec_size=1025"),
    ("workspace_size_per_gpu_in_mb=2,", "workspace_size_per_gpu_in_mb=0,", "WorkspaceTooSmall", "holds 0 rows"),
    ('combiner="sum"', 'combiner="max"', "InvalidValue", "combiner='max'"),
    ("label_dim=1", "label_dim=2", "ShapeMismatch", "logit and label"),
    # Slots
    ('top_name="userId"', 'top_name="movieId"', "ReusedTensor", "'movieId' is taken"),
    ('bottom_name="userId"', 'bottom_name="movieId"', "SlotOrderMismatch", "reads the slot 'movieId'"),
    ("is_fixed_length=False", "is_fixed_length=True", "ListLengthNotFixed", "'genres' has"),
    ("dense_dim=0", "dense_dim=1", "SlotCountMismatch", "declares 1 dense"),
    ("i64_input_key=True,", "", "WrongColumnType", "i64_input_key=False"),
    ('source="train-hugectr/', 'source="training/', "MissingFile", "training/_file_list.txt does not exist"),
    # The settings of training
    ("lr=0.002,", "lr=-0.002,", "InvalidValue", "must not be negative"),
    ("lr=0.002,", "lr=0.0,", "InvalidValue", "lr=0 trains nothing"),
    ("lr=0.002,", "lr=0.002, decay_power=0.5,", "InvalidValue", "decay_power not be below 1"),
    ("lr=0.002,", "lr=0.002, warmup_steps=0,", "InvalidValue", "steps and decay_power not be below 1"),
    ("lr=0.002,", "lr=0.002, warmup_steps=100,", "WrongOptimizer", "keeps its learning rate"),
    ("lr=0.002,", "lr=0.002, decay_start=5,", "WrongOptimizer", "keeps its learning rate"),
    ("seed=42,", "seed=42, use_mixed_precision=True, scaler=256.0, enable_tf32_compute=True,", "InvalidValue", "excl"),
    ("seed=42,", "seed=42, use_mixed_precision=True,", "InvalidValue", "scaler=1.0 must be 128, 256, 512 or 1024"),
    ("seed=42,", "seed=42, metrics_spec={hugectr.MetricsType.AUC: 0.7},", "InvalidValue", "first AUC above 0.7"),
    ("Update_t.Global", "Update_t.Local", "WrongOptimizer", "'Local'"),
    ("Update_t.Global", "Update_t.LazyGlobal", "WrongOptimizer", "'LazyGlobal'"),
    ("beta1=0.9,", "beta1=0.95,", "WrongOptimizer", "0.95"),
    ("beta2=0.999,", "beta2=0.99,", "WrongOptimizer", "0.99,"),
    ("epsilon=1e-07,", "epsilon=1e-08,", "WrongOptimizer", "1e-08"),
    ("optimizer=optimizer,", "optimizer=frozen_optimizer,", "WrongOptimizer", "'userId_embedding': ('SGD'"),
    ("Optimizer_t.SGD", "Optimizer_t.RMSProp", "InvalidValue", "sparse embeddings have no RMSProp"),
    ("Optimizer_t.Adam", "Optimizer_t.AdaGrad", "WrongOptimizer", "'AdaGrad'"),
    ('combiner="sum"', 'combiner="mean"', "InvalidValue", "combiner='mean'; the PyTorch model sums"),
    ("vvgpu=[[0]]", "vvgpu=[[0, 1, 2]]", "InvalidValue", "must split over"),
    ("repeat_dataset=False,", "", "EpochMismatch", "repeat_dataset=True"),
    ("num_epochs=1,", "", "EpochMismatch", "num_epochs of at least 1"),
    ("batchsize=20,", "batchsize=400,", "TooFewRows", "nothing is trained"),
    ("eval_interval=11,", "eval_interval=0,", "EmptyEvaluation", "without an evaluation: eval_interval=0"),
    ("eval_interval=11,", "eval_interval=12,", "EmptyEvaluation", "without an evaluation: eval_interval=12"),
    # What tables hold
    ("model.compile()\n", "", "OrderViolation", "before Model.compile()"),
    (LOAD, "", "FrozenWithoutWeights", "random initial values"),
    (LOAD, LOAD * 2, "OrderViolation", "is loaded once already"),
    (FREEZE, "", "WrongOptimizer", "'movieId_duplicate_embedding': ('SGD'"),
    (FREEZE, 'model.freeze_embedding("movieId_duplicate")\n', "UnknownEmbedding", "'movieId_duplicate'"),
    (FREEZE, FREEZE + "model.get_data_reader_train().set_source('train-hugectr/_file_list.txt')\nmodel.train()\n",
     "NotFrozen", "train() outside fit() trains ['movieId_duplicate_embedding']"),
    (LOAD, f'model.load_sparse_weights(["{TABLE}"])\n', "UncheckedLoad", "{name: folder}"),
    (LOAD + FREEZE, f'model.load_sparse_weights({{"movieId_embedding": "{TABLE}"}})\n', "OrderViolation", "once"),
    (START, "", "WrongStart", "'userId_embedding' starts at random"),
    (START, START.replace("userId.model", "genres.model"), "WrongStart", "other values than the PyTorch model"),
    (START, START.replace("start/userId.model", TABLE), "WrongSize", "rows of 33 float32"),
    (SAVE, START + SAVE, "OrderViolation", "is loaded once already; load it once, before fit"),
    (SAVE, "status = hugectr.Error_t.Success\n", "SystemExit", "lacks ['checkpoints/multimodal_dense_0.model', 'check"),
    (SAVE, SAVE + "status = hugectr.Error_t.BrokenFile\n", "SystemExit", "saved with hugectr.Error_t.BrokenFile"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "name", "message"), SCRIPT_DEFECTS, ids=lambda value: value[:30])
def test_defect_of_the_script_is_caught(
    data: Path, run: Callable[[], None], old: str, new: str, name: str, message: str
) -> None:
    """One change of the script, and the refusal that names it."""
    replace(data, old, new)
    found, text = refusal(run)
    assert (found, message in text) == (name, True), f"{found}: {text}"


def test_swapped_slots_of_the_script_are_caught(data: Path, run: Callable[[], None]) -> None:
    replace(data, 'top_name="userId"', 'top_name="?"')
    replace(data, 'top_name="movieId"', 'top_name="userId"')
    replace(data, 'top_name="?"', 'top_name="movieId"')
    assert refusal(run)[0] == "SlotOrderMismatch"


def test_a_start_that_is_loaded_after_training_is_caught(
    data: Path, run: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    replace(data, START, "")
    replace(data, SAVE, START + SAVE)
    assert refusal(run)[0] == "WrongStart"
    monkeypatch.delenv("HUGECTR_STAND_IN_TRUTH")
    found, text = refusal(run)
    assert found == "OrderViolation" and "'userId_embedding' is in training; load it once, before fit" in text


@pytest.mark.parametrize(("batches", "epochs", "name"), [(2, 1, "MaxEvalBatchesTooSmall"), (3, 3, "EmptyEvaluation")])
def test_an_evaluation_that_stops_too_soon_is_caught(
    data: Path, run: Callable[[], None], batches: int, epochs: int, name: str
) -> None:
    """50 rows are 3 batches of 20, and a fourth read finds the end and rewinds."""
    script = render_script("multimodal", epochs=epochs)
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


# --- Defects of the files


def swap_slots(data: Path) -> None:
    order = ["movieId", "userId", "genres", "movieId_duplicate", LABEL]
    for split in ("train", "valid"):
        rewrite(data, split, lambda c: [c.update({name: c.pop(name)}) for name in order])


def swap_indices(data: Path) -> None:
    def swap(described: dict) -> None:
        first, second = described["cats"][:2]
        first["index"], second["index"] = second["index"], first["index"]

    describe(data, swap)


def empty_row_group(data: Path) -> None:
    """A file without rows, as NVTabular writes when there are more files than rows."""
    path = data / "train-hugectr" / "part_1.parquet"
    pq.write_table(pq.read_table(path, partitioning=None).slice(0, 0), path)
    describe(data, lambda described: described["file_stats"][1].update(num_rows=0))


def pandas_index(data: Path) -> None:
    path = data / "train-hugectr" / "part_0.parquet"
    frame = pq.read_table(path, partitioning=None).to_pandas()
    pq.write_table(pa.Table.from_pandas(frame.set_index(frame.index + 5), preserve_index=True), path)


def one_vector_off(keys: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One number of one movie differs in its last bit."""
    vectors = vectors.copy()
    vectors[RESERVED + 5, 2] = np.nextafter(vectors[RESERVED + 5, 2], np.float32(9))
    return keys, vectors


def in_train(column: str, change: Callable[[pa.Array], pa.Array]) -> Callable[[Path], None]:
    return lambda data: rewrite(data, "train", lambda c: c.update({column: change(c[column])}))


def in_valid(change: Callable[[Columns], object]) -> Callable[[Path], None]:
    return lambda data: rewrite(data, "valid", change)


def listed(text: str) -> Callable[[Path], object]:
    names = ("train-hugectr/part_0.parquet", "train-hugectr/part_1.parquet")
    return lambda data: (data / "train-hugectr" / "_file_list.txt").write_bytes(text.format(*names).encode())


FILE_DEFECTS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "label of float64": (
        in_train(LABEL, lambda old: old.cast(pa.float64())), "WrongColumnType", "'rating' must be float32, not double",
    ),
    "keys of 32 bits": (in_train("userId", lambda old: old.cast(pa.int32())), "WrongColumnType", "'userId' is int32"),
    "a null among labels": (
        in_train(LABEL, lambda old: set_row(old, 0, None)), "NullsInColumn", "'rating' has 1 nulls",
    ),
    "a null in a list": (
        in_train("genres", lambda old: set_row(old, 0, [None])), "NullsInColumn", "'genres' has 1 nulls",
    ),
    "too long a list": (
        in_train("genres", lambda old: set_row(old, 0, [3, 4, 5, 6])), "ListTooLong", "4 items in row 0, nnz_per_slot",
    ),
    "a negative key": (
        in_train("userId", lambda old: set_row(old, 0, -1)), "KeyOutOfRange", "'userId' has keys outside 0..",
    ),
    "a key beyond the workspace": (
        in_train("userId", lambda old: set_row(old, 0, 30_000)), "WorkspaceTooSmall", "30001 are needed",
    ),
    "another row count": (
        lambda data: describe(data, lambda d: d["file_stats"][0].update(num_rows=1)),
        "MetadataMismatch", "part_0.parquet has 1 rows, its footer says 100",
    ),
    "no conts": (lambda data: describe(data, lambda d: d.pop("conts")), "MetadataMismatch", "lacks ['conts']"),
    "swapped indices": (swap_indices, "MetadataMismatch", "puts 'userId' at index 1"),
    "swapped slots": (swap_slots, "SlotOrderMismatch", "slot 0 is named 'userId' but would read 'movieId'"),
    "a list that is too short": (listed("1\n{0}\n{1}"), "FileListMismatch", "must be the number of paths below, 2"),
    "a list with CRLF": (listed("2\r\n{0}\r\n{1}\r\n"), "FileListMismatch", "a line is blank, or has blanks"),
    "a list with a blank line": (listed("2\n\n{0}\n{1}\n"), "FileListMismatch", "a line is blank"),
    "a list with a blank line at its end": (listed("2\n{0}\n{1}\n\n"), "FileListMismatch", "a line is blank"),
    "an empty row group": (empty_row_group, "EmptyRowGroup", "part_1.parquet"),
    "a pandas index": (pandas_index, "PandasIndexColumn", "__index_level_0__"),
    "a key is missing": (
        lambda data: change_table(data, lambda keys, vectors: (keys[keys != RESERVED], vectors[keys != RESERVED])),
        "KeyNotInTable", "the first 3 = code 3 + offset 0",
    ),
    "a key is there twice": (
        lambda data: change_table(data, lambda keys, vectors: (np.where(keys == 7, 6, keys), vectors)),
        "DuplicateKey", "of 33 keys",
    ),
    "one bit of a vector": (
        lambda data: change_table(data, one_vector_off), "WrongVector", f"movie {MOVIE_IDS[5]}",
    ),
    "rows in another order": (
        in_valid(lambda c: c.update({name: column[::-1] for name, column in c.items()})), "WrongLabel", "valid-hugectr",
    ),
    "another user's code": (
        in_train("userId", lambda old: set_row(old, 0, 4)), "WrongCode", "row 0 is userId 1, of code 3, not 4",
    ),
    "the codes of two users swapped in valid": (
        in_valid(lambda c: c.update(userId=pa.array(np.where(c["userId"].to_numpy() == 3, 4, 3)))),
        "WrongCode", "row 0 is userId 1",
    ),
    "another movie's genres": (
        in_train("genres", lambda old: set_row(old, 0, [3, 4, 5][: 3 - len(old[0])])), "WrongCode", "of genres",
    ),
    "genres of all movies by one row": (
        in_valid(lambda c: c.update(genres=pa.array(np.roll(np.array(c["genres"].to_pylist(), object), 1).tolist(),
                                                    pa.list_(pa.int64())))),
        "WrongCode", "of genres",
    ),
    "all ids hidden in train": (
        in_train("movieId", lambda old: pa.array(np.full(len(old), OUT_OF_VOCABULARY))), "WrongCode", "not 2",
    ),
    "an id hidden in valid": (
        in_valid(lambda c: c.update(movieId=pa.array([2 if code == 5 else code for code in c["movieId"].to_pylist()]))),
        "WrongCode", "of code 5, not 2",
    ),
    "a start of other values": (
        lambda data: change_start(data, lambda keys, vectors: (keys, vectors + np.float32(0.1))),
        "WrongStart", "other values than the PyTorch model",
    ),
    "a start of other rows": (
        lambda data: change_start(data, lambda keys, vectors: (np.roll(keys, 1), vectors)),
        "WrongStart", "other values",
    ),
    "a start that lacks a row": (
        lambda data: change_start(data, lambda keys, vectors: (keys[1:], vectors[1:])), "WrongStart", "other values",
    ),
    "a start of codes out of range": (
        lambda data: change_start(data, lambda keys, vectors: (keys + 100, vectors)), "KeyOutOfRange", "outside 0..11",
    ),
    "a start of another width": (
        lambda data: change_start(data, lambda keys, vectors: (keys, vectors[:, :32])),
        "WrongSize", "rows of 33 float32",
    ),
    "no start": (lambda data: shutil.rmtree(data / "start" / "userId.model"), "MissingFile", "start/userId.model"),
}  # fmt: skip


@pytest.mark.parametrize("defect", FILE_DEFECTS)
def test_defect_of_the_files_is_caught(data: Path, run: Callable[[], None], defect: str) -> None:
    """One change of the files, and the refusal that names it."""
    harm, name, message = FILE_DEFECTS[defect]
    harm(data)
    found, text = refusal(run)
    assert found == name and message in text, f"{found}: {text}"
