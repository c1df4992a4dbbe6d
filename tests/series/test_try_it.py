"""The page to try it: the list of a visitor is Python's, place by place, in the browser and without one."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import pyarrow as pa
import pytest
from bs4 import BeautifulSoup
from PIL import Image

from tests.conftest import FULL, Open
from tests.series.test_site import check_loads_nothing, notebook, put
from tests.study import toy
from tests.study.toy import MOVIES
from utils.handoff.manifest import HandOffError
from utils.model.list_model import ListModel
from utils.recommend import new_user, onnx_export
from utils.series import site, try_it
from utils.series.runner import RECORD
from utils.study.study import Study

pytestmark = pytest.mark.usefixtures("one_thread")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NODE = shutil.which("node")
HOSTILE = "</script><script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\"> é 7"
TITLES = [HOSTILE if movie == 7 else f"Movie {movie}" for movie in MOVIES]
Python = Callable[..., list[int]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with a notebook that was run on "toy", whose files are beside it."""
    made = notebook("00-Start")
    made.metadata[RECORD] = {"parameters": {"DATA_DIR": "../data"}}
    put(tmp_path, "repository/runs/toy/00-Start.ipynb", made)
    nbformat.write(notebook("00-Start"), tmp_path / "repository" / "00-Start.ipynb")
    return tmp_path / "repository"


@pytest.fixture
def study(open_for: Open) -> Study:
    study = toy.open_study(open_for, epochs=1)
    movies = open_for("train").read("movies_converted").set_column(1, "title", pa.array(TITLES))
    open_for("train").write("movies_converted", movies)
    none, store = pa.nulls(len(MOVIES), pa.string()), open_for("enriched")
    Image.new("RGB", (160, 240), "red").save(store.folder / "red.png")
    paths = pa.array(["red.png" if movie == 2 else None for movie in MOVIES], pa.string())
    content = {"synopsis": none, "synopsis_source": none, "poster_path": paths, "poster_source": paths}
    store.write("enriched", pa.table({"movieId": MOVIES} | content))
    return study


@pytest.fixture
def lists(study: Study, open_for: Open) -> ListModel:
    lists, store = replace(study.fit_lists(FULL, 1), lean=0.3, blend=1.4, trend=0.02), open_for("metrics")
    onnx_export.export_lists(store.path("serving_lists"), lists, study.data.catalogue.movie_ids)
    store.record("serving_lists", rows=None)
    return lists


@pytest.fixture
def python(study: Study, lists: ListModel) -> Python:
    """The list of someone who likes movies of the page: new_user's, without what is not on the page."""

    def recommend(liked: list[int], held: Iterable[int] = MOVIES) -> list[int]:
        found = new_user.recommend(study.data, lists, liked, k=len(MOVIES))["movieId"].tolist()
        return [movie for movie in found if movie in held][:10]

    return recommend


def page_of(root: Path) -> tuple[Path, BeautifulSoup, dict]:
    path = site.build("toy", root).parent / site.TRY
    soup = BeautifulSoup(path.read_text(), "html.parser")
    return path, soup, json.loads(soup.find(id="model").string)


def adds(model: dict, liked: list[int]) -> np.ndarray:
    """What each liked movie, by place, adds to the score of each: float64 [liked, movies]."""
    names = ("lift" if len(liked) <= model["few"] else "ease", "alike")
    known, alike = (np.frombuffer(base64.b64decode(model[name]), "<f4") for name in names)
    known, alike = (matrix.reshape(len(model["movies"]), -1)[liked].astype(float) for matrix in (known, alike))
    return known / (len(liked) if len(liked) <= model["few"] else 1) + alike / np.sqrt(len(liked))


def of_all(model: dict, liked: list[int]) -> np.ndarray:
    recent = np.array([movie["recent"] or 0 for movie in model["movies"]])
    if len(liked) <= model["few"]:
        return (model["trend"] + model["most"]) * recent
    return (model["trend"] + model["prior"] / (1 + len(liked) / model["habit"])) * recent


def in_numpy(model: dict, liked: list[int]) -> np.ndarray:
    """What the docstrings say of the page's numbers, without its script: places in the order of the list."""
    score = adds(model, liked).sum(axis=0) + of_all(model, liked)
    score[liked] = -np.inf
    return np.argsort(-score, kind="stable")[: len(score) - len(liked)]


def because(model: dict, liked: list[int], place: int) -> int | None:
    """The liked movie that adds most to the score, if what all like does not add more."""
    places = sorted(movie - 1 for movie in liked)
    own = adds(model, places)[:, place]
    least = 0 if len(liked) <= model["few"] else of_all(model, liked)[place]
    return places[own.argmax()] if own.max() > least else None


PICKS = [[2, 4, 6], [7, 30, 11], list(range(1, 13))]


@pytest.mark.parametrize("liked", PICKS)
def test_the_numbers_on_the_page_give_pythons_list(root: Path, python: Python, liked: list[int]) -> None:
    _, soup, model = page_of(root)
    assert [movie["title"] for movie in model["movies"]] == TITLES
    assert [movie["recent"] is None for movie in model["movies"]] == (MOVIES > 24).tolist()
    assert [bool(movie["poster"]) for movie in model["movies"]] == (MOVIES == 2).tolist()
    assert (in_numpy(model, [movie - 1 for movie in liked])[:10] + 1).tolist() == python(liked)
    assert "24 of the movies" in soup.main.get_text() and "6 that hardly anyone" in soup.main.get_text()


@pytest.mark.skipif(NODE is None, reason="no node is installed")
@pytest.mark.parametrize("liked", PICKS)
def test_the_script_gives_pythons_list_and_reasons(root: Path, python: Python, liked: list[int]) -> None:
    _, soup, model = page_of(root)
    call = f"recommend(read({json.dumps(json.dumps(model))}), {[movie - 1 for movie in liked]}, 10)"
    script = f"{soup.find_all('script')[-1].string}\nconsole.log(JSON.stringify({call}))"
    said = subprocess.run([NODE, "-"], input=script, capture_output=True, text=True, check=True, timeout=60).stdout
    found = json.loads(said)
    assert [movie["place"] + 1 for movie in found] == python(liked)
    assert [movie["because"] for movie in found] == [because(model, liked, movie["place"]) for movie in found]


DRIVER = """
const input = document.getElementById("search");
function type(text) {
  input.value = text;
  input.dispatchEvent(new Event("input"));
}
for (const text of TYPED) {
  type(text);
  input.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
}
type("no such movie");
"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome is installed")
@pytest.mark.parametrize("liked", PICKS[:2])
def test_three_picks_in_a_browser(root: Path, python: Python, liked: list[int], tmp_path: Path) -> None:
    path, _, model = page_of(root)
    typed = ["É  onerror" if movie == 7 else f"movie {movie}  {1970 + movie}" for movie in liked]
    driver = DRIVER.replace("TYPED", json.dumps(typed))
    # The page's policy lets only its own script run, so the hash of the driver joins it in a copy.
    digest = base64.b64encode(hashlib.sha256(driver.encode()).digest()).decode()
    driven = path.read_text().replace("script-src ", f"script-src 'sha256-{digest}' ", 1)
    (tmp_path / "driven.html").write_text(driven.replace("</body>", f"<script>{driver}</script></body>"))
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom", f"file://{tmp_path / 'driven.html'}"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    soup = BeautifulSoup(shown, "html.parser")
    years = re.compile(r" \(\d{4}\)$")
    picked = [years.sub("", button.get_text().removesuffix(" ✕")) for button in soup.select("#picked button")]
    assert [TITLES.index(title) + 1 for title in picked] == liked
    assert soup.select_one("#picked button")["aria-label"].startswith("Remove ")
    shelf = [TITLES.index(years.sub("", card.strong.get_text())) + 1 for card in soup.select("#shelf li")]
    assert shelf == python(liked)
    for movie, card in zip(shelf, soup.select("#shelf li"), strict=True):
        most = because(model, liked, movie - 1)
        otherwise = "because many like it" if movie < 25 else "for what it is about"
        why = otherwise if most is None else f"because you liked {TITLES[most]}"
        assert card.find(class_="why").get_text() == why
        assert (card.find(class_="new") is not None) == (movie > 24)
    assert soup.find(id="said").get_text() == "No movie on this page has that title."
    assert soup.title.string == "Try it" and not soup.find_all(onerror=True), "a title became HTML"


def test_the_page_runs_its_own_script_and_loads_nothing(root: Path, lists: ListModel) -> None:
    path, soup, _ = page_of(root)
    data, script = (element.extract() for element in soup.find_all("script"))
    policy = soup.find("meta", {"http-equiv": "Content-Security-Policy"})["content"]
    digest = base64.b64encode(hashlib.sha256(script.string.encode()).digest()).decode()
    assert re.findall(r"script-src ([^;]+);", policy) == [f"'sha256-{digest}'"]
    assert data["type"] == "application/json"
    check_loads_nothing(soup)
    assert HOSTILE not in path.read_text()
    assert not re.search(r"innerHTML|insertAdjacent|document\.write|\beval\b|fetch\(|XMLHttp|import\(", script.string)
    assert not [name for element in soup.find_all(True) for name in element.attrs if name.startswith("on")]
    assert soup.find("label", {"for": "search"}) and soup.find(id="said")["role"] == "status"
    assert soup.find("a", string="Run it yourself")["href"] == "index.html#run-it-yourself"
    index = BeautifulSoup((path.parent / "index.html").read_text(), "html.parser")
    assert index.find(id="run-it-yourself") and index.find("a", class_="call")["href"] == path.name
    assert [link["href"] for link in index.header.find_all("a")][-1] == path.name


def test_of_many_movies_the_page_holds_some_in_the_order_of_the_full_list(
    root: Path, python: Python, lists: ListModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(try_it, "KNOWN", 8)
    monkeypatch.setattr(try_it, "NEW", 2)
    model = page_of(root)[2]
    held = [TITLES.index(movie["title"]) + 1 for movie in model["movies"]]
    best = lists.known[np.argsort(-lists.recent[lists.known], kind="stable")[:8]] + 1
    assert [movie for movie in held if movie < 25] == sorted(best) and len(held) == 10
    assert [held[place] for place in in_numpy(model, [0, 1, 2])] == python(held[:3], held)


@pytest.mark.parametrize("damage", [b"no ONNX", b""])
def test_the_site_does_without_a_damaged_file(root: Path, lists: ListModel, open_for: Open, damage: bytes) -> None:
    path = open_for("metrics").path("serving_lists")
    path.write_bytes(damage)
    with pytest.raises(HandOffError, match=r"lists\.onnx (is no ONNX file|has no table).* Run 07-"):
        try_it.tables(path)
    index = site.build("toy", root)
    assert not (index.parent / site.TRY).exists()
    assert "There is no page to try it: toy/lists.onnx" in index.read_text()
