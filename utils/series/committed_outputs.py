"""Copy outputs of executed notebooks into the committed ones (``make outputs``).

Usage: ``python -m utils.series.committed_outputs [DATASET]``.

Readers on the web see the notebooks as they are committed, so these carry the outputs of one complete run on the
default data. What only that run's machine or moment knows (paths, times, addresses, progress bars) is left out, and
outputs of code that has changed since are refused. All notebooks are checked before the first is written.
"""

import argparse
import base64
import copy
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from nbformat import NotebookNode

from utils.handoff.atomic import ROOT, writing
from utils.handoff.parameters import ParameterError, dataset_name
from utils.plots.explorer import NO_WIDGETS

PICTURES = {"docs/images/ablation.png": "plots.ablation(", "docs/images/shelf.png": "plots.shelf(*shelves.of("}
"""Pictures in the README, and the call in the cell whose output they are."""
TIMES = "docs/times.json"
"""Seconds that each notebook of that run took: what the README and the notebooks say of minutes is held to it."""
LARGEST = 300 * 1024
"""Bytes that a committed notebook may have."""
_WIDGET = "application/vnd.jupyter.widget-view+json"
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_PROGRESS = re.compile(r"\r|\d+%\|")


class OutputsError(RuntimeError):
    """The outputs of an executed notebook cannot be committed."""


def with_outputs(notebook: NotebookNode, executed: NotebookNode, name: str, root: Path = ROOT) -> NotebookNode:
    """Return ``notebook`` with the outputs and counts of ``executed``, cleaned.

    Raises OutputsError if it was run with parameters, from other code, out of order or with an error, and if the
    result has a path of this machine, anything on stderr but progress bars, or more than LARGEST bytes.
    """
    result, executed = copy.deepcopy(notebook), copy.deepcopy(executed)
    cells = [cell for cell in result.cells if cell.cell_type == "code"]
    run = [cell for cell in executed.cells if cell.cell_type == "code"]
    if any("injected-parameters" in cell.metadata.get("tags", []) for cell in run):
        raise OutputsError(f"{name} was run with parameters. Run it with the defaults: make run")
    if [cell.source for cell in cells] != [cell.source for cell in run]:
        raise OutputsError(f"{name} has changed since it was run. Run it again: make run")
    if [cell.execution_count for cell in run] != list(range(1, len(run) + 1)):
        raise OutputsError(f"{name} was not run from top to bottom, each cell once. Run it again: make run")
    for number, (cell, source) in enumerate(zip(cells, run, strict=True), start=1):
        cell.execution_count = number
        cell.outputs = list(_cleaned(source.outputs, f"{name}, cell {number}"))
        CoalesceStreamsPreprocessor().preprocess_cell(cell, {}, number)
    local = local_paths(root)
    for text in texts(result):
        if found := local.search(text):
            raise OutputsError(
                f"{name} shows a path of this machine, {found[0]!r}. "
                "Let the notebook print it relative to the repository."
            )
    size = len(serialised(result).encode())
    if size > LARGEST:
        raise OutputsError(f"{name} would have {size:,} bytes, more than {LARGEST:,}. Show less, or smaller pictures.")
    return result


def _cleaned(outputs: list[NotebookNode], where: str) -> Iterator[NotebookNode]:
    """Yield what is worth keeping of a cell's outputs. Raises OutputsError for an error or a warning."""
    for output in without_widgets(outputs):
        if output.output_type == "error":
            raise OutputsError(f"{where} failed: {output.ename}: {output.evalue}. Mend it, then make run")
        if output.get("name") == "stderr":
            if not _PROGRESS.search(output.text):
                raise OutputsError(f"{where} writes to stderr: {output.text[:200]!r}. Mend what it warns of.")
            continue
        data = output.get("data", {})
        if "text/html" in data:
            data.pop("text/latex", None)  # As large, and every viewer shows the HTML instead.
        if "text/plain" in data:
            data["text/plain"] = _ADDRESS.sub("", data["text/plain"])
        yield output


def without_widgets(outputs: list[NotebookNode]) -> Iterator[NotebookNode]:
    """Yield outputs without progress bars; a widget that has a sentence for readers becomes that sentence."""
    for output in outputs:
        if _WIDGET in output.get("data", {}):
            if output.data.get("text/plain") != NO_WIDGETS:
                continue
            del output.data[_WIDGET]  # The file holds no state that a viewer could show.
        yield output


def local_paths(root: Path = ROOT) -> re.Pattern[str]:
    """Return a pattern for paths that only one machine has: below ``root``, a home folder, or a temporary one."""
    own = [re.escape(str(path)) for path in (root, Path.home()) if path.parent != path]
    folders = "|".join([*own, "/(?:home|root|tmp|work|Users|private|var/folders)", r"[A-Za-z]:\\Users"])
    return re.compile(rf"(?<![\w.:/-])(?:{folders})[/\\][^\s\"'<>]*")


def texts(notebook: NotebookNode) -> Iterator[str]:
    """Yield every text in a notebook's outputs; pictures, which are base64, are left out."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            yield output.get("text", "")
            for kind, value in output.get("data", {}).items():
                if not kind.startswith("image/") or kind == "image/svg+xml":
                    yield value if isinstance(value, str) else json.dumps(value)


def serialised(notebook: NotebookNode) -> str:
    """Return a notebook as it is committed: one trailing newline."""
    return nbformat.writes(notebook, version=nbformat.NO_CONVERT).rstrip("\n") + "\n"


def update(dataset: str, root: Path = ROOT) -> list[str]:
    """Copy the outputs of ``runs`` into the notebooks of ``root``; return the names of those that changed.

    Those of the series are in ``runs/dataset``, those of the examples in ``runs/examples``. TIMES is written as well.
    """
    dataset_name(dataset)
    new, seconds = {}, {}
    for path in [*sorted(root.glob("[0-9][0-9]-*.ipynb")), *sorted(root.glob("examples/*.ipynb"))]:
        folder = dataset if path.parent == root else "examples"
        executed = root / "runs" / folder / path.name
        if not executed.exists():
            raise OutputsError(f"runs/{folder}/{path.name} does not exist. Run the series first: make run")
        run = nbformat.read(executed, 4)
        new[path] = with_outputs(nbformat.read(path, 4), run, path.name, root)
        seconds[path.stem] = round(run.metadata.papermill.duration)
    changed = [path for path, notebook in new.items() if path.read_text() != serialised(notebook)]
    for path in changed:
        with writing(path) as temporary:
            temporary.write_text(serialised(new[path]))
        for image, call in PICTURES.items():
            if (drawn := picture_of(new[path], call)) is not None:
                (root / image).parent.mkdir(parents=True, exist_ok=True)
                (root / image).write_bytes(drawn)
    (root / TIMES).parent.mkdir(parents=True, exist_ok=True)
    with writing(root / TIMES) as temporary:
        temporary.write_text(json.dumps(seconds, indent=1) + "\n")
    return [path.name for path in changed]


def picture_of(notebook: NotebookNode, call: str) -> bytes | None:
    """Return the last PNG that a cell with ``call`` shows; None where there is none."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and call in cell.source]
    data = [output.get("data", {}) for cell in cells for output in cell.outputs]
    shown = [one["image/png"] for one in data if "image/png" in one]
    return base64.b64decode(shown[-1]) if shown else None


def main(arguments: list[str] | None = None) -> int:
    """Update the committed notebooks and print which changed; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m utils.series.committed_outputs", description=(__doc__ or "").partition("(")[0]
    )
    parser.add_argument("dataset", nargs="?", default="ml-100k", metavar="DATASET")
    options = parser.parse_args(arguments)
    try:
        changed = update(options.dataset)
    except (OutputsError, ParameterError, OSError, nbformat.reader.NotJSONError) as error:
        print(f"FAILED: {error}\nNo notebook was changed.", file=sys.stderr)
        return 1
    print("\n".join(changed) or "The outputs are up to date.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
