"""Devices, and what the two ``load_encoder`` have in common: models come from a folder or an id."""

from pathlib import Path
from types import ModuleType

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError

from tests.places import CACHE
from tests.vectors.tiny import tiny_bert, tiny_tower
from utils.handoff.parameters import ParameterError
from utils.vectors.encoders import base, image, text
from utils.vectors.encoders.base import EncoderError

__all__ = ["tiny_bert"]


def test_devices(monkeypatch):
    assert base.resolve_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert base.resolve_device("auto") == torch.device("cpu")
    with pytest.raises(ParameterError, match=r"DEVICE='cuda', but PyTorch .* finds no such device"):
        base.resolve_device("cuda")
    with pytest.raises(ParameterError, match=r"DEVICE='tpu' is not known. Choose one of: 'auto'"):
        base.resolve_device("tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert base.resolve_device("auto") == torch.device("cuda")


@pytest.mark.parametrize("module", [image, text])
def test_an_unknown_precision_is_refused_before_anything_is_fetched(module: ModuleType, tmp_path: Path):
    with pytest.raises(ParameterError, match=r"PRECISION='half' .*Choose one of: 'auto', 'float32', 'bfloat16'"):
        module.load_encoder(module.DEFAULT, "cpu", tmp_path, "half")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("module", "name"), [(image, "timm/vit"), (image, "convnext_tiny"), (text, "bert-base")])
def test_an_id_that_cannot_be_fetched_names_the_remedies(module: ModuleType, name: str, monkeypatch):
    def offline(*given: object, **named: object) -> None:
        raise LocalEntryNotFoundError("no connection\nmore")

    monkeypatch.setattr(base, "snapshot_download", offline)
    with pytest.raises(EncoderError) as refused:
        module.load_encoder(name, "cpu", CACHE)
    message = str(refused.value)
    for part in (f"{module.PARAMETER}='", "is not a folder here and cannot be fetched", "local folder", "PRECOMPUTED"):
        assert part in message
    assert repr(module.DEFAULT) in message


def test_an_id_that_can_be_fetched_is_loaded_from_its_folder(tiny_bert, tmp_path, monkeypatch):
    asked = []
    folders = {"someone/tiny": tiny_bert, "timm/convnext_tiny.in12k_ft_in1k": tiny_tower("clip", tmp_path / "clip")[1]}

    def fetched(name: str, allow_patterns: list[str], ignore_patterns: list[str]) -> str:
        asked.append(name)
        assert not {"*.bin", "*.py", "*.pth", "*"} & set(allow_patterns), "neither code nor pickles are fetched"
        return str(folders[name])

    monkeypatch.setattr(base, "snapshot_download", fetched)
    encoder = text.load_encoder("someone/tiny", "cpu", CACHE)
    assert (encoder.name, encoder.width) == ("someone/tiny", 12)
    encoder = image.load_encoder("convnext_tiny", "cpu", CACHE)
    assert (encoder.name, encoder.width) == ("convnext_tiny", 16)
    assert asked == list(folders), "a name of timm is an id of Hugging Face"


@pytest.mark.parametrize("module", [image, text])
def test_a_name_that_is_neither_folder_nor_id(module: ModuleType):
    with pytest.raises(ParameterError, match=rf"{module.PARAMETER}='./no/such/folder' is neither a folder"):
        module.load_encoder("./no/such/folder", "cpu", CACHE)


def test_a_folder_below_the_home_folder(tiny_bert, monkeypatch):
    monkeypatch.setenv("HOME", str(tiny_bert.parent))
    assert text.load_encoder(f"~/{tiny_bert.name}", "cpu", CACHE).width == 12
