"""utils.content.movie: a title and the original title in brackets."""

import pytest

from utils.content.movie import both_titles


@pytest.mark.parametrize(
    ("title", "both"),
    [
        (
            "The City of Lost Children (La Cité des enfants perdus)",
            ("The City of Lost Children", "La Cité des enfants perdus"),
        ),
        ("Halloween: Resurrection (a.k.a. Halloween 8)", ("Halloween: Resurrection", "Halloween 8")),
        ("Babylon 5", ("Babylon 5", "")),
        ("I, Tonya", ("I, Tonya", "")),
        ("(500) Days of Summer", ("(500) Days of Summer", "")),
        ("", ("", "")),
    ],
)
def test_an_original_title_in_brackets_is_split_off(title: str, both: tuple[str, str]) -> None:
    assert both_titles(title) == both
