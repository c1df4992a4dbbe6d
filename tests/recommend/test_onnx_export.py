"""The exported ONNX files give the numbers of the trained models, for known and unknown ids."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from tests.conftest import FULL, Open
from tests.study import toy
from tests.study.toy import MOVIES
from utils.model.architectures import MODELS, Inputs
from utils.model.list_model import ListModel
from utils.model.torch_model import Twin
from utils.model.training import fit
from utils.model.training.fit import Job, Settings, Split
from utils.recommend import new_user, onnx_export
from utils.study.study import Study

pytestmark = pytest.mark.usefixtures("one_thread")


def kinds(path: Path) -> dict[str, int]:
    graph = onnx.load(path).graph
    return {value.name: value.type.tensor_type.elem_type for value in [*graph.input, *graph.output]}


@pytest.mark.parametrize("most_genres", [1, 3])
@pytest.mark.parametrize("model", MODELS)
def test_the_file_gives_the_probabilities_of_the_twin(
    model: str, most_genres: int, encoded: dict[str, np.ndarray], frozen: np.ndarray, inputs: Inputs, tmp_path: Path
) -> None:
    """Raw users 100, 101, … and movies 7, 14, …, with codes, genres and content codes of their own."""
    inputs = replace(inputs, most_genres=most_genres)
    encoded["genres"] = encoded["genres"][:, :most_genres]
    split = Split.of(encoded)
    twin: Twin = fit.fit(Job(MODELS[model](inputs, FULL), split, split, frozen, inputs, Settings(2, 64, 0.01), 0)).twin
    path, count = tmp_path / "model.onnx", inputs.content_rows - 3
    users, movie_ids = {100 + code: code for code in range(3, inputs.users)}, 7 * (1 + np.arange(count))
    genres = np.zeros((count, most_genres), np.int32)
    genres[:, 0] = 3 + np.arange(count) % (inputs.genres - 3)
    codes = {
        "movieId": np.where(np.arange(count) < count - 4, np.arange(count) + 3, 2).astype(np.int32),
        "genres": genres,
        "movieId_duplicate": np.arange(count, dtype=np.int32) + 3,
    }
    onnx_export.export(path, twin, users, movie_ids, codes)

    user, row = (places.ravel() for places in np.meshgrid(list(users), np.arange(count), indexing="ij"))
    keys = {name: torch.from_numpy(values[row]) for name, values in codes.items()}
    keys["userId"] = torch.tensor([users[raw] for raw in user])
    unknown = {"userId": torch.tensor([2]), "movieId": torch.tensor([2]), "movieId_duplicate": torch.tensor([2])}
    unknown["genres"] = torch.zeros(1, most_genres, dtype=torch.int32)
    with torch.inference_mode():
        wanted, stranger = (torch.sigmoid(twin(given)).numpy() for given in (keys, unknown))
    assert onnx_export.check(path, user, movie_ids[row], wanted) < 1e-6
    assert np.ptp(wanted) > 0.01
    assert onnx_export.predict(path, np.array([10**12]), np.array([10**12])) == pytest.approx(stranger, abs=1e-6)
    with pytest.raises(onnx_export.ServingError, match="differs from the trained model"):
        onnx_export.check(path, user, movie_ids[row], wanted + 1e-4)
    types = onnx.TensorProto
    assert kinds(path) == {"userId": types.INT64, "movieId": types.INT64, "probability": types.FLOAT}


# Lists


@pytest.fixture
def study(open_for: Open) -> Study:
    return toy.open_study(open_for)


@pytest.fixture
def lists(study: Study) -> ListModel:
    # Weights that real data may or may not choose, so that each term of the scores is seen.
    return replace(study.fit_lists(FULL, 1), trend=0.1, blend=0.7)


def served(path: Path, liked: list[int]) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return dict(zip(("movieId", "score"), session.run(None, {"liked": np.array(liked, np.int64)}), strict=True))


@pytest.mark.parametrize("k", [5, 20])
@pytest.mark.parametrize("liked", [[2, 4, 6], [30], [1], list(range(1, 11)), []])
def test_lists_of_the_file_are_those_of_new_users(
    study: Study, lists: ListModel, liked: list[int], k: int, tmp_path: Path
) -> None:
    path = tmp_path / "lists.onnx"
    onnx_export.export_lists(path, lists, study.data.catalogue.movie_ids, k)
    wanted = new_user.recommend(study.data, lists, liked, k=k)
    for unknown in ([], [10**12, -5]):
        found = served(path, [*unknown, *liked])
        assert found["movieId"].shape == (k,) and not set(found["movieId"]) & set(liked)
        assert found["score"] == pytest.approx(wanted["score"].to_numpy(), abs=1e-5)
        distinct = wanted["score"].round(4).value_counts()
        clear = wanted["score"].round(4).map(distinct) == 1
        assert found["movieId"][clear].tolist() == wanted["movieId"][clear].tolist()
    types = onnx.TensorProto
    assert kinds(path) == {"liked": types.INT64, "movieId": types.INT64, "score": types.FLOAT}


def test_a_list_is_no_longer_than_the_catalogue(study: Study, lists: ListModel, tmp_path: Path) -> None:
    onnx_export.export_lists(tmp_path / "lists.onnx", lists, study.data.catalogue.movie_ids, 50)
    assert sorted(served(tmp_path / "lists.onnx", [])["movieId"]) == MOVIES.tolist()


def test_lists_without_content(study: Study, tmp_path: Path) -> None:
    none = np.zeros((30, 0), np.float32)
    model = replace(study.fit_lists(FULL, 1), content=none, mapped=none.T)
    onnx_export.export_lists(tmp_path / "lists.onnx", model, study.data.catalogue.movie_ids, 5)
    wanted = new_user.recommend(study.data, model, [2, 4], k=5)
    assert served(tmp_path / "lists.onnx", [2, 4])["score"] == pytest.approx(wanted["score"].to_numpy(), abs=1e-5)
