"""What several tests of the whole series share: a run of the example on data of one's own."""

import shutil
from pathlib import Path

import papermill
import pytest

from tests.places import CACHE, ROOT


def share_cache(data: Path) -> None:
    """Make a data folder that shares the cache of downloads, so that weights are fetched once."""
    data.mkdir()
    CACHE.mkdir(parents=True, exist_ok=True)
    (data / ".cache").symlink_to(CACHE)


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository in which ``examples/your-own-data.ipynb`` was executed, to ``executed.ipynb``.

    It makes forty board games and runs the whole series on them.
    """
    root = tmp_path_factory.mktemp("example")
    for folder in ("utils", "examples"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for notebook in ROOT.glob("[0-9][0-9]-*.ipynb"):
        shutil.copy(notebook, root)
    share_cache(root / "data")
    papermill.execute_notebook(
        str(root / "examples" / "your-own-data.ipynb"),
        str(root / "executed.ipynb"),
        cwd=str(root / "examples"),
        kernel_name="python3",
        progress_bar=False,
    )
    return root
