"""How a sentence-transformers model makes one vector of a text's tokens, read from its own files.

``modules.json`` lists the steps: the network (Transformer), Pooling, and optionally Dense and Normalize.
Source: the saved format of sentence-transformers 2 to 5. A step that is none of these is refused, as leaving it out
would give vectors that are not the model's.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file

from utils.vectors.encoders.base import EncoderError

_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
}
"""Supported poolings, in the order in which several are put side by side."""
_ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Identity": lambda x: x,
    "Tanh": np.tanh,
    "ReLU": lambda x: np.maximum(x, 0),
}
_LONGEST_JSON = 1 << 20


@dataclass(frozen=True)
class Dense:
    """One linear layer after pooling: ``activation(x @ weight.T + bias)``; weight [out, in]."""

    path: str
    weight: np.ndarray
    bias: np.ndarray | float
    activation: str


@dataclass(frozen=True)
class Modules:
    """The steps of a model: where its network is, how to pool, and what comes after."""

    transformer: str
    poolings: tuple[str, ...]
    dense: tuple[Dense, ...]
    normalize: bool
    max_seq_length: int | None

    @property
    def described(self) -> str:
        """What is done with the last layer, for the metadata of the artefact."""
        steps = [f"{' and '.join(self.poolings)} of the last layer over the attention mask"]
        steps += [f"dense {layer.weight.shape[0]} ({layer.activation})" for layer in self.dense]
        return ", ".join([*steps, "scaled to length 1"] if self.normalize else steps)

    def pool(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return [n, d] of tokens' vectors [n, tokens, d] and their attention mask [n, tokens]."""
        there = mask.unsqueeze(-1).to(hidden.dtype)
        found = []
        for pooling in self.poolings:
            if pooling == "cls":
                found.append(hidden[:, 0])
            elif pooling == "max":
                found.append(hidden.masked_fill(there == 0, -torch.inf).amax(1))
            else:
                found.append((hidden * there).sum(1) / there.sum(1))
        return torch.cat(found, dim=1)

    def finish(self, pooled: np.ndarray) -> np.ndarray:
        """Return float32 [n, width]: what the steps after pooling make of float32 [n, d]."""
        for layer in self.dense:
            pooled = _ACTIVATIONS[layer.activation](pooled @ layer.weight.T + layer.bias)
        if self.normalize:
            # As torch.nn.functional.normalize, which sentence-transformers uses.
            pooled = pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)
        return pooled.astype("float32", copy=False)


def read_modules(folder: Path) -> Modules:
    """Return the steps that a model's folder states; mean pooling where it states none.

    Raises EncoderError for files that are not what they should be, and for steps that are not supported.
    """
    listed = _read(folder / "modules.json")
    if listed is None:
        pooling = _poolings(folder / "1_Pooling") if (folder / "1_Pooling" / "config.json").is_file() else ("mean",)
        return Modules("", pooling, (), False, _limit(folder))
    if not isinstance(listed, list) or not all(isinstance(step, dict) for step in listed):
        raise EncoderError(f"{folder / 'modules.json'} is not a list of steps. Choose another model.")
    kinds = [str(step.get("type")).rpartition(".")[2] for step in listed]
    paths = [_inside(folder, step.get("path", "")) for step in listed]
    if kinds[:1] != ["Transformer"] or kinds[1:2] not in ([], ["Pooling"]):
        raise EncoderError(f"{folder / 'modules.json'}: the steps {kinds} do not start with Transformer and Pooling.")
    rest = kinds[2:]
    unknown = [kind for kind in rest if kind not in ("Dense", "Normalize")]
    if unknown or "Normalize" in rest[:-1]:
        raise EncoderError(
            f"{folder / 'modules.json'}: the steps {kinds} are not supported: after Pooling come Dense, then "
            "Normalize. Choose another model."
        )
    poolings = _poolings(folder / paths[1]) if len(paths) > 1 else ("mean",)
    dense = tuple(_dense(folder, path) for path, kind in zip(paths[2:], rest, strict=True) if kind == "Dense")
    return Modules(paths[0], poolings, dense, "Normalize" in rest, _limit(folder / paths[0]) or _limit(folder))


def _poolings(folder: Path) -> tuple[str, ...]:
    path = folder / "config.json"
    said = _read(path)
    if not isinstance(said, dict):
        raise EncoderError(f"{path} does not say how to pool. Mend it, or choose another model.")
    if isinstance(said.get("pooling_mode"), str):  # Since sentence-transformers 5.
        modes = [said["pooling_mode"]]
    else:
        on = [key for key, value in said.items() if key.startswith("pooling_mode_") and value is True]
        modes = [name for key, name in _POOLINGS.items() if key in on] + [key for key in on if key not in _POOLINGS]
    if not modes or not set(modes) <= set(_POOLINGS.values()):
        raise EncoderError(
            f"{path}: pooling {modes or 'of no kind'} is not supported, only mean, cls and max. Choose another model."
        )
    return tuple(modes)


def _dense(folder: Path, path: str) -> Dense:
    config, weights = folder / path / "config.json", folder / path / "model.safetensors"
    said = _read(config)
    kind = str(said.get("activation_function") if isinstance(said, dict) else None).rpartition(".")[2]
    if kind not in _ACTIVATIONS:
        raise EncoderError(
            f"{config}: the activation {kind!r} is none of {sorted(_ACTIVATIONS)}. Choose another model."
        )
    try:
        found = load_file(weights)
        weight = found["linear.weight"].astype("float32")
        bias = found["linear.bias"].astype("float32") if "linear.bias" in found else 0.0
        if weight.ndim != 2 or np.shape(bias) not in ((), weight.shape[:1]):
            raise ValueError(f"its weight is {weight.shape} and its bias {np.shape(bias)}")
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise EncoderError(
            f"{weights} holds no dense layer that can be read ({error}). Choose another model."
        ) from error
    return Dense(path, weight, bias, kind)


def _limit(folder: Path) -> int | None:
    """Return the longest text the model was trained on, where the folder says so."""
    path = folder / "sentence_bert_config.json"
    said = _read(path)
    if said is None:
        return None
    limit = said.get("max_seq_length") if isinstance(said, dict) else 0
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise EncoderError(f"{path} is not JSON with a max_seq_length. Mend or delete it.")
    return limit


def _inside(folder: Path, path: Any) -> str:
    parts = PurePosixPath(path).parts if isinstance(path, str) and "\0" not in path else ("..",)
    if ".." in parts or parts[:1] == ("/",):
        raise EncoderError(f"{folder / 'modules.json'} names {path!r}, which is not below it. Choose another model.")
    return path


def _read(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > _LONGEST_JSON:
            raise ValueError(f"it has more than {_LONGEST_JSON:,} bytes")
        return json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise EncoderError(f"{path} is not JSON with a value in it ({error}). Mend or delete it.") from error
