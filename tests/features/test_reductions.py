"""Reductions: a new movie is projected as the old ones were, by the file that 05 left and no other."""

import pickle
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Open
from tests.fakes.facts import movie_facts
from tests.features.test_pca import in_blocks_of, vectors
from utils.features import facts, pca, reductions
from utils.features.reductions import AnyReduction, Reduction
from utils.handoff.contract import BLOCKS
from utils.handoff.store import HandOffError, Store


def fitted(width: int = 4) -> Reduction:
    return pca.fit(vectors(200, 12), np.arange(150), width)


@pytest.fixture
def made() -> dict[str, AnyReduction]:
    known = np.arange(1, 100)
    return {"facts": facts.fit(movie_facts(known), known, 4), "poster": fitted(3), "text": fitted(5)}


@pytest.fixture
def store(open_for: Open, made: dict[str, AnyReduction]) -> Store:
    store = open_for("reductions")
    reductions.write(store, made)
    return store


def described(made: dict[str, AnyReduction]) -> dict[str, object]:
    return {"reductions": {block: {"sha256": reduction.sha256()} for block, reduction in made.items()}}


def test_projected_vectors_keep_the_mean_and_have_one_scale() -> None:
    raw, reduction = vectors(200, 12), fitted()
    projected = reduction.project(raw)
    assert projected.dtype == np.float32 and projected.shape == (200, 4)
    assert projected[:150].std(axis=0, ddof=1).mean() == pytest.approx(pca.DEVIATION, rel=1e-5)
    assert np.allclose(projected[:150].mean(axis=0), reduction.centre, atol=1e-5)
    assert reduction.centre.dtype == np.float32 and np.abs(reduction.centre).max() > 0.1


@pytest.mark.parametrize("block", [1, 7])
def test_a_projected_vector_does_not_depend_on_its_block(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    raw, reduction = vectors(200, 30), pca.fit(vectors(200, 30), np.arange(200), 8)
    whole = reduction.project(raw)
    in_blocks_of(monkeypatch, block)
    assert np.array_equal(reduction.project(raw), whole)


def test_what_is_read_is_what_was_written(store: Store, made: dict[str, AnyReduction]) -> None:
    first = store.path("reductions").read_bytes()
    reductions.write(store, made | {"later": fitted(1)})  # A block that this version does not know.
    found = reductions.read(store, described(made))
    assert list(found) == list(BLOCKS)
    for block, reduction in found.items():
        for field in fields(reduction):
            value, wanted = getattr(reduction, field.name), getattr(made[block], field.name)
            assert type(value) is type(wanted) and np.array_equal(value, wanted), field.name
    assert store.manifest()["reductions"]["notebook"] == "05-Create-Feature-Store"
    reductions.write(store, made)
    assert store.path("reductions").read_bytes() == first, "the same reductions make the same file"


def test_a_new_movie_has_the_columns_of_its_facts(store: Store, made: dict[str, AnyReduction]) -> None:
    found = reductions.read(store, described(made))["facts"]
    assert found.columns == made["facts"].columns
    assert np.array_equal(found.project(movie_facts([777])), made["facts"].project(movie_facts([777])))


def test_a_write_that_fails_leaves_the_file_of_before(
    store: Store, made: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(stream: object, **arrays: np.ndarray) -> None:
        stream.write(b"half a file")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", killed)
    with pytest.raises(KeyboardInterrupt):
        reductions.write(store, made | {"text": fitted(1)})
    assert reductions.read(store, described(made))["text"].width == made["text"].width
    assert [path.name for path in store.folder.glob("*.tmp")] == []


def test_the_file_of_another_run_is_refused(store: Store, made: dict[str, AnyReduction]) -> None:
    other = made | {"text": replace(made["text"], scale=made["text"].scale * 2)}
    with pytest.raises(
        HandOffError, match=r"reductions.npz is not the file that text of .* was made with. Run 05-Create"
    ):
        reductions.read(store, described(other))
    with pytest.raises(HandOffError, match="does not say how its column facts was made. Run 05-Create-Feature-Store"):
        reductions.read(store, {"reductions": {}})


def test_a_file_that_is_not_there(open_for: Open, made: dict[str, AnyReduction]) -> None:
    with pytest.raises(HandOffError, match=r"reductions.npz does not exist. Run 05-Create-Feature-Store.ipynb first"):
        reductions.read(open_for("serving"), described(made))


def pickled(path: Path) -> None:
    np.savez(path, **{"poster/mean": np.array([Path("x")], dtype=object)})


def without_text(path: Path) -> None:
    with np.load(path) as file:
        kept = {name: file[name] for name in file.files if not name.startswith("text/")}
    np.savez(path, **kept)


@pytest.mark.parametrize(
    "damage",
    [
        pickled,
        without_text,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"<html>not found</html>"),
        lambda path: path.write_bytes(pickle.dumps({"poster/mean": 1})),
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: path.write_bytes(path.read_bytes().replace(fitted(3).components[0].tobytes(), bytes(96))),
        lambda path: np.save(path.open("wb"), np.zeros(3)),
    ],
)
def test_a_damaged_file_is_refused(store: Store, made: dict[str, AnyReduction], damage: Callable[[Path], None]) -> None:
    damage(store.path("reductions"))
    store.record("reductions", rows=None)  # As if 05 had written it so.
    with pytest.raises(HandOffError, match=r"reductions.npz cannot be read \(.*\). Run 05-Create-Feature-Store"):
        reductions.read(store, described(made))
