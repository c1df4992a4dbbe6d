"""utils.content.enrichment: providers in order, resume, what is reported of each movie, and when to run again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

from tests.fakes.server import FakeHost
from tests.fakes.tmdb import KEY, PICTURES, World, catalogue, record, row
from tests.fakes.wikimedia import Encyclopedia
from tests.places import ROOT
from utils.content import enrichment, images
from utils.content.enrichment import enrich, left_to_do, open_providers
from utils.content.movie import Movie
from utils.content.providers.base import Failed, Picture, Provider, Refused, Synopsis
from utils.fetching.answers import DAY, FILE, Answer, Answers
from utils.handoff.atomic import DataFolderError
from utils.handoff.contract import ARTEFACTS
from utils.handoff.parameters import ParameterError
from utils.handoff.store import Store, open_store

SIZE = (32, 48)


class Fake(Provider):
    """A provider whose answers are given by movieId; an exception is raised, anything else returned."""

    def __init__(self, name: str, texts: dict[int, object], pictures: dict[int, object] | None = None) -> None:
        self.name, self.texts, self.pictures, self.drawn = name, texts, pictures or {}, []

    def _answer(self, answer: object) -> object:
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def synopsis(self, movie: Movie) -> Synopsis | None:
        text = self._answer(self.texts.get(movie.movieId))
        return None if text is None else Synopsis(str(text))

    def poster(self, movie: Movie, size: tuple[int, int]) -> Picture | None:
        colour = self._answer(self.pictures.get(movie.movieId))

        def draw() -> Image.Image:
            self.drawn.append(movie.movieId)
            return Image.new("RGB", (20, 20), str(colour))

        return None if colour is None else Picture(str(colour), draw)


def movies_of(ids: list[int]) -> pa.Table:
    return catalogue([row(number) for number in ids])


def of_all(ids: list[int]) -> Fake:
    return Fake("fake", dict.fromkeys(ids, "A text."), dict.fromkeys(ids, "red"))


def run(store: Store, ids: list[int], *providers: Provider, **options: int | None) -> tuple[list[dict], list[dict]]:
    """Write and return the rows of enriched and of its report."""
    enriched, report = enrich(store, movies_of(ids), providers or [of_all(ids)], SIZE, **options)
    store.write("enriched", enriched)
    store.write("enrichment_report", report)
    return enriched.to_pylist(), report.to_pylist()


def lines(report: list[dict], modality: str) -> list[tuple]:
    return [(r["movieId"], r["provider"], r["outcome"], r["detail"]) for r in report if r["modality"] == modality]


def posters_of(store: Store) -> list[str]:
    return sorted(os.listdir(store.path("posters")))


def test_every_movie_has_a_row_in_order_and_the_contract_accepts_it(store: Store) -> None:
    rows, report = run(store, [3, 1, 2])
    assert [(each["movieId"], each["poster_path"]) for each in rows] == [(n, f"posters/{n}.jpg") for n in (1, 2, 3)]
    assert all(images.decode(store.folder / each["poster_path"]).size == SIZE for each in rows)
    assert [each["outcome"] for each in report] == ["found"] * 6
    assert store.read("enriched").num_rows == 3
    enriched, report = enrich(store, movies_of([]), [of_all([])], SIZE)
    assert (enriched.num_rows, report.num_rows) == (0, 0)
    assert enriched.column_names == list(ARTEFACTS["enriched"].columns or ())


def test_offline_gives_every_movie_a_poster(store: Store) -> None:
    (offline,) = open_providers(store, "offline", None, movies_of([1]))
    assert run(store, [1], offline)[0][0]["poster_source"] == "offline"


def test_only_what_changed_is_drawn_again(store: Store) -> None:
    fake = of_all([1, 2, 3])
    run(store, [1, 2, 3], fake, workers=1)
    inodes = {name: (store.path("posters") / name).stat().st_ino for name in posters_of(store)}
    assert run(store, [1, 2, 3], fake) == run(store, [1, 2, 3], fake, workers=4)
    assert inodes == {name: (store.path("posters") / name).stat().st_ino for name in posters_of(store)}
    (store.path("posters") / "2.jpg").write_bytes((store.path("posters") / "2.jpg").read_bytes()[:100])
    fake.pictures[3] = "blue"
    run(store, [1, 2, 3], fake, workers=1)
    assert fake.drawn == [1, 2, 3, 2, 3]
    enrich(store, movies_of([1, 2, 3]), [fake], (48, 48), workers=1)
    assert fake.drawn == [1, 2, 3, 2, 3, 1, 2, 3]


def test_max_movies_skips_the_rest_and_says_so(store: Store) -> None:
    rows, report = run(store, [30, 10, 20], max_movies=2)
    assert [each["poster_path"] for each in rows] == ["posters/10.jpg", "posters/20.jpg", None]
    assert rows[2] == dict.fromkeys(rows[2]) | {"movieId": 30}
    skipped = {"movieId": 30, "provider": None, "outcome": "skipped", "detail": "beyond MAX_MOVIES", "attempts": 0}
    assert report[-2:] == [skipped | {"modality": modality} for modality in ("poster", "synopsis")]
    assert run(store, [10, 20], max_movies=0)[0][0]["synopsis"] is None
    assert posters_of(store) == []
    with pytest.raises(ParameterError, match=r"MAX_MOVIES=-1 must be a whole number of at least 0, or None"):
        run(store, [1], max_movies=-1)


def test_posters_that_belong_to_no_movie_are_removed_and_other_files_are_not(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, elsewhere = store.path("posters"), tmp_path / "Pictures"
    elsewhere.mkdir()
    folder.symlink_to(elsewhere)
    run(store, [1, 2, 3])
    assert "left alone" not in capsys.readouterr().err
    (folder / ".2.jpg.123.tmp").write_text("half")
    (folder / "note.txt").write_text("the reader's")
    Image.new("RGB", (40, 60)).save(folder / "1998.jpg", comment=b"a holiday")
    run(store, [2])
    assert posters_of(store) == ["1998.jpg", "2.jpg", "note.txt"]
    assert "2 not written here are left alone, such as '1998.jpg'." in capsys.readouterr().err


def test_something_in_the_place_of_the_posters_folder(store: Store) -> None:
    store.path("posters").write_text("in the way")
    with pytest.raises(DataFolderError, match=r"Cannot write .*posters: File exists. Remove or rename what is"):
        run(store, [1])


# Order, refusals, interruption


def test_the_first_that_has_it_wins_per_movie_and_per_modality(store: Store) -> None:
    first = Fake("first", {1: "text one"}, {2: "red"})
    second = Fake("second", {1: "late", 2: "text two"}, {1: "blue", 2: "green"})
    rows, report = run(store, [1, 2, 3], first, second)
    assert [(r["synopsis"], r["synopsis_source"], r["poster_source"]) for r in rows] == [
        ("text one", "first", "second"),
        ("text two", "second", "first"),
        (None, None, None),
    ]
    assert rows[2]["poster_path"] is None
    assert images.decode(store.folder / "posters/1.jpg").getpixel((5, 5))[2] > 200
    assert images.decode(store.folder / "posters/2.jpg").getpixel((5, 5))[0] > 200
    assert lines(report, "synopsis") == [
        (1, "first", "found", None),
        (2, "first", "missing", None),
        (2, "second", "found", None),
        (3, "first", "missing", None),
        (3, "second", "missing", None),
    ]
    swapped, _ = run(store, [1, 2, 3], second, first)
    assert [each["synopsis"] for each in swapped] == ["late", "text two", None]
    assert images.decode(store.folder / "posters/2.jpg").getpixel((5, 5))[1] > 100


def test_a_refusal_is_reported_and_the_next_provider_asked(store: Store) -> None:
    first = Fake("first", {1: Refused("wrong language")}, {1: images.ImageRefused("too small (1 x 1)")})
    rows, report = run(store, [1], first, of_all([1]))
    assert rows[0]["synopsis_source"] == "fake"
    assert lines(report, "poster") == [(1, "first", "refused", "too small (1 x 1)"), (1, "fake", "found", None)]
    assert lines(report, "synopsis")[0] == (1, "first", "refused", "wrong language")


def test_four_providers_in_order(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world, articles, folder = World(), Encyclopedia(), tmp_path / "own"
    for number in (1, 2, 3, 4):
        world.records[number] = record(number, **({"overview": "", "poster_path": None} if number == 3 else {}))
        world.pictures[f"p{number}.jpg"] = PICTURES["good"](number)
        articles.add(number)
    (folder / "posters").mkdir(parents=True)
    (folder / "synopses.csv").write_text("movieId,synopsis\n1,My own text\n")
    Image.new("RGB", (40, 60)).save(folder / "posters" / "2.jpg")
    movies = movies_of([1, 2, 3, 4, 5])
    with (
        FakeHost(world.api) as api,
        FakeHost(world.images) as pictures,
        FakeHost(articles.wikidata) as wikidata,
        FakeHost(articles.wikipedia) as wikipedia,
    ):
        names = {"TMDB_API_KEY": KEY, "TMDB_API_URL": api.url, "TMDB_IMAGE_URL": pictures.url}
        names |= {"WIKIDATA_URL": wikidata.url, "WIKIPEDIA_URL": wikipedia.url, "WIKIPEDIA_CONTACT": "me@example.org"}
        for name, value in names.items():
            monkeypatch.setenv(name, value)
        order = "local, tmdb ,wikipedia"
        given = open_providers(store, order, folder, movies, accept_tmdb_terms=True, requests_per_second=500)
        rows, report = run(store, [1, 2, 3, 4, 5], *given)
        assert [each["synopsis_source"] for each in rows] == ["local", "tmdb", "wikipedia", "tmdb", None]
        assert [each["poster_source"] for each in rows] == ["tmdb", "local", None, "tmdb", None]
        # Each provider was asked only for what the ones before it lacked.
        assert sorted(pictures.keys()) == ["t/p/w92/p1.jpg", "t/p/w92/p4.jpg"]
        (asked,) = wikidata.keys()
        assert '"tt5000003" "tt5000005"' in asked
        assert "tt5000001" not in asked
        assert [line[:3] for line in lines(report, "synopsis")] == [
            (1, "local", "found"),
            *((2, "local", "missing"), (2, "tmdb", "found")),
            *((3, "local", "missing"), (3, "tmdb", "missing"), (3, "wikipedia", "found")),
            *((4, "local", "missing"), (4, "tmdb", "found")),
            *((5, "local", "missing"), (5, "tmdb", "missing"), (5, "wikipedia", "missing")),
        ]
        asked = [len(host.log) for host in (api, pictures, wikidata, wikipedia)]
        again = open_providers(store, order, folder, movies, accept_tmdb_terms=True, requests_per_second=500)
        assert run(store, [1, 2, 3, 4, 5], *again) == (rows, report)
        assert [len(host.log) for host in (api, pictures, wikidata, wikipedia)] == asked


@pytest.mark.parametrize("error", [KeyboardInterrupt(), DataFolderError("full"), ParameterError("key refused")])
def test_an_error_in_one_thread_ends_all_and_the_next_run_goes_on(store: Store, error: BaseException) -> None:
    fake = of_all(list(range(1, 2001)))
    fake.texts[20] = error
    with pytest.raises(type(error)):
        run(store, list(range(1, 2001)), fake, workers=2)
    done = posters_of(store)
    assert 20 <= len(done) < 1000
    assert all(name.endswith(".jpg") and images.comment_of(store.path("posters") / name) for name in done)
    fake.drawn.clear()
    del fake.texts[20]
    run(store, list(range(1, 101)), fake)
    assert not set(fake.drawn) & {int(name.removesuffix(".jpg")) for name in done}


def test_a_full_disk_stops_the_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Image.Image, target: Path, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(DataFolderError, match=r"No space left to write"):
        run(store, [1, 2, 3])


def test_after_a_kill_the_next_run_goes_on_where_it_was(store: Store, tmp_path: Path) -> None:
    ids = list(range(1, 3001))
    code = (
        "import sys; from tests.content.test_enrichment import *\n"
        "run(open_store(sys.argv[1], 'ml-25m', 42, '02-Data-Enrichment'), list(range(1, 3001)))"
    )
    posters = store.path("posters")
    command = [sys.executable, "-c", code, str(store.folder.parent)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        while not (posters.is_dir() and len(list(posters.glob("[1-9]*.jpg"))) > 20):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    kept = {path.name: path.stat().st_mtime_ns for path in posters.glob("[1-9]*.jpg")}
    assert 20 < len(kept) < 3000
    (posters / ".7.jpg.99999.tmp").write_bytes(b"half")
    wanted = max(len(kept), 30) + 10
    rows, _ = run(store, ids[:wanted])
    assert all(each["poster_path"] for each in rows)
    assert posters_of(store) == sorted(f"{n}.jpg" for n in range(1, wanted + 1))
    now = {path.name: path.stat().st_mtime_ns for path in posters.iterdir()}
    assert all(now[name] == when for name, when in kept.items() if name in now)


# When to run again


def test_movies_whose_host_failed_are_left_to_do(store: Store, capsys: pytest.CaptureFixture) -> None:
    assert left_to_do(store.folder) is None
    run(store, [1, 2, 3], Fake("tmdb", {1: Failed("the host answered 500"), 2: Failed("no")}), of_all([1, 2, 3]))
    said = "A host could not be asked for 2 of 3 movies. Run this again: only they are asked for."
    assert said in capsys.readouterr().err
    assert left_to_do(store.folder) == "a host could not be asked for 2 movies"
    run(store, [1, 2, 3])
    assert left_to_do(store.folder) is None
    assert "could not" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("providers", "refresh", "answered", "ran", "due"),
    [
        ("offline", 30, 100, 99, None),
        ("tmdb", None, 170, 20, None),
        ("tmdb", None, 181, 20, "1 answers of tmdb are too old"),
        ("tmdb,offline", 30, 31, 20, "1 answers of tmdb are too old"),
        ("wikipedia", None, 181, 20, None),
        ("local, wikipedia", 30, 31, 20, "1 answers of wikipedia are too old"),
        ("wikipedia", None, -3650, 20, "1 answers of wikipedia are too old"),
        # It was too old already when 02 ran last, which did not ask for it again: no movie needs it.
        ("tmdb", 30, 60, 20, None),
    ],
)
def test_answers_that_have_grown_too_old_are_left_to_do(
    tmp_path: Path, providers: str, refresh: int | None, answered: int, ran: int, due: str | None
) -> None:
    """Times in days ago."""
    parameters = {"ENRICHMENT": providers, "REFRESH_DAYS": refresh}
    store = open_store(tmp_path, "ml-25m", 42, "02-Data-Enrichment", **parameters)
    run(store, [1])
    then = time.time() - ran * DAY
    os.utime(store.path("enrichment_report"), (then, then))
    assert left_to_do(store.folder) is None
    answers = Answers(store.folder / FILE)
    for provider in ("tmdb", "wikipedia"):
        answers.put(Answer(provider, "1", "found", fetched_at=time.time() - answered * DAY))
    assert left_to_do(store.folder) == due


# Parameters


@pytest.mark.parametrize("value", ["imdb", "local;offline", "", "offline,", "Offline", None, 3])
def test_an_unknown_provider_is_an_error_that_lists_the_known(store: Store, value: object) -> None:
    with pytest.raises(ParameterError, match=r"ENRICHMENT=.* is not a known provider.*'offline', 'local'"):
        open_providers(store, value, None, movies_of([1]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("parameter", "reason"),
    [
        *(({"requests_per_second": value}, "REQUESTS_PER_SECOND=") for value in (0, -1, True, "40", None, 5000)),
        ({"refresh_days": -1}, "REFRESH_DAYS=-1 must be a whole number of at least 0, or None"),
        ({"enrichment": "offline, offline"}, "names a provider twice"),
    ],
)
def test_other_parameters_that_cannot_be(store: Store, parameter: dict, reason: str) -> None:
    with pytest.raises(ParameterError, match=reason):
        open_providers(store, **{"enrichment": "offline", "enrichment_dir": None, "movies": movies_of([])} | parameter)


@pytest.mark.parametrize(
    "value", [[15, 100], [100, 2001], [100], [100, 100, 100], 100, "256x384", [1.5, 100], [True, 100], None]
)
def test_a_poster_size_is_two_whole_numbers(value: object) -> None:
    assert enrichment.poster_size([256, 384]) == (256, 384)
    assert enrichment.poster_size((16, 2000)) == (16, 2000)
    with pytest.raises(ParameterError, match=r"POSTER_SIZE=.*must be \[width, height\] in pixels, each 16 to 2000"):
        enrichment.poster_size(value)
