"""A small data folder as notebooks 01 to 07 leave it, for the stand-in, and ways to run ``model.py`` in it."""

import json
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import FULL
from utils.etl.workflow import CATEGORIES, LABEL, OUT_OF_VOCABULARY, RESERVED
from utils.handoff.contract import BLOCKS, FLAGS
from utils.handoff.vector_columns import vector_column
from utils.model.architectures import MODELS, Inputs
from utils.model.feature_sets import FeatureSet
from utils.model.frozen_table import content_columns, content_table
from utils.model.hugectr_files import write_sparse, write_start
from utils.model.hugectr_script import Script, render
from utils.model.training.fit import Job, Settings, Split

STAND_IN = Path(__file__).parent
USERS, MOVIES, GENRES, MOST_GENRES = 9, 30, 5, 3
UNSEEN = 4
"""The last movies of the catalogue: rated in valid, never in train."""
WIDTHS = {block: 4 - number for number, block in enumerate(BLOCKS)}
COLUMNS = content_columns(WIDTHS)
WIDTH = max(stop for _, stop in COLUMNS.values())
TRAIN_ROWS, VALID_ROWS, BATCH = 200, 50, 20
INPUTS = Inputs(
    users=USERS + RESERVED, movies=MOVIES - UNSEEN + RESERVED, genres=GENRES + RESERVED, most_genres=MOST_GENRES,
    content_rows=MOVIES + RESERVED, content_columns=COLUMNS,
)  # fmt: skip
TABLE = "hugectr_pretrained_embedding.model"
MOVIE_IDS = np.arange(MOVIES) * 7 + 11


def genres_of(movie: int) -> list[int]:
    """The places of a movie's genres: none for every fourth, up to MOST_GENRES for others."""
    return np.random.default_rng(movie).choice(GENRES, movie % (MOST_GENRES + 1), replace=False).tolist()


@dataclass(frozen=True)
class Rows:
    """The rows of a split: places of user and movie int [n], rating float32 [n]."""

    users: np.ndarray
    movies: np.ndarray
    rating: np.ndarray

    @classmethod
    def of(cls, name: str) -> "Rows":
        """Random rows of train or valid, in which each user and each movie of that part occurs."""
        count, movies = (TRAIN_ROWS, MOVIES - UNSEEN) if name == "train" else (VALID_ROWS, MOVIES)
        generator = np.random.default_rng(len(name) + count)
        rating = generator.integers(1, 6, count).astype(np.float32)
        return cls(np.arange(count) % USERS, generator.permutation(np.arange(count) % movies), rating)

    def encoded(self) -> dict[str, pa.Array]:
        """Columns as notebook 06 writes them; in train some ids are hidden, and unseen movies have none."""
        known = self.movies < MOVIES - UNSEEN
        if len(self.movies) == TRAIN_ROWS:
            known &= np.arange(len(self.movies)) % 10 > 0
        genres = [
            [place + RESERVED for place in genres_of(movie)] or [OUT_OF_VOCABULARY] for movie in self.movies.tolist()
        ]
        return {
            "userId": pa.array(self.users + RESERVED),
            "movieId": pa.array(np.where(known, self.movies + RESERVED, OUT_OF_VOCABULARY)),
            "genres": pa.array(genres, pa.list_(pa.int64())),
            "movieId_duplicate": pa.array(self.movies + RESERVED),
            LABEL: pa.array((self.rating > 3).astype(np.float32)),
        }

    def split(self) -> Split:
        """The rows as the PyTorch model reads them."""
        columns = self.encoded()
        padded = [genres + [0] * (MOST_GENRES - len(genres)) for genres in columns.pop("genres").to_pylist()]
        label = columns.pop(LABEL).to_numpy()
        codes = {name: np.array(values, np.int32) for name, values in columns.items()}
        return Split.of(codes | {"genres": np.array(padded, np.int32), "label": label})


def features(seed: int = 0) -> pa.Table:
    """A feature store in which no two movies, and no two columns, are alike."""
    generator = np.random.default_rng(seed)
    columns: dict[str, Any] = {"movieId": MOVIE_IDS}
    columns |= {block: vector_column(generator.normal(size=(MOVIES, width))) for block, width in WIDTHS.items()}
    return pa.table(columns | {FLAGS[block]: np.arange(MOVIES) % (3 + at) > 0 for at, block in enumerate(BLOCKS)})


def codes() -> pa.Table:
    """The catalogue with its codes."""
    place = np.arange(MOVIES)
    known = np.where(place < MOVIES - UNSEEN, place + RESERVED, OUT_OF_VOCABULARY)
    return pa.table({"movieId": MOVIE_IDS, "code": known, "content_code": place + RESERVED})


def frozen_vectors(seed: int = 0) -> np.ndarray:
    """The frozen table float32 [rows, WIDTH] of ``features``."""
    return content_table(features(seed), codes()).vectors


@cache
def job(model: str, chosen: FeatureSet = FULL) -> Job:
    """A run of this data; tables of ``multimodal`` start from biases."""
    generator = np.random.default_rng(7)
    rows = {"userId": INPUTS.users, "movieId": INPUTS.movies, "genres": INPUTS.genres}
    started = [name for name in rows if model == "multimodal" and (name != "genres" or "genres" in chosen.blocks)]
    start = {
        name: generator.normal(0, 1, rows[name]).astype(np.float32) * (np.arange(rows[name]) > 0) for name in started
    }
    graph, train, valid = MODELS[model](INPUTS, chosen), Rows.of("train").split(), Rows.of("valid").split()
    return Job(graph, train, valid, frozen_vectors(), INPUTS, Settings(1, BATCH, 0.002), 42, start)


def render_script(model: str, chosen: FeatureSet = FULL, epochs: int = 1) -> str:
    """Return the source of ``model.py``."""
    given = job(model, chosen)
    script = Script(
        inputs=INPUTS, epochs=epochs, batch_size=BATCH, learning_rate=0.002, seed=42, train_rows=TRAIN_ROWS,
        valid_rows=VALID_ROWS, start={column: f"start/{column}.model" for column in given.start},
    )  # fmt: skip
    return render(given.graph, script)


def write_encoded(folder: Path, columns: dict[str, pa.Array]) -> None:
    """Write an encoded split with ``_metadata.json`` and ``_file_list.txt``, in two files of two row groups."""
    folder.mkdir(exist_ok=True)
    table = pa.table(columns)
    half = table.num_rows // 2
    parts = {"part_0.parquet": table.slice(0, half), "part_1.parquet": table.slice(half)}
    for name, part in parts.items():
        pq.write_table(part, folder / name, row_group_size=-(-part.num_rows // 2))
    described = {
        "file_stats": [{"file_name": name, "num_rows": part.num_rows} for name, part in parts.items()],
        "cats": [{"col_name": n, "index": i} for i, n in enumerate(table.column_names) if n in CATEGORIES],
        "conts": [],
        "labels": [{"col_name": LABEL, "index": table.column_names.index(LABEL)}],
    }
    (folder / "_metadata.json").write_text(json.dumps(described))
    (folder / "_file_list.txt").write_text("\n".join(["2", *(f"{folder.name}/{name}" for name in parts)]) + "\n")


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder, which is the truth, too."""
    folder = tmp_path_factory.mktemp("hugectr") / "data"
    categories = folder / "workflow-hugectr" / "categories"
    categories.mkdir(parents=True)
    names = [f"genre {place}" for place in range(GENRES)]
    for column, values in {"userId": list(range(1, USERS + 1)), "genres": names}.items():
        pq.write_table(pa.table({column: values}), categories / f"unique.{column}.parquet")
    named = [[names[place] for place in genres_of(movie)] for movie in range(MOVIES)]
    pq.write_table(pa.table({"movieId": MOVIE_IDS, "genres": named}), folder / "movies_converted.parquet")
    pq.write_table(features(), folder / "feature_store.parquet")
    pq.write_table(codes(), folder / "movie_codes.parquet")
    for name in ("train", "valid"):
        rows = Rows.of(name)
        raw = {"userId": rows.users + 1, "movieId": MOVIE_IDS[rows.movies], "rating": rows.rating}
        pq.write_table(pa.table(raw), folder / f"{name}.parquet")
        write_encoded(folder / f"{name}-hugectr", rows.encoded())
    write_sparse(folder / TABLE, np.arange(len(frozen_vectors())), frozen_vectors())
    given = job("multimodal")
    twin = given.twin()
    (folder / "start").mkdir()
    write_start(twin, given.start, folder / "start")
    np.savez(folder / "first_values.npz", **{name: twin.table(name).weight.detach().numpy() for name in given.start})
    (folder / "model.py").write_text(render_script("multimodal"))
    return folder


@pytest.fixture
def data(pristine: Path, tmp_path: Path) -> Path:
    """A copy of the data folder, to be spoilt."""
    return shutil.copytree(pristine, tmp_path / "data")


def truth_for(pristine: Path, tmp_path: Path, model: str) -> Path:
    """Return the truth for a model: only ``multimodal`` has first values."""
    if model == "multimodal":
        return pristine
    return shutil.copytree(pristine, tmp_path / "truth", ignore=shutil.ignore_patterns("first_values.npz"))


def execute(data: Path, truth: Path) -> subprocess.CompletedProcess[str]:
    """Run ``model.py`` in its data folder with the stand-in in place of HugeCTR."""
    environment = os.environ | {
        "PYTHONPATH": str(STAND_IN),
        "HUGECTR_STAND_IN_TRUTH": str(truth),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run([sys.executable, "model.py"], cwd=data, env=environment, capture_output=True, text=True)


@pytest.fixture
def run(data: Path, pristine: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Run ``model.py`` as ``execute`` does, but in this process, which is faster."""
    monkeypatch.chdir(data)
    monkeypatch.syspath_prepend(str(STAND_IN))
    monkeypatch.setenv("HUGECTR_STAND_IN_TRUTH", str(pristine))

    def run_here() -> None:
        runpy.run_path("model.py")
        sys.modules["hugectr.model"].check_saved()

    yield run_here
    if "hugectr.model" in sys.modules:
        sys.modules["hugectr.model"].RUNS.clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "hugectr"]:
        del sys.modules[name]
