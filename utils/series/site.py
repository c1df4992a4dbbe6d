"""A static site of an executed series: ``python -m utils.series.site [DATASET]`` (``make report``).

``runs/<DATASET>/site/`` gets an index and one page per notebook, to be read from the disk (``file://``) or from any web
server. A page is one file: styles and pictures are in it, scripts are not, and its Content-Security-Policy forbids the
browser to load anything else. nbconvert renders the notebooks, ``site.html.j2`` puts a page around each, and links
between notebooks become links between pages.
"""

import argparse
import base64
import copy
import mimetypes
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import nbformat
from bs4 import BeautifulSoup, Tag
from jinja2 import Environment
from nbconvert import HTMLExporter
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter

from utils.handoff.atomic import ROOT, clear_left_overs, writing
from utils.handoff.parameters import ParameterError, dataset_name
from utils.series import runner
from utils.series.committed_outputs import without_widgets

ACTIVE = ("script", "iframe", "object", "embed", "link", "meta", "base", "form", "video", "audio", "source")
"""Elements that run something or load it from elsewhere."""


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
    if not shown or not (any_run or dataset == _default_dataset(root)):
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


def _default_dataset(root: Path) -> str | None:
    return runner.default_of(runner.plan({}, root), "DATASET")


def body(notebook: NotebookNode, names: Sequence[str], root: Path = ROOT) -> BeautifulSoup:
    """Return a notebook as HTML that needs nothing from outside.

    Links to a notebook of ``names`` lead to its page; other links into the repository become plain text that names
    the file. Pictures below ``root`` are embedded; those elsewhere become their description.
    """
    notebook = copy.deepcopy(notebook)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = list(without_widgets(cell.outputs))
    exporter = HTMLExporter(template_name="basic", preprocessors=[CoalesceStreamsPreprocessor])
    soup = BeautifulSoup(exporter.from_notebook_node(notebook)[0], "html.parser")
    for element in soup.find_all(ACTIVE):
        element.decompose()
    for link in soup.find_all("a", href=True):
        _settle_link(link, names)
    for picture in soup.find_all("img"):
        _settle_picture(picture, root)
    return soup


def _settle_link(link: Tag, names: Sequence[str]) -> None:
    address = urlsplit(str(link["href"]))
    name = unquote(address.path).removeprefix("./")
    local, stem = not address.scheme and not address.netloc, name.removesuffix(".ipynb")
    if address.scheme in ("http", "https", "mailto") or (local and not name):
        return  # The reader may follow it; a fragment stays on this page.
    if local and stem != name and stem in names:
        link["href"] = f"{stem}.html" + (f"#{address.fragment}" if address.fragment else "")
    else:
        link.name, link.attrs = "span", {"title": f"{name} in the repository"}


def _settle_picture(picture: Tag, root: Path) -> None:
    source, described = str(picture.get("src", "")), str(picture.get("alt", ""))
    if picture.find_parent(class_="output_area"):  # Output has no description of its own.
        heading = picture.find_previous(["h1", "h2", "h3", "h4"])
        picture["alt"] = f"Output in the section {heading.get_text().rstrip('¶')!r}" if heading else "Output"
    if source.startswith("data:image/"):
        return
    file = (root / unquote(urlsplit(source).path)).resolve()
    kind = mimetypes.guess_type(file.name)[0] or ""
    if urlsplit(source).scheme or not file.is_relative_to(root.resolve()) or not file.is_file() or "image/" not in kind:
        picture.replace_with(f"[{described or 'picture'}]")
        return
    encoded = base64.b64encode(file.read_bytes()).decode()
    picture.attrs = {"src": f"data:{kind};base64,{encoded}", "alt": described}


def document(**parts: Any) -> str:
    """Return a whole page; ``site.html.j2`` says what its ``parts`` are."""
    light, dark = (HtmlFormatter(style=style).get_style_defs(".highlight") for style in ("default", "github-dark"))
    highlighting = f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}"
    template = Environment(autoescape=True).from_string(Path(__file__).with_suffix(".html.j2").read_text())
    return template.render(highlighting=highlighting, **parts)


def build(dataset: str, root: Path = ROOT) -> Path:
    """Write the site of ``dataset`` to ``runs/<dataset>/site`` and return its index; all of it appears, or nothing.

    Raises what ``pages`` raises, and DataFolderError where it cannot be written.
    """
    site, folder, rows = pages(dataset, root), root / "runs" / dataset, []
    links = [("index.html", "Overview"), *((page.file, page.name) for page in site)]
    folder.mkdir(parents=True, exist_ok=True)
    clear_left_overs(folder)
    with writing(folder / "site") as temporary:
        temporary.mkdir()
        for place, page in enumerate(site, start=1):
            soup = body(page.notebook, [page.name for page in site], root)
            parts = {"title": page.title, "note": page.note}
            written = document(links=links, here=place, content=str(soup), **parts)
            (temporary / page.file).write_text(written)
            purpose = next((p.get_text(" ", strip=True) for p in soup.find_all("p") if not p.find("a")), "")
            rows.append({"file": page.file, "purpose": purpose} | parts)
        index = document(links=links, here=0, title=f"The series on {dataset}", rows=rows)
        (temporary / "index.html").write_text(index)
    return folder / "site" / "index.html"


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Build the site and print where it is; return the exit code. Errors become one message."""
    parser = argparse.ArgumentParser(prog="python -m utils.series.site", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("dataset", nargs="?", metavar="DATASET")
    options = parser.parse_args(arguments)
    try:
        dataset = options.dataset if options.dataset is not None else _default_dataset(root)
        if dataset is None:
            raise ReportError(f"{root} has no notebook with a parameter DATASET. Run this in the repository.")
        print(f"Open {build(dataset, root).relative_to(root)} in a browser.")
    except (ReportError, ParameterError, OSError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
