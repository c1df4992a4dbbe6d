"""What notebook 00 says about the machine."""

import platform

import pandas as pd
import pytest

from utils.machine import environment


def test_the_report_names_every_package() -> None:
    found = environment.report()["found"]
    assert found["Python"] == platform.python_version()
    assert found["pandas"] == pd.__version__
    assert 1 <= int(found["CPU cores"].split(" of ")[0]) <= int(found["CPU cores"].split(" of ")[1])
    assert found["memory"].endswith(" GiB")
    assert set(environment.ASKED_FOR) <= set(found.index)


def test_what_is_not_there_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "ASKED_FOR", ("no_such_package", "utils"))
    found = environment.report()["found"]
    assert found["no_such_package"] == "not installed"
    assert found["utils"] == "installed, version unknown"


@pytest.mark.parametrize(
    ("packages", "gpus", "advice"),
    [
        ((), [], "Encoders run on the CPU. NVTabular works on pandas. The model trains in PyTorch."),
        (("cudf", "hugectr"), [], "Encoders run on the CPU. NVTabular works on pandas. The model trains in PyTorch."),
        ((), ["T4"], "Encoders run on the GPU. NVTabular works on pandas. The model trains in PyTorch."),
        (("cudf", "hugectr"), ["T4"], "Encoders run on the GPU. NVTabular works on cuDF. The model trains in HugeCTR."),
    ],
)
def test_the_advice(monkeypatch: pytest.MonkeyPatch, packages: tuple[str, ...], gpus: list[str], advice: str) -> None:
    monkeypatch.setattr(environment, "has", lambda package: package in packages)
    monkeypatch.setattr(environment, "gpus", lambda: gpus)
    assert environment.advice() == advice
