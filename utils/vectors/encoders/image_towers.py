"""The image half of models of Hugging Face: CLIP, SigLIP, DINOv2, ViT, …, by id or as a local folder.

The vector is the one the authors mean to be used: CLIP's projection, in which pictures and texts meet;
SigLIP's pooled one; for others the pooled one where the weights have it, else that of the first token.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image
from torch import nn

from utils.vectors.encoders.base import (
    LOAD_ERRORS,
    LOCAL,
    EncoderError,
    model_folder,
    not_loadable,
    quiet,
    refuse_missing,
    weights_sha256,
)

PARAMETER = "IMAGE_ENCODER"
_CLASSES: dict[str, tuple[Any, str]] = {
    "clip": (transformers.CLIPVisionModelWithProjection, "image_embeds"),
    "clip_vision_model": (transformers.CLIPVisionModelWithProjection, "image_embeds"),
    "siglip": (transformers.SiglipVisionModel, "pooler_output"),
    "siglip_vision_model": (transformers.SiglipVisionModel, "pooler_output"),
}
"""The class for a model_type, and its output that is the vector; others are loaded by AutoModel."""
FIRST_TOKEN = "first token"
LARGEST_SIDE = 1024
"""Largest side of the picture that an encoder may ask for, in pixels: the configuration is not ours."""


@dataclass(frozen=True)
class Tower:
    """What a folder holds: the network, and how it wants its pictures (as in ``ImageEncoder``)."""

    module: nn.Module
    size: int
    mean: list[float]
    std: list[float]
    resample: Image.Resampling
    digest: str


class _Vector(nn.Module):
    """A vision model that gives [n, d] instead of an object with several outputs."""

    def __init__(self, model: nn.Module, output: str) -> None:
        super().__init__()
        self.model, self.output = model, output

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        found = self.model(pixel_values=pixels)
        vector = None if self.output == FIRST_TOKEN else getattr(found, self.output)
        if vector is None:
            hidden = found.last_hidden_state
            vector = hidden[:, 0] if hidden.ndim == 3 else hidden.mean(dim=(-2, -1))
        return vector.flatten(1)


def load_tower(name: str, dtype: torch.dtype, default: str) -> Tower:
    """Return the image half of the model ``name`` in ``dtype``; ``default`` is the encoder that messages recommend.

    Raises ParameterError or EncoderError as ``model_folder``, and EncoderError for a folder that holds no
    whole image model, or none whose pictures are squares.
    """
    folder = model_folder(PARAMETER, name, default)
    digest = weights_sha256(PARAMETER, name, [folder])
    try:
        with quiet():
            config = transformers.AutoConfig.from_pretrained(folder, **LOCAL)
            processor = transformers.AutoImageProcessor.from_pretrained(folder, **LOCAL)
            wanted, output = _CLASSES.get(config.model_type, (transformers.AutoModel, "pooler_output"))
            if config.model_type == "clip":
                # The width of the projection stands in the configuration of the whole.
                config.vision_config.projection_dim = config.projection_dim
            if wanted is not transformers.AutoModel:
                config = getattr(config, "vision_config", config)
            model, report = wanted.from_pretrained(
                folder, config=config, use_safetensors=True, dtype=dtype, output_loading_info=True, **LOCAL
            )
    except LOAD_ERRORS as error:
        raise not_loadable(PARAMETER, name, folder, error, default) from error
    missing = sorted(report["missing_keys"])
    if wanted is transformers.AutoModel and any(key.startswith("pooler.") for key in missing):
        # A pooler on top is optional: many models are published without one, and a random one is worse than none.
        output, missing = FIRST_TOKEN, [key for key in missing if not key.startswith("pooler.")]
    refuse_missing(PARAMETER, name, folder, missing, default)
    size, mean, std, resample = _pictures(name, folder, processor)
    return Tower(_Vector(model, output), size, mean, std, resample, digest)


def _pictures(name: str, folder: Path, processor: Any) -> tuple[int, list[float], list[float], Image.Resampling]:
    """Return side, mean and std (of pixel values from 0 to 255) and resampling of an image processor."""
    crop = getattr(processor, "crop_size", None) if getattr(processor, "do_center_crop", False) else None
    given = crop or getattr(processor, "size", None) or {}
    given = {key: given[key] for key in ("height", "width", "shortest_edge") if given.get(key) is not None}
    sides = set(given.values())
    if len(sides) != 1 or not all(isinstance(side, int) and 1 <= side <= LARGEST_SIDE for side in sides):
        raise EncoderError(
            f"{PARAMETER}={name!r}: {folder / 'preprocessor_config.json'} asks for pictures of {given or 'no size'}. "
            f"Only squares of at most {LARGEST_SIDE} pixels are made here. Choose another model."
        )
    scale = float(processor.rescale_factor) if getattr(processor, "do_rescale", True) else 1.0
    normal = getattr(processor, "do_normalize", True)
    mean, std = (processor.image_mean, processor.image_std) if normal else ([0.0] * 3, [1.0] * 3)
    try:
        if len(mean) != 3 or len(std) != 3 or not all(value > 0 for value in (scale, *std)):
            raise ValueError("three means, three positive deviations and a positive scale were expected")
        given = getattr(processor, "resample", None)
        resample = Image.Resampling.BILINEAR if given is None else Image.Resampling(given)
        return sides.pop(), [m / scale for m in mean], [s / scale for s in std], resample
    except (TypeError, ValueError) as error:
        raise EncoderError(
            f"{PARAMETER}={name!r}: {folder / 'preprocessor_config.json'} cannot be used ({error}). "
            "Choose another model."
        ) from error
