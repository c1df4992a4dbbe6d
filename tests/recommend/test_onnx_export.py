"""The exported ONNX file gives the numbers of the trained model, for known and unknown ids."""

from pathlib import Path

import numpy as np
import pytest
import torch

from utils.model.architectures import MODELS, Inputs
from utils.model.training import fit
from utils.model.training.fit import Job, Settings, Split
from utils.recommend import onnx_export


@pytest.fixture(params=["seed", "multimodal"])
def twin(request, encoded, frozen, inputs: Inputs, one_thread) -> fit.Twin:
    split = Split.of(encoded)
    graph = MODELS[request.param](inputs, "ids+genres+poster+text")
    return fit.fit(Job(graph, split, split, frozen, inputs, Settings(2, 64, 0.01), 0)).twin


def catalogue(inputs: Inputs) -> tuple[dict[int, int], np.ndarray, dict[str, np.ndarray]]:
    """Raw users 100, 101, … and movies 7, 14, …, with codes, genres and content codes of their own."""
    count = inputs.content_rows - 3
    genres = np.zeros((count, inputs.most_genres), np.int32)
    genres[:, 0] = 3 + np.arange(count) % (inputs.genres - 3)
    codes = {
        "movieId": np.where(np.arange(count) < count - 4, np.arange(count) + 3, 2).astype(np.int32),
        "genres": genres,
        "movieId_duplicate": np.arange(count, dtype=np.int32) + 3,
    }
    return {100 + code: code for code in range(3, inputs.users)}, 7 * (1 + np.arange(count)), codes


def test_the_file_gives_the_probabilities_of_the_twin(twin: fit.Twin, inputs: Inputs, tmp_path: Path) -> None:
    users, movie_ids, codes = catalogue(inputs)
    onnx_export.export(tmp_path / "model.onnx", twin, users, movie_ids, codes)
    user, row = np.meshgrid(list(users), np.arange(len(movie_ids)), indexing="ij")
    user, row = user.ravel(), row.ravel()
    keys = {name: torch.from_numpy(values[row]) for name, values in codes.items()}
    keys["userId"] = torch.tensor([users[raw] for raw in user])
    with torch.inference_mode():
        wanted = torch.sigmoid(twin(keys)).numpy()
    assert onnx_export.check(tmp_path / "model.onnx", user, movie_ids[row], wanted) < 1e-6
    assert np.ptp(wanted) > 0.01


def test_unknown_ids_get_the_out_of_vocabulary_code(twin: fit.Twin, inputs: Inputs, tmp_path: Path) -> None:
    users, movie_ids, codes = catalogue(inputs)
    onnx_export.export(tmp_path / "model.onnx", twin, users, movie_ids, codes)
    found = onnx_export.predict(tmp_path / "model.onnx", np.array([10**12]), np.array([10**12]))
    keys = {"userId": torch.tensor([2]), "movieId": torch.tensor([2]), "movieId_duplicate": torch.tensor([2])}
    keys["genres"] = torch.zeros(1, inputs.most_genres, dtype=torch.int32)
    with torch.inference_mode():
        assert found == pytest.approx(torch.sigmoid(twin(keys)).numpy(), abs=1e-6)


def test_another_models_scores_are_told_apart(twin: fit.Twin, inputs: Inputs, tmp_path: Path) -> None:
    users, movie_ids, codes = catalogue(inputs)
    onnx_export.export(tmp_path / "model.onnx", twin, users, movie_ids, codes)
    with pytest.raises(onnx_export.ServingError, match="differs from the trained model"):
        onnx_export.check(tmp_path / "model.onnx", np.array([103]), movie_ids[:1], np.array([2.0]))
