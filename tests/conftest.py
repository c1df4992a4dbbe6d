"""Fixtures that several test modules share: stores, rating tables, encoded splits and small models."""

from collections.abc import Callable, Iterator
from pathlib import Path

import utils  # noqa: F401  first: it says how torch's threads wait

# isort: split
import numpy as np
import pyarrow as pa
import pytest
import torch

from utils.handoff.contract import ARTEFACTS
from utils.handoff.store import Store, open_store
from utils.model.architectures import Inputs
from utils.model.feature_sets import BLOCKS, CONTENT, parse
from utils.model.frozen_table import content_columns
from utils.model.training.fit import Split

Open = Callable[..., Store]
FULL = parse("+".join(BLOCKS))
SETS = [parse(name) for name in ("ids", "ids+genres", *(f"ids+genres+{block}" for block in CONTENT))] + [FULL]


@pytest.fixture
def open_for(tmp_path: Path) -> Open:
    """Open the data set "toy" for the notebook that writes an artefact: ``open_for("train")``."""

    def opened(artefact: str, *, dataset: str = "toy", seed: int = 42, **parameters: object) -> Store:
        return open_store(tmp_path / "data", dataset, seed, ARTEFACTS[artefact].notebook, **parameters)

    return opened


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """PyTorch on one thread: on a busy machine tiny operations on several take up to 40 times longer."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def inputs() -> Inputs:
    """A data set of 12 users, 18 movies and 5 genres (the rows count reserved codes, too)."""
    columns = content_columns({block: 4 - number for number, block in enumerate(CONTENT)})
    return Inputs(users=15, movies=21, genres=8, most_genres=3, content_rows=21, content_columns=columns)


@pytest.fixture
def encoded(inputs: Inputs) -> dict[str, np.ndarray]:
    """400 encoded rows as ``workflow.read_encoded`` gives them; the last user and the last movies never occur."""
    generator = np.random.default_rng(0)
    rows = 400
    genres = generator.integers(3, inputs.genres - 1, (rows, inputs.most_genres)).astype(np.int32)
    genres[np.arange(inputs.most_genres) >= generator.integers(0, inputs.most_genres + 1, (rows, 1))] = 0
    return {
        "userId": generator.integers(3, inputs.users - 1, rows).astype(np.int32),
        "movieId": generator.integers(2, inputs.movies - 3, rows).astype(np.int32),
        "genres": genres,
        "movieId_duplicate": generator.integers(3, inputs.content_rows, rows).astype(np.int32),
        "label": generator.integers(0, 2, rows).astype(np.float32),
    }


@pytest.fixture
def split(encoded: dict[str, np.ndarray]) -> Split:
    return Split.of(encoded)


@pytest.fixture
def frozen(inputs: Inputs) -> np.ndarray:
    """A frozen table float32 [content_rows, width] whose flags are ones."""
    width = max(stop for _, stop in inputs.content_columns.values())
    table = np.random.default_rng(1).normal(0, 0.3, (inputs.content_rows, width)).astype(np.float32)
    table[:, -len(CONTENT) :] = 1
    return table


@pytest.fixture(scope="session")
def ratings() -> pa.Table:
    """30 users with 8 ratings each of 12 movies (1 to 23, odd), as ``train`` has them, not sorted."""
    generator = np.random.default_rng(2)
    pairs = np.array([(user, 2 * movie + 1) for user in range(1, 31) for movie in generator.permutation(12)[:8]])
    pairs = generator.permutation(pairs)
    return pa.table(
        {
            "userId": pairs[:, 0],
            "movieId": pairs[:, 1],
            "rating": (generator.integers(1, 11, len(pairs)) / 2).astype(np.float32),
            "timestamp": np.arange(len(pairs)),
        }
    )
