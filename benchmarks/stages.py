"""What is compared with what in ``benchmarks.speed``, at which size, and what ours should reach."""

from functools import partial
from typing import Any

from benchmarks import cases, generator
from benchmarks.measure import Row, Stage

SIZES: dict[str, dict[str, Any]] = {
    "full": {
        "ratings": 25_000_000, "pictures": 256, "texts": 512, "vectors": {"movies": 62_423, "widths": (2048, 1024)},
        "batches": (2_048, 32_768), "model": {"rows": 1_000_000, "users": 162_541, "movies": 62_423, "width": 1024},
        "lists": (10_240, 20), "metrics": {"rows": 5_000_000, "users": 162_541, "looped": 5_000},
    },
    "small": {
        "ratings": 20_000, "pictures": 16, "texts": 20, "vectors": {"movies": 600, "widths": (128, 96)},
        "batches": (128, 256), "model": {"rows": 20_000, "users": 1_000, "movies": 400, "width": 32},
        "lists": (300, 20), "metrics": {"rows": 20_000, "users": 400, "looped": 100},
    },
}  # fmt: skip
PRECISIONS = ("float32", "bfloat16")
REST = "decoding, tokenising, hashing and writing are as fast in any precision"
SHARED = "of 2,048 rows 71% name another movie: little is shared"


def stages(scale: str) -> list[Stage]:
    """Return all stages, at "full" scale, which is that of ML-25M, or "small", to try them."""
    size = SIZES[scale]
    pictures = _encoders("03 pictures", cases.pictures_ours, cases.pictures_other, size["pictures"], "a DataLoader")
    texts = _encoders("04 texts", cases.texts_ours, cases.texts_other, size["texts"], "sentence-transformers")
    return [*_tables(size["ratings"], size["vectors"]), pictures, texts, *_model(size)]


def _tables(ratings: int, vectors: dict[str, Any]) -> list[Stage]:
    ways = {"01": cases.convert, "pandas, scikit-learn": cases.split_pandas, "polars": cases.split_polars}
    # Sums of 25 million timestamps are rounded; the share of valid is of what is not held out.
    sums = dict.fromkeys(cases.COLUMNS, 1e-13) | {"share of valid": 5e-3}
    split = [
        Row("01", "pandas, scikit-learn", 3, sums, 0.5, why="rows are checked, split by hash, and hashed on one core"),
        Row("01", "polars", 1 / 1.15, sums, why="polars neither checks rows nor hashes files"),
    ]
    twice = 2 * 4 * vectors["movies"] * sum(vectors["widths"]) / 1e6
    reduce = Row("05", "pandas, scikit-learn", 1, {"sizes": 1e-5, "explained": 1e-5}, peak_mb=twice)
    reduced = {"05": partial(cases.reduce_ours, **vectors), reduce.other: partial(cases.reduce_sklearn, **vectors)}
    encode = Row("06", "NVTabular's part size", 1.3, peak_mb=2_048)
    encoded = {"06": partial(cases.encode, ratings, True), encode.other: partial(cases.encode, ratings, False)}
    archive = partial(generator.archive, ratings)
    return [
        Stage("01 split", {name: partial(cases.split, ratings, way) for name, way in ways.items()}, split, archive),
        Stage("05 reduce", reduced, [reduce], partial(cases.raw_vectors, **vectors)),
        Stage("06 encode", encoded, [encode], partial(cases.converted, ratings)),
    ]


def _encoders(name: str, ours: Any, other: Any, count: int, library: str) -> Stage:
    """In the precision that PRECISION="auto" takes here, against float32 as others would use it."""
    sides = {"auto": partial(ours, count, "auto")}
    sides |= {"one at a time": partial(other, count, 1), library: partial(other, count, 32)}
    least = {"one at a time": 3, library: 1.8}
    return Stage(name, sides, [Row("auto", rival, least[rival], {"vectors": 0.01}, why=REST) for rival in least])


def _model(size: dict[str, Any]) -> list[Stage]:
    from benchmarks import model_cases as of  # here, or PyTorch would be in the memory of 01

    sides, rows, model, (few, many) = {}, [], size["model"], size["batches"]
    for batch, least, precisions, ways in ((few, 3, PRECISIONS, of.WAYS), (many, 4, PRECISIONS[:1], of.WAYS[:1])):
        ours = {f"{p}, {batch:,}": partial(of.train_ours, batch, p, **model) for p in precisions}
        rivals = {f"{way}, {batch:,}": partial(of.train_plain, batch, way, **model) for way in ways}
        sides |= ours | rivals
        rows += [Row(mine, other, least, {"auc": 1.5e-3}, why=SHARED) for mine in ours for other in rivals]
    lists = Row("07", "user by user", 20, {"lists": 0.01}, peak_mb=4_096)
    some, few = size["lists"]
    listed = {"07": partial(of.lists, some, True, **model), lists.other: partial(of.lists, few, False, **model)}
    metrics = Row("07", "scikit-learn", 20, {"auc": 1e-6, "gauc": 1e-6})
    judged = {name: partial(of.metrics, **size["metrics"], ours=name == "07") for name in ("07", metrics.other)}
    return [
        Stage("07 training", sides, rows), Stage("07 lists", listed, [lists]), Stage("07 metrics", judged, [metrics])
    ]  # fmt: skip
