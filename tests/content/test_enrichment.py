"""utils.content.enrichment: providers in order, the reader's own folder, resume, and what is reported of each movie."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.fakes.server import FakeHost
from tests.fakes.tmdb import KEY, PICTURES, World, record, row
from tests.fakes.wikimedia import Encyclopedia
from tests.places import ROOT
from utils.content import cards, enrichment, images
from utils.content.enrichment import Movie, Picture, Provider, Refused, enrich, open_providers
from utils.content.providers.base import Synopsis
from utils.handoff.contract import ARTEFACTS
from utils.handoff.parameters import ParameterError
from utils.handoff.store import DataFolderError, Store, open_store

SIZE = (32, 48)
SYNOPSES = os.environ.get("SYNOPSES")


def catalogue(ids: list[int]) -> pa.Table:
    columns = ARTEFACTS["movies_converted"].columns
    assert columns is not None
    rows = [
        {"movieId": n, "title": f"Movie {n}", "year": 1990, "genres": ["Drama"], "imdbId": None, "tmdbId": None}
        for n in ids
    ]
    return pa.Table.from_pylist(rows, schema=pa.schema(list(columns.items())))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "data", "ml-100k", 42, "02-Data-Enrichment")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    own = tmp_path / "own"
    (own / "posters").mkdir(parents=True)
    return own


def write_csv(folder: Path, text: str, name: str = "synopses.csv") -> None:
    (folder / name).write_text(text)


def write_poster(path: Path, colour: str = "red", kind: str = "JPEG", size: tuple[int, int] = (40, 60)) -> None:
    Image.new("RGB", size, colour).save(path, kind)


def run(
    store: Store, names: str, folder: Path | None, ids: list[int], **options: int | None
) -> tuple[list[dict], list[dict]]:
    movies = catalogue(ids)
    enriched, report = enrich(store, movies, open_providers(store, names, folder, movies), SIZE, **options)
    return enriched.to_pylist(), report.to_pylist()


def lines(report: list[dict], modality: str) -> list[tuple]:
    return [(r["movieId"], r["provider"], r["outcome"], r["detail"]) for r in report if r["modality"] == modality]


def posters_of(store: Store) -> list[str]:
    return sorted(os.listdir(store.path("posters")))


# Offline


def test_offline_gives_every_movie_both_and_the_contract_accepts_it(store: Store) -> None:
    movies = catalogue([3, 1, 2])
    enriched, report = enrich(store, movies, open_providers(store, "offline", None, movies), SIZE)
    assert enriched.column("movieId").to_pylist() == [1, 2, 3]
    assert enriched.column("poster_path").to_pylist() == ["posters/1.jpg", "posters/2.jpg", "posters/3.jpg"]
    assert set(enriched.column("poster_source").to_pylist() + enriched.column("synopsis_source").to_pylist()) == {
        "offline"
    }
    for path in enriched.column("poster_path").to_pylist():
        image = images.decode(store.folder / path)
        assert image.size == SIZE
    assert report.num_rows == 6
    assert set(report.column("outcome").to_pylist()) == {"found"}
    store.record("posters", rows=3)
    store.write("enriched", enriched)
    store.write("enrichment_report", report)
    assert store.read("enriched").num_rows == 3


def test_a_second_run_writes_nothing_and_says_the_same(store: Store) -> None:
    first = run(store, "offline", None, list(range(1, 9)))
    before = {name: (store.path("posters") / name).stat().st_mtime_ns for name in posters_of(store)}
    inodes = {name: (store.path("posters") / name).stat().st_ino for name in posters_of(store)}
    assert run(store, "offline", None, list(range(1, 9))) == first
    assert before == {name: (store.path("posters") / name).stat().st_mtime_ns for name in posters_of(store)}
    assert inodes == {name: (store.path("posters") / name).stat().st_ino for name in posters_of(store)}


def test_only_what_changed_is_drawn_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run(store, "offline", None, [1, 2, 3])
    (store.path("posters") / "2.jpg").write_bytes((store.path("posters") / "2.jpg").read_bytes()[:100])
    movies = catalogue([1, 2, 3]).to_pylist()
    movies[2]["title"] = "Another title"
    table = pa.Table.from_pylist(movies, schema=catalogue([]).schema)
    drawn = []
    draw = cards.card
    monkeypatch.setattr(cards, "card", lambda title, *args: drawn.append(title) or draw(title, *args))
    enrich(store, table, [enrichment.Offline()], SIZE, workers=1)
    assert drawn == ["Movie 2", "Another title"]
    enrich(store, table, [enrichment.Offline()], (48, 48), workers=1)
    assert drawn[2:] == ["Movie 1", "Movie 2", "Another title"]


def test_the_result_does_not_depend_on_the_workers(store: Store, tmp_path: Path) -> None:
    other = open_store(tmp_path / "other", "ml-100k", 42, "02-Data-Enrichment")
    ids = list(range(1, 30))
    assert run(store, "offline", None, ids, workers=1) == run(other, "offline", None, ids, workers=4)
    for name in posters_of(store):
        assert (store.path("posters") / name).read_bytes() == (other.path("posters") / name).read_bytes()


def test_max_movies_skips_the_rest_and_says_so(store: Store) -> None:
    rows, report = run(store, "offline", None, [30, 10, 20], max_movies=2)
    assert [row["poster_path"] for row in rows] == ["posters/10.jpg", "posters/20.jpg", None]
    assert rows[2] == {
        "movieId": 30,
        "synopsis": None,
        "synopsis_source": None,
        "poster_path": None,
        "poster_source": None,
    }
    assert [r for r in report if r["movieId"] == 30] == [
        {
            "movieId": 30,
            "modality": m,
            "provider": None,
            "outcome": "skipped",
            "detail": "beyond MAX_MOVIES",
            "attempts": 0,
        }
        for m in ("poster", "synopsis")
    ]
    assert run(store, "offline", None, [10, 20], max_movies=0)[0][0]["synopsis"] is None
    assert posters_of(store) == []
    with pytest.raises(ParameterError, match=r"MAX_MOVIES=-1 must be a whole number of at least 0, or None"):
        run(store, "offline", None, [1], max_movies=-1)


def test_files_that_belong_to_no_movie_are_removed(store: Store) -> None:
    run(store, "offline", None, [1, 2])
    for stray in ("3.jpg", ".2.jpg.123.tmp", "note.txt"):
        (store.path("posters") / stray).write_text("stray")
    run(store, "offline", None, [2])
    assert posters_of(store) == ["2.jpg"]


def test_an_empty_catalogue_gives_empty_tables_with_the_right_schema(store: Store) -> None:
    enriched, report = enrich(store, catalogue([]), [enrichment.Offline()], SIZE)
    assert (enriched.num_rows, report.num_rows) == (0, 0)
    assert enriched.column_names == list(ARTEFACTS["enriched"].columns or ())


def test_something_in_the_place_of_the_posters_folder(store: Store) -> None:
    store.path("posters").write_text("in the way")
    with pytest.raises(DataFolderError, match=r"Cannot make the folder .*posters.*Remove what is in its place"):
        run(store, "offline", None, [1])


# Order, refusals, interruption


class Fake(Provider):
    """A provider whose answers are given by movieId; an exception is raised, anything else returned."""

    def __init__(self, name: str, texts: dict[int, object], pictures: dict[int, object] | None = None) -> None:
        self.name, self.texts, self.pictures = name, texts, pictures or {}

    def describe(self) -> str:
        return self.name

    def _answer(self, answer: object) -> object:
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def synopsis(self, movie: Movie) -> Synopsis | None:
        text = self._answer(self.texts.get(movie.movieId))
        return None if text is None else Synopsis(str(text))

    def poster(self, movie: Movie, size: tuple[int, int]) -> Picture | None:
        colour = self._answer(self.pictures.get(movie.movieId))
        return None if colour is None else Picture(str(colour), lambda: Image.new("RGB", (20, 20), str(colour)))


def test_the_first_that_has_it_wins_per_movie_and_per_modality(store: Store) -> None:
    first = Fake("first", {1: "text one"}, {2: "red"})
    second = Fake("second", {1: "late", 2: "text two"}, {1: "blue", 2: "green"})
    enriched, report = enrich(store, catalogue([1, 2, 3]), [first, second], SIZE)
    rows = enriched.to_pylist()
    assert [(r["synopsis"], r["synopsis_source"], r["poster_source"]) for r in rows] == [
        ("text one", "first", "second"),
        ("text two", "second", "first"),
        (None, None, None),
    ]
    assert rows[2]["poster_path"] is None
    assert images.decode(store.folder / "posters/1.jpg").getpixel((5, 5))[2] > 200
    assert images.decode(store.folder / "posters/2.jpg").getpixel((5, 5))[0] > 200
    assert lines(report.to_pylist(), "synopsis") == [
        (1, "first", "found", None),
        (2, "first", "missing", None),
        (2, "second", "found", None),
        (3, "first", "missing", None),
        (3, "second", "missing", None),
    ]
    swapped, _ = enrich(store, catalogue([1, 2, 3]), [second, first], SIZE)
    assert swapped.column("synopsis").to_pylist() == ["late", "text two", None]
    assert images.decode(store.folder / "posters/2.jpg").getpixel((5, 5))[1] > 100


def test_a_refusal_is_reported_and_the_next_provider_asked(store: Store) -> None:
    first = Fake("first", {1: Refused("wrong language")}, {1: images.ImageRefused("too small (1 x 1)")})
    enriched, report = enrich(store, catalogue([1]), [first, enrichment.Offline()], SIZE)
    assert enriched.to_pylist()[0]["synopsis_source"] == "offline"
    assert lines(report.to_pylist(), "poster") == [
        (1, "first", "refused", "too small (1 x 1)"),
        (1, "offline", "found", None),
    ]
    assert lines(report.to_pylist(), "synopsis")[0] == (1, "first", "refused", "wrong language")


def test_four_providers_in_order(store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world, articles = World(), Encyclopedia()
    for number in (1, 2, 3, 4):
        world.records[number] = record(number, **({"overview": "", "poster_path": None} if number == 3 else {}))
        world.pictures[f"p{number}.jpg"] = PICTURES["good"](number)
        articles.add(number)
    write_csv(folder, "movieId,synopsis\n1,My own text\n")
    write_poster(folder / "posters" / "2.jpg")
    movies = pa.Table.from_pylist([row(number) for number in range(1, 6)], schema=catalogue([]).schema)
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
        order = "local,tmdb,wikipedia,offline"
        providers = open_providers(store, order, folder, movies, accept_tmdb_terms=True, requests_per_second=500)
        enriched, report = enrich(store, movies, providers, SIZE)
        rows = enriched.to_pylist()
        assert [each["synopsis_source"] for each in rows] == ["local", "tmdb", "wikipedia", "tmdb", "offline"]
        assert [each["poster_source"] for each in rows] == ["tmdb", "local", "offline", "tmdb", "offline"]
        # Each provider was asked only for what the ones before it lacked.
        assert sorted(pictures.keys()) == ["t/p/w92/p1.jpg", "t/p/w92/p4.jpg"]
        (asked,) = wikidata.keys()
        assert '"tt5000003" "tt5000005"' in asked
        assert "tt5000001" not in asked
        synopses = [
            (r["movieId"], r["provider"], r["outcome"]) for r in report.to_pylist() if r["modality"] != "poster"
        ]
        assert synopses == [
            (1, "local", "found"),
            *((2, "local", "missing"), (2, "tmdb", "found")),
            *((3, "local", "missing"), (3, "tmdb", "missing"), (3, "wikipedia", "found")),
            *((4, "local", "missing"), (4, "tmdb", "found")),
            *((5, "local", "missing"), (5, "tmdb", "missing"), (5, "wikipedia", "missing"), (5, "offline", "found")),
        ]
        count = len(api.log) + len(pictures.log) + len(wikidata.log) + len(wikipedia.log)
        again = open_providers(store, order, folder, movies, accept_tmdb_terms=True, requests_per_second=500)
        assert [table.to_pylist() for table in enrich(store, movies, again, SIZE)] == [rows, report.to_pylist()]
        assert len(api.log) + len(pictures.log) + len(wikidata.log) + len(wikipedia.log) == count
    store.write("enriched", enriched)
    store.write("enrichment_report", report)


def test_ctrl_c_stops_and_the_next_run_goes_on(store: Store) -> None:
    texts: dict[int, object] = {20: KeyboardInterrupt()}
    pictures: dict[int, object] = dict.fromkeys(range(1, 2001), "red")
    with pytest.raises(KeyboardInterrupt):
        enrich(store, catalogue(list(range(1, 2001))), [Fake("fake", texts, pictures)], SIZE, workers=2)
    done = posters_of(store)
    assert 20 <= len(done) < 1000
    assert all(name.endswith(".jpg") and images.comment_of(store.path("posters") / name) for name in done)


def test_a_full_disk_stops_the_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Image.Image, target: Path, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(DataFolderError, match=r"No space left to write"):
        run(store, "offline", None, [1, 2, 3])


def test_after_a_kill_the_next_run_goes_on_where_it_was(store: Store, tmp_path: Path) -> None:
    pq.write_table(catalogue(list(range(1, 3001))), tmp_path / "movies.parquet")
    code = (
        "import sys, pyarrow.parquet as pq;"
        "from utils.content import enrichment; from utils.handoff.store import open_store;"
        "store = open_store(sys.argv[1], 'ml-100k', 42, '02-Data-Enrichment');"
        "enrichment.enrich(store, pq.read_table(sys.argv[2]), [enrichment.Offline()], (32, 48))"
    )
    arguments = [sys.executable, "-c", code, str(store.folder.parent), str(tmp_path / "movies.parquet")]
    posters = store.path("posters")
    with subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        while not (posters.is_dir() and len(list(posters.glob("[1-9]*.jpg"))) > 20):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    kept = {path.name: path.stat().st_mtime_ns for path in posters.glob("[1-9]*.jpg")}
    assert 20 < len(kept) < 3000
    (posters / ".7.jpg.99999.tmp").write_bytes(b"half")
    wanted = max(len(kept), 30) + 10
    rows, _ = run(store, "offline", None, list(range(1, wanted + 1)))
    assert all(row["poster_path"] for row in rows)
    assert posters_of(store) == sorted(f"{n}.jpg" for n in range(1, wanted + 1))
    now = {path.name: path.stat().st_mtime_ns for path in posters.iterdir()}
    assert all(now[name] == when for name, when in kept.items() if name in now)


# Parameters


@pytest.mark.parametrize("value", ["imdb", "local;offline", "", "offline,", "Offline", None, 3])
def test_an_unknown_provider_is_an_error_that_lists_the_known(store: Store, value: object) -> None:
    with pytest.raises(ParameterError, match=r"ENRICHMENT=.* is not a known provider.*'offline', 'local'"):
        open_providers(store, value, None, catalogue([1]))  # type: ignore[arg-type]


def test_a_provider_named_twice_is_an_error(store: Store) -> None:
    with pytest.raises(ParameterError, match=r"names a provider twice"):
        open_providers(store, "offline, offline", None, catalogue([1]))


def test_blanks_around_the_names_do_not_matter(store: Store, folder: Path) -> None:
    write_csv(folder, "movieId,synopsis\n1,A text\n")
    found = open_providers(store, " local , offline", folder, catalogue([1]))
    assert [provider.name for provider in found] == ["local", "offline"]
    assert "STAND-INS" in found[1].describe()


@pytest.mark.parametrize(
    "value", [[15, 100], [100, 2001], [100], [100, 100, 100], 100, "256x384", [1.5, 100], [True, 100], None]
)
def test_a_poster_size_that_cannot_be(value: object) -> None:
    with pytest.raises(ParameterError, match=r"POSTER_SIZE=.*must be \[width, height\] in pixels, each 16 to 2000"):
        enrichment.poster_size(value)


def test_a_poster_size_is_two_whole_numbers() -> None:
    assert enrichment.poster_size([256, 384]) == (256, 384)
    assert enrichment.poster_size((16, 2000)) == (16, 2000)


# The reader's own folder


def test_local_without_a_folder(store: Store) -> None:
    with pytest.raises(ParameterError, match=r"ENRICHMENT_DIR=None, but ENRICHMENT names 'local'. Set ENRICHMENT_DIR"):
        open_providers(store, "local", None, catalogue([1]))


def test_a_folder_that_is_not_there_or_holds_nothing(store: Store, folder: Path) -> None:
    with pytest.raises(ParameterError, match=r"ENRICHMENT_DIR=.*nowhere' is not a folder"):
        open_providers(store, "local", folder / "nowhere", catalogue([1]))
    with pytest.raises(
        ParameterError, match=r"holds neither synopses.parquet or synopses.csv .* nor posters/<movieId>.jpg"
    ):
        open_providers(store, "local", folder, catalogue([1]))
    (folder / "posters" / "readme.jpg").write_text("no number")
    with pytest.raises(ParameterError, match=r"holds neither"):
        open_providers(store, "local", folder, catalogue([1]))


def test_the_output_folder_cannot_be_the_source(store: Store) -> None:
    run(store, "offline", None, [1])
    with pytest.raises(ParameterError, match=r"its posters/ is where this notebook writes"):
        open_providers(store, "local", store.folder, catalogue([1]))
    assert posters_of(store) == ["1.jpg"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("id,synopsis\n1,x\n", "has no column 'movieId', only \\['id', 'synopsis'\\]"),
        ("movieId,plot\n1,x\n", "has no column 'synopsis', only"),
        ("movieId,synopsis\nx,text\n", "cannot be read as csv with movieId .*Row #2.*invalid value 'x'"),
        ("movieId,synopsis\n1,text,more\n", "cannot be read as csv .*Expected 2 columns, got 3"),
        ("", "cannot be read as csv .*Empty CSV file"),
        ("movieId,synopsis\n7,x\n8,y\n", "none of its 2 movieIds is in this catalogue of 2 movies \\(first: 7\\)"),
    ],
)
def test_a_csv_that_cannot_be_used(store: Store, folder: Path, text: str, reason: str) -> None:
    write_csv(folder, text)
    with pytest.raises(ParameterError, match=f"synopses.csv.*{reason}"):
        open_providers(store, "local", folder, catalogue([1, 2]))


def test_a_csv_that_is_not_utf8(store: Store, folder: Path) -> None:
    (folder / "synopses.csv").write_bytes(b"movieId,synopsis\n1,\xff\xfe broken\n")
    with pytest.raises(ParameterError, match=r"synopses.csv cannot be read as csv .*invalid UTF8"):
        open_providers(store, "local", folder, catalogue([1]))


def test_a_parquet_file_that_cannot_be_used(store: Store, folder: Path) -> None:
    path = folder / "synopses.parquet"
    path.write_bytes(b"<html>")
    with pytest.raises(ParameterError, match=r"synopses.parquet cannot be read as parquet"):
        open_providers(store, "local", folder, catalogue([1]))
    pq.write_table(pa.table({"movieId": [1]}), path)
    with pytest.raises(ParameterError, match=r"has no column 'synopsis', only \['movieId'\]"):
        open_providers(store, "local", folder, catalogue([1]))
    pq.write_table(pa.table({"movieId": ["one"], "synopsis": ["x"]}), path)
    with pytest.raises(ParameterError, match=r"cannot be read as parquet with movieId \(whole numbers\)"):
        open_providers(store, "local", folder, catalogue([1]))
    pq.write_table(pa.table({"movieId": [1], "synopsis": [[1, 2]]}), path)
    with pytest.raises(ParameterError, match=r"cannot be read as parquet"):
        open_providers(store, "local", folder, catalogue([1]))


def test_a_file_that_unpacks_to_too_much(store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("utils.content.providers.local.MOST_BYTES", 1000)
    pq.write_table(pa.table({"movieId": [1], "synopsis": ["x" * 100_000]}), folder / "synopses.parquet")
    with pytest.raises(ParameterError, match=r"unpacks to .* more than 1,000"):
        open_providers(store, "local", folder, catalogue([1]))


def test_synopses_are_cleaned_counted_and_the_first_of_an_id_wins(store: Store, folder: Path) -> None:
    write_csv(
        folder,
        'movieId,extra,synopsis\n1,a,"A ""quoted""\n\x00second\x07 line, here"\n1,b,Later\n'
        "2,c,   \n3,d,\n,e,No id\n9,f,Unknown\n"
        "4,g," + "long " * 10_000 + "\n5,h,NA\n",
    )
    movies = catalogue([1, 2, 3, 4, 5])
    (local,) = open_providers(store, "local", folder, movies)
    rows = enrich(store, movies, [local], SIZE)[0].to_pylist()
    assert rows[0]["synopsis"] == 'A "quoted" second line, here'
    assert [row["synopsis"] for row in rows[1:3]] == [None, None]
    assert 19_000 < len(rows[3]["synopsis"]) <= 20_000
    assert rows[4]["synopsis"] == "NA"
    assert [row["synopsis_source"] for row in rows] == ["local", None, None, "local", "local"]
    assert local.describe() == (
        "local: 3 synopses from synopses.csv (2 rows of repeated or null movieId, 1 of unknown movies, 2 blank) in own/"
    )


def test_parquet_of_other_integer_and_string_types(store: Store, folder: Path) -> None:
    table = pa.table(
        {"synopsis": pa.array(["x", "y"]).dictionary_encode(), "other": [1, 2], "movieId": pa.array([1, 2], pa.int32())}
    )
    pq.write_table(table, folder / "wikipedia-synopses.parquet")
    assert [row["synopsis"] for row in run(store, "local", folder, [1, 2])[0]] == ["x", "y"]


def test_one_file_whose_name_ends_so_is_taken_and_two_are_an_error(store: Store, folder: Path) -> None:
    write_csv(folder, "movieId,synopsis\n1,mine\n", "my-synopses.csv")
    assert run(store, "local", folder, [1])[0][0]["synopsis"] == "mine"
    write_csv(folder, "movieId,synopsis\n1,yours\n", "your-synopses.csv")
    with pytest.raises(ParameterError, match=r"several synopsis files \(my-synopses.csv, your-synopses.csv\)"):
        run(store, "local", folder, [1])
    write_csv(folder, "movieId,synopsis\n1,exact\n")
    assert run(store, "local", folder, [1])[0][0]["synopsis"] == "exact"


def test_posters_of_every_kind_and_every_bad_one_has_its_reason(store: Store, folder: Path) -> None:
    posters = folder / "posters"
    write_poster(posters / "1.jpg")
    write_poster(posters / "2.JPEG")
    write_poster(posters / "3.png", kind="PNG")
    write_poster(posters / "4.webp", kind="WEBP")
    (posters / "5.jpg").write_text("<!DOCTYPE html>")
    whole = io.BytesIO()
    Image.effect_noise((90, 90), 90).convert("RGB").save(whole, "JPEG")
    (posters / "6.jpg").write_bytes(whole.getvalue()[:2000])
    write_poster(posters / "7.png", kind="PNG", size=(1, 1))
    write_poster(posters / "8.jpg", kind="GIF")
    write_poster(posters / "77.jpg")
    write_poster(posters / "007.jpg")
    rows, report = run(store, "local", folder, list(range(1, 10)))
    assert [row["movieId"] for row in rows if row["poster_source"] == "local"] == [1, 2, 3, 4]
    assert posters_of(store) == ["1.jpg", "2.jpg", "3.jpg", "4.jpg"]
    assert all(images.decode(store.path("posters") / name).size == SIZE for name in posters_of(store))
    reasons = {number: (outcome, detail) for number, _, outcome, detail in lines(report, "poster")}
    assert reasons[5] == ("refused", "not an image (starts with '<!DOCTYPE')")
    assert reasons[6][0] == "refused"
    assert "truncated" in reasons[6][1]
    assert reasons[7] == ("refused", "too small (1 x 1, at least 16 a side)")
    assert reasons[8][1].startswith("unsupported format GIF")
    assert reasons[9] == ("missing", None)


def test_a_poster_that_went_bad_gives_way_to_the_next_provider(store: Store, folder: Path) -> None:
    write_poster(folder / "posters" / "1.jpg")
    assert run(store, "local,offline", folder, [1])[0][0]["poster_source"] == "local"
    (folder / "posters" / "1.jpg").write_text("<html>")
    rows, report = run(store, "local,offline", folder, [1])
    assert rows[0]["poster_source"] == "offline"
    assert (images.comment_of(store.path("posters") / "1.jpg") or b"").startswith(b"multimodal-movielens offline ")
    assert lines(report, "poster")[0][2:] == ("refused", "not an image (starts with '<html>')")


def test_a_local_poster_that_changed_is_taken_again_and_one_that_did_not_is_kept(store: Store, folder: Path) -> None:
    write_poster(folder / "posters" / "1.jpg", "red")
    write_poster(folder / "posters" / "2.jpg", "red")
    run(store, "local", folder, [1, 2])
    kept = (store.path("posters") / "2.jpg").stat().st_mtime_ns
    write_poster(folder / "posters" / "1.jpg", "blue")
    run(store, "local", folder, [1, 2])
    assert images.decode(store.path("posters") / "1.jpg").getpixel((5, 5))[2] > 200
    assert (store.path("posters") / "2.jpg").stat().st_mtime_ns == kept


def test_of_several_files_of_a_movie_jpg_is_preferred(store: Store, folder: Path) -> None:
    write_poster(folder / "posters" / "1.png", "blue", "PNG")
    write_poster(folder / "posters" / "1.jpg", "red")
    run(store, "local", folder, [1])
    assert images.decode(store.path("posters") / "1.jpg").getpixel((5, 5))[0] > 200


def test_links_that_leave_the_folder_are_refused(store: Store, folder: Path, tmp_path: Path) -> None:
    write_poster(tmp_path / "outside.jpg")
    (folder / "posters" / "1.jpg").symlink_to(tmp_path / "outside.jpg")
    write_poster(folder / "inside.jpg")
    (folder / "posters" / "2.jpg").symlink_to(folder / "inside.jpg")
    (folder / "posters" / "3.jpg").symlink_to(folder / "posters" / "3.jpg")
    rows, report = run(store, "local", folder, [1, 2, 3])
    assert [row["poster_source"] for row in rows] == [None, "local", None]
    refused = {number: detail for number, _, outcome, detail in lines(report, "poster") if outcome == "refused"}
    assert refused[1] == "1.jpg is a link that leaves own/"
    assert refused[3].startswith("cannot be read")
    (tmp_path / "elsewhere.csv").write_text("movieId,synopsis\n1,x\n")
    (folder / "synopses.csv").symlink_to(tmp_path / "elsewhere.csv")
    with pytest.raises(ParameterError, match=r"synopses.csv is a link that leaves ENRICHMENT_DIR"):
        run(store, "local", folder, [1])


def test_posters_of_another_catalogue(store: Store, folder: Path) -> None:
    write_poster(folder / "posters" / "500.jpg")
    with pytest.raises(
        ParameterError, match=r"posters/<movieId>.jpg.*none of its 1 movieIds is in this catalogue of 1 movies"
    ):
        run(store, "local", folder, [1])


def test_a_catalogue_without_any_poster_or_without_any_text(store: Store, folder: Path) -> None:
    write_csv(folder, "movieId,synopsis\n1,A text\n")
    rows, _ = run(store, "local", folder, [1, 2])
    assert [(row["synopsis"], row["poster_path"]) for row in rows] == [("A text", None), (None, None)]
    assert posters_of(store) == []
    (folder / "synopses.csv").unlink()
    write_poster(folder / "posters" / "1.jpg")
    enriched, _ = enrich(store, catalogue([1, 2]), open_providers(store, "local", folder, catalogue([1, 2])), SIZE)
    assert enriched.column("synopsis").null_count == 2
    store.write("enriched", enriched)
    assert store.read("enriched").column("poster_path").to_pylist() == ["posters/1.jpg", None]


@pytest.mark.skipif(SYNOPSES is None, reason="SYNOPSES does not name the file of real Wikipedia synopses")
def test_real_synopses(store: Store, tmp_path: Path) -> None:
    assert SYNOPSES is not None
    own = tmp_path / "real"
    own.mkdir()
    (own / "wikipedia-synopses.parquet").write_bytes(Path(SYNOPSES).read_bytes())
    ids = pq.read_table(SYNOPSES, columns=["movieId"]).column("movieId").to_pylist()
    assert len(ids) == 6306
    movies = catalogue(sorted([*ids, *range(10**7, 10**7 + 9742 - 6306)]))
    enriched, report = enrich(store, movies, open_providers(store, "local", own, movies), SIZE)
    assert enriched.num_rows == 9742
    assert enriched.column("synopsis").null_count == 9742 - 6306
    assert enriched.column("poster_path").null_count == 9742
    outcomes = [line[2] for line in lines(report.to_pylist(), "synopsis")]
    assert (outcomes.count("found"), outcomes.count("missing")) == (6306, 3436)
    texts = [text for text in enriched.column("synopsis").to_pylist() if text]
    assert all(text.isprintable() or max(text) >= "\u200b" for text in texts)
    assert sorted(map(len, texts))[len(texts) // 2] > 200
