"""The site: every notebook on a page that leads to the others, and that loads nothing from anywhere."""

import base64
import re
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tests.places import ROOT
from utils.handoff.parameters import ParameterError
from utils.plots.explorer import NO_WIDGETS
from utils.series import site as report
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


def soup_of(root: Path, name: str, dataset: str = "toy") -> BeautifulSoup:
    return BeautifulSoup((root / "runs" / dataset / "site" / f"{name}.html").read_text(), "html.parser")


def with_cells(root: Path, *cells: NotebookNode) -> BeautifulSoup:
    """The page of a notebook that has these cells."""
    put(root, "01-Middle.ipynb", notebook("01-Middle", *cells))
    report.build("toy", root)
    return soup_of(root, "01-Middle")


def check_links(site: Path) -> int:
    """Assert that every local link of a site leads to a page, and to a place on it; return how many there are."""
    pages = {path.name: BeautifulSoup(path.read_text(), "html.parser") for path in site.glob("*.html")}
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


def test_a_page_for_each_notebook_with_its_text_and_output(root: Path) -> None:
    index = report.build("toy", root)
    assert index == root / "runs" / "toy" / "site" / "index.html"
    assert sorted(path.name for path in index.parent.iterdir()) == [f"{name}.html" for name in [*NAMES, "index"]]
    page = soup_of(root, "01-Middle")
    assert "<title>1 · The &lt;01-Middle&gt; &amp; more</title>" in index.with_name("01-Middle.html").read_text()
    assert "committed 01-Middle" in page.find(class_="output").get_text()
    assert "print(1 < 2)" in page.get_text()


def test_every_page_has_the_bar_and_leads_on_and_back(root: Path) -> None:
    report.build("toy", root)
    order = ["index", *NAMES]
    for place, name in enumerate(order):
        page = soup_of(root, name)
        assert [link["href"] for link in page.header.find_all("a")] == [f"{other}.html" for other in order]
        assert [link["href"] for link in page.header.find_all("a", {"aria-current": "page"})] == [f"{name}.html"]
        before, after = page.find("a", rel="prev"), page.find("a", rel="next")
        assert (before and before["href"]) == (f"{order[place - 1]}.html" if place else None)
        assert (after and after["href"]) == (f"{order[place + 1]}.html" if place + 1 < len(order) else None)


def test_the_index_tells_what_each_notebook_is_for(root: Path) -> None:
    report.build("toy", root)
    rows = [[cell.get_text() for cell in row.find_all("td")] for row in soup_of(root, "index").find_all("tr")]
    assert [row[:2] for row in rows] == [
        [f"{i} · The <{name}> & more", "It does this ."] for i, name in enumerate(NAMES)
    ]


def test_links_between_notebooks_become_links_between_pages(root: Path) -> None:
    report.build("toy", root)
    written = [link["href"] for link in soup_of(root, "01-Middle").main.find_all("a")]
    assert {"00-Start.html", "02-End.html#Go-on"} <= set(written)
    assert check_links(root / "runs" / "toy" / "site") > 30


def test_the_check_of_links_finds_a_broken_one(root: Path) -> None:
    index = report.build("toy", root)
    index.with_name("02-End.html").unlink()
    with pytest.raises(KeyError, match=r"02-End\.html"):
        check_links(index.parent)


def test_an_executed_notebook_goes_before_the_committed_one_and_a_failed_one_before_both(root: Path) -> None:
    put(root, "runs/own/00-Start.ipynb", notebook("00-Start", shown="executed"))
    put(root, "runs/own/01-Middle.ipynb", notebook("01-Middle", shown="executed"))
    put(root, "runs/own/01-Middle.failed.ipynb", notebook("01-Middle", shown="broken"))
    put(root, "runs/own/02-End.running.ipynb", notebook("02-End", shown="half"))
    report.build("own", root)
    pages = {name: soup_of(root, name, "own").main for name in NAMES}
    assert "executed 00-Start" in pages["00-Start"].get_text()
    assert pages["00-Start"].find(class_="note") is None
    assert "broken 01-Middle" in pages["01-Middle"].get_text()
    assert "failed" in pages["01-Middle"].find(class_="note").get_text()
    assert "committed 02-End" in pages["02-End"].get_text()
    assert pages["02-End"].find(class_="note").get_text().startswith("Not run on own here")


def test_pages_load_nothing(root: Path) -> None:
    put(root, "docs/picture.png", notebook("00-Start"))  # Any bytes: they are not looked at.
    html = (
        '<script src="https://cdn.example/a.js"></script><iframe src="http://b.example"></iframe><b>kept</b>'
        '<link href="http://d.example/x.css"><video src="http://e.example/v"></video>'
    )
    page = with_cells(
        root,
        displayed(text__html=html),
        displayed(application__javascript="alert(1)"),
        displayed(image__png=PNG, text__plain="<Figure>"),
        new_markdown_cell("![far](https://c.example/p.png) ![near](docs/picture.png) $x^2$ <script>alert(2)</script>"),
    )
    for name in [*NAMES, "index"]:
        check_loads_nothing(soup_of(root, name))
    assert page.find("b", string="kept")
    assert "[far]" in page.get_text()
    assert "$x^2$" in page.get_text()
    pictures = {picture["alt"]: picture["src"] for picture in page.find_all("img")}
    assert pictures["near"].startswith("data:image/png;base64,")
    assert pictures["Output in the section 'Go on'"].endswith(PNG)
    assert len(pictures) == 2


@pytest.mark.parametrize("source", ["../secret.png", "{outside}/secret.png", "link.png", "file://{outside}/secret.png"])
def test_no_picture_outside_the_repository_is_embedded(root: Path, source: str) -> None:
    (root / "link.png").symlink_to(root.parent / "secret.png")
    page = with_cells(root, new_markdown_cell(f"![described]({source.format(outside=root.parent)})"))
    assert page.find("img") is None
    assert "[described]" in page.get_text()
    assert base64.b64encode(SECRET.encode()).decode() not in str(page)


def test_no_file_but_a_picture_is_embedded(root: Path) -> None:
    (root / "notes.txt").write_text(SECRET)
    page = with_cells(root, new_markdown_cell("![described](notes.txt)"))
    assert page.find("img") is None


@pytest.mark.parametrize(
    "target",
    ["docs/gpu.md", "../secret.png", "05-Other.ipynb", "../01-Middle.ipynb", "javascript:alert(1)", "file:///etc/passwd",
     "//host/02-End.ipynb"],
)  # fmt: skip
def test_a_link_that_leads_off_the_site_becomes_text(root: Path, target: str) -> None:
    page = with_cells(root, new_markdown_cell(f"[the words]({target}) and [the web](https://example.org/x)"))
    assert page.find("a", string="the words") is None
    assert page.main.find("a", string="the web")["href"] == "https://example.org/x"
    assert "the words" in page.main.get_text()
    check_links(root / "runs" / "toy" / "site")


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


@pytest.mark.parametrize("name", ["..", "../own", "a/b", "/tmp", "", ".hidden"])
def test_a_name_that_leaves_the_folder_is_refused(root: Path, name: str) -> None:
    with pytest.raises(ParameterError, match="DATASET="):
        report.build(name, root)
    assert not (root / "runs").exists()


def test_nothing_to_show_names_the_command_that_comes_first(root: Path) -> None:
    with pytest.raises(ReportError, match=r"^runs/own/ has no executed notebook\. .*make run DATASET=own$"):
        report.build("own", root)
    for name in NAMES:
        bare = notebook(name)
        bare.cells[3].outputs = []
        put(root, f"{name}.ipynb", bare)
    with pytest.raises(ReportError, match=r"committed ones have no outputs\. .*make run DATASET=toy$"):
        report.build("toy", root)
    assert not (root / "runs").exists()


def test_a_damaged_notebook_is_named_and_the_old_site_stays(root: Path) -> None:
    index = report.build("toy", root)
    before = {path.name: path.read_bytes() for path in index.parent.iterdir()}
    damaged = root / "runs" / "toy" / "02-End.ipynb"
    damaged.write_text("{")
    with pytest.raises(ReportError, match=re.escape(str(damaged))):
        report.build("toy", root)
    assert {path.name: path.read_bytes() for path in index.parent.iterdir()} == before


def test_a_site_that_cannot_be_finished_leaves_the_old_one(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = report.build("toy", root)
    before = {path.name: path.read_bytes() for path in index.parent.iterdir()}
    made = iter(["first", "second"])
    monkeypatch.setattr(report, "document", lambda *_: next(made))  # The third page is not made.
    with pytest.raises(StopIteration):
        report.build("toy", root)
    assert {path.name: path.read_bytes() for path in index.parent.iterdir()} == before
    assert [path.name for path in index.parent.parent.iterdir()] == ["site"]


def test_a_second_site_takes_the_place_of_the_first(root: Path) -> None:
    stale = report.build("toy", root).with_name("09-Gone.html")
    stale.touch()
    assert report.build("toy", root).is_file()
    assert not stale.exists()


def test_the_command_line(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(root, "runs/own/00-Start.ipynb", notebook("00-Start"))
    for arguments, name in (([], "toy"), (["DATASET=own"], "own")):
        assert report.main(arguments, root) == 0
        assert capsys.readouterr().out == f"Open runs/{name}/site/index.html in a browser.\n"
        assert (root / "runs" / name / "site" / "index.html").is_file()


@pytest.mark.parametrize(
    ("argument", "said"),
    [("own", "'own' is not of the form DATASET=NAME"), ("SEED=1", "'SEED=1' is not of the form"),
     ("DATASET=", "DATASET=''"), ("DATASET=own", "runs/own/ has no executed notebook")],
)  # fmt: skip
def test_a_wrong_argument_is_one_line(root: Path, argument: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([argument], root) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"FAILED: {said}")
    assert error.count("\n") == 1


def test_a_folder_without_notebooks_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([], tmp_path) == 1
    assert "no notebook with a parameter DATASET" in capsys.readouterr().err


def test_the_committed_series_links_to_itself_alone(tmp_path: Path) -> None:
    for path in ROOT.glob("[0-9][0-9]-*.ipynb"):
        made = nbformat.read(path, 4)
        made.cells.append(new_code_cell("1", outputs=[new_output("stream", text="shown")]))  # Outputs or none: both.
        put(tmp_path, path.name, made)
    site = report.build("ml-100k", tmp_path).parent
    assert len(list(site.glob("*.html"))) == 9
    check_links(site)
    for path in site.glob("*.html"):
        check_loads_nothing(BeautifulSoup(path.read_text(), "html.parser"))
