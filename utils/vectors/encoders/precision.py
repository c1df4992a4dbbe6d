"""PRECISION="auto" on a CPU: the fastest arithmetic whose vectors are those of float32, found by trying it.

bfloat16 has the range of float32 and 8 of its 24 significant bits: processors with AMX or AVX512-BF16 are faster in it,
others take several times as long. int8 is dynamic quantisation of the linear layers, one scale for each row of a
matrix. (Static quantisation of the default picture encoder by onnxruntime left a cosine of 0.93, and was no faster than
bfloat16.) What is chosen is kept for this machine and model, so that the next run makes the same vectors.
"""

import json
import platform
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from utils.handoff.atomic import writing
from utils.handoff.parameters import ParameterError
from utils.vectors.encoders.base import PRECISIONS, Encoder

KEPT = "precisions.json"
"""The file in the folder of weights that keeps what was chosen."""
CLOSE, FASTER = 0.99, 1.15
"""The least cosine to float32 of any sample, and how much faster than what is more exact a choice must be."""
SAMPLES, TIMED, ROUNDS = 64, 16, 3
"""Samples that are compared; those of them that are timed, by turns, so often."""
FIRST, HOPELESS = 4, 2.0
"""What takes HOPELESS times as long as float32 on the FIRST samples is given up: many processors emulate bfloat16."""
OneOf = TypeVar("OneOf", bound=Encoder)


def quantised(name: str, module: nn.Module) -> nn.Module:
    """Return ``module`` with its linear layers in int8. Raises ParameterError for a network that has none."""
    if not any(isinstance(layer, nn.Linear) for layer in module.modules()):
        raise ParameterError(
            f'PRECISION="int8" is for networks of linear layers, and {name!r} has none. '
            'Choose "auto", "float32" or "bfloat16".'
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would have us add torchao, for the same arithmetic
        layers = {nn.Linear: torch.ao.quantization.per_channel_dynamic_qconfig}
        return torch.ao.quantization.quantize_dynamic(module, layers)


def fastest(
    load: Callable[[str], OneOf],
    encode: Callable[[OneOf, Sequence[Any]], np.ndarray],
    samples: Sequence[Any],
    cache: Path,
) -> OneOf:
    """Return the encoder in the precision to use here, with the ``reason``, as ``load(precision)`` makes it.

    ``encode(encoder, samples)`` gives float32 [n, width]; ``cache`` is the folder that keeps the choice.
    """
    exact, path = load("float32"), cache / KEPT
    threads = f"{torch.get_num_threads()} threads"
    key = " | ".join([exact.name, exact.files_sha256, processor(), threads, f"torch {torch.__version__}"])
    choices = _read(path)
    if choices.get(key, {}).get("precision") not in PRECISIONS[1:]:
        choices = _read(path) | {key: _choose(exact, load, encode, samples)}
        cache.mkdir(parents=True, exist_ok=True)
        with writing(path) as temporary:
            temporary.write_text(json.dumps(choices, indent=1) + "\n")
    chosen, reason = choices[key]["precision"], str(choices[key].get("reason"))
    print(f'{exact.name}: PRECISION="auto" is {chosen} here. {reason}')
    return replace(exact if chosen == "float32" else load(chosen), reason=reason)


def _choose(
    exact: OneOf,
    load: Callable[[str], OneOf],
    encode: Callable[[OneOf, Sequence[Any]], np.ndarray],
    samples: Sequence[Any],
) -> dict[str, str]:
    encoders, cosines, said = {"float32": exact}, {}, []
    wanted = encode(exact, samples)

    def seconds_of(encoder: OneOf, count: int) -> float:
        start = time.perf_counter()
        encode(encoder, samples[:count])
        return time.perf_counter() - start

    for name in PRECISIONS[2:]:
        try:
            encoder = load(name)
            encode(encoder, samples[:1])  # what is made once
            slower = seconds_of(encoder, FIRST) / seconds_of(exact, FIRST)
            if slower > HOPELESS:
                said.append(f"{name}: {slower:.1f} times as slow")
                continue
            cosines[name] = _least_cosine(encode(encoder, samples), wanted)
            encoders[name] = encoder
        except (ParameterError, RuntimeError) as error:  # PyTorch lacks the arithmetic on some processors
            said.append(f"{name}: not possible ({str(error).partition('. ')[0]})")
    seconds = dict.fromkeys(encoders, float("inf"))
    for _ in range(ROUNDS):
        for name, encoder in encoders.items():
            seconds[name] = min(seconds[name], seconds_of(encoder, TIMED))
    chosen = "float32"
    for name, cosine in cosines.items():
        said.append(f"{name}: {seconds['float32'] / seconds[name]:.1f} times as fast, least cosine {cosine:.4f}")
        if cosine >= CLOSE and seconds[name] * FASTER < seconds[chosen]:
            chosen = name
    reason = f"Beside float32, on {len(samples)} samples: {'; '.join(said)}. At least {CLOSE} is asked for."
    return {"precision": chosen, "reason": reason}


def _least_cosine(found: np.ndarray, wanted: np.ndarray) -> float:
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(wanted, axis=1)
    cosines = (found * wanted).sum(1) / np.maximum(norms, 1e-30)
    return float(np.nan_to_num(cosines, nan=-1).min())


def processor() -> str:
    """Return the name of the processor and of the widest instructions that PyTorch uses of it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{next(named, platform.processor() or platform.machine())}, {torch.backends.cpu.get_cpu_capability()}"


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, dict)} if isinstance(found, dict) else {}
