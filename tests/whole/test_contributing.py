"""CONTRIBUTING's five changes are true as written: each line of code that it quotes is put where it says."""

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import nbformat
import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from tests.places import ROOT
from utils.content.providers import PROVIDERS, base
from utils.metrics.click import Rated
from utils.model.architectures import Inputs
from utils.model.feature_sets import parse
from utils.ratings.movielens import DATASETS, LAYOUTS
from utils.series import runner

Changed = Callable[[str, Callable[[str], str]], ModuleType]
RECIPES = dict(
    re.findall(r"^\*\*(.+?)\.\*\* (.+?)\n\n", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE | re.DOTALL)
)


def quoted(recipe: str, start: str) -> str:
    """The code of a recipe that begins like this."""
    spans = re.findall(r"`([^`]+)`", " ".join(RECIPES[recipe].split()))
    return next(span for span in spans if span.startswith(start))


@pytest.fixture
def changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Changed:
    """Import a module of the repository after a change of its source; the file stays as it is."""

    def load(path: str, change: Callable[[str], str]) -> ModuleType:
        source = (ROOT / path).read_text()
        new = change(source)
        assert new != source, f"the place that the recipe names is not in {path}"
        (tmp_path / "changed.py").write_text(new)
        spec = importlib.util.spec_from_file_location("changed", tmp_path / "changed.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "changed", module)
        spec.loader.exec_module(module)
        return module

    return load


def test_there_are_five() -> None:
    assert len(RECIPES) == 5


def test_the_size_of_posters_is_a_parameter_of_02() -> None:
    told = re.fullmatch(r'make run PARAMS="(\w+)=(.+)"', quoted("Change the size of posters", "make run"))
    assert told
    name, value = told.groups()
    (step,) = [step for step in runner.plan({name: runner.parse(value)}) if step.given]
    assert step.name == "02-Data-Enrichment" and step.given == {"POSTER_SIZE": [128, 192]}


def test_a_source_of_content_is_a_class_and_an_entry(changed: Changed) -> None:
    recipe = "Add a source of content"
    for name in ("synopsis", "poster", "describe"):
        assert f"`{name}`" in RECIPES[recipe] and callable(getattr(base.Provider, name))
    own = type("Name", (base.Provider,), {"name": "NAME", "describe": lambda self: "mine"})
    entry = quoted(recipe, '"NAME"')
    module = changed(
        "utils/content/providers/__init__.py", lambda text: text.replace("\n}\n", f"\n    {entry}\n}}\n", 1)
    )
    vars(module)["Name"] = own
    assert list(module.PROVIDERS) == [*PROVIDERS, "NAME"] and module.PROVIDERS["NAME"](None).describe() == "mine"
    assert callable(module.Opening.client) and issubclass(base.Online, base.Provider)


def test_a_metric_is_two_lines(changed: Changed) -> None:
    recipe = "Add a metric"
    adds, returned = quoted(recipe, "squared ="), quoted(recipe, '"brier"')

    def change(text: str) -> str:
        text = re.sub(r"^    lost = .+$", lambda line: f"{line[0]}\n    {adds}", text, count=1, flags=re.MULTILINE)
        return text.replace(
            "        }  # fmt: skip\n\n    return", f"            {returned}\n        }}  # fmt: skip\n\n    return"
        )

    click = changed("utils/metrics/click.py", change)
    generator = np.random.default_rng(0)
    score, user = generator.random(400).astype(np.float32), generator.integers(3, 30, 400)
    label = generator.random(400) < score
    tags = dict.fromkeys(("trainer", "model", "features", "seed", "split", "slice"), "x")
    row = click.evaluate(Rated(user, np.arange(400), label), score, tags, replicates=50)[-1]
    assert row["metric"] == "brier" and row["low"] < row["value"] < row["high"]
    assert row["value"] == pytest.approx(brier_score_loss(label, score), rel=1e-6)


def test_a_data_set_is_a_line_of_the_registry_and_a_name_in_01() -> None:
    recipe = RECIPES["Add a data set"]
    for path in re.findall(r"`((?:utils|tests)/\S+?\.py)`", recipe):
        assert (ROOT / path).is_file()
    assert "def test_the_registry(" in (ROOT / "tests/ratings/test_movielens.py").read_text()
    assert LAYOUTS and "`LAYOUTS`" in recipe and "`DATASETS`" in recipe
    cell = nbformat.read(ROOT / "01-Download-Convert.ipynb", 4).cells[1].source
    comment = re.search(r"^DATASET = .+?#(.+)$", cell, re.MULTILINE)
    assert comment and all(name in comment[1] for name in DATASETS)


def test_a_layer_is_one_line(changed: Changed) -> None:
    line = quoted("Add a layer to the model", "known = graph")

    def change(text: str) -> str:
        head, found, tail = text.partition("def multimodal(")
        put = re.sub(r"^( +)known = .+$", lambda old: f"{old[0]}\n{old[1]}{line}", tail, count=1, flags=re.MULTILINE)
        return head + found + put

    module = changed("utils/model/architectures.py", change)
    columns = {"text": (0, 4), "has_text": (4, 5)}
    graph = module.multimodal(Inputs(9, 9, 3, 2, 9, columns), parse("ids+text"))
    kinds = {top: layer.kind for layer in graph.layers for top in layer.tops}
    assert kinds["text_dense"] == "InnerProduct" and kinds["text_relu"] == "ReLU"
    (mapped,) = [layer for layer in graph.layers if "text_factors" in layer.tops]
    assert tuple(mapped.bottoms) == ("text_relu",)
    cells = "".join(cell.source for cell in nbformat.read(ROOT / "07-Training-with-HugeCTR.ipynb", 4).cells)
    for part in ("nn.Linear(b", 'twin.linear(f"{name}_factors")'):
        assert quoted("Add a layer to the model", part) in cells, "the recipe names what is not in 07"
