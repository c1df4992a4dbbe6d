"""Speed of 03: posters from JPEG files to the written hand-off, against one picture at a time and the network alone.

The posters are stand-ins, drawn once and kept below ``data/``; weights come from the cache of the notebooks.
"""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torchvision import transforms

from benchmarks.speed.child import timed
from benchmarks.speed.harness import Case
from utils.content.cards import POSTER_SIZE, card
from utils.content.images import save_jpeg
from utils.handoff.store import open_store, writing
from utils.handoff.vector_columns import vectors
from utils.series.runner import ROOT
from utils.vectors import posters, shards
from utils.vectors.encoders import image
from utils.vectors.encoders.image import PICTURES_AT_ONCE

CACHE = Path(os.environ.get("MULTIMODAL_CACHE") or ROOT / "data" / ".cache")
GENRES = ("Action", "Comedy", "Drama", "Horror", "Sci-Fi", "War", "Western", "Romance")
CLOSE = 0.9999
"""Least cosine between the vectors of two ways: they round differently, and one resizes in another library."""
CLOSE_BFLOAT16 = 0.99
"""The same where ours computes in bfloat16."""


def prepare(count: int, batch: int) -> None:
    """Draw the posters and fetch the weights, before anything is timed."""
    drawn(count)
    _warm(batch)


def drawn(count: int) -> Path:
    """Return a folder of ``count`` stand-in posters, ``1.jpg`` and so on, drawn the first time."""
    folder = ROOT / "data" / "speed" / f"posters-{count}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with writing(folder) as temporary:
            temporary.mkdir()
            for number in range(1, count + 1):
                genres = (GENRES[number % len(GENRES)], GENRES[number * 3 % 7])
                save_jpeg(card(f"Film {number}", genres), temporary / f"{number}.jpg", POSTER_SIZE, b"stand-in")
    return folder


def ours(count: int, batch: int, precision: str = "auto") -> dict[str, Any]:
    """Encode all posters as notebook 03 does, shards and hand-off included."""
    encoder, source = _warm(batch, precision), drawn(count)
    enriched = pa.table(
        {
            "movieId": pa.array(range(1, count + 1), pa.int64()),
            "poster_path": [f"posters/{number}.jpg" for number in range(1, count + 1)],
            "poster_source": ["offline"] * count,
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder, "speed", 42, "03-Feature-Extraction-Poster")
        (store.folder / "posters").symlink_to(source)
        with timed() as clock:
            found = posters.encode_posters(store, enriched, encoder, batch)
            path = store.write("poster_embeddings", *found.hand_off())
            shards.clear(store, "poster_embeddings")
        return _result(clock.seconds, vectors(pq.read_table(path)["embedding"]), encoder, count)


def ours_bfloat16(count: int, batch: int) -> dict[str, Any]:
    """The same with PRECISION="bfloat16"."""
    return ours(count, batch, "bfloat16")


def one_by_one(count: int, batch: int) -> dict[str, Any]:
    """Open, transform and encode one picture after the other on the main thread, as the original series did."""
    encoder, source = _warm(1), drawn(count)
    module = encoder.module.to(memory_format=torch.contiguous_format)
    preprocess = transforms.Compose(
        [
            transforms.Resize((encoder.size, encoder.size), antialias=True),
            transforms.ToTensor(),
            transforms.Normalize((encoder.mean / 255).tolist(), (encoder.std / 255).tolist()),
        ]
    )
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        module(torch.zeros(1, 3, encoder.size, encoder.size))
        with timed() as clock:
            rows = []
            for number in range(1, count + 1):
                picture = Image.open(source / f"{number}.jpg").convert("RGB")
                rows.append(module(preprocess(picture).unsqueeze(0)).squeeze(0).numpy())
            write_plainly(rows, folder)
    return _result(clock.seconds, np.stack(rows), encoder, count)


def network_alone(count: int, batch: int) -> dict[str, Any]:
    """Nothing but the network, on batches that are ready: what 03 would take if decoding and writing were free."""
    encoder, source = _warm(batch), drawn(count)
    pixels = np.stack([posters.read_pixels(source / f"{number}.jpg", encoder.size) for number in range(1, count + 1)])
    ready = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - encoder.mean.view(3, 1, 1)) / encoder.std.view(
        3, 1, 1
    )
    batches = [part.contiguous(memory_format=torch.channels_last) for part in ready.split(PICTURES_AT_ONCE)]
    with torch.inference_mode(), timed() as clock:
        rows = [encoder.module(part) for part in batches]
    return _result(clock.seconds, torch.cat(rows).numpy(), encoder, count)


def agree(case: Case, ours_answer: Mapping[str, Any], other_answer: Mapping[str, Any]) -> str | None:
    """Return None where every kept vector points the same way, else which does not."""
    close = CLOSE_BFLOAT16 if case.ours.endswith("bfloat16") else CLOSE
    return same_directions(ours_answer["sample"], other_answer["sample"], close)


def same_directions(
    ours_sample: list[list[float]], other_sample: list[list[float]], close: float = CLOSE
) -> str | None:
    """Return None where the rows of two arrays have cosines of at least ``close``, else the first that has not."""
    one, two = np.asarray(ours_sample), np.asarray(other_sample)
    if one.shape != two.shape:
        return f"vectors of shape {one.shape} and {two.shape}"
    cosines = (one * two).sum(1) / (np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1))
    worst = int(cosines.argmin())
    return None if cosines[worst] >= close else f"vector {worst} of the sample has the cosine {cosines[worst]:.5f}"


def write_plainly(rows: list[np.ndarray], folder: str) -> None:
    """Write vectors as parquet, as one does without a contract."""
    table = pa.table({"movieId": range(1, len(rows) + 1), "embedding": rows})
    pq.write_table(table, Path(folder) / "embeddings.parquet")


def sample(found: np.ndarray) -> list[list[float]]:
    """Return 16 of the vectors float32 [n, d], evenly spaced: small enough for JSON."""
    return found[np.linspace(0, len(found) - 1, 16).astype(int)].astype(float).tolist()


def _warm(batch: int, precision: str = "auto") -> posters.ImageEncoder:
    encoder = posters.load_encoder(posters.DEFAULT, "cpu", CACHE, precision)
    image.forward(encoder, np.zeros((batch, encoder.size, encoder.size, 3), "uint8"))
    return encoder


def _result(seconds: float, found: np.ndarray, encoder: posters.ImageEncoder, count: int) -> dict[str, Any]:
    return {
        "seconds": seconds,
        "answer": {"rows": len(found), "sample": sample(found)},
        "count": count,
        "flop": count * flop_a_picture(encoder),
    }


def flop_a_picture(encoder: posters.ImageEncoder) -> int:
    """Return the floating point operations of one picture's forward pass, counted by PyTorch."""
    from torch.utils.flop_counter import FlopCounterMode

    # Not in inference mode, where PyTorch counts nothing.
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder.module(torch.zeros(1, 3, encoder.size, encoder.size, dtype=encoder.dtype))
    return counter.get_total_flops()


def _cases(count: int, batch: int, repeats: int) -> tuple[Case, ...]:
    both = {
        "stage": "03 posters to vectors",
        "arguments": {"count": count, "batch": batch},
        "repeats": repeats,
    }
    in_float32 = {
        "ours": "benchmarks.speed.posters:ours",
        "checked": f"cosine of 16 vectors at least {CLOSE}",
        "limit": "matmul",
    }
    # Without a limit: the machine's is measured in float32.
    in_bfloat16 = {
        "ours": "benchmarks.speed.posters:ours_bfloat16",
        "checked": f"cosine of 16 vectors to float32 at least {CLOSE_BFLOAT16}",
    }
    return (
        Case(against="one picture at a time: open, transform, forward, as the original series did",
             other="benchmarks.speed.posters:one_by_one", at_least=3.0, **both, **in_float32),
        Case(against="one picture at a time, as above, in float32; ours with PRECISION=\"bfloat16\"",
             other="benchmarks.speed.posters:one_by_one", at_least=3.0, **both, **in_bfloat16),
        Case(against="the network alone on batches that are ready, with no file read or written",
             other="benchmarks.speed.posters:network_alone", at_least=0.9, **both, **in_float32),
    )  # fmt: skip


CASES = _cases(256, 32, 5)
SMALL = _cases(16, 8, 1)
