"""The form of the notebooks: what a reader may rely on in each, and that committed outputs are of one clean run."""

import ast
import re
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from tests.places import ROOT
from utils.series import committed_outputs
from utils.series.runner import RECORD

SERIES = sorted(ROOT.glob("[0-9]*.ipynb"))
NOTEBOOKS = [*SERIES, *sorted(ROOT.glob("examples/*.ipynb"))]
NAMES = [path.stem for path in SERIES]
COMMON = {"DATA_DIR": "data", "DATASET": "ml-100k", "SEED": 42}
LONGEST = 25
"""Lines of a cell, imports aside."""
KEY = re.compile(
    r"(?i)\b(?:sk|ghp|hf|pat|xox[bp])[-_][A-Za-z0-9]{16,}"  # tokens with a maker's prefix
    r"|\beyJ[A-Za-z0-9_-]{20,}\."  # JSON web tokens, such as TMDB's
    r"|\b(?:api_?key|token|secret|password)\s*[=:]\s*['\"]?[A-Za-z0-9_-]{12,}"
    r"|\bAKIA[A-Z0-9]{16}\b|-----BEGIN [A-Z ]*PRIVATE KEY"
)
NOISE = re.compile(r"\w*Warning\b:|\d+%\|.*\||Traceback \(most recent call last\)")


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    """A notebook of the series, or an example."""
    return request.param


@pytest.fixture
def notebook(path: Path) -> NotebookNode:
    return nbformat.read(path, 4)


@pytest.fixture(params=SERIES, ids=NAMES)
def chapter(request: pytest.FixtureRequest) -> tuple[Path, NotebookNode]:
    """A notebook of the series."""
    return request.param, nbformat.read(request.param, 4)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(notebook: NotebookNode) -> str:
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def parameters_of(notebook: NotebookNode) -> NotebookNode:
    return next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))


def importing(notebook: NotebookNode) -> list[int]:
    """The numbers of the cells that import something."""
    return [
        number
        for number, cell in enumerate(notebook.cells)
        if cell.cell_type == "code"
        and any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(ast.parse(cell.source)))
    ]


def test_it_is_written_as_nbformat_writes_it(path: Path, notebook: NotebookNode) -> None:
    nbformat.validate(notebook)
    assert path.read_text() == committed_outputs.serialised(notebook), (
        "save it with nbformat: python -m utils.series.committed_outputs does"
    )
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"\w+-\d\d\w?", cell_id) for cell_id in ids), "ids are stable and in order"


# The story


def test_there_are_eight() -> None:
    assert [name[:3] for name in NAMES] == [f"0{number}-" for number in range(8)]


def test_the_first_cell_says_what_it_is_for_and_the_last_is_the_summary(chapter: tuple[Path, NotebookNode]) -> None:
    path, notebook = chapter
    first, last = notebook.cells[0], notebook.cells[-1]
    assert first.cell_type == last.cell_type == "markdown"
    assert re.match(rf"# {path.stem[:2]} · \S", first.source), "the first cell must begin with the title"
    for word in ("**You will learn**", "**Needs**", "**Produces**"):
        assert f"\n- {word}" in first.source, f"the first cell must list {word}"
    assert last.source.startswith("## Summary\n")
    position = NAMES.index(path.stem)
    if position > 0:
        before = NAMES[position - 1]
        assert f"[← {before}]({before}.ipynb)" in first.source
    after = NAMES[(position + 1) % len(NAMES)]
    assert f"[{after}]({after}.ipynb)" in last.source


def test_it_links_to_three_sources_at_least(chapter: tuple[Path, NotebookNode]) -> None:
    links = set(re.findall(r"\]\((https?://[^)]+)\)", prose(chapter[1])))
    assert len(links) >= 3, f"papers and documentation: {links}"


@pytest.mark.parametrize(
    "formula", [r"\cos(", r"\text{BCE} =", r"u \cdot m", r"\text{AUC} =", r"\text{NDCG@10} =", r"AUC}^*"]
)
def test_each_formula_stands_once_in_the_series(formula: str) -> None:
    """In LaTeX, beside its code; the last is the bootstrap's."""
    pages = [prose(nbformat.read(path, 4)) for path in SERIES]
    assert sum(formula in one for page in pages for one in re.findall(r"\$\$(.+?)\$\$", page, re.DOTALL)) == 1


# The cells


def test_one_parameters_cell_right_after_the_intro(notebook: NotebookNode) -> None:
    tagged = [number for number, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", [])]
    assert tagged == [1]
    assert all(cell.metadata == {} for number, cell in enumerate(notebook.cells) if number != 1)


def test_parameters_are_plain_values_in_capitals_each_with_a_comment(chapter: tuple[Path, NotebookNode]) -> None:
    cell = parameters_of(chapter[1])
    values = {}
    for statement in ast.parse(cell.source).body:
        assert isinstance(statement, ast.Assign), "only NAME = value may stand in the parameters cell"
        (target,) = statement.targets
        assert isinstance(target, ast.Name) and target.id.isupper()
        values[target.id] = ast.literal_eval(statement.value)
        line = cell.source.splitlines()[statement.lineno - 1]
        assert re.search(r"  # \S.{4,}$", line), f"{target.id} needs a comment that says its unit or choices"
    assert list(values)[:3] == list(COMMON)
    assert {name: values[name] for name in COMMON} == COMMON


def test_every_parameter_is_used_and_none_is_set_elsewhere(notebook: NotebookNode) -> None:
    cell = parameters_of(notebook)
    names = {node.id for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Name)}
    rest = [other.source for other in code_cells(notebook) if other.id != cell.id]
    nodes = [node for source in rest for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)]
    assigned = {node.id for node in nodes if isinstance(node.ctx, ast.Store)}
    assert not names & assigned, "a parameter has a value in its own cell only"
    unused = names - {node.id for node in nodes} - {"SEED"}  # 00 shows all common parameters and draws nothing.
    assert not unused, f"{unused} are declared and not used"


def test_imports_come_first_and_cells_are_short(chapter: tuple[Path, NotebookNode]) -> None:
    notebook = chapter[1]
    assert importing(notebook) == [2], "all imports are in one early cell"
    for cell in code_cells(notebook):
        short = len(cell.source.splitlines()) <= LONGEST or cell.id == notebook.cells[2].id
        assert short, f"cell {cell.id} is too long: move what it does to utils"


def test_styled_tables_are_escaped(notebook: NotebookNode) -> None:
    # pandas' Styler does not by itself: a title or synopsis from outside would run its script in JupyterLab.
    for cell in code_cells(notebook):
        styles = len(re.findall(r"\.style\b", cell.source))
        assert styles == len(re.findall(r"\.style\.format\(escape=\"html\"\)", re.sub(r"\s", "", cell.source)))


def test_no_magics_no_shell_no_installing(notebook: NotebookNode) -> None:
    for cell in code_cells(notebook):
        ast.parse(cell.source)  # A line that begins with ! or % is not Python.
        assert not re.search(r"get_ipython|os\.system|os\.popen|pip install", cell.source), f"cell {cell.id}"


# The outputs

COMMITTED = "outputs are committed after a complete run: make run, then make outputs"


def test_every_cell_was_run_once_in_order_and_there_is_something_to_see(notebook: NotebookNode) -> None:
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), COMMITTED
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert outputs, COMMITTED
    assert any("image/png" in output.get("data", {}) for output in outputs) or (
        "04" in notebook.cells[0].id  # Texts are read, not looked at.
    )


def test_outputs_hold_nothing_of_one_machine_no_key_and_no_noise(notebook: NotebookNode) -> None:
    for text in [*committed_outputs.texts(notebook), *(cell.source for cell in notebook.cells)]:
        for pattern in (committed_outputs.local_paths(), KEY):
            found = pattern.search(text)
            assert not found, f"a path of one machine, or what looks like a key: {found and found[0]}"
    assert not set(notebook.metadata) - {"kernelspec", "language_info"}, f"no {RECORD}, papermill or widgets"
    for cell in code_cells(notebook):
        for output in cell.outputs:
            assert output.get("name") != "stderr", f"cell {cell.id} writes to stderr: {output.text[:200]}"
            assert "application/vnd.jupyter.widget-view+json" not in output.get("data", {})
    for text in committed_outputs.texts(notebook):
        found = NOISE.search(text)
        assert not found, f"noise: {found and found[0]}"


def test_it_is_small(path: Path) -> None:
    assert path.stat().st_size <= committed_outputs.LARGEST


@pytest.mark.parametrize(
    "text", ["sk-abcdefghij0123456789", "hf_" + "a1" * 12, "api_key=0123456789abcdef", "eyJ" + "a" * 30 + ".x"]
)
def test_keys_are_recognised(text: str) -> None:
    assert KEY.search(f"x {text}")


@pytest.mark.parametrize("text", ["x.py:3: UserWarning: no", " 50%|###   | 1/2", "Traceback (most recent call last)"])
def test_noise_is_recognised(text: str) -> None:
    assert NOISE.search(text)
