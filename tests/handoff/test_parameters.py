"""Parameter errors: each says the name, the value, and what would do, as the reader typed it."""

from collections.abc import Callable

import pytest

from utils.handoff.parameters import ParameterError, choice, dataset_name, fraction, whole

SPLITS = ("random", "temporal")
FOLDER = (
    "must be 1 to 64 letters, digits, dots, dashes or underscores, starting with a letter or digit: it names a folder "
    "below DATA_DIR."
)


def test_values_that_can_be_used() -> None:
    choice("SPLIT", "random", SPLITS)
    for share in (0, 0.0, 0.5, 0.999):
        fraction("SHARE", share)
    fraction("SHARE", 1.5, below=2)
    for number in (1, 10**12):
        whole("EPOCHS", number)
    whole("SAMPLE_USERS", None, none=True)
    for number in (0, 5):
        whole("SEED", number, least=0, most=5)
    for name in ("ml-100k", "a", "9.x_y", "a" * 64):
        dataset_name(name)


@pytest.mark.parametrize(
    ("check", "values", "wanted"),
    [
        (
            lambda value: choice("SPLIT", value, SPLITS),
            ["sideways", []],
            "SPLIT={!r} is not known. Choose one of: 'random', 'temporal'.",
        ),
        (
            lambda value: fraction("SHARE", value),
            [1, 1.0, -0.1, float("nan"), float("inf"), "0.5", None, True, [0.5]],
            "SHARE={!r} must be a number of 0 or more and less than 1.",
        ),
        (
            lambda value: fraction("SHARE", value, below=0.5, zero=False),
            [0, 0.5],
            "SHARE={!r} must be a number of more than 0 and less than 0.5.",
        ),
        (
            lambda value: whole("EPOCHS", value),
            [0, -1, 1.0, "1", None, True],
            "EPOCHS={!r} must be a whole number of at least 1.",
        ),
        (
            lambda value: whole("SEED", value, least=2, most=5, none=True),
            [1, 6],
            "SEED={!r} must be a whole number of at least 2 and at most 5, or None.",
        ),
        (
            dataset_name,
            ["", ".", "..", "../up", "a/b", "a\\b", "-x", ".hidden", "ü", "a b", "a" * 65, "a\n", None, 3],
            f"DATASET={{!r}} {FOLDER}",
        ),
    ],
)
def test_values_that_are_refused(check: Callable[[object], None], values: list[object], wanted: str) -> None:
    for value in values:
        with pytest.raises(ParameterError) as caught:
            check(value)
        assert str(caught.value) == wanted.format(value)
