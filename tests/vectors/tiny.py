"""Tiny encoders with random weights, pictures and tables for them."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import timm
import torch
import transformers
from PIL import Image
from timm.models import save_for_hf
from torch import nn

from utils.handoff.store import Store
from utils.vectors.posters import ImageEncoder

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "the", "in", "on", "cowboy", "comedy", "paris"]
WORDS += ["western", "romantic", "gunfight", "frontier"]
ARCHITECTURES = {
    "clip": "vit_base_patch32_clip_224",
    "siglip": "vit_base_patch16_siglip_224",
    "dinov2": "vit_small_patch14_dinov2",
}


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a BERT of width 12, which reads 16 tokens at most."""
    folder = tmp_path_factory.mktemp("tiny-bert")
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    transformers.BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    small = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    config = transformers.BertConfig(vocab_size=len(WORDS), max_position_embeddings=16, pad_token_id=0, **small)
    transformers.BertModel(config).save_pretrained(folder)
    return folder


def copied(folder: Path, target: Path) -> Path:
    """Copy the files of a folder."""
    target.mkdir()
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


def edit(path: Path, **changes: object) -> None:
    """Change entries of a .json file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def tiny_tower(kind: str, folder: Path) -> tuple[nn.Module, Path]:
    """Save a model of timm that is 16 wide and sees 32 x 32 pixels; return it, with its last layer, and its folder."""
    torch.manual_seed(0)
    options = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
    options |= {"num_classes": 12} if kind == "clip" else {}
    model = timm.create_model(ARCHITECTURES[kind], **options).eval()
    save_for_hf(model, str(folder), model_args=options, safe_serialization=True)
    return model, folder


@pytest.fixture
def tiny() -> ImageEncoder:
    """An encoder of pictures of 32 x 32 pixels, 16 wide, that no ``load_encoder`` has made."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()).eval()
    middle = torch.full((3,), 127.0)
    return ImageEncoder(
        name="tiny", width=16, weights_sha256="0" * 64, files_sha256="0" * 64, preprocessing="none",
        device=torch.device("cpu"), module=module, size=32, mean=middle, std=middle + 1,
    )  # fmt: skip


def draw(store: Store, number: int, size: tuple[int, int] = (60, 90)) -> str:
    """Write a picture that no other number has; return its path as ``enriched`` holds it."""
    (store.folder / "posters").mkdir(exist_ok=True)
    colours = np.random.default_rng(number).integers(0, 256, (3, 2, 3), dtype="uint8")
    Image.fromarray(colours).resize(size).save(store.folder / "posters" / f"{number}.png")
    return f"posters/{number}.png"


def enriched_posters(paths: list[str | None]) -> pa.Table:
    """Return what 03 reads of ``enriched``: movies 1, 2, … with these posters."""
    return _enriched("poster_path", "poster_source", paths)


def enriched_texts(texts: list[str | None]) -> pa.Table:
    """Return what 04 reads of ``enriched``: movies 1, 2, … with these synopses."""
    return _enriched("synopsis", "synopsis_source", texts)


def _enriched(name: str, source: str, values: list[str | None]) -> pa.Table:
    sources = pa.array([None if value is None else "local" for value in values], pa.string())
    movies = pa.array(range(1, len(values) + 1), pa.int64())
    return pa.table({"movieId": movies, name: pa.array(values, pa.string()), source: sources})
