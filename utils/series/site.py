"""A static site of an executed series: ``python -m utils.series.site [DATASET]`` (``make report``).

``runs/<DATASET>/site/`` gets a front page (``front``), one page per notebook (``body``) and one to try the recommender
(``try_it``), to be read from the disk (``file://``) or from any web server. A page is one file: styles and pictures are
in it, and its Content-Security-Policy forbids the browser to load anything else, or to run any script but that of the
page to try. ``site.html.j2`` is what all pages share.
"""

import argparse
import base64
import hashlib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import nbformat
from bs4 import BeautifulSoup
from jinja2 import Environment, FileSystemLoader
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter

from utils.handoff.atomic import ROOT, clear_left_overs, writing
from utils.handoff.manifest import HandOffError
from utils.handoff.parameters import ParameterError, dataset_name
from utils.series import front, runner, try_it
from utils.series.body import body, contents

HERE = Path(__file__).parent
TRY = "try-it.html"
T = TypeVar("T")


class ReportError(RuntimeError):
    """There is nothing to make a site of; the message says which command comes first."""


@dataclass(frozen=True)
class Page:
    """One notebook on the site. ``note`` is a sentence about what is particular about it, or empty."""

    name: str
    notebook: NotebookNode
    note: str

    @property
    def file(self) -> str:
        """The page's file name."""
        return f"{self.name}.html"

    @property
    def title(self) -> str:
        """The notebook's first heading, or its name where it has none."""
        text = "\n".join(cell.source for cell in self.notebook.cells if cell.cell_type == "markdown")
        heading = re.search(r"^# (.+)$", text, re.MULTILINE)
        return heading[1].strip() if heading else self.name


def pages(dataset: str, root: Path = ROOT) -> list[Page]:
    """Return every notebook of ``root`` as it was last run on ``dataset``, or as committed where it was not run.

    A notebook that failed in its last run is shown as far as it went. Raises ParameterError for a name that is no
    folder's, and ReportError where no page would have an output or a notebook cannot be read.
    """
    dataset_name(dataset)
    folder, found, any_run = root / "runs" / dataset, [], False
    for path in sorted(root.glob("[0-9][0-9]-*.ipynb")):
        versions = {
            folder / f"{path.stem}.failed.ipynb": "The last run of this notebook failed; it went this far.",
            folder / path.name: "",
            path: f"Not run on {dataset} here: the notebook as it is committed.",
        }
        source = next(version for version in versions if version.exists())
        any_run |= source != path
        found.append(Page(path.stem, _read(source), versions[source]))
    shown = any(cell.get("outputs") for page in found for cell in page.notebook.cells)
    if not shown or not (any_run or dataset == _default(root, "DATASET")):
        without = "" if shown else ", and the committed ones have no outputs"
        raise ReportError(
            f"runs/{dataset}/ has no executed notebook{without}. Run the series first: make run DATASET={dataset}"
        )
    return found


def _read(path: Path) -> NotebookNode:
    try:
        return nbformat.read(path, 4)
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, UnicodeDecodeError) as error:
        raise ReportError(f"{path} is no notebook that can be read ({error}). Delete it, then: make run") from error


def _default(root: Path, name: str) -> str | None:
    return runner.default_of(runner.plan({}, root), name)


def document(template: str, parts: Mapping[str, Any], script: str = "") -> str:
    """Return a whole page; ``template`` says what its ``parts`` are. Of scripts, only ``script`` may run."""
    light, dark = (HtmlFormatter(style=style).get_style_defs(".highlight") for style in ("default", "github-dark"))
    highlighting = f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    templates = Environment(autoescape=True, loader=FileSystemLoader(HERE))
    own = {"highlighting": highlighting, "script": script, "script_hash": digest}
    return templates.get_template(template).render(own | dict(parts))


def build(dataset: str, root: Path = ROOT) -> Path:
    """Write the site of ``dataset`` to ``runs/<dataset>/site`` and return its index; all of it appears, or nothing.

    Raises what ``pages`` raises, and DataFolderError where it cannot be written.
    """
    site, folder, rows = pages(dataset, root), root / "runs" / dataset, []
    data = _data_folder(site, dataset, root)
    tables, _ = _if_there(front.tables, data, dataset)
    model, reason = _if_there(try_it.content, data, dataset)
    links = [("index.html", "Overview"), *((page.file, page.name) for page in site)]
    links += [(TRY, "Try it")] if model else []
    folder.mkdir(parents=True, exist_ok=True)
    clear_left_overs(folder)
    with writing(folder / "site") as temporary:
        temporary.mkdir()
        for place, page in enumerate(site, start=1):
            soup = body(page.notebook, [page.name for page in site], root)
            parts = {"title": page.title, "note": page.note}
            own = {"links": links, "here": place, "content": str(soup), "sections": contents(soup)}
            (temporary / page.file).write_text(document("site.html.j2", own | parts))
            rows.append({"file": page.file, "purpose": _purpose(soup)} | parts)
        if model:
            (temporary / TRY).write_text(_page_to_try(model, dataset, links))
        shown = {
            "title": f"The series on {dataset}", "dataset": dataset, "is_default": dataset == _default(root, "DATASET"),
            "links": links, "here": 0, "rows": rows, "tables": tables or [],
            "pictures": front.pictures([page.notebook for page in site]),
            "tried": {"file": TRY if model else "", "reason": reason},
        }  # fmt: skip
        (temporary / "index.html").write_text(document("front.html.j2", shown))
    return folder / "site" / "index.html"


def _if_there(read: Callable[[Path, str], T], data: Path, dataset: str) -> tuple[T | None, str]:
    """Return what ``read`` finds in the files of 07 and "", or None and why it finds nothing: a site needs no data."""
    try:
        return read(data, dataset), ""
    except HandOffError as error:
        return None, str(error).replace(f"{data.parent}/", "")


def _purpose(soup: BeautifulSoup) -> str:
    """Return a page's first paragraph that is more than the link back."""
    told = (p for p in soup.find_all("p") if p.a is None or p.a.get_text() != p.get_text())
    return next((re.sub(r"\s+", " ", p.get_text()).strip() for p in told), "")


def _data_folder(site: Sequence[Page], dataset: str, root: Path) -> Path:
    """Return DATA_DIR/``dataset`` as the last notebook that was run had it, or by default."""
    recorded = [page.notebook.metadata.get(runner.RECORD, {}).get("parameters", {}) for page in site]
    given = [one["DATA_DIR"] for one in recorded if "DATA_DIR" in one]
    return root / (given[-1] if given else _default(root, "DATA_DIR") or "data") / dataset


def _page_to_try(model: dict[str, Any], dataset: str, links: list[tuple[str, str]]) -> str:
    new = sum(movie["recent"] is None for movie in model["movies"])
    told = {
        "title": "Try it", "dataset": dataset, "links": links, "here": len(links) - 1, "model": model,
        "known": len(model["movies"]) - new, "new": new, "posters": any(movie["poster"] for movie in model["movies"]),
    }  # fmt: skip
    return document("try_it.html.j2", told, (HERE / "try_it.js").read_text())


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Build the site and print where it is; return the exit code. Errors become one message."""
    parser = argparse.ArgumentParser(prog="python -m utils.series.site", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("dataset", nargs="?", metavar="DATASET")
    options = parser.parse_args(arguments)
    try:
        dataset = options.dataset if options.dataset is not None else _default(root, "DATASET")
        if dataset is None:
            raise ReportError(f"{root} has no notebook with a parameter DATASET. Run this in the repository.")
        print(f"Open {build(dataset, root).relative_to(root)} in a browser.")
    except (ReportError, ParameterError, OSError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
