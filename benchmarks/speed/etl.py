"""06: the NVTabular workflow of notebook 06, on the files and by the part size of the series.

The other side runs the same workflow as the original series did: one file a split as pandas writes it, one partition
of it as large as NVTabular likes, files as they come. Neither drops movie ids nor shuffles; ours checks its files.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.speed import ROOT, generator, ratings
from benchmarks.speed.child import timed
from benchmarks.speed.harness import Case

_SPLITS = ("train", "valid")


def _folder(count: int, seed: int, way: str) -> Path:
    return generator.CACHE / f"etl-{count}-{seed}" / way


def prepare(count: int, seed: int, part_size: str) -> None:
    """Convert and split by notebook 01's functions; write the same rows the way that pandas does, too."""
    import pyarrow.parquet as pq

    from utils.handoff.store import writing

    folder = _folder(count, seed, "")
    if folder.exists():
        return
    with writing(folder) as temporary:
        parts = ratings.convert(generator.unpacked(count, seed), temporary / "ours")
        (temporary / "pandas").mkdir()
        for name in _SPLITS:
            pq.read_table(parts[name]).to_pandas().to_parquet(temporary / "pandas" / f"{name}.parquet", index=False)


def _workflow(catalogue: Any, scratch: Path) -> Any:
    """Build the workflow of notebook 06."""
    import nvtabular as nvt
    import pandas as pd
    from merlin.io import Dataset
    from nvtabular import ops

    from utils.handoff.contract import LIKED

    kept = str(scratch / "categories")
    ids = ["userId", "movieId"] >> ops.Categorify(out_path=kept)
    movies = Dataset(catalogue.select(["movieId", "genres"]).to_pandas())
    joined = ["movieId"] >> ops.JoinExternal(movies, on=["movieId"], columns_ext=["movieId", "genres"])
    genres = joined["genres"] >> ops.Categorify(out_path=kept)
    vocabulary = {"movieId_duplicate": pd.Series(catalogue["movieId"].to_numpy())}
    content = ["movieId"] >> ops.Rename(postfix="_duplicate") >> ops.Categorify(vocabs=vocabulary, out_path=kept)
    label = ["rating"] >> ops.LambdaOp(lambda rating: (rating > LIKED).astype("float32"))
    return nvt.Workflow(ids + genres + content + label)


def ours(count: int, seed: int, part_size: str) -> dict[str, Any]:
    """Fit on train and encode the splits as notebook 06 does."""
    import pyarrow.parquet as pq
    from merlin.io import Dataset

    from utils.etl import workflow as etl

    files = _folder(count, seed, "ours") / generator.NAME
    catalogue = pq.read_table(files / "movies_converted.parquet").sort_by("movieId")
    with ratings.scratch() as folder, etl.quiet():
        with timed() as clock:
            workflow = _workflow(catalogue, folder)
            workflow.fit(Dataset(str(files / "train.parquet"), engine="parquet", part_size=part_size))
            rows = etl.cardinalities(workflow)
            most_genres = max(1, max(len(listed) for listed in catalogue["genres"].to_pylist()))
            for name in _SPLITS:
                written = etl.write_encoded(workflow, files / f"{name}.parquet", folder / name, part_size)
                etl.finish(folder / name, folder / name, rows, most_genres, written)
        return clock.told() | _answer(folder)


def single_file(count: int, seed: int, part_size: str) -> dict[str, Any]:
    """The same workflow on one file a split, with NVTabular's own part size, not ``part_size``."""
    import pyarrow.parquet as pq
    from merlin.io import Dataset

    from utils.etl import workflow as etl

    files = _folder(count, seed, "pandas")
    catalogue = pq.read_table(_folder(count, seed, "ours") / generator.NAME / "movies_converted.parquet")
    with ratings.scratch() as folder, etl.quiet():
        with timed() as clock:
            workflow = _workflow(catalogue.sort_by("movieId"), folder)
            workflow.fit(Dataset([str(files / "train.parquet")]))
            for name in _SPLITS:
                encoded = workflow.transform(Dataset([str(files / f"{name}.parquet")]))
                encoded.to_parquet(str(folder / name), cats=etl.CATEGORIES, conts=[], labels=[etl.LABEL])
        return clock.told() | _answer(folder)


def _answer(folder: Path) -> dict[str, Any]:
    """Sums over the encoded rows. Ids of equal frequency may swap codes, which the sums over train do not show."""
    import polars as pl

    answer: dict[str, float] = {}
    for name in _SPLITS:
        scan = pl.scan_parquet(str(folder / name / "*.parquet"))
        sums = [pl.len().alias("rows"), pl.col("movieId_duplicate", "rating").sum(), pl.col("genres").list.len().sum()]
        if name == "train":
            sums += [pl.col("userId", "movieId").sum()]
        row = scan.select(*sums).collect(engine="streaming").row(0, named=True)
        answer |= {f"{name} {column}": float(value) for column, value in row.items()}
    size = sum(file.stat().st_size for name in _SPLITS for file in (folder / name).glob("*.parquet"))
    return {"answer": answer, "bytes_on_disk": size, "count": answer["train rows"] + answer["valid rows"]}


def agree(case: Case, ours: Mapping[str, float], other: Mapping[str, float]) -> str | None:
    """Every sum, exactly."""
    for name, value in ours.items():
        if value != other[name]:
            return f"{name} is {value:,.0f} in ours and {other[name]:,.0f} in the other"
    return None


def _part_size() -> str:
    """The default of notebook 06; looked up in its text, for papermill would count as memory of the measured work."""
    notebook = (ROOT / "06-ETL-with-NVTabular.ipynb").read_text()
    found = re.search(r'"PART_SIZE = \\"(.*?)\\"', notebook)
    assert found, "notebook 06 has no PART_SIZE"
    return found[1]


def _case(count: int, **more: Any) -> Case:
    return Case(
        stage="06 fit the workflow, encode train and valid",
        against="the same workflow on one file a split written by pandas, with NVTabular's own part size",
        ours="benchmarks.speed.etl:ours",
        other="benchmarks.speed.etl:single_file",
        at_least=1.3,
        peak_mb_at_most=2048,
        arguments={"count": count, "seed": 0, "part_size": _part_size()},
        limit="disk",
        checked="rows, labels, genres and the sums of codes are equal; ours checks its files as well",
        **more,
    )


# Three runs of each, not five: one of the other side takes five minutes.
CASES = (_case(25_000_000, repeats=3),)
SMALL = (_case(20_000, repeats=1),)
