"""The site: every notebook on a page that leads to the others, and that loads nothing from anywhere."""

import base64
import re
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tests.conftest import Open
from tests.places import ROOT
from utils.handoff.parameters import ParameterError
from utils.plots.explorer import NO_WIDGETS
from utils.series import front, site
from utils.series.runner import RECORD
from utils.series.site import ReportError

PNG = base64.b64encode(b"\x89PNG picture").decode()
NAMES = ["00-Start", "01-Middle", "02-End"]
SECRET = "not for the web"


def notebook(name: str, *cells: NotebookNode, shown: str = "committed") -> NotebookNode:
    position = NAMES.index(name)
    following = NAMES[(position + 1) % len(NAMES)]
    parameters = new_code_cell('DATASET = "toy"  # a name', metadata={"tags": ["parameters"]}, execution_count=1)
    said = new_output("stream", name="stdout", text=f"{shown} {name}\n")
    links = "[back](00-Start.ipynb)", f"[on]({following}.ipynb#Go-on)"
    text = f"# {position} · The <{name}> & more\n\n{links[0]}\n\nIt does *this*.\n\n{links[1]}"
    run = new_code_cell("print(1 < 2)", execution_count=2, outputs=[said])
    return new_notebook(
        cells=[new_markdown_cell(text), parameters, new_markdown_cell("## Go on"), run, *cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )


def displayed(**data: object) -> NotebookNode:
    named = {kind.replace("__", "/"): value for kind, value in data.items()}
    return new_code_cell("show()", outputs=[new_output("display_data", data=named)])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository of three committed notebooks with outputs, in a folder that has a secret beside it."""
    (tmp_path / "secret.png").write_text(SECRET)
    folder = tmp_path / "repository"
    folder.mkdir()
    for name in NAMES:
        nbformat.write(notebook(name), folder / f"{name}.ipynb")
    return folder


def put(root: Path, path: str, made: NotebookNode) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(made, root / path)


def soups_of(folder: Path) -> dict[str, BeautifulSoup]:
    return {path.name: BeautifulSoup(path.read_text(), "html.parser") for path in folder.glob("*.html")}


def with_cells(root: Path, *cells: NotebookNode) -> BeautifulSoup:
    """The page of a notebook that has these cells."""
    put(root, "01-Middle.ipynb", notebook("01-Middle", *cells))
    return soups_of(site.build("toy", root).parent)["01-Middle.html"]


def check_links(pages: dict[str, BeautifulSoup]) -> int:
    """Assert that every local link leads to a page, and to a place on it; return how many there are."""
    count = 0
    for name, soup in pages.items():
        for link in soup.find_all("a", href=True):
            if not link["href"].startswith(("http:", "https:", "mailto:")):
                file, _, fragment = link["href"].partition("#")
                target = pages[file or name]
                assert not fragment or target.find(id=[fragment, unquote(fragment)]), f"{name}: {link['href']}"
                count += 1
    return count


def check_loads_nothing(soup: BeautifulSoup) -> None:
    assert soup.find("meta", {"http-equiv": "Content-Security-Policy"})["content"].startswith("default-src 'none'")
    assert not soup.find_all(["script", "iframe", "object", "embed", "link", "base", "video", "audio", "source"])
    assert all(element["src"].startswith("data:image/") for element in soup.find_all(src=True))
    assert not re.search(r"url\((?!data:)|@import", "".join(style.get_text() for style in soup.find_all("style")))


def test_a_page_for_each_notebook_that_leads_to_the_others(root: Path) -> None:
    index = site.build("toy", root)
    assert index == root / "runs" / "toy" / "site" / "index.html"
    pages, order = soups_of(index.parent), [f"{name}.html" for name in ["index", *NAMES]]
    assert set(pages) == {path.name for path in index.parent.iterdir()} == set(order)
    assert "<title>1 · The &lt;01-Middle&gt; &amp; more</title>" in (index.parent / "01-Middle.html").read_text()
    assert "committed 01-Middle" in pages["01-Middle.html"].find(class_="output").get_text()
    assert "print(1 < 2)" in pages["01-Middle.html"].get_text()
    rows = [[cell.get_text() for cell in row.find_all("td")] for row in pages["index.html"].find_all("tr")]
    told = [[f"{place} · The <{name}> & more", "It does this."] for place, name in enumerate(NAMES)]
    assert [[title, about.splitlines()[0]] for title, about in rows] == told
    note = pages["index.html"].find(class_="note").get_text()
    assert note.startswith("There is no page to try it: toy/lists.onnx does not exist. Run 07-")
    for place, name in enumerate(order):
        page = pages[name]
        assert [link["href"] for link in page.header.find_all("a")] == order
        assert [link["href"] for link in page.header.find_all("a", {"aria-current": "page"})] == [name]
        before, after = page.find("a", rel="prev"), page.find("a", rel="next")
        assert (before and before["href"]) == (order[place - 1] if place else None)
        assert (after and after["href"]) == (order[place + 1] if place + 1 < len(order) else None)
    written = [link["href"] for link in pages["01-Middle.html"].main.find_all("a")]
    assert {"00-Start.html", "02-End.html#Go-on"} <= set(written)
    assert check_links(pages) > 30
    del pages["02-End.html"]
    with pytest.raises(KeyError, match=r"02-End\.html"):
        check_links(pages)


def test_formulas_are_drawn_by_the_browser(root: Path) -> None:
    source = r"Let $u \cdot m < 1$ & $$\frac{1}{n}$$ cost \$5 or `$x$`, $5 and $6, $\href{javascript:alert(1)}{a}$"
    page = with_cells(root, new_markdown_cell(source))
    inline, block, linked = page.find_all("math")
    assert [part.get_text() for part in inline.find_all(["mi", "mo", "mn"])] == ["u", "·", "m", "<", "1"]
    assert block["display"] == "block" and block.find("mfrac")
    assert linked.get_text() == "a" and not page.find_all(href=re.compile("javascript"))
    text = page.main.get_text()
    assert "&" in text and "$5 and $6" in text and "$x$" in page.find("code", string="$x$")


def test_tables_can_be_scrolled_by_keyboard_and_have_numbers_before_intervals(root: Path) -> None:
    frame = pd.DataFrame({"auc": ["0.774 [0.759, 0.789]", "none"]}, index=["a", "b"])
    html = f"{frame.to_html()}<style scoped>td {{ color: red }}</style>"
    page = with_cells(root, new_markdown_cell("## Numbers"), displayed(text__html=html))
    table = page.find(class_="dataframe")
    assert table.parent["tabindex"] == "0" and table.parent["aria-label"] == "Table in the section 'Numbers'"
    assert all(header.get_text(strip=True) for header in table.find_all("th"))
    (interval,) = table.find_all(class_="interval")
    assert interval.get_text() == "[0.759, 0.789]" and interval.previous_sibling == "0.774 "
    assert [cell.get_text() for cell in table.tbody.find_all("td")] == ["0.774 [0.759, 0.789]", "none"]
    assert [cell.get_text() for cell in table.find_all("td", class_="number")] == ["0.774 [0.759, 0.789]"]
    assert not page.find_all("style", scoped=True)


def test_a_long_page_has_a_table_of_contents(root: Path) -> None:
    page = with_cells(root, *(new_markdown_cell(f"{'#' * level} Part {level}") for level in (1, 2, 3, 1, 2)))
    listed = [(link["href"], link.get_text()) for link in page.find(class_="contents").find_all("a")]
    assert [text for _, text in listed] == ["Go on", "Part 1", "Part 2", "Part 1", "Part 2"]
    assert all(page.find(id=target[1:]) for target, _ in listed)
    assert soups_of(root / "runs" / "toy" / "site")["00-Start.html"].find(class_="contents") is None


def test_the_front_page_shows_the_pictures_and_numbers_of_the_run(root: Path, open_for: Open) -> None:
    made = notebook("02-End", displayed(image__png=PNG))
    made.cells[-1].source = "plots.ablation(measured)"
    made.metadata[RECORD] = {"parameters": {"DATA_DIR": "../data"}}
    put(root, "runs/toy/02-End.ipynb", made)
    store = open_for("metrics")
    rows = [
        ("torch", "multimodal", "ids+text", 1, "warm", "auc", 0.8, 0.75, 0.85),
        ("torch", "multimodal", "ids+text", 2, "warm", "auc", 0.6, 0.55, 0.65),
        ("torch", "multimodal", "ids+text(shuffled)", 1, "warm", "auc", 0.5, 0.4, 0.6),
        ("baseline", "user mean", "ids", 1, "cold", "auc", 0.7, 0.6, 0.8),
        ("baseline", "other", "ids", 1, "cold", "auc", 0.7, 0.6, 0.8),
    ]
    columns = ["trainer", "model", "features", "seed", "slice", "metric", "value", "low", "high"]
    pd.DataFrame(rows, columns=columns).assign(split="random", n=9).to_csv(store.path("metrics"), index=False)
    store.record("metrics", rows=len(rows))
    found = front.tables(store.folder, "toy")
    assert [table["title"] for table in found] == ["Will they like it? AUC"]
    wanted = [("user mean", [("", ""), ("0.700", "[0.600, 0.800]")])]
    wanted += [("multimodal: ids + text", [("0.700", "[0.550, 0.850]"), ("", "")])]
    assert found[0]["rows"] == wanted
    index = soups_of(site.build("toy", root).parent)["index.html"]
    assert [picture["src"] for picture in index.find_all("img")] == [f"data:image/png;base64,{PNG}"]
    assert "0.700 [0.550, 0.850]" in index.find("table", class_="numbers").get_text()


def test_a_failed_run_goes_before_an_executed_one_and_both_before_the_committed_notebook(root: Path) -> None:
    put(root, "runs/own/00-Start.ipynb", notebook("00-Start", shown="executed"))
    put(root, "runs/own/01-Middle.ipynb", notebook("01-Middle", shown="executed"))
    put(root, "runs/own/01-Middle.failed.ipynb", notebook("01-Middle", shown="broken"))
    put(root, "runs/own/02-End.running.ipynb", notebook("02-End", shown="half"))
    pages = soups_of(site.build("own", root).parent)
    first, second, third = (pages[f"{name}.html"].main for name in NAMES)
    assert "executed 00-Start" in first.get_text() and first.find(class_="note") is None
    assert "broken 01-Middle" in second.get_text() and "failed" in second.find(class_="note").get_text()
    assert "committed 02-End" in third.get_text()
    assert third.find(class_="note").get_text().startswith("Not run on own here")


def test_pages_load_nothing(root: Path) -> None:
    put(root, "docs/picture.png", notebook("00-Start"))  # Any bytes: they are not looked at.
    html = (
        '<script src="https://cdn.example/a.js"></script><iframe src="http://b.example"></iframe><b>kept</b>'
        '<link href="http://d.example/x.css"><video src="http://e.example/v"></video></div></main></body>'
    )
    page = with_cells(
        root,
        displayed(text__html=html),
        displayed(application__javascript="alert(1)"),
        displayed(image__png=PNG, text__plain="<Figure>"),
        new_markdown_cell("![far](https://c.example/p.png) ![near](docs/picture.png) $x^2$ <script>alert(2)</script>"),
    )
    for soup in soups_of(root / "runs" / "toy" / "site").values():
        check_loads_nothing(soup)
    assert page.find("b", string="kept")
    assert "[far]" in page.get_text()
    assert page.find("math").get_text() == "x2"
    pictures = {picture["alt"]: picture["src"] for picture in page.find_all("img")}
    assert pictures["near"].startswith("data:image/png;base64,")
    assert pictures["Output in the section 'Go on'"].endswith(PNG)
    assert len(pictures) == 2


def test_no_file_but_a_picture_of_the_repository_is_embedded(root: Path) -> None:
    (root / "link.png").symlink_to(root.parent / "secret.png")
    (root / "notes.txt").write_text(SECRET)
    outside = root.parent
    sources = ["../secret.png", f"{outside}/secret.png", "link.png", f"file://{outside}/secret.png", "notes.txt"]
    page = with_cells(root, new_markdown_cell(" ".join(f"![number {n}]({source})" for n, source in enumerate(sources))))
    assert page.find("img") is None
    assert all(f"[number {n}]" in page.get_text() for n in range(len(sources)))
    assert base64.b64encode(SECRET.encode()).decode() not in str(page)


def test_a_link_that_leads_off_the_site_becomes_text(root: Path) -> None:
    targets = ["docs/gpu.md", "../secret.png", "05-Other.ipynb", "../01-Middle.ipynb", "javascript:alert(1)"]
    targets += ["file:///etc/passwd", "//host/02-End.ipynb"]
    links = " ".join(f"[words {n}]({target})" for n, target in enumerate(targets))
    page = with_cells(root, new_markdown_cell(f"{links} and [the web](https://example.org/x)"))
    for number in range(len(targets)):
        assert page.find("a", string=f"words {number}") is None
        assert f"words {number}" in page.main.get_text()
    assert page.main.find("a", string="the web")["href"] == "https://example.org/x"
    check_links(soups_of(root / "runs" / "toy" / "site"))


def test_what_was_shown_only_while_it_ran_is_left_out(root: Path) -> None:
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "  0%|  | 0/9"}
    bar = new_output("stream", name="stderr", text="10%|#\r50%|##\rlast state\nnext line\n")
    dropdown = widget | {"text/plain": NO_WIDGETS}
    shown = [new_output("display_data", data=data) for data in (widget, dropdown)]
    text = with_cells(root, new_code_cell("run()", outputs=[*shown, bar])).get_text()
    assert "0/9" not in text
    assert NO_WIDGETS in text
    assert "50%" not in text
    assert "last state\nnext line" in text


@pytest.mark.parametrize("name", ["..", "a/b", "/tmp", "", ".hidden"])
def test_a_name_that_leaves_the_folder_is_refused(root: Path, name: str) -> None:
    with pytest.raises(ParameterError, match="DATASET="):
        site.build(name, root)
    assert not (root / "runs").exists()


def test_nothing_to_show_names_the_command_that_comes_first(root: Path) -> None:
    with pytest.raises(ReportError, match=r"^runs/own/ has no executed notebook\. .*make run DATASET=own$"):
        site.build("own", root)
    for name in NAMES:
        bare = notebook(name)
        bare.cells[3].outputs = []
        put(root, f"{name}.ipynb", bare)
    with pytest.raises(ReportError, match=r"committed ones have no outputs\. .*make run DATASET=toy$"):
        site.build("toy", root)
    assert not (root / "runs").exists()


def test_a_site_that_cannot_be_finished_leaves_the_old_one(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = site.build("toy", root)
    before = {path.name: path.read_bytes() for path in index.parent.iterdir()}
    damaged = root / "runs" / "toy" / "02-End.ipynb"
    damaged.write_text("{")
    with pytest.raises(ReportError, match=re.escape(str(damaged))):
        site.build("toy", root)
    damaged.unlink()
    made = iter(["first", "second"])
    monkeypatch.setattr(site, "document", lambda *_: next(made))  # The third page is not made.
    with pytest.raises(StopIteration):
        site.build("toy", root)
    assert {path.name: path.read_bytes() for path in index.parent.iterdir()} == before
    assert [path.name for path in index.parent.parent.iterdir()] == ["site"]
    monkeypatch.undo()
    (index.parent / "09-Gone.html").touch()
    assert not (site.build("toy", root).parent / "09-Gone.html").exists(), "a new site takes the place of the old one"


def test_the_command_line(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(root, "runs/own/00-Start.ipynb", notebook("00-Start"))
    for arguments, name in (([], "toy"), (["own"], "own")):
        assert site.main(arguments, root) == 0
        assert capsys.readouterr().out == f"Open runs/{name}/site/index.html in a browser.\n"
    assert site.main(["../x"], root) == 1
    error = capsys.readouterr().err
    assert error.startswith("FAILED: DATASET='../x' must be") and error.count("\n") == 1
    assert site.main([], root / "runs") == 1
    assert "no notebook with a parameter DATASET" in capsys.readouterr().err


def test_the_committed_series_links_to_itself_alone(tmp_path: Path) -> None:
    for path in ROOT.glob("[0-9][0-9]-*.ipynb"):
        made = nbformat.read(path, 4)
        made.cells.append(new_code_cell("1", outputs=[new_output("stream", text="shown")]))  # Outputs or none: both.
        put(tmp_path, path.name, made)
    pages = soups_of(site.build("ml-100k", tmp_path).parent)
    assert len(pages) == 9
    check_links(pages)
    for soup in pages.values():
        check_loads_nothing(soup)
