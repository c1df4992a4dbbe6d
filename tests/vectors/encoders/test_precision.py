"""PRECISION="auto": the fastest arithmetic that keeps the vectors, chosen once."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.vectors.tiny import tiny_bert, tiny_tower
from utils.handoff.parameters import ParameterError
from utils.vectors.encoders import base, image, precision, text

__all__ = ["tiny_bert"]
SAMPLES = list(range(64))


class Machine:
    """Stands for a machine: seconds of each precision, and how far its vectors turn away from those of float32."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **sides: tuple[float, float]) -> None:
        self.sides, self.now, self.encoded = {"float32": (1.0, 0.0)} | sides, 0.0, 0
        monkeypatch.setattr(precision.time, "perf_counter", lambda: self.now)

    def load(self, name: str) -> base.Encoder:
        if name not in self.sides:
            raise ParameterError(f"there is no {name} here. Buy another one.")
        about = {"name": "m", "width": 2, "weights_sha256": "", "files_sha256": "f", "preprocessing": ""}
        return base.Encoder(**about, device=torch.device("cpu"), precision=name)

    def encode(self, encoder: base.Encoder, samples: list[int]) -> np.ndarray:
        seconds, turn = self.sides[encoder.precision]
        self.now, self.encoded = self.now + seconds * len(samples), self.encoded + len(samples)
        return np.tile(np.float32([np.cos(turn), np.sin(turn)]), (len(samples), 1))

    def choice(self, cache: Path) -> base.Encoder:
        return precision.fastest(self.load, self.encode, SAMPLES, cache)


@pytest.mark.parametrize(
    ("sides", "chosen"),
    [
        ({"bfloat16": (0.5, 0.1), "int8": (0.3, 0.1)}, "int8"),
        ({"bfloat16": (0.5, 0.1), "int8": (0.3, 0.2)}, "bfloat16"),  # cos 0.2 is 0.98
        ({"bfloat16": (0.5, 0.1), "int8": (0.45, 0.1)}, "bfloat16"),
        ({"bfloat16": (3.0, 0.0)}, "float32"),
        ({"bfloat16": (0.95, 0.0), "int8": (0.1, np.nan)}, "float32"),
    ],
)
def test_the_fastest_that_keeps_the_vectors_is_taken(sides, chosen, monkeypatch, tmp_path, capsys):
    found = Machine(monkeypatch, **sides).choice(tmp_path / "cache")
    assert found.precision == found.settings()["precision"] == chosen
    assert found.reason in capsys.readouterr().out
    if "int8" not in sides:
        assert "int8: not possible (there is no int8 here)" in found.reason


def test_what_is_emulated_is_given_up_after_a_few_samples(monkeypatch, tmp_path):
    machine = Machine(monkeypatch, bfloat16=(30.0, 0.0))
    found = machine.choice(tmp_path)
    assert found.precision == "float32" and "bfloat16: 30.0 times as slow" in found.reason
    assert machine.now < 2 * 64 + 30 * 8, "seconds: a few in bfloat16, the samples and the rounds in float32"


def test_the_choice_is_kept_for_this_machine_and_model(monkeypatch, tmp_path):
    first = Machine(monkeypatch, bfloat16=(0.5, 0.1)).choice(tmp_path)
    slower = Machine(monkeypatch, bfloat16=(5.0, 0.1))
    assert slower.choice(tmp_path) == first and not slower.encoded, "nothing is measured again"
    monkeypatch.setattr(precision, "processor", lambda: "another")
    assert slower.choice(tmp_path).precision == "float32"
    monkeypatch.undo()
    (tmp_path / precision.KEPT).write_text(json.dumps([{"precision": "../../etc"}]))
    assert Machine(monkeypatch, bfloat16=(0.5, 0.1)).choice(tmp_path).precision == "bfloat16"


def test_int8_is_for_networks_of_linear_layers(tiny_bert, tmp_path):
    exact, small = (text.load_encoder(str(tiny_bert), "cpu", tmp_path, one) for one in ("float32", "int8"))
    texts = ["a movie about a movie", "war"]
    pairs = zip(text.forward(exact, texts), text.forward(small, texts), strict=True)
    cosines = [one @ two / np.linalg.norm(one) / np.linalg.norm(two) for one, two in pairs]
    assert 0.9 < min(cosines) < 1
    assert small.settings() == exact.settings() | {"precision": "int8"}
    with pytest.raises(ParameterError, match=r'PRECISION="int8" is for networks of linear layers, and .* has none'):
        precision.quantised("conv", nn.Conv2d(3, 3, 1))


@pytest.mark.parametrize("module", [text, image])
def test_auto_gives_an_encoder_that_other_processes_can_load(module, tiny_bert, tmp_path):
    folder = tiny_bert if module is text else tiny_tower("clip", tmp_path / "clip")[1]
    found = module.load_encoder(str(folder), "cpu", tmp_path, "auto")
    assert found.recipe[-1] == found.precision != "auto" and "int8: " in found.reason
    again = module.load_encoder(str(folder), "cpu", tmp_path, "auto")
    assert again.settings() == found.settings() == module.load_encoder(*found.recipe).settings()


def test_half_precision_is_for_gpus():
    encoder = Machine.load(type("M", (), {"sides": {"float32": 0}}), "float32")
    assert [replace(encoder, precision=one).dtype for one in ("float16", "bfloat16", "int8")] == [
        torch.float16, torch.bfloat16, torch.float32,
    ]  # fmt: skip
