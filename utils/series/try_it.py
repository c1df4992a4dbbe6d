"""The page on which visitors pick movies they like and get a list, in their browser: a part of ``lists.onnx``.

The page holds the KNOWN movies liked most and NEW ones known by content alone, with every weight between them as the
model has it, in float32. So its list is that of ``new_user.recommend`` without the movies that are not on the page,
place by place. All movies would be 22 MB for ml-100k and gigabytes for ml-25m. Pages that are read from the disk
(``file://``) may not load a file beside them, so the numbers stand in the page.
"""

import base64
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from PIL import Image, ImageOps

from utils.content.gallery import Gallery
from utils.handoff import manifest
from utils.handoff.manifest import HandOffError
from utils.handoff.store import Store

KNOWN, NEW = 360, 40
"""Movies on the page; the weights between 400, by likes and by content, take 1.3 MB."""
POSTER = (88, 132)
"""Pixels (width, height) of a poster; 400 take 0.7 MB."""
NUMBERS = ("few", "habit", "most", "prior", "trend")
"""Constants of ``list_model.ListModel.joined``."""
Tables = Mapping[str, np.ndarray]


def tables(path: Path) -> Tables:
    """Return the constants of a file of ``onnx_export.export_lists``. Raises HandOffError for another file."""
    try:
        found = {one.name: numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer}
    except DecodeError as error:
        raise HandOffError(f"{path} is no ONNX file ({error}). Run 07-Training-with-HugeCTR.ipynb again.") from error
    wanted = {"content_of", "known", "lift", "mapped", "movie_ids", "place_of", "recent", "weights", *NUMBERS}
    if missing := sorted(wanted - set(found)):
        raise HandOffError(f"{path} has no table {missing[0]!r}. Run 07-Training-with-HugeCTR.ipynb again.")
    return found


def chosen(model: Tables) -> np.ndarray:
    """Return the places in the catalogue of the movies on the page, int64 [n], ascending.

    Of the known movies those liked most by all, of the new ones those that likes of these speak for most.
    """
    best = model["known"][np.argsort(-model["recent"][model["known"]], kind="stable")[:KNOWN]]
    unknown = np.setdiff1d(np.arange(len(model["movie_ids"])), model["known"])
    appeal = model["content_of"][best].sum(axis=0) @ model["mapped"][:, unknown]
    return np.sort(np.concatenate([best, unknown[np.argsort(-appeal, kind="stable")[:NEW]]]))


def weights(model: Tables, places: np.ndarray) -> dict[str, np.ndarray]:
    """Return what a like of one movie adds to the score of another, float32 [n liked, n scored] each.

    ``ease`` are the weights of EASE, 0 for new movies; ``lift`` is in their place for strangers, divided by the number
    of likes; ``alike`` are the products of contents, which the score has divided by the root of that number.
    """
    known = np.isin(places, model["known"])
    own, found = model["place_of"][places[known]], {}
    for name, table in (("ease", "weights"), ("lift", "lift")):
        found[name] = np.zeros((len(places), len(places)), "<f4")
        found[name][np.ix_(known, known)] = model[table][np.ix_(own, own)]
    return found | {"alike": (model["content_of"][places] @ model["mapped"][:, places]).astype("<f4")}


def content(folder: Path, dataset: str) -> dict[str, Any]:
    """Return what the page computes with, ready for JSON, from the files of ``folder``, DATA_DIR/``dataset``.

    ``movies`` are in the order of the catalogue; ``recent`` is None for new ones. The matrices of
    ``weights`` are base64 of little-endian float32, row by row. Raises HandOffError where 07 has not been run or a file
    is stale or damaged.
    """
    store = Store(folder, dataset, manifest.read(folder).get("serving_lists", {}).get("seed", 0), "site", {})
    model, movies = tables(store.need("serving_lists")), store.read("movies_converted")
    places = chosen(model)
    known = np.isin(places, model["known"])
    described = {row.pop("movieId"): row for row in movies.select(["movieId", "title", "year", "genres"]).to_pylist()}
    posters = Gallery(folder, movies, store.read("enriched"))
    listed = [
        described[movie] | {"recent": liked if rated else None, "poster": _small(posters, movie)}
        for movie, liked, rated in zip(
            model["movie_ids"][places].tolist(), model["recent"][places].tolist(), known, strict=True
        )
    ]
    numbers = {name: float(model[name][0]) for name in NUMBERS}
    packed = {name: base64.b64encode(matrix.tobytes()).decode() for name, matrix in weights(model, places).items()}
    return numbers | {"movies": listed} | packed


def _small(posters: Callable[[int], tuple[Image.Image | None, str]], movie: int) -> str | None:
    """Return a poster as a small WebP in base64, None where there is none."""
    picture, packed = posters(movie)[0], BytesIO()
    if picture is None:
        return None
    ImageOps.fit(picture.convert("RGB"), POSTER).save(packed, "WEBP", quality=45)
    return base64.b64encode(packed.getvalue()).decode()
