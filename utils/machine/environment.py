"""What this machine can run, for notebook 00."""

import importlib.util
import os
import platform
from importlib import metadata

import pandas as pd

from utils.machine import threads

ASKED_FOR = (
    "pandas", "requests", "torch", "torchvision", "transformers", "nvtabular", "cudf", "hugectr", "tqdm",
)  # fmt: skip
"""Packages that the series is about, in the order of the README."""


def has(package: str) -> bool:
    """Whether a package can be imported, without importing it."""
    return importlib.util.find_spec(package) is not None


def gpus() -> list[str]:
    """Names of the CUDA devices that PyTorch sees."""
    import torch

    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def report() -> pd.DataFrame:
    """Return what is installed, one row each: Python, cores, memory, GPUs, packages and their versions."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    rows = [
        ("Python", platform.python_version()),
        ("CPU cores", f"{threads.allowed()} of {os.cpu_count()}"),
        ("memory", f"{memory:.0f} GiB"),
        ("GPUs", ", ".join(gpus()) or "none"),
    ]
    for package in ASKED_FOR:
        version = "not installed"
        if has(package):
            try:
                version = metadata.version(package)
            except metadata.PackageNotFoundError:
                version = "installed, version unknown"
        rows.append((package, version))
    return pd.DataFrame(rows, columns=["what", "found"]).set_index("what")


def advice() -> str:
    """Return a line that says what the notebooks will use here."""
    frames = "cuDF" if has("cudf") and gpus() else "pandas"
    trainer = "HugeCTR" if has("hugectr") and gpus() else "PyTorch"
    device = "the GPU" if gpus() else "the CPU"
    return f"Encoders run on {device}. NVTabular works on {frames}. The model trains in {trainer}."
