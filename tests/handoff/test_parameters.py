"""Parameter errors: each says the name, the value, and what would do, as the reader typed it."""

import pytest

from utils.handoff.parameters import ParameterError, choice, dataset_name, fraction, whole


def test_choice() -> None:
    choice("SPLIT", "random", ("random", "temporal"))
    with pytest.raises(ParameterError) as caught:
        choice("SPLIT", "sideways", ("random", "temporal"))
    assert str(caught.value) == "SPLIT='sideways' is not known. Choose one of: 'random', 'temporal'."
    with pytest.raises(ParameterError, match=r"SPLIT=\[\] is not known"):
        choice("SPLIT", [], ("random", "temporal"))


def test_fraction_accepts() -> None:
    for value in (0, 0.0, 0.5, 0.999):
        fraction("SHARE", value)
    fraction("SHARE", 1.5, below=2)


@pytest.mark.parametrize("value", [1, 1.0, -0.1, float("nan"), float("inf"), "0.5", None, True, [0.5]])
def test_fraction_refuses(value: object) -> None:
    with pytest.raises(ParameterError) as caught:
        fraction("SHARE", value)
    assert str(caught.value) == f"SHARE={value!r} must be a number of 0 or more and less than 1."


def test_fraction_without_zero() -> None:
    with pytest.raises(ParameterError) as caught:
        fraction("SHARE", 0, below=0.5, zero=False)
    assert str(caught.value) == "SHARE=0 must be a number of more than 0 and less than 0.5."


def test_whole_accepts() -> None:
    for value in (1, 10**12):
        whole("EPOCHS", value)
    whole("SAMPLE_USERS", None, none=True)
    whole("SEED", 0, least=0, most=5)
    whole("SEED", 5, least=0, most=5)


@pytest.mark.parametrize("value", [0, -1, 1.0, "1", None, True])
def test_whole_refuses(value: object) -> None:
    with pytest.raises(ParameterError) as caught:
        whole("EPOCHS", value)
    assert str(caught.value) == f"EPOCHS={value!r} must be a whole number of at least 1."


def test_whole_names_its_bounds() -> None:
    with pytest.raises(ParameterError) as caught:
        whole("SEED", 6, least=2, most=5, none=True)
    assert str(caught.value) == "SEED=6 must be a whole number of at least 2 and at most 5, or None."


@pytest.mark.parametrize("value", ["ml-100k", "a", "9.x_y", "a" * 64])
def test_dataset_names(value: str) -> None:
    dataset_name(value)


@pytest.mark.parametrize("value", ["", ".", "..", "../up", "a/b", "a\\b", "-x", "ü", "a b", "a" * 65, "a\n", None, 3])
def test_dataset_names_that_are_refused(value: object) -> None:
    with pytest.raises(ParameterError) as caught:
        dataset_name(value)
    assert str(caught.value) == (
        f"DATASET={value!r} must be 1 to 64 letters, digits, dots, dashes or underscores, "
        "starting with a letter or digit: it names a folder below DATA_DIR."
    )
