"""The study of the toy data set."""

import pytest

from tests.conftest import Open
from tests.study import toy
from utils.study.study import Study


@pytest.fixture
def study(open_for: Open) -> Study:
    return toy.open_study(open_for)
