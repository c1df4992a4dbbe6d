"""One static site of an executed series: ``python -m utils.series.site [DATASET=NAME]`` (``make report``).

``runs/<DATASET>/site/`` gets an index and a page a notebook, to be read from the disk (``file://``) or put on any web
server. A page is one file: styles and pictures are in it, scripts are not, and its Content-Security-Policy forbids
the browser to load anything else. Notebooks are rendered by nbconvert; links between them become links between pages.
"""

import argparse
import base64
import html
import mimetypes
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
from bs4 import BeautifulSoup, Tag
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter

from utils.handoff.atomic import clear_left_overs
from utils.handoff.parameters import ParameterError, dataset_name
from utils.handoff.store import writing
from utils.series import runner
from utils.series.committed_outputs import without_widgets
from utils.series.runner import ROOT

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""What a page may load (https://www.w3.org/TR/CSP3/): what is in it, and no script."""
ACTIVE = ("script", "iframe", "object", "embed", "link", "meta", "base", "form", "video", "audio", "source")
"""Elements that run something or load it from elsewhere."""
STYLE = """
:root { color-scheme: light dark; --text: #1c1e21; --paper: #ffffff; --quiet: #5a6068; --line: #d5d9de;
  --code: #f5f6f8; --link: #0b5cad; --note: #fff4d6; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e6e9; --paper: #16181b; --quiet: #a2a9b1; --line: #3a3f45;
  --code: #202327; --link: #7db7f5; --note: #3b3216; } }
body { margin: 0; background: var(--paper); color: var(--text); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1rem; }
a { color: var(--link); } a.anchor-link { text-decoration: none; } :not(:hover) > a.anchor-link { visibility: hidden; }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1rem; padding: .6rem 1rem; border-bottom: 1px solid var(--line); }
nav [aria-current] { font-weight: 700; color: var(--text); text-decoration: none; }
footer nav { justify-content: space-between; border: 0; border-top: 1px solid var(--line); }
pre, code { font: 14px/1.45 ui-monospace, monospace; } pre { margin: 0; padding: .6rem .8rem; overflow-x: auto; }
.input_area, .text_cell pre, .output_markdown pre { background: var(--code); border-radius: 4px; }
.note { background: var(--note); padding: .5rem .8rem; border-radius: 4px; } td .note { margin: 0; }
.prompt { color: var(--quiet); font-size: 13px; } .output_area, .text_cell { margin: .5rem 0; overflow-x: auto; }
.output_stderr { border-left: 3px solid #c77700; } .output_error { border-left: 3px solid #c62828; }
img { max-width: 100%; height: auto; background: #fff; } .highlight { background: transparent !important; }
table { border-collapse: collapse; border: 0; font-size: 14px; }
th, td { border: 1px solid var(--line); padding: .25rem .6rem; text-align: left; vertical-align: top; }
.dataframe td { text-align: right; font-variant-numeric: tabular-nums; }
"""


class ReportError(RuntimeError):
    """There is nothing to make a site of; the message says which command comes first."""


@dataclass(frozen=True)
class Page:
    """One notebook on the site. ``note`` says in a sentence what is particular about it, or is empty."""

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
    """Return every notebook of ``root`` as it was last run on ``dataset``, or as committed where it was not.

    A notebook that failed in its last run is shown as far as it went. Raises ParameterError for a name that names no
    folder, and ReportError where no page would have an output or a notebook cannot be read.
    """
    dataset_name(dataset)
    folder = root / "runs" / dataset
    found, any_run = [], False
    for path in sorted(root.glob("[0-9][0-9]-*.ipynb")):
        executed, failed = folder / path.name, folder / f"{path.stem}.failed.ipynb"
        any_run |= executed.exists() or failed.exists()
        if failed.exists():
            found.append(Page(path.stem, _read(failed), "The last run of this notebook failed; it went this far."))
        elif executed.exists():
            found.append(Page(path.stem, _read(executed), ""))
        else:
            found.append(Page(path.stem, _read(path), f"Not run on {dataset} here: the notebook as it is committed."))
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


def body(page: Page, names: Sequence[str], root: Path = ROOT) -> BeautifulSoup:
    """Return the notebook as HTML that needs nothing outside of it.

    Links to a notebook of ``names`` lead to its page; other links into the repository become plain text that names
    the file. Pictures below ``root`` are embedded; those elsewhere become their description.
    """
    markup, _ = HTMLExporter(template_name="basic").from_notebook_node(_settled(page.notebook))
    soup = BeautifulSoup(markup, "html.parser")
    for element in soup.find_all(ACTIVE):
        element.decompose()
    for link in soup.find_all("a", href=True):
        _settle_link(link, names)
    for picture in soup.find_all("img"):
        _settle_picture(picture, root)
    return soup


def _settled(notebook: NotebookNode) -> NotebookNode:
    """Return a copy without what was shown only while it ran: widgets, and lines that were overwritten."""
    copy = nbformat.from_dict(notebook)
    copy.metadata.pop("widgets", None)
    for cell in copy.cells:
        if cell.cell_type == "code":
            cell.outputs = list(without_widgets(cell.outputs))
            for output in cell.outputs:
                if output.output_type == "stream":
                    output.text = re.sub(r"[^\n]*\r(?!\n)", "", output.text)
    return copy


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


def document(title: str, content: str, site: Sequence[Page], here: Page | None = None) -> str:
    """Return a whole page: ``content`` (HTML) below a bar of all notebooks, with what comes before and after it."""
    links = [("index.html", "Overview", here is None), *((page.file, page.name, page is here) for page in site)]
    bar = [_link(file, name, ' aria-current="page"' if current else "") for file, name, current in links]
    place = 1 + site.index(here) if here is not None else 0
    before = _link(*links[place - 1][:2], ' rel="prev"', "← ") if place else "<span></span>"
    after = _link(*links[place + 1][:2], ' rel="next"', "", " →") if place + 1 < len(links) else ""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}{_highlighting()}</style>\n</head>\n<body>\n"
        f'<header><nav aria-label="Notebooks">{" ".join(bar)}</nav></header>\n<main>\n{content}\n</main>\n'
        f'<footer><nav aria-label="Before and after">{before} {after}</nav></footer>\n</body>\n</html>\n'
    )


def _link(file: str, text: str, attributes: str = "", before: str = "", after: str = "") -> str:
    return f'<a href="{html.escape(file)}"{attributes}>{before}{html.escape(text)}{after}</a>'


def _highlighting() -> str:
    light, dark = (HtmlFormatter(style=style).get_style_defs(".highlight") for style in ("default", "github-dark"))
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}"


def build(dataset: str, root: Path = ROOT) -> Path:
    """Write the site of ``dataset`` to ``runs/<dataset>/site`` and return its index; all of it appears, or nothing.

    Raises what ``pages`` raises, and DataFolderError where it cannot be written.
    """
    site = pages(dataset, root)
    names, folder = [page.name for page in site], root / "runs" / dataset
    folder.mkdir(parents=True, exist_ok=True)
    clear_left_overs(folder)
    with writing(folder / "site") as temporary:
        temporary.mkdir()
        listed = f"<h1>The series on {dataset}</h1>\n<table>\n"
        for page in site:
            soup = body(page, names, root)
            note = f'<p class="note">{html.escape(page.note)}</p>\n' if page.note else ""
            (temporary / page.file).write_text(document(page.title, note + str(soup), site, page))
            purpose = next((p.get_text(" ", strip=True) for p in soup.find_all("p") if not p.find("a")), "")
            cells = (_link(page.file, page.title), html.escape(purpose), note)
            listed += "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>\n"
        (temporary / "index.html").write_text(document(f"The series on {dataset}", f"{listed}</table>", site))
    return folder / "site" / "index.html"


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Parse the command line, build the site, and turn errors into one message and an exit code."""
    parser = argparse.ArgumentParser(prog="python -m utils.series.site", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("parameters", nargs="*", metavar="DATASET=NAME")
    options = parser.parse_args(arguments)
    try:
        dataset = _default_dataset(root)
        for pair in options.parameters:
            name, equals, value = pair.partition("=")
            if name != "DATASET" or not equals:
                raise ParameterError(f"{pair!r} is not of the form DATASET=NAME, all that a report asks for.")
            dataset = runner.parse(value)
        if dataset is None:
            raise ReportError(f"{root} has no notebook with a parameter DATASET. Run this in the repository.")
        print(f"Open {build(dataset, root).relative_to(root)} in a browser.")
    except (ReportError, ParameterError, OSError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
