"""03-Feature-Extraction-Poster: the vectors of all posters.

Posters are decoded in threads while the network works on the batch before. What cannot be decoded is counted and
simply missing. The encoders themselves are in ``encoders.image``, the decoder in ``content.images``.
"""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from utils.content.images import MANY_PIXELS, MAX_PIXELS, ImageRefused, TooManyPixels, decode
from utils.handoff.parameters import whole
from utils.handoff.store import Store, sha256
from utils.machine import threads
from utils.vectors.encoders.image import DEFAULT, ImageEncoder, forward, load_encoder
from utils.vectors.on_dask import encode_with
from utils.vectors.shards import SHARD_SIZE, Embeddings, Failure, Item, encode_in_shards

__all__ = ["DEFAULT", "ImageEncoder", "encode_images", "encode_posters", "load_encoder", "poster_items", "read_pixels"]


def encode_posters(
    store: Store,
    enriched: pa.Table,
    encoder: ImageEncoder,
    batch_size: int = 32,
    *,
    client: Any = None,
    shard_size: int = SHARD_SIZE,
) -> Embeddings:
    """Return the vectors of all posters of ``enriched`` that can be decoded; the others are in ``failures``.

    The same, but for rounding, whatever ``batch_size``, ``shard_size`` (movies) and the workers of ``client`` (a
    Dask cluster; None for this process). Goes on where an earlier run stopped; call ``shards.clear`` when the result is
    written. Raises as ``encode_in_shards``.
    """
    whole("BATCH_SIZE", batch_size)
    items = poster_items(store, enriched)
    encode = encode_with(load_encoder, encoder, encode_images, batch_size, client)
    found = encode_in_shards(store, "poster_embeddings", items, encode, encoder.settings(), shard_size, client)
    return found.with_sources(enriched, "poster_source", encoder.reason)


def poster_items(store: Store, enriched: pa.Table) -> list[Item]:
    """Return one item for each movie of ``enriched`` that has a poster; its content is the path of the file."""
    rows = zip(enriched["movieId"].to_pylist(), enriched["poster_path"].to_pylist(), strict=True)
    # Absolute, because a worker may have been started in another folder.
    paths = {movie: store.folder.absolute() / relative for movie, relative in rows if relative is not None}
    with ThreadPoolExecutor(_workers()) as pool:
        keys = list(pool.map(_key, paths.values()))
    return [Item(movie, key, path) for (movie, path), key in zip(paths.items(), keys, strict=True)]


def encode_images(items: Sequence[Item], encoder: ImageEncoder, batch_size: int) -> tuple[np.ndarray, list[Failure]]:
    """Return float32 [m, width] of the m posters that can be decoded, and the failures; decodes in threads."""
    failures, batch, parts = [], [], [np.empty((0, encoder.width), "float32")]
    with ThreadPoolExecutor(_workers()) as pool:
        read = partial(read_pixels, size=encoder.size, resample=encoder.resample)
        found = pool.map(partial(read, most=MANY_PIXELS), (item.content for item in items))
        for item, pixels in zip(items, found, strict=True):
            # In this thread and no other: the C library keeps for each thread what that has once asked for.
            pixels = read(item.content) if pixels is None else pixels
            if not isinstance(pixels, np.ndarray):
                failures.append(Failure(item.movieId, str(pixels)))
                continue
            batch.append(pixels)
            if len(batch) == batch_size:
                parts.append(forward(encoder, np.stack(batch)))
                batch = []
    if batch:
        parts.append(forward(encoder, np.stack(batch)))
    return np.concatenate(parts), failures


def read_pixels(
    path: Path, size: int, resample: Image.Resampling = Image.Resampling.BILINEAR, most: int = MAX_PIXELS
) -> np.ndarray | str | None:
    """Return a poster as RGB uint8 [size, size, 3], or the reason why it cannot be had.

    None stands for a picture of more than ``most`` pixels that is still within the limit.
    """
    try:
        return np.asarray(decode(path, max_pixels=most).resize((size, size), resample))
    except TooManyPixels as error:
        return None if most < MAX_PIXELS else str(error)
    except ImageRefused as error:
        return str(error)


def _key(path: Path) -> str:
    try:
        return sha256(path)
    except OSError as error:
        return hashlib.sha256(f"unreadable: {error.errno}".encode()).hexdigest()


def _workers() -> int:
    return min(8, threads.processors())
