"""A notebook as HTML that needs nothing from outside: links between pages, pictures inside, formulas as MathML."""

import base64
import copy
import mimetypes
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag
from bs4.element import NavigableString
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from nbformat import NotebookNode

from utils.handoff.atomic import ROOT
from utils.series.committed_outputs import without_widgets

ACTIVE = ("script", "iframe", "object", "embed", "link", "meta", "base", "form", "video", "audio", "source")
"""Elements that run something or load it from elsewhere."""
_FORMULA = re.compile(r"\$\$(.+?)\$\$|\$(?!\s)([^$]+?)(?<!\s)\$(?!\d)", re.DOTALL)
_INTERVAL = re.compile(r"([+-]?[\d.,]+) (\[[^\[\]]+\])")
_NUMBER = re.compile(rf"[+-]?[\d.,]+(e[+-]?\d+)?%?|NaN|{_INTERVAL.pattern}")


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
    for text in soup.find_all(string=re.compile(r"\$")):
        if text.find_parent(class_="text_cell_render") and not text.find_parent(["code", "pre"]):
            _settle_formulas(text)
    for element in soup.find_all([*ACTIVE, lambda tag: tag.name == "style" and tag.has_attr("scoped")]):
        element.decompose()
    for link in soup.find_all("a", href=True):
        _settle_link(link, names)
    for picture in soup.find_all("img"):
        _settle_picture(picture, root)
    for table in soup.find_all("table"):
        _settle_table(table, soup)
    return soup


def contents(soup: BeautifulSoup) -> list[tuple[str, str]]:
    """Return (id, text) of the parts and sections of a page, in order, without its title."""
    headings = soup.select(".text_cell_render h1[id], .text_cell_render h2[id]")[1:]
    return [(str(heading["id"]), _words(heading)) for heading in headings]


def _words(heading: Tag) -> str:
    return heading.get_text().rstrip("¶")


def _settle_formulas(text: NavigableString) -> None:
    """Put MathML, which browsers draw by themselves, in the place of $…$ and $$…$$."""

    def drawn(found: re.Match[str]) -> str:
        formula = BeautifulSoup(convert(found[1] or found[2], display="block" if found[1] else "inline"), "html.parser")
        for part in formula.find_all(href=True):
            del part["href"]
        scrolls = '<span class="wide" role="group" tabindex="0" aria-label="Formula">'
        return f"{scrolls}{formula}</span>" if found[1] else str(formula)

    escaped = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
    pieces, last = [], 0
    for found in _FORMULA.finditer(text):
        pieces += [re.sub("[&<>]", lambda one: escaped[one[0]], text[last : found.start()]), drawn(found)]
        last = found.end()
    rest = re.sub("[&<>]", lambda one: escaped[one[0]], text[last:])
    text.replace_with(BeautifulSoup("".join([*pieces, rest]), "html.parser"))


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
        picture["alt"] = f"Output in the section {_words(heading)!r}" if heading else "Output"
    if source.startswith("data:image/"):
        return
    file = (root / unquote(urlsplit(source).path)).resolve()
    kind = mimetypes.guess_type(file.name)[0] or ""
    if urlsplit(source).scheme or not file.is_relative_to(root.resolve()) or not file.is_file() or "image/" not in kind:
        picture.replace_with(f"[{described or 'picture'}]")
        return
    encoded = base64.b64encode(file.read_bytes()).decode()
    picture.attrs = {"src": f"data:{kind};base64,{encoded}", "alt": described}


def _settle_table(table: Tag, soup: BeautifulSoup) -> None:
    """Make a table one that can be scrolled by keyboard, without headers that say nothing; mark its intervals."""
    heading = table.find_previous(["h1", "h2", "h3", "h4"])
    name = f"Table in the section {_words(heading)!r}" if heading else "Table"
    table.wrap(soup.new_tag("div", attrs={"class": "wide", "role": "group", "tabindex": "0", "aria-label": name}))
    for header in table.find_all("th"):
        if not header.get_text(strip=True):
            header.name = "td"
    for cell in table.find_all("td"):
        text = cell.get_text(strip=True)
        if _NUMBER.fullmatch(text):
            cell["class"] = f"{' '.join(cell.get_attribute_list('class'))} number"
        if found := _INTERVAL.fullmatch(text):
            interval = soup.new_tag("span", attrs={"class": "interval"})
            interval.string = found[2]
            cell.clear()
            cell.extend([f"{found[1]} ", interval])
