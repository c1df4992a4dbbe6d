"""Committing outputs: only those of one clean run of the committed code, and nothing of one machine or moment."""

import base64
import copy
import json
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from utils.plots.explorer import NO_WIDGETS
from utils.series import committed_outputs
from utils.series.committed_outputs import OutputsError, with_outputs

NAME = "01-Toy.ipynb"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PICTURE = {"image/png": "aGVsbG8/home/x/" * 10, "text/plain": "<Figure>"}
WIDGET = {"application/vnd.jupyter.widget-view+json": {"model_id": "x"}, "text/plain": "0%"}


def notebook() -> NotebookNode:
    cells = [
        new_markdown_cell("# Toy", id="01-00"),
        new_code_cell("SEED = 42  # of all", id="01-01", metadata={"tags": ["parameters"]}),
        new_code_cell("show()\nplots.ablation(metrics)", id="01-02"),
    ]
    return new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})


def executed(*shown: NotebookNode) -> NotebookNode:
    """As papermill and our runner leave a notebook."""
    run = copy.deepcopy(notebook())
    run.metadata |= {"papermill": {"duration": 5}, "multimodal_run": {}, "widgets": {"state": {}}}
    for count, cell in enumerate(run.cells[1:], start=1):
        cell.execution_count = count
        cell.metadata |= {"papermill": {"duration": 1}, "execution": {"iopub.status.busy": "now"}}
    run.cells[2].outputs = list(shown)
    return run


def stream(text: str, name: str = "stdout") -> NotebookNode:
    return new_output("stream", name=name, text=text)


def display(data: dict[str, object]) -> NotebookNode:
    return new_output("display_data", data=data)


def test_outputs_and_counts_come_over_and_nothing_else() -> None:
    value = new_output("execute_result", data={"text/plain": "5"}, execution_count=2)
    shown = [stream("hello\n"), display(PICTURE), stream("b\n"), value]
    before, run = notebook(), executed(*shown)
    run.cells[0].source = "# Older title"
    kept = copy.deepcopy((before, run))
    result = with_outputs(before, run, NAME)
    assert (before, run) == kept, "the arguments stay as they are"
    wanted = notebook()
    wanted.cells[1].execution_count, wanted.cells[2].execution_count = 1, 2
    wanted.cells[2].outputs = shown
    assert result == wanted
    nbformat.validate(result)


def test_noise_is_dropped() -> None:
    bar = stream("\r 50%|#####     | 1/2 [00:01<00:01]", "stderr")
    shown = [
        stream("a\n"), display(WIDGET), bar, stream("b\n"), display({"text/html": "<pre>", "text/latex": "\\begin"}),
        display({"text/latex": "$x$"}), display(WIDGET | {"text/plain": NO_WIDGETS}), stream("c\n"),
        display({"text/html": "<b>", "text/plain": "<pandas.io.formats.style.Styler at 0x7f01ab>"}),
    ]  # fmt: skip
    assert with_outputs(notebook(), executed(*shown), NAME).cells[2].outputs == [
        stream("a\nb\n"),
        display({"text/html": "<pre>"}),
        display({"text/latex": "$x$"}),
        display({"text/plain": NO_WIDGETS}),
        stream("c\n"),
        display({"text/html": "<b>", "text/plain": "<pandas.io.formats.style.Styler>"}),
    ]


def refused(run: NotebookNode, wanted: str, root: Path = committed_outputs.ROOT) -> None:
    with pytest.raises(OutputsError, match=wanted):
        with_outputs(notebook(), run, NAME, root)


def with_parameters(run: NotebookNode) -> None:
    run.cells.insert(2, new_code_cell("SEED = 7", metadata={"tags": ["injected-parameters"]}, execution_count=2))


def with_other_code(run: NotebookNode) -> None:
    run.cells[2].source = "show(all)"


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (with_parameters, "01-Toy.ipynb was run with parameters. Run it with the defaults: make run"),
        (with_other_code, "01-Toy.ipynb has changed since it was run. Run it again: make run"),
        (lambda run: run.cells.pop(), "01-Toy.ipynb has changed since it was run"),
    ],
)
def test_a_run_of_other_code_or_parameters_is_refused(change: Callable[[NotebookNode], object], wanted: str) -> None:
    run = executed()
    change(run)
    refused(run, wanted)


@pytest.mark.parametrize("counts", [(2, 1), (1, 3), (1, 1), (1, None), (2, 3)])
def test_another_order_is_refused(counts: tuple[int, int | None]) -> None:
    run = executed()
    for cell, count in zip(run.cells[1:], counts, strict=True):
        cell.execution_count = count
    refused(run, "01-Toy.ipynb was not run from top to bottom, each cell once.")


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        (
            new_output("error", ename="ValueError", evalue="no", traceback=[]),
            "01-Toy.ipynb, cell 2 failed: ValueError: no. Mend it, then make run",
        ),
        (stream("x.py:1: FutureWarning: soon", "stderr"), "cell 2 writes to stderr: 'x.py:1: FutureWarning"),
        (stream("x" * committed_outputs.LARGEST), r"01-Toy.ipynb would have 30\d,\d\d\d bytes, more than 307,200."),
    ],
)
def test_an_error_a_warning_and_too_much_are_refused(shown: NotebookNode, wanted: str) -> None:
    refused(executed(shown), wanted)


@pytest.mark.parametrize(
    "place", ["/home/ann/x.csv", "/root/.cache", "/Users/ann/x", "C:\\Users\\ann", "/var/folders/x", "/srv/series/data"]
)
def test_a_path_of_one_machine_is_refused(place: str) -> None:
    for shown in (stream(f"saved '{place}'\n"), display({"text/html": f"<b>{place}</b>"})):
        refused(executed(shown), "01-Toy.ipynb shows a path of this machine, .*relative to the", Path("/srv/series"))


def test_addresses_and_pictures_are_no_paths() -> None:
    run = executed(stream("https://example.org/home/x and data/home/x and a/root/b\n"), display(PICTURE))
    with_outputs(notebook(), run, NAME)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "runs" / "ml-100k").mkdir(parents=True)
    for name in ("00-First.ipynb", NAME):
        nbformat.write(notebook(), tmp_path / name)
        nbformat.write(executed(display({"image/png": PIXEL})), tmp_path / "runs" / "ml-100k" / name)
    return tmp_path


@pytest.fixture
def main(root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """``committed_outputs.main`` on ``root``."""
    update = committed_outputs.update
    monkeypatch.setattr(committed_outputs, "update", lambda dataset: update(dataset, root))
    return lambda *arguments: committed_outputs.main(list(arguments))


def test_the_notebooks_and_the_pictures_of_the_readme_are_written(
    root: Path, main: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main() == 0
    assert capsys.readouterr().out == f"00-First.ipynb\n{NAME}\n"
    text = (root / NAME).read_text()
    assert text.endswith("}\n") and not text.endswith("\n\n")
    read = nbformat.read(root / NAME, 4)
    assert [cell.id for cell in read.cells] == ["01-00", "01-01", "01-02"]
    assert read.cells[2].outputs == [display({"image/png": PIXEL})]
    assert (root / "docs" / "images" / "ablation.png").read_bytes() == base64.b64decode(PIXEL)
    assert main("ml-100k") == 0
    assert capsys.readouterr().out == "The outputs are up to date.\n"
    assert (root / NAME).read_text() == text
    assert json.loads((root / committed_outputs.TIMES).read_text()) == {"00-First": 5, "01-Toy": 5}
    assert sorted(path.name for path in root.iterdir()) == ["00-First.ipynb", NAME, "docs", "runs"]


@pytest.mark.parametrize(
    ("dataset", "last", "wanted"),
    [
        ("ml-100k", executed(stream("/home/ann/x\n")), f"{NAME} shows a path"),
        ("ml-100k", None, f"runs/ml-100k/{NAME} does not exist. Run the series first: make run\n"),
        ("../x", None, "DATASET='../x' must be"),
    ],
)
def test_no_notebook_is_changed_when_one_is_refused(
    root: Path, main: Callable[..., int], dataset: str, last: NotebookNode | None, wanted: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run, before = root / "runs" / "ml-100k" / NAME, (root / "00-First.ipynb").read_text()
    run.unlink() if last is None else nbformat.write(last, run)
    assert main(dataset) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"FAILED: {wanted}") and error.endswith("\nNo notebook was changed.\n")
    assert (root / "00-First.ipynb").read_text() == before
