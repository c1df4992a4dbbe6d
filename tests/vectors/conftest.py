"""What the tests of shards, posters and workers share."""

from pathlib import Path

import pytest

from utils.handoff.store import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path, "toy", 42, "03-Feature-Extraction-Poster")
