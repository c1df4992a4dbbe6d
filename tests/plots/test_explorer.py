"""The explorer: a dropdown that redraws the picture, and a sentence where widgets cannot be drawn."""

from collections.abc import Sequence

import pytest
from IPython.core.formatters import DisplayFormatter

from tests.plots.conftest import png
from utils import plots
from utils.handoff.parameters import ParameterError
from utils.plots.explorer import NO_WIDGETS, Explorer


def explorer(users: Sequence[int]) -> Explorer:
    return Explorer(users, lambda user: plots.shelf([(None, "A")], [], title=f"For user {user}"))


def test_the_explorer_redraws_for_the_chosen_user() -> None:
    found = explorer([3, 1])
    assert found.dropdown.options == (3, 1) and found.children == (found.dropdown, found.picture)
    first = found.picture.value
    assert first == png(plots.shelf([(None, "A")], [], title="For user 3"))
    found.dropdown.value = 1
    assert found.picture.value == png(plots.shelf([(None, "A")], [], title="For user 1")) != first


def test_a_file_without_widgets_says_what_was_there() -> None:
    found = explorer([3])
    data, _ = DisplayFormatter().format(found)
    assert data["text/plain"] == NO_WIDGETS
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == found.model_id


def test_an_explorer_needs_a_user() -> None:
    with pytest.raises(ParameterError, match="no user to choose from"):
        explorer([])
