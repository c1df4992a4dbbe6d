"""What the tests of content share."""

from pathlib import Path

import pytest

from utils.handoff.store import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "data", "ml-25m", 42, "02-Data-Enrichment")
