"""Committing outputs: only those of one clean run of the committed code, and nothing of one machine or moment."""

import base64
import copy
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from utils.plots.explorer import NO_WIDGETS
from utils.series import committed_outputs
from utils.series.committed_outputs import OutputsError

NAME = "01-Toy.ipynb"
PICTURE = {"image/png": "aGVsbG8/home/x/" * 10, "text/plain": "<Figure>"}


def notebook() -> NotebookNode:
    cells = [
        new_markdown_cell("# Toy", id="01-00"),
        new_code_cell("SEED = 42  # of all", id="01-01", metadata={"tags": ["parameters"]}),
        new_code_cell("show()", id="01-02"),
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
    result = committed_outputs.with_outputs(notebook(), executed(stream("hello\n"), display(PICTURE), value), NAME)
    wanted = notebook()
    wanted.cells[1].execution_count, wanted.cells[2].execution_count = 1, 2
    wanted.cells[2].outputs = [stream("hello\n"), display(PICTURE), value]
    assert result == wanted
    nbformat.validate(result)


def test_neither_argument_is_changed() -> None:
    before, run = notebook(), executed(stream("a\n"), stream("b\n"))
    kept = copy.deepcopy((before, run))
    committed_outputs.with_outputs(before, run, NAME)
    assert (before, run) == kept


def test_noise_is_dropped() -> None:
    widget = display({"application/vnd.jupyter.widget-view+json": {"model_id": "x"}, "text/plain": "0%"})
    bar = stream("\r 50%|#####     | 1/2 [00:01<00:01]", "stderr")
    code = display({"text/html": "<pre>", "text/latex": "\\begin", "text/plain": "code"})
    formula = display({"text/latex": "$x$", "text/plain": "x"})
    result = committed_outputs.with_outputs(
        notebook(), executed(stream("a\n"), widget, bar, stream("b\n"), code, formula, stream("c\n")), NAME
    )
    assert result.cells[2].outputs == [
        stream("a\nb\n"),
        display({"text/html": "<pre>", "text/plain": "code"}),
        formula,
        stream("c\n"),
    ]


def test_a_dropdown_leaves_the_sentence_that_stands_for_it() -> None:
    shown = {"application/vnd.jupyter.widget-view+json": {"model_id": "x"}, "text/plain": NO_WIDGETS}
    assert committed_outputs.with_outputs(notebook(), executed(display(shown)), NAME).cells[2].outputs == [
        display({"text/plain": NO_WIDGETS})
    ]


def test_an_address_in_memory_is_dropped() -> None:
    run = executed(display({"text/html": "<b>", "text/plain": "<pandas.io.formats.style.Styler at 0x7f01ab>"}))
    [kept] = committed_outputs.with_outputs(notebook(), run, NAME).cells[2].outputs
    assert kept.data == {"text/html": "<b>", "text/plain": "<pandas.io.formats.style.Styler>"}


def test_a_picture_between_two_texts_stays_there() -> None:
    shown = [stream("a\n"), display(PICTURE), stream("b\n")]
    assert committed_outputs.with_outputs(notebook(), executed(*shown), NAME).cells[2].outputs == shown


def refused(run: NotebookNode, wanted: str, root: Path = committed_outputs.ROOT) -> None:
    with pytest.raises(OutputsError, match=wanted):
        committed_outputs.with_outputs(notebook(), run, NAME, root)


def test_a_run_with_parameters_is_refused() -> None:
    run = executed()
    run.cells.insert(2, new_code_cell("SEED = 7", metadata={"tags": ["injected-parameters"]}, execution_count=2))
    refused(run, "01-Toy.ipynb was run with parameters. Run it with the defaults: make run")


def test_other_code_is_refused() -> None:
    run = executed()
    run.cells[2].source = "show(all)"
    refused(run, "01-Toy.ipynb has changed since it was run. Run it again: make run")
    refused(new_notebook(cells=run.cells[:2]), "has changed since it was run")


def test_other_prose_is_fine() -> None:
    run = executed()
    run.cells[0].source = "# Older title"
    assert committed_outputs.with_outputs(notebook(), run, NAME).cells[0].source == "# Toy"


@pytest.mark.parametrize("counts", [(2, 1), (1, 3), (1, 1), (1, None), (2, 3)])
def test_another_order_is_refused(counts: tuple[int, int | None]) -> None:
    run = executed()
    for cell, count in zip(run.cells[1:], counts, strict=True):
        cell.execution_count = count
    refused(run, "01-Toy.ipynb was not run from top to bottom, each cell once.")


def test_an_error_is_refused() -> None:
    failed = new_output("error", ename="ValueError", evalue="no", traceback=[])
    refused(executed(failed), "01-Toy.ipynb, cell 2 failed: ValueError: no. Mend it, then make run")


def test_a_warning_is_refused() -> None:
    refused(
        executed(stream("x.py:1: FutureWarning: soon", "stderr")), "cell 2 writes to stderr: 'x.py:1: FutureWarning"
    )


@pytest.mark.parametrize(
    "place", ["/home/ann/x.csv", "/root/.cache", "/Users/ann/x", "C:\\Users\\ann", "/var/folders/x"]
)
def test_a_path_of_one_machine_is_refused(place: str) -> None:
    for shown in (stream(f"saved '{place}'\n"), display({"text/html": f"<b>{place}</b>"})):
        refused(executed(shown), "01-Toy.ipynb shows a path of this machine, .*relative to the repository")


def test_the_repositorys_own_path_is_refused(tmp_path: Path) -> None:
    refused(
        executed(stream("in /srv/series/data\n")),
        "shows a path of this machine, '/srv/series/data'",
        Path("/srv/series"),
    )


def test_addresses_and_pictures_are_no_paths() -> None:
    run = executed(stream("https://example.org/home/x and data/home/x and a/root/b\n"), display(PICTURE))
    committed_outputs.with_outputs(notebook(), run, NAME)


def test_size() -> None:
    refused(
        executed(stream("x" * committed_outputs.LARGEST)),
        r"01-Toy.ipynb would have 30\d,\d\d\d bytes, more than 307,200.",
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "runs" / "ml-100k").mkdir(parents=True)
    for name in ("00-First.ipynb", NAME):
        nbformat.write(notebook(), tmp_path / name)
        nbformat.write(executed(stream("hello\n")), tmp_path / "runs" / "ml-100k" / name)
    return tmp_path


def test_the_files(root: Path) -> None:
    assert committed_outputs.update("ml-100k", root) == ["00-First.ipynb", NAME]
    text = (root / NAME).read_text()
    assert text.endswith("}\n") and not text.endswith("\n\n")
    read = nbformat.read(root / NAME, 4)
    assert [cell.id for cell in read.cells] == ["01-00", "01-01", "01-02"]
    assert read.cells[2].outputs == [stream("hello\n")]
    assert committed_outputs.update("ml-100k", root) == []
    assert (root / NAME).read_text() == text
    assert sorted(path.name for path in root.iterdir()) == ["00-First.ipynb", NAME, "runs"]


def test_none_is_changed_when_one_is_refused(root: Path) -> None:
    nbformat.write(executed(stream("/home/ann/x\n")), root / "runs" / "ml-100k" / NAME)
    before = (root / "00-First.ipynb").read_text()
    with pytest.raises(OutputsError, match="shows a path"):
        committed_outputs.update("ml-100k", root)
    assert (root / "00-First.ipynb").read_text() == before


def test_a_run_that_is_not_complete(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "runs" / "ml-100k" / NAME).unlink()
    update = committed_outputs.update
    monkeypatch.setattr(committed_outputs, "update", lambda dataset: update(dataset, root))
    assert committed_outputs.main([]) == 1
    wanted = (
        "FAILED: runs/ml-100k/01-Toy.ipynb does not exist. Run the series first: make run\nNo notebook was changed.\n"
    )
    assert capsys.readouterr().err == wanted
    assert committed_outputs.main(["../x"]) == 1
    assert "DATASET='../x' must be" in capsys.readouterr().err


def test_main_says_what_changed(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    update = committed_outputs.update
    monkeypatch.setattr(committed_outputs, "update", lambda dataset: update(dataset, root))
    assert committed_outputs.main([]) == 0
    assert capsys.readouterr().out == f"00-First.ipynb\n{NAME}\n"
    assert committed_outputs.main(["ml-100k"]) == 0
    assert capsys.readouterr().out == "The outputs are up to date.\n"


def test_the_pictures_of_the_readme_are_saved(root: Path) -> None:
    pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    for path in (root / NAME, root / "runs" / "ml-100k" / NAME):
        notebook = nbformat.read(path, 4)
        cell = next(cell for cell in notebook.cells if cell.cell_type == "code")
        cell.source += "\nplots.ablation(metrics)"
        if "runs" in str(path.relative_to(root)):
            cell.outputs = [nbformat.v4.new_output("display_data", {"image/png": pixel})]
        nbformat.write(notebook, path)
    committed_outputs.update("ml-100k", root)
    assert (root / "docs" / "images" / "ablation.png").read_bytes() == base64.b64decode(pixel)
