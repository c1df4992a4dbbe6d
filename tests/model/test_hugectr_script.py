"""The generated ``model.py`` against a strict stand-in of the hugectr module, which has no GPU to run on.

The script of every model and feature set passes, and is the PyTorch model. What is caught when it is wrong:
``tests/hugectr_stand_in/test_defects.py``.
"""

import ast
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import SETS, Open
from tests.hugectr_stand_in.data_folder import (
    INPUTS,
    MOVIES,
    STAND_IN,
    TRAIN_ROWS,
    VALID_ROWS,
    WIDTH,
    Rows,
    data,
    execute,
    frozen_vectors,
    job,
    pristine,
    render_script,
    run,
    truth_for,
)
from utils.model.architectures import MODELS
from utils.model.feature_sets import FeatureSet
from utils.model.hugectr_files import read_sparse, save_snapshot
from utils.model.hugectr_script import Script, render
from utils.model.training import fit, launch

__all__ = ["data", "pristine", "run"]


@pytest.mark.parametrize("model", MODELS)
def test_every_epoch_ends_with_an_evaluation_of_the_whole_set(
    data: Path, pristine: Path, tmp_path: Path, model: str
) -> None:
    """One evaluation an epoch, at its end, with all rows; one snapshot, at the end of all, over any that was there.

    The call that finds the end of an epoch counts as an iteration, and only a read that finds nothing
    rewinds the evaluation set: both are easily off by one.
    """
    (data / "model.py").write_text(render_script(model, epochs=3))
    old = data / "checkpoints" / f"{model}0_sparse_0.model" / "emb_vector"
    old.parent.mkdir(parents=True)
    old.write_bytes(bytes(1 << 20))
    done = execute(data, truth_for(pristine, tmp_path, model))
    assert done.returncode == 0, done.stderr
    for split, count in (("train", TRAIN_ROWS), ("valid", VALID_ROWS)):
        assert f"{count} rows of {split}-hugectr/_file_list.txt look up the feature-store row" in done.stdout
    assert len(launch.parse_log(done.stdout.splitlines())) == 3
    events = re.findall(r"Epoch \d|Evaluation, AUC|Finish", done.stdout)
    assert events == [event for epoch in range(3) for event in (f"Epoch {epoch}", "Evaluation, AUC")] + ["Finish"]
    snapshots = {path.name.split("_")[-1] for path in (data / "checkpoints").iterdir()}
    assert snapshots == {"0.model"}, f"fit wrote snapshots that nobody asked for: {snapshots}"
    keys, vectors = read_sparse(data / "checkpoints" / f"{model}3_sparse_0.model", WIDTH)
    assert np.array_equal(keys, np.arange(MOVIES + 3)) and np.array_equal(vectors, frozen_vectors())
    assert old.stat().st_size < 1 << 20, "an old, longer file would have been written over, not replaced"


@pytest.mark.parametrize("most_genres", [1, 3])
@pytest.mark.parametrize("chosen", SETS, ids=str)
@pytest.mark.parametrize("model", MODELS)
def test_every_script_is_python_3_10_and_declares_lists_as_lists(
    model: str, chosen: FeatureSet, most_genres: int
) -> None:
    """The container's Python is 3.10, and a list of fixed length would keep the row offsets of other batches."""
    inputs = replace(INPUTS, most_genres=most_genres)
    source = render(MODELS[model](inputs, chosen), Script(inputs, 1, 20, 0.1, 1, 200, 50))
    tree = ast.parse(source, feature_version=(3, 10))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    slots = [
        {k.arg: ast.literal_eval(k.value) for k in call.keywords} for call in calls if "SparseParam" in call.func.attr
    ]
    assert {slot["top_name"]: (slot["nnz_per_slot"], slot["is_fixed_length"]) for slot in slots} == {
        "userId": (1, True), "movieId": (1, True), "genres": (most_genres, False), "movieId_duplicate": (1, True),
    }  # fmt: skip


@pytest.mark.parametrize("chosen", SETS, ids=str)
@pytest.mark.parametrize("model", MODELS)
def test_every_feature_set_passes(
    data: Path, run: Callable[[], None], tmp_path: Path, pristine: Path, model: str, chosen: FeatureSet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """No feature set makes a graph that HugeCTR would refuse."""
    (data / "model.py").write_text(render_script(model, chosen))
    monkeypatch.setenv("HUGECTR_STAND_IN_TRUTH", str(truth_for(pristine, tmp_path, model)))
    run()


EVALUATE = """
import numpy
reader, scores = model.get_data_reader_eval(), []
while model.eval():
    pass
reader.set_source("valid-hugectr/_file_list.txt")
while model.eval():
    scores.append(model.check_out_tensor("logit", hugectr.Tensor_t.Evaluate))
numpy.save("scores.npy", numpy.concatenate(scores)[:, 0])
"""


def test_hugectr_starts_where_the_twin_starts(data: Path, run: Callable[[], None]) -> None:
    """The stand-in trains nothing, so it ends with what it was started from."""
    (data / "model.py").write_text(render_script("multimodal") + EVALUATE)
    run()
    scores = np.load(data / "scores.npy")[:VALID_ROWS]
    assert np.ptp(scores) > 0.2
    np.testing.assert_allclose(scores, fit.score(job("multimodal").twin().eval(), Rows.of("valid").split()), atol=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_weights_of_the_twin_give_its_scores_in_the_script(
    data: Path, run: Callable[[], None], model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loaded as docs/gpu.md says, into the graph of the script."""
    monkeypatch.delenv("HUGECTR_STAND_IN_TRUTH")
    twin = replace(job(model), start={}).twin()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in twin.linears.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    save_snapshot(twin, data / model)
    trained = [slot.column for slot in twin.graph.slots if not slot.frozen]
    lines = [f'model.load_dense_weights("{model}_dense_0.model")'] + [
        f'model.load_sparse_weights({{"{column}_embedding": "{model}{number}_sparse_0.model"}})'
        for number, column in enumerate(trained)
    ]
    source = re.sub(r'model.load_sparse_weights\({"(?!movieId_dup).*\n', "", render_script(model))
    (data / "model.py").write_text(source.replace("model.summary()", "\n".join(lines)) + EVALUATE)
    run()
    scores = np.load(data / "scores.npy")[:VALID_ROWS]
    assert np.ptp(scores) > 0.01
    np.testing.assert_allclose(scores, fit.score(twin.eval(), Rows.of("valid").split()), atol=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_training_by_hugectr_runs_the_script_and_loads_its_snapshot(
    pristine: Path, tmp_path: Path, open_for: Open, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder with blanks, umlauts and brackets."""
    store = open_for("checkpoints", dataset="toy")
    store = replace(store, folder=shutil.copytree(pristine, store.folder.parent / "größe [1] {x}"))
    monkeypatch.setenv("PYTHONPATH", str(STAND_IN))
    monkeypatch.setenv("HUGECTR_STAND_IN_TRUTH", str(truth_for(pristine, tmp_path, model)))
    (store.folder / "run").mkdir()
    found = launch.trainer(store, "hugectr", 1, [[0]])(job(model), store.folder / "run" / model)
    assert [sorted(row) for row in found.history] == [["epoch", "train_loss", "valid_auc"]]
    if model == "multimodal":
        wanted = fit.score(job(model).twin().eval(), Rows.of("valid").split())
        np.testing.assert_allclose(fit.score(found.twin, Rows.of("valid").split()), wanted, atol=1e-6)
    shutil.rmtree(store.folder / "valid-hugectr")
    with pytest.raises(launch.TrainerError, match="HugeCTR ended with exit code 1(.|\n)*MissingFile"):
        launch.fit_hugectr(store, job(model), store.folder / "run" / model, [[0]])
