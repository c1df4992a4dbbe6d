"""What image and text encoders share: where they compute, in which precision, and the folder of a published model.

A model of Hugging Face is its configuration and its weights, and nothing else: code that comes with it
is never run, and weights are read from safetensors files only, as loading other formats can run code.
"""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from safetensors import SafetensorError

from utils.handoff import parameters
from utils.handoff.atomic import sha256
from utils.handoff.parameters import ParameterError

LOCAL = {"local_files_only": True, "trust_remote_code": False}
"""Given to every ``from_pretrained``: nothing is fetched while a model is loaded, and no code of it is run."""
LOAD_ERRORS = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError, SafetensorError)
"""What transformers raises for a folder that holds no model it can load."""
_NEEDED = ("*.safetensors", "*.json", "*.txt", "*.model")
_OTHER_FORMATS = ("onnx/*", "openvino/*", "coreml/*")


class EncoderError(RuntimeError):
    """An encoder cannot be loaded or cannot be run; the message says what to do."""


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


def resolve_precision(precision: str, device: torch.device) -> torch.dtype:
    """Return the type that encoders compute in, as PRECISION names it; vectors are float32 in any case.

    "auto" is float16 on a GPU, where it is faster, and float32 elsewhere. "bfloat16" has the range of float32 and 8 of
    its 24 significant bits: vectors of the default encoders keep a cosine of at least 0.99 to those of float32.
    Processors with AVX512-BF16 or AMX are faster in it; on others PyTorch computes the same, but takes several times
    as long as in float32. Raises ParameterError for another value.
    """
    parameters.choice("PRECISION", precision, parameters.PRECISIONS)
    if precision == "auto":
        return torch.float32 if device.type == "cpu" else torch.float16
    return torch.float32 if precision == "float32" else torch.bfloat16


class Described:
    """What every encoder, of posters or of texts, can say of itself."""

    name: str
    weights_sha256: str
    width: int
    preprocessing: str
    device: torch.device
    dtype: torch.dtype

    def settings(self) -> dict[str, Any]:
        """Return all that decides a vector besides the content: kept in the metadata of the artefact."""
        return {
            "encoder": self.name,
            "weights_sha256": self.weights_sha256,
            "width": self.width,
            "preprocessing": self.preprocessing,
            "precision": str(self.dtype).removeprefix("torch."),
        }


def model_folder(parameter: str, name: str, default: str) -> Path:
    """Return the local folder of a model, fetched from Hugging Face when ``name`` is not one already.

    ``parameter`` and ``default`` are for the messages. Raises ParameterError for a name that can be neither
    a folder nor an id, EncoderError for an id that cannot be fetched.
    """
    if isinstance(name, str) and Path(name).expanduser().is_dir():
        return Path(name).expanduser()
    otherwise = f"or set {parameter}={default!r}, or give vectors by PRECOMPUTED."
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


def weights_sha256(parameter: str, name: str, folders: Sequence[Path]) -> str:
    """Return the sha256 of a model's safetensors file, or of the (name, sha256) pairs of several, in all ``folders``.

    Raises EncoderError where a folder has none.
    """
    files = []
    for folder in folders:
        found = sorted(folder.glob("*.safetensors"))
        if not found:
            raise EncoderError(
                f"{parameter}={name!r}: {folder} has no *.safetensors file. Weights in other formats are not read, as "
                "loading them can run code. Choose a model that has one, or save it with save_pretrained."
            )
        files += found
    if len(files) == 1:
        return sha256(files[0])
    return hashlib.sha256("".join(f"{file.name}\0{sha256(file)}\n" for file in files).encode()).hexdigest()


def not_loadable(parameter: str, name: str, folder: Path, error: BaseException, default: str) -> EncoderError:
    """Return the error for a folder that transformers cannot load."""
    said = (str(error).splitlines() or [type(error).__name__])[0]
    return EncoderError(
        f"{parameter}={name!r}: {folder} holds no model that transformers {transformers.__version__} can load "
        f"({said}). Choose another model, or {default!r}."
    )


def refuse_missing(parameter: str, name: str, folder: Path, missing: Sequence[str], default: str) -> None:
    """Raise EncoderError where layers of the model are not among its weights: they would be random."""
    if missing:
        raise EncoderError(
            f"{parameter}={name!r}: the weights in {folder} lack {len(missing)} layers of the model, such as "
            f"{missing[0]!r}, which would be random. Choose another model, or {default!r}."
        )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from printing while a model is loaded: what matters of it is checked and raised."""
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
