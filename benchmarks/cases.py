"""What ``benchmarks.speed`` measures of 01 to 06: what the notebooks call, and what one would write instead.

PyTorch and NVTabular are imported in the functions, so that they are not in the memory of sides that do without; what a
side needs before its clock starts, such as weights, is loaded outside ``timed``.
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from benchmarks import generator
from benchmarks.measure import Measured, timed
from utils.features import feature_store
from utils.handoff.atomic import ROOT, writing
from utils.handoff.own_data import STARS
from utils.handoff.store import open_store, read_parquet
from utils.ratings import movielens, splits

WEIGHTS = Path(os.environ.get("MULTIMODAL_CACHE") or ROOT / "data" / ".cache")
SEED, VALID, COLD = 42, 0.2, 0.05
PARTS = ("train", "valid", "cold")
COLUMNS = ("userId", "movieId", "rating", "timestamp")
KEPT, KNOWN = 64, 0.9
"""Columns that 05 keeps of the vectors, and the share of the movies that its components are fitted on."""
PICTURE_FLOP, TOKEN_FLOP = 0.77e9, 6 * 24 * 384**2
"""Least operations of EfficientNet-Lite0 on a picture and of MiniLM-L6 on a token, but for attention (5%): two for each
of its weights, which are 12 d**2 in a layer of width d."""
WORDS = ("a", "the", "of", "who", "with", "woman", "child", "city", "war", "love", "secret", "family", "loses", "night")


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a folder on the disk of the data."""
    generator.CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=generator.CACHE) as folder:
        yield Path(folder)


def convert(archive: Path, folder: Path) -> dict[str, Path]:
    """Do what notebook 01 does; return where the parts are. It checks every row, and hashes what it wrote."""
    store = open_store(folder, generator.NAME, SEED, "01-Download-Convert", ARCHIVE=archive.name)
    converted = movielens.convert(movielens.locate(generator.NAME, folder, archive))
    parts = splits.split(converted.ratings, "random", VALID, COLD, SEED)
    store.write("movies_converted", converted.movies.to_arrow())
    store.write("rejected", converted.rejected.to_arrow())
    return {name: store.write(name, part.to_arrow()) for name, part in zip(PARTS, parts, strict=True)}


def split_pandas(archive: Path, folder: Path) -> dict[str, Path]:
    """Do what a user of pandas and scikit-learn would."""
    files = {name: folder / f"{name}.parquet" for name in PARTS[:2]}
    parts = train_test_split(pd.read_csv(archive / "ratings.csv"), test_size=VALID, random_state=SEED)
    for part, file in zip(parts, files.values(), strict=True):
        part.to_parquet(file, index=False)
    return files


def split_polars(archive: Path, folder: Path) -> dict[str, Path]:
    """Do the same with polars alone: the least that reading, splitting and writing take."""
    files = {name: folder / f"{name}.parquet" for name in PARTS[:2]}
    rated = pl.read_csv(archive / "ratings.csv", schema_overrides={"rating": pl.Float32})
    drawn = pl.Series(np.random.default_rng(SEED).permutation(len(rated)) < VALID * len(rated))
    for part, file in zip((rated.filter(~drawn), rated.filter(drawn)), files.values(), strict=True):
        part.write_parquet(file)
    return files


def split(ratings: int, way: Callable[[Path, Path], dict[str, Path]]) -> Measured:
    """Read, split and write an unpacked archive: pandas reads a member of a zip through Python, which is slow.

    Answers the rows of all parts, the sum of each column and the share of valid, read back from the files.
    """
    archive = generator.archive(ratings)
    with scratch() as folder:
        with timed() as run:
            files = way(archive, folder)
        scans = {name: pl.scan_parquet(file) for name, file in files.items()}
        rows = {name: scan.select(pl.len()).collect().item() for name, scan in scans.items()}
        every = pl.concat([scan.select(pl.col(COLUMNS).cast(pl.Float64)) for scan in scans.values()])
        run.answer = every.sum().collect(engine="streaming").row(0, named=True)
        run.answer |= {"rows": sum(rows.values()), "share of valid": rows["valid"] / (rows["train"] + rows["valid"])}
        run.limit, run.work = "disk", sum(file.stat().st_size for file in (*files.values(), archive / "ratings.csv"))
    return run


def pictures(count: int) -> Path:
    """Return a folder with a folder "posters" of ``count`` coloured JPEGs of a poster's size, made the first time."""
    folder, draw = generator.CACHE / f"pictures-{count}", np.random.default_rng(0)
    if not folder.exists():
        with writing(folder) as temporary:
            (temporary / "posters").mkdir(parents=True)
            for number in range(count):
                blobs = Image.fromarray(draw.integers(0, 256, (9, 6, 3), np.uint8)).resize((342, 513))
                blobs.save(temporary / "posters" / f"{number:04}.jpg", quality=90)
    return folder


def pictures_ours(count: int, precision: str) -> Measured:
    """Notebook 03, shards and hand-off included."""
    from utils.vectors import posters

    encoder = posters.load_encoder(posters.DEFAULT, "cpu", WEIGHTS, precision)
    columns = {"poster_path": [f"posters/{n:04}.jpg" for n in range(count)], "poster_source": ["made"] * count}
    with scratch() as folder:
        store = open_store(folder, "speed", SEED, "03-Feature-Extraction-Poster")
        (store.folder / "posters").symlink_to(pictures(count) / "posters")
        with timed() as run:
            found = posters.encode_posters(store, pa.table({"movieId": range(count)} | columns), encoder)
            store.write("poster_embeddings", *found.hand_off())
    return _vectors(run, found.vectors, f"matmul {encoder.precision}", count * PICTURE_FLOP)


def pictures_other(count: int, batch: int) -> Measured:
    """The same network as one would feed it: torchvision's transforms, a DataLoader, workers if there are batches."""
    import torch
    from torchvision import datasets, transforms

    from utils.vectors import posters

    encoder = posters.load_encoder(posters.DEFAULT, "cpu", WEIGHTS, "float32")
    module = encoder.module.to(memory_format=torch.contiguous_format)
    scale = transforms.Normalize((encoder.mean / 255).tolist(), (encoder.std / 255).tolist())
    resize = transforms.Resize((encoder.size, encoder.size), antialias=True)
    data = datasets.ImageFolder(str(pictures(count)), transforms.Compose([resize, transforms.ToTensor(), scale]))
    workers = 0 if batch == 1 else os.cpu_count() or 1
    batches = torch.utils.data.DataLoader(data, batch_size=batch, num_workers=workers)
    with torch.inference_mode():
        module(torch.zeros(batch, 3, encoder.size, encoder.size))
        with timed() as run:
            found = torch.cat([module(pixels) for pixels, _ in batches])
    return _vectors(run, found.numpy())


def plots(count: int) -> list[str]:
    """Return ``count`` texts as long as the plots of Wikipedia (median 90 words), but none that has to be cut."""
    draw = np.random.default_rng(0)
    lengths = draw.lognormal(np.log(90), 0.55, count).clip(10, 200).astype(int)
    return [" ".join(draw.choice(WORDS, length)) for length in lengths]


def texts_ours(count: int, precision: str) -> Measured:
    """Notebook 04, shards and hand-off included."""
    from utils.vectors import texts

    encoder, written = texts.load_encoder(texts.DEFAULT, "cpu", WEIGHTS, precision), plots(count)
    enriched = pa.table({"movieId": range(count), "synopsis": written, "synopsis_source": ["made"] * count})
    with scratch() as folder:
        store = open_store(folder, "speed", SEED, "04-Feature-Extraction-Text")
        with timed() as run:
            found = texts.encode_synopses(store, enriched, encoder)
            store.write("text_embeddings", *found.hand_off())
    tokens = sum(len(text.split()) + 2 for text in written)
    return _vectors(run, found.vectors, f"matmul {encoder.precision}", tokens * TOKEN_FLOP)


def texts_other(count: int, batch: int) -> Measured:
    """``encode`` of sentence-transformers: sorted by length, each batch padded to its longest."""
    from sentence_transformers import SentenceTransformer

    from utils.vectors.encoders.text import default_folder

    model, written = SentenceTransformer(str(default_folder(WEIGHTS)), device="cpu"), plots(count)
    model.encode(written[:1])
    with timed() as run:
        found = model.encode(written, batch_size=batch)
    return _vectors(run, found)


def _vectors(run: Measured, found: np.ndarray, limit: str | None = None, work: float = 0.0) -> Measured:
    """Answer 16 of the vectors, evenly spaced."""
    run.answer = {"rows": len(found), "vectors": found[np.linspace(0, len(found) - 1, 16).astype(int)]}
    run.limit, run.work = limit, work
    return run


def raw_vectors(movies: int, widths: Sequence[int]) -> list[Path]:
    """Return a file of made vectors for each of ``widths``."""
    return [generator.vectors(np.arange(1, movies + 1), width) for width in widths]


def reduce_ours(movies: int, widths: Sequence[int]) -> Measured:
    """What takes the time of notebook 05: components are fitted on known movies, all are projected."""
    files, ids = raw_vectors(movies, widths), np.arange(1, movies + 1)
    known = ids[: int(KNOWN * movies)]
    with timed() as run:
        parts = [feature_store.reduce(read_parquet(file), ids, known, KEPT) for file in files]
    run.answer = {"sizes": [_sizes(part.vectors) for part in parts]}
    run.answer |= {"explained": [part.reduction.explained for part in parts]}
    # The covariance of the known, the projection of all. It computes in float64; the limit is that of float32.
    run.limit = "matmul float32"
    run.work = sum(2.0 * width * (len(known) * width + movies * KEPT) for width in widths)
    return run


def reduce_sklearn(movies: int, widths: Sequence[int]) -> Measured:
    """pandas and scikit-learn's PCA by covariance in float64, which is as exact; in float32 it is not."""
    files, found = raw_vectors(movies, widths), []
    with timed() as run:
        for file in files:
            raw = np.stack(pd.read_parquet(file)["embedding"].to_numpy()).astype(np.float64)
            pca = PCA(KEPT, svd_solver="covariance_eigh").fit(raw[: int(KNOWN * movies)])
            found.append(((raw @ pca.components_.T).astype(np.float32), pca.explained_variance_ratio_))
    vectors, explained = zip(*found, strict=True)
    run.answer = {"sizes": [_sizes(values) for values in vectors], "explained": explained}
    return run


def _sizes(vectors: np.ndarray) -> np.ndarray:
    """Return how large the numbers of each column are, whatever the scale of all."""
    sizes = np.abs(vectors).mean(0, dtype=np.float64)
    return sizes / sizes.mean()


def converted(ratings: int) -> Path:
    """Return the folder that notebook 01 wrote, made the first time."""
    path = generator.CACHE / f"converted-{ratings}"
    if not path.exists():
        with writing(path) as folder:
            convert(generator.archive(ratings), folder)
    return path / generator.NAME


def encode(ratings: int, ours: bool) -> Measured:
    """Fit the workflow of notebook 06 on train, encode train and valid, by its PART_SIZE or NVTabular's default.

    Movie ids are not dropped. Answers rows and sums: ids of equal frequency may swap codes, which sums do not show.
    """
    from utils.etl import workflow

    files = converted(ratings)
    catalogue = read_parquet(files / "movies_converted.parquet").sort_by("movieId")
    most_genres = max(map(len, catalogue["genres"].to_pylist()))
    with scratch() as folder, workflow.quiet():
        from merlin.io import Dataset  # it warns of what it does without

        recipe, part_size = notebook_06(catalogue, folder)
        part_size = part_size if ours else None
        with timed() as run:
            recipe.fit(Dataset(str(files / "train.parquet"), engine="parquet", part_size=part_size))
            for name in PARTS[:2]:
                rows = workflow.write_encoded(recipe, files / f"{name}.parquet", folder / name, part_size)
                workflow.finish(folder / name, folder / name, workflow.cardinalities(recipe), most_genres, rows)
        for name in PARTS[:2]:
            columns = ["movieId_duplicate", "rating", *(("userId", "movieId") if name == "train" else ())]
            scan = pl.scan_parquet(str(folder / name / "*.parquet"))
            sums = scan.select(pl.len().alias("rows"), pl.col(columns).sum(), pl.col("genres").list.len().sum())
            found = sums.collect(engine="streaming").row(0, named=True)
            run.answer |= {f"{column} of {name}": value for column, value in found.items()}
        run.limit, run.work = "disk", sum(file.stat().st_size for file in folder.glob("*/*.parquet"))
    return run


def notebook_06(catalogue: pa.Table, folder: Path) -> tuple[Any, str]:
    """Return the workflow and PART_SIZE of notebook 06, made by its own cells; ``folder`` keeps the categories."""
    import nvtabular
    from merlin.io import Dataset

    from utils.etl import workflow

    names = {"nvt": nvtabular, "ops": nvtabular.ops, "Dataset": Dataset, "pd": pd, "likes": STARS}
    names |= {"workflow": workflow, "catalogue": catalogue, "movie_ids": catalogue["movieId"].to_numpy()}
    names |= {"store": SimpleNamespace(folder=folder)}
    for cell in json.loads((ROOT / "06-ETL-with-NVTabular.ipynb").read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and (">> ops." in source or "PART_SIZE = " in source):
            exec(source, names)
    return names["recipe"], names["PART_SIZE"]
