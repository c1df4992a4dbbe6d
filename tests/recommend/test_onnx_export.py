"""The exported ONNX file gives the numbers of the trained model, for known and unknown ids."""

from pathlib import Path

import numpy as np
import onnx
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


def test_the_file_gives_the_probabilities_of_the_twin(twin: fit.Twin, inputs: Inputs, tmp_path: Path) -> None:
    """Raw users 100, 101, … and movies 7, 14, …, with codes, genres and content codes of their own."""
    path, count = tmp_path / "model.onnx", inputs.content_rows - 3
    users, movie_ids = {100 + code: code for code in range(3, inputs.users)}, 7 * (1 + np.arange(count))
    genres = np.zeros((count, inputs.most_genres), np.int32)
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
    unknown["genres"] = torch.zeros(1, inputs.most_genres, dtype=torch.int32)
    with torch.inference_mode():
        wanted, stranger = (torch.sigmoid(twin(given)).numpy() for given in (keys, unknown))
    assert onnx_export.check(path, user, movie_ids[row], wanted) < 1e-6
    assert np.ptp(wanted) > 0.01
    assert onnx_export.predict(path, np.array([10**12]), np.array([10**12])) == pytest.approx(stranger, abs=1e-6)
    with pytest.raises(onnx_export.ServingError, match="differs from the trained model"):
        onnx_export.check(path, user, movie_ids[row], wanted + 1e-4)

    graph = onnx.load(path).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in [*graph.input, *graph.output]}
    assert kinds == {
        "userId": onnx.TensorProto.INT64, "movieId": onnx.TensorProto.INT64, "probability": onnx.TensorProto.FLOAT,
    }  # fmt: skip
