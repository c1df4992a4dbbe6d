"""Stage 01: data as people have it. Whatever the file looks like, its ratings arrive, or one line says what to do."""

import gzip
import math
import random
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from utils.handoff.parameters import ParameterError
from utils.ratings.columns import DataError
from utils.ratings.movielens import Converted, Source, check_reading, convert
from utils.ratings.rating_table import NO_TIME
from utils.ratings.values import numbers_of

TITLES = ["Amélie (2001)", "Straße, Die (1954)", "Plain (1999)", "Œuvre €5 (2010)"]
USERS, MOVIES = range(1, 41), range(1, 5)
STARS = [(user, movie, 1 + (3 * user + movie) % 5, 1_100_000_000 + user) for user in USERS for movie in MOVIES]


def csv(rows: list[tuple[object, ...]], header: str, separator: str = ",") -> str:
    return "\n".join([header.replace(",", separator), *(separator.join(map(str, row)) for row in rows)]) + "\n"


def own(
    folder: Path, ratings: bytes | str, movies: bytes | str, names: str = "r.csv m.csv", **given: object
) -> Converted:
    """Convert two files with the parameters of 01."""
    paths = [folder / name for name in names.split()]
    for path, content in zip(paths, (ratings, movies), strict=True):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    known = {"columns": None, "feedback": "auto", "scale": "auto", "liked": None, "max_rejected": 0.02}
    return convert(Source("test", ratings=paths[0], movies=paths[1]), check_reading(**(known | given)))


MOVIES_CSV = csv([(movie, f'"{TITLES[movie - 1]}"', "Drama|War") for movie in MOVIES], "movieId,title,genres")
RATINGS_CSV = csv(STARS, "userId,movieId,rating,timestamp")


def quoted(text: str) -> str:
    return "\n".join(",".join(f'"{field}"' for field in line.split(",")) for line in text.splitlines()) + "\n"


WRITTEN: dict[str, Callable[[str], bytes]] = {
    "utf-8": str.encode,
    "with a mark": lambda text: text.encode("utf-8-sig"),
    "utf-16": lambda text: text.encode("utf-16"),
    "Windows": lambda text: text.encode("cp1252"),
    "lines of CR": lambda text: text.replace("\n", "\r").encode(),
    "lines of CRLF": lambda text: text.replace("\n", "\r\n").encode(),
    "gz": lambda text: gzip.compress(text.encode()),
    "gz of Windows with CR": lambda text: gzip.compress(text.replace("\n", "\r").encode("cp1252")),
    "semicolons": lambda text: text.replace(",", ";").encode(),
    "tabs": lambda text: text.replace(",", "\t").encode(),
    "bars": lambda text: text.replace("|", "/").replace(",", "|").encode(),
    "blanks around and no end": lambda text: text.replace(",", ", ").rstrip("\n").encode(),
}


@pytest.mark.parametrize("way", WRITTEN)
def test_a_file_is_read_however_it_is_written(tmp_path: Path, way: str) -> None:
    plain = MOVIES_CSV.replace(", Die", " Die").replace('"', "")
    found = own(tmp_path, WRITTEN[way](RATINGS_CSV), WRITTEN[way](plain))
    assert found.ratings.rows() == [tuple(row) for row in STARS]
    assert found.movies["title"].to_list() == ["Amélie", "Straße Die", "Plain", "Œuvre €5"]
    assert (found.rejected.height, found.counts["cleaned titles"]) == (0, 0)


@pytest.mark.parametrize(
    ("movies", "title", "said"),
    [
        ("Les Misérables".encode("latin-1"), "Les Misérables", "cp1252"),
        ("Les Misérables".encode(), "Les Misérables", None),
        (b"Caf\xe9 \x81", "Café", "latin-1"),  # 81 is no letter of Windows: a control character of latin-1, cleaned.
        ("é".encode() * 5 + b"\xe9", "é" * 5 + "\ufffd", "UTF-8 in which 4 letters are broken"),
        ("x" * (1 << 20) + "é", "x" * (1 << 20) + "é", None),
    ],
)
def test_the_encoding_is_told_by_the_bytes_and_said(
    tmp_path: Path, movies: bytes, title: str, said: str | None
) -> None:
    movies = movies if isinstance(movies, bytes) else movies.encode()
    rows = b"".join(f"{number},".encode() + movies + b",\n" for number in MOVIES)
    found = own(tmp_path, RATINGS_CSV, b"movieId,title,genres\n" + rows)
    assert found.movies["title"].to_list() == [title] * 4
    assert [line for line in found.said if line.startswith("Movies")] == [] if said is None else said in str(found.said)


PLAIN = [f"{user},{movie},{rating},{time},fine" for user, movie, rating, time in STARS]


@pytest.mark.parametrize(
    ("line", "review"),
    [
        ('9,1,3,7,"good, long"', "good, long"),
        ('9,1,3,7,"two\nlines"', "two lines"),
        ('9,1,3,7,"she said ""no"", twice"', 'she said "no", twice'),
        ('9,1,3,7,12" vinyl', '12" vinyl'),
        ('9,1,3,7,"never closed', '"never closed'),
        ('"9","1","3","7",""', None),
    ],
)
@pytest.mark.parametrize("place", [0, 100])
def test_quotes_anywhere(tmp_path: Path, line: str, review: str | None, place: int) -> None:
    rows = [row for row in PLAIN if not row.startswith("9,1,")]
    text = "\n".join(["userId,movieId,rating,timestamp,review", *rows[:place], line, *rows[place:]]) + "\n"
    found = own(tmp_path, text, MOVIES_CSV)
    assert (found.ratings.height, found.rejected.height) == (len(STARS), 0)
    assert found.ratings.row(place) == (9, 1, 3.0, 7)


def test_two_stray_quotes_do_not_swallow_what_is_between(tmp_path: Path) -> None:
    rows = [row.replace("fine", '7" single') if number in (20, 120) else row for number, row in enumerate(PLAIN)]
    found = own(tmp_path, "\n".join(["userId,movieId,rating,timestamp,review", *rows]), MOVIES_CSV)
    assert found.ratings.rows() == [tuple(row) for row in STARS]
    assert "2 quotes that never close, taken as letters" in found.said[0]


SCALES = {
    "half stars": ([number / 2 for number in range(1, 11)], (0.5, 5, 3)),
    "stars": ([1, 2, 3, 4, 5], (1, 5, 3)),
    "stars from 0": ([0, 1, 2, 3, 4, 5], (0, 5, 3)),
    "ten": (list(range(1, 11)), (1, 10, 6)),
    "ten from 0": (list(range(11)), (0, 10, 6)),
    "twenty": (list(range(21)), (0, 20, 12)),
    "percent": (list(range(0, 101, 3)), (0, 100, 60)),
    "labels": ([0, 1], (0, 1, 0.6)),
    "thumbs": ([-1, 1], (-1, 1, 0.2)),
    "three points": ([1, 2, 3], (1, 3, 1.8)),
    "around zero": ([-9.5, -3, 0, 4.25, 9.8], (-10, 10, 2)),
}


@pytest.mark.parametrize("name", SCALES)
def test_the_scale_is_found_and_all_of_it_is_kept(tmp_path: Path, name: str) -> None:
    values, (low, high, above) = SCALES[name]
    rows = [(user, movie, values[(user * 4 + movie) % len(values)], 5) for user in USERS for movie in MOVIES]
    found = own(tmp_path, csv(rows, "userId,movieId,rating,timestamp"), MOVIES_CSV)
    assert (found.likes.feedback, found.likes.low, found.likes.high, found.likes.above) == (
        "explicit",
        low,
        high,
        above,
    )
    assert found.ratings.height == len(rows)
    assert f"a like is above {above:g}" in found.said[-1]


COUNTS = [1, 1, 1, 1, 1, 1, 2, 2, 3, 40]
IMPLICIT = {
    "ones": "1",
    "fives": "5",
    "plays": lambda number: COUNTS[number % 10],
    "many plays": lambda number: 1 + 7 * number,
    "hours": lambda number: 0.1 + 3.3 * number,
}


@pytest.mark.parametrize("name", [*IMPLICIT, "no column"])
def test_plays_and_clicks_are_likes_all_of_them(tmp_path: Path, name: str) -> None:
    value = IMPLICIT.get(name, "")
    rows = [(u, m, value(4 * u + m) if callable(value) else value, 5) for u in USERS for m in MOVIES]
    rating = "clicked by" if name == "no column" else "rating"
    found = own(tmp_path, csv(rows, f"userId,movieId,{rating},timestamp"), MOVIES_CSV)
    assert found.likes.feedback == "implicit"
    assert found.likes.of(found.ratings["rating"].to_numpy()).all() and found.ratings.height == len(rows)
    assert "There are no dislikes" in found.said[-1] and "AUC and GAUC" in found.said[-1]


@pytest.mark.parametrize(
    ("rating", "feedback"),
    [("plays", "implicit"), ("Play Count", "implicit"), ("views", "implicit"), ("score", "explicit")],
)
def test_a_count_is_told_by_its_name_where_its_values_could_be_a_scale(
    tmp_path: Path, rating: str, feedback: str
) -> None:
    rows = [(u, m, 1 + (7 * u + m) % 60, 5) for u in USERS for m in MOVIES]
    found = own(tmp_path, csv(rows, f"userId,movieId,{rating},timestamp"), MOVIES_CSV)
    assert (found.likes.feedback, found.ratings.height) == (feedback, len(rows))
    labels = own(
        tmp_path, csv([(u, m, (u + m) % 2, 5) for u, m, *_ in rows], f"userId,movieId,{rating},timestamp"), MOVIES_CSV
    )
    assert (labels.likes.feedback, labels.likes.high) == ("explicit", 1), "0 and 1 are labels, whatever their name"


def test_repeated_plays_are_one_row_and_no_fault(tmp_path: Path) -> None:
    rows = [(user, movie, f"2020-01-{day:02d}") for day in (1, 2, 3) for user in USERS for movie in MOVIES]
    found = own(tmp_path, csv(rows, "user,item,date"), MOVIES_CSV)
    assert (found.counts["lines"], found.counts["ratings"]) == (480, 160)
    assert set(found.ratings["timestamp"]) == {1_578_009_600}, "the latest"


@pytest.mark.parametrize(
    ("given", "likes"),
    [
        ({"liked": 4}, ("explicit", 1.0, 5.0, 4.0)),
        ({"scale": [1, 10], "liked": 2}, ("explicit", 1.0, 10.0, 2.0)),
        ({"scale": [0, 5]}, ("explicit", 0.0, 5.0, 3.0)),
        ({"feedback": "implicit"}, ("implicit", 1.0, 5.0, 0.0)),
    ],
)
def test_what_is_said_counts_more_than_what_is_found(tmp_path: Path, given: dict[str, object], likes: tuple) -> None:
    found = own(tmp_path, RATINGS_CSV, MOVIES_CSV, **given).likes
    assert (found.feedback, found.low, found.high, found.above) == likes


NOON = 1_422_705_600  # 2015-01-31 12:00 UTC
TIMES = {
    "seconds": (str(NOON), NOON, None),
    "parts of seconds": (f"{NOON}.73", NOON, None),
    "milliseconds": (f"{NOON}123", NOON, "times are milliseconds"),
    "microseconds": (f"{NOON}123456", NOON, "times are microseconds"),
    "nanoseconds": (f"{NOON}123456789", NOON, "times are nanoseconds"),
    "a date": ("2015-01-31", NOON - 12 * 3600, "times are dates"),
    "a date with slashes": ("2015/1/31", NOON - 12 * 3600, "times are dates"),
    "a number for a date": ("20150131", NOON - 12 * 3600, "times are days such as 20150131"),
    "a date and a clock": ("2015-01-31 12:00:00", NOON, "times are dates"),
    "ISO": ("2015-01-31T12:00:00.500", NOON, "times are dates"),
    "UTC": ("2015-01-31T12:00:00Z", NOON, "times are dates with a zone"),
    "named UTC": ("2015-01-31 12:00:00 UTC", NOON, "times are dates with a zone"),
    "Berlin": ("2015-01-31T13:00:00+01:00", NOON, "times are dates with a zone"),
    "Calcutta": ("2015-01-31T17:30:00+0530", NOON, "times are dates with a zone"),
    "New York": ("2015-01-31 07:00-05", NOON, "times are dates with a zone"),
    "nothing": ("", NO_TIME, "no times"),
}


@pytest.mark.parametrize("name", TIMES)
def test_times_in_any_unit_are_seconds_and_the_unit_is_said(tmp_path: Path, name: str) -> None:
    text, seconds, said = TIMES[name]
    rows = [(user, movie, rating, text) for user, movie, rating, _ in STARS]
    found = own(tmp_path, csv(rows, "userId,movieId,rating,timestamp"), MOVIES_CSV)
    assert set(found.ratings["timestamp"]) == {seconds} and found.ratings.height == len(STARS)
    assert (said is None and not found.said[:-1]) or str(said) in found.said[0]


def test_times_that_cannot_be_read_stop_with_the_remedy(tmp_path: Path) -> None:
    rows = [(user, movie, rating, "last Tuesday") for user, movie, rating, _ in STARS]
    with pytest.raises(
        DataError, match=r"no rating that can be used \(160 times: timestamp is missing or not a time\)"
    ):
        own(tmp_path, csv(rows, "userId,movieId,rating,timestamp"), MOVIES_CSV)


@pytest.mark.parametrize(
    ("text", "title", "named", "year", "counted"),
    [
        ("1595.0", "Ilias", "Ilias", 1595, 0),
        ("-750.0", "Ilias", "Ilias", -750, 0),
        ("1378", "Ilias", "Ilias", 1378, 0),
        ("-500", "Ilias", "Ilias", -500, 0),
        ("2009-", "Ilias", "Ilias", 2009, 0),
        ("1995-10-30", "Ilias", "Ilias", 1995, 0),
        ("30-Oct-1995", "Ilias", "Ilias", 1995, 0),
        ("0", "Ilias", "Ilias", None, 1),
        ("20225", "Ilias", "Ilias", None, 1),
        ("DK Publishing Inc", "Ilias", "Ilias", None, 1),
        ("\\N", "Ilias", "Ilias", None, 0),
        ("nan", "Ilias", "Ilias", None, 0),
        ("", "Iliad, The (715)", "The Iliad (715)", None, 0),
        ("", "Iliad, The (1715)", "The Iliad", 1715, 0),
        ("soon", "Iliad, The (1999)", "The Iliad", 1999, 1),
        ("1715", "Iliad (1999)", "Iliad (1999)", 1715, 0),
    ],
)
def test_years(tmp_path: Path, text: str, title: str, named: str, year: int | None, counted: int) -> None:
    rows = [(movie, f'"{title}"', text) for movie in MOVIES]
    found = own(tmp_path, RATINGS_CSV, csv(rows, "movieId,title,year"))
    assert found.movies.select("title", "year").rows() == [(named, year)] * 4, "the row is kept"
    assert found.counts["years that are none"] == 4 * counted


IDS = {
    "ISBN": ["0195153448", "000225501X", "0060973129", "0399135782"],
    "ASIN": ["B00004Y3SF", "B0000DBJA5", "6303212263", "B00005JNOG"],
    "UUID": [f"{n}6f0c2ce-3d1c-4b8e-9a55-0242ac12000{n}" for n in range(4)],
    "IMDb": ["tt0114709", "tt0113497", "tt0113228", "tt0114885"],
    "words": ["Ünder Score", "a b", "c/d", "7"],
    "signed": ["-1", "-2", "-3", "-4"],
    "7 and 007": ["7", "007", "07", "8"],
    "long": ["1" * 25, "2" * 25, "3" * 25, "4" * 25],
}


@pytest.mark.parametrize("kind", IDS)
def test_ids_that_are_texts_have_a_number_and_keep_their_text(tmp_path: Path, kind: str) -> None:
    ids = IDS[kind]
    rows = [(f"reader-{user}", ids[movie - 1], rating, time) for user, movie, rating, time in STARS]
    found = own(
        tmp_path, csv(rows, "userId,movieId,rating,timestamp"), csv([(one, "A") for one in ids], "movieId,title")
    )
    originals = dict(found.movies.select("movieId", "originalId").iter_rows())
    users = dict(found.users.iter_rows())
    told = [(users[u], originals[m], r, t) for u, m, r, t in found.ratings.iter_rows()]
    assert told == [tuple(row) for row in rows]
    assert all(0 < number < 2**53 for number in [*originals, *users]), "a float64 holds them"
    assert (found.movies["imdbId"].null_count() == 0) == (kind == "IMDb")
    assert originals.keys() == set(numbers_of(ids).values())


def test_the_number_of_a_text_does_not_depend_on_the_others() -> None:
    alone = {text: numbers_of([text])[text] for text in "abcdefgh"}
    assert numbers_of("hgfedcbaabc") == alone and len(set(alone.values())) == 8
    # Values that must never change, or the same SEED gives another split in the next release.
    assert numbers_of(["B00004Y3SF"]) == {"B00004Y3SF": 2_709_013_824_815_031}


@pytest.mark.parametrize("width", [5, 7, 10])
def test_padded_numbers_stay_numbers_and_keep_their_zeros(tmp_path: Path, width: int) -> None:
    movies = csv([(f"{movie:0{width}d}", "A") for movie in MOVIES], "movieId,title")
    found = own(tmp_path, RATINGS_CSV, movies)
    assert found.movies["movieId"].to_list() == [1, 2, 3, 4]
    assert found.movies["originalId"].to_list() == [f"{movie:0{width}d}" for movie in MOVIES]
    assert found.ratings.height == len(STARS), "ratings without the zeros"


@pytest.mark.parametrize(
    ("ratings", "movies", "given", "said"),
    [
        ("user_id,item_id,score,time", "item_id,name", None, "user_id is userId, item_id is movieId, score is rating"),
        ("User-ID,book_id,Book-Rating,date", "book_id,Book-Title", None, "book_id is movieId"),
        ("userId,tmdbId,rating,timestamp", "tmdbId,title", None, "tmdbId is movieId"),
        (
            "user_id:token,item_id:token,rating:float,timestamp:float",
            "item_id:token,movie_title:token_seq",
            None,
            "item",
        ),
        ("reviewerID,asin,overall,unixReviewTime", "asin,title", None, "asin is movieId, overall is rating"),
        (
            "wer,was,wie,wann",
            "was,name",
            {"userId": "wer", "movieId": "was", "rating": "wie", "timestamp": "wann"},
            "wer",
        ),
    ],
)
def test_usual_names_of_columns_are_known_and_others_can_be_said(
    tmp_path: Path, ratings: str, movies: str, given: dict[str, str] | None, said: str
) -> None:
    found = own(tmp_path, csv(STARS, ratings), csv([(movie, "A") for movie in MOVIES], movies), columns=given)
    assert found.ratings.rows() == [tuple(row) for row in STARS]
    assert said in found.said[0]
    assert (found.movies["tmdbId"].to_list() == [1, 2, 3, 4]) == movies.startswith("tmdbId")


@pytest.mark.parametrize(
    ("text", "genres"),
    [
        ("Drama|War", ["Drama", "War"]),
        ('"Drama, War"', ["Drama", "War"]),
        ("Drama; War", ["Drama", "War"]),
        ("\"['Drama', 'War']\"", ["Drama", "War"]),
        ("\"[{'id': 18, 'name': 'Drama'}, {'id': 1, 'name': 'War'}]\"", ["Drama", "War"]),
        ("[]", []),
        ("", []),
    ],
)
def test_genres(tmp_path: Path, text: str, genres: list[str]) -> None:
    movies = csv([(movie, "A", text) for movie in MOVIES], "movieId,title,genres")
    assert own(tmp_path, RATINGS_CSV, movies).movies["genres"].to_list() == [genres] * 4


def spoilt(share: int, change: Callable[[list[str]], list[str]]) -> str:
    """RATINGS_CSV in which ``share`` lines of 160 are changed."""
    head, *rows = RATINGS_CSV.splitlines()
    return "\n".join([head, *(",".join(change(row.split(","))) for row in rows[:share]), *rows[share:]]) + "\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: [*row[:2], "99", row[3]], r"rating is not within 1 to 5, such as line 2: userId=1, movieId=1, ra"),
        (lambda row: [*row[:2], "", row[3]], r"rating is missing or not a number.*COLUMNS={\"rating\": "),
        (lambda row: [row[0], "77", *row[2:]], r"movieId is not in the movies file.*Give the movies file of these"),
        (lambda row: [*row, "x"], r"more fields than columns.*Check its separator and its quotes"),
        (
            lambda row: [*row[:3], "noon"],
            r"timestamp is missing or not a time.*Write times as seconds or as 2015-01-31",
        ),
        (lambda row: ["1", "1", *row[2:]], r"duplicate: a later.*If each row is a play or a click, say FEEDBACK"),
    ],
)
def test_more_than_a_few_lines_set_aside_stop_the_run(
    tmp_path: Path, change: Callable[[list[str]], list[str]], message: str
) -> None:
    few = own(tmp_path, spoilt(3, change), MOVIES_CSV)
    assert few.counts["lines"] == 160 and few.rejected.height in (2, 3)
    # A scale that is given, as a third of the ratings would make another one.
    with pytest.raises(DataError, match=rf"of its 160 lines cannot be used, more than MAX_REJECTED=0\.02 .*{message}"):
        own(tmp_path, spoilt(50, change), MOVIES_CSV, scale=[1, 5])
    many = own(tmp_path, spoilt(50, change), MOVIES_CSV, scale=[1, 5], max_rejected=0.4)
    assert many.rejected.height in (49, 50) and many.ratings.height + many.rejected.height == 160


def test_unrated_rows_are_no_dislikes(tmp_path: Path) -> None:
    rows = [(user, movie, -1 if user % 5 == 0 else 1 + (user + movie) % 10, 5) for user in USERS for movie in MOVIES]
    text = csv(rows, "user_id,anime_id,rating,time")
    movies = csv([(movie, "A") for movie in MOVIES], "anime_id,name")
    with pytest.raises(DataError, match=r"20\.0% of its 160 .*\(32 times\): rating is -1, which stands for not rated"):
        own(tmp_path, text, movies)
    found = own(tmp_path, text, movies, max_rejected=0.2)
    assert (found.likes.low, found.likes.high, found.rejected.height) == (1, 10, 32)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"columns": {"isbn": "movieId"}}, "COLUMNS names 'isbn', which is none of ours: userId, movieId"),
        ({"columns": "isbn"}, "COLUMNS='isbn' must map our names to yours"),
        ({"feedback": "clicks"}, "FEEDBACK='clicks' is not known. Choose one of: 'auto', 'explicit', 'implicit'"),
        ({"scale": 10}, 'SCALE=10 must be "auto" or'),
        ({"scale": [5, 1]}, r'SCALE=\[5, 1\] must be "auto" or'),
        ({"scale": [1, 5], "feedback": "implicit"}, "contradict each other"),
        ({"liked": "4"}, "LIKED='4' must be a number"),
        ({"liked": math.nan}, "LIKED=nan must be a number"),
        ({"max_rejected": 1.5}, "MAX_REJECTED=1.5 must be a number"),
    ],
)
def test_parameters_that_are_refused(tmp_path: Path, given: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        own(tmp_path, RATINGS_CSV, MOVIES_CSV, **given)


@pytest.mark.parametrize("given", [{"liked": 5}, {"scale": [1, 10]}, {"feedback": "explicit", "liked": 9}])
def test_without_a_like_there_is_nothing_to_learn(tmp_path: Path, given: dict[str, object]) -> None:
    with pytest.raises(DataError, match=r"No rating is a like: .* Set LIKED, SCALE, or FEEDBACK=\"implicit\""):
        own(tmp_path, RATINGS_CSV.replace(",5,", ",4,"), MOVIES_CSV, **given)


CROSSING = csv(
    [
        (f'"{user}"', f'"{isbn}"', f'"{(user + number) % 11}"')
        for user in USERS
        for number, isbn in enumerate(IDS["ISBN"])
    ],
    '"User-ID","ISBN","Book-Rating"',
    ";",
)
BOOKS = csv(
    [(f'"{isbn}"', '"L\'été; ""fin"""', '"Camus"', '"0"') for isbn in IDS["ISBN"]],
    '"ISBN","Book-Title","Book-Author","Year-Of-Publication"',
    ";",
).encode("latin-1")
PLAYS = "".join(
    f"{user:040x}\t{'ab' * 4}-{movie}\tBand {movie}\t{movie * user * 9}\n" for user in USERS for movie in MOVIES
)
FILES = {
    "Book-Crossing": ("r.csv m.csv", CROSSING, BOOKS, {}, (0, 10)),
    "goodbooks": (
        "r.csv m.csv",
        csv([(user, movie, rating) for user, movie, rating, _ in STARS], "user_id,book_id,rating"),
        csv(
            [(9 - movie, movie, -720.0 if movie == 1 else "", "x") for movie in MOVIES],
            "id,book_id,original_publication_year,title",
        ),
        {},
        (1, 5),
    ),
    "MovieTweetings": (
        "ratings.dat movies.dat",
        csv([(user, f"{movie:07d}", (user + movie) % 11, t) for user, movie, _, t in STARS], "1,0000001,5,7", "::"),
        "\n".join(f"{movie:07d}::Été {movie} (2013)::Drama|War" for movie in MOVIES),
        {"max_rejected": 0.1},  # of which the first line is one again
        (0, 10),
    ),
    "Last.fm 360K": (
        "plays.tsv artists.tsv",
        PLAYS,
        "".join(f"{'ab' * 4}-{movie}\tBand {movie}\n" for movie in MOVIES),
        {"columns": {"rating": "column 4"}},
        (9, 1440),
    ),
    "hetrec": (
        "r.dat m.dat",
        csv(STARS, "userID,artistID,weight,t", "\t"),
        csv([(movie, "A") for movie in MOVIES], "id,name", "\t"),
        {},
        (1, 5),
    ),
    "MovieLens 1M with a csv's name": (
        "r.csv m.csv", "".join("::".join(map(str, row)) + "\n" for row in STARS), MOVIES_CSV, {}, (1, 5),
    ),
    "u.data": ("u.data m.csv", csv(STARS[1:], ",".join(map(str, STARS[0])), "\t"), MOVIES_CSV, {}, (1, 5)),
    "a spreadsheet's": (
        "r.csv m.csv",
        csv([(u, m, f"{r - 1},5", "31.01.2015") for u, m, r, _ in STARS], "userId,movieId,rating,day of it", ";"),
        MOVIES_CSV.replace(",", ";").replace("; Die", ", Die"),
        {},
        (0.5, 5),
    ),
    "pandas with its index": (
        "r.csv m.csv",
        csv([(n, float(u), float(m), r, t) for n, (u, m, r, t) in enumerate(STARS)], ",userId,movieId,rating,ts"),
        MOVIES_CSV, {}, (1, 5),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_files_of_known_data_sets(tmp_path: Path, name: str) -> None:
    names, ratings, movies, given, scale = FILES[name]
    found = own(tmp_path, ratings, movies, names, **given)
    assert (found.likes.low, found.likes.high) == scale
    assert found.ratings.height + found.rejected.height == found.counts["lines"] >= 159
    assert found.counts["ratings"] >= 158 and found.counts["movies"] == 4
    assert found.movies["title"].null_count() == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\n\n"),
        lambda text: text + ",,,\n" * 500,
        lambda text: "sep=,\n" + text,
        lambda text: text.replace("\n", "\r\r\n"),
    ],
)
def test_what_holds_nothing_is_no_line(tmp_path: Path, change: Callable[[str], str]) -> None:
    found = own(tmp_path, change(RATINGS_CSV), MOVIES_CSV)
    assert (found.ratings.height, found.rejected.height, found.counts["lines"]) == (160, 0, 160)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bytes(random.Random(1).randbytes(50_000)), r"r\.csv (has no column|cannot be read)"),
        (b'{"user":1,"item":1}\n{"user":2,"item":2}\n', r"r\.csv (has no column|cannot be read)"),
        (b"", r"r\.csv has no column userId, movieId. Found: nothing"),
        (
            b"userId,movieId,rating,timestamp\n",
            r"r\.csv has no rating that can be used \(the file has no line of data\)",
        ),
        (b"\x1f\x8b" + bytes(40), r"r\.csv is a damaged \.gz"),
        (gzip.compress(RATINGS_CSV.encode())[:-200], r"r\.csv is a damaged \.gz"),
        (b"userId,gender,age\n1,F,30\n", r"r\.csv has no column movieId"),
        (b"<html><body>Not found</body></html>", r"r\.csv has no column userId, movieId"),
        (b"\x00\xff" * 4000, r"r\.csv has no column userId, movieId"),
        (b"userId;movieId;rating;rating\n1;1;1;1\n", "has the column rating more than once"),
    ],
)
def test_files_without_ratings_end_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        own(tmp_path, content, MOVIES_CSV)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["r.xlsx", "r.json", "r", "r.gz"])
def test_endings_that_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ParameterError, match=r"must end in \.csv, .*or \.parquet. Save a spreadsheet as \.csv"):
        own(tmp_path, RATINGS_CSV, MOVIES_CSV, f"{name} m.csv")


@pytest.mark.parametrize(
    "columns",
    [
        {"timestamp": pl.Series([NOON]).cast(pl.Int64).cast(pl.Datetime("ms"))},
        {"timestamp": pl.Series([NOON * 1000]).cast(pl.Datetime("ms", "UTC"))},
        {"timestamp": pl.Series([NOON * 1000])},
        {"timestamp": pl.Series(["2015-01-31 12:00"])},
        {"userId": pl.Series(["Ann"]), "timestamp": pl.Series([NOON * 1000]).cast(pl.Datetime("ms"))},
        {"rating": pl.Series([True])},
        {"movieId": pl.Series(["tt1"]).cast(pl.Categorical)},
        {"userId": pl.Series(["7"]).cast(pl.Categorical)},
    ],
)
def test_parquet_of_any_types(tmp_path: Path, columns: dict[str, pl.Series]) -> None:
    first = {
        "userId": pl.Series([7]),
        "movieId": pl.Series([1]),
        "rating": pl.Series([4]),
        "timestamp": pl.Series([NOON]),
    }
    pl.DataFrame(first | columns).write_parquet(tmp_path / "r.parquet")
    movie = "tt1" if "movieId" in columns else 1
    pl.DataFrame({"movieId": [movie], "title": ["A"], "genres": [["x", "y"]]}).write_parquet(tmp_path / "m.parquet")
    found = convert(Source("test", ratings=tmp_path / "r.parquet", movies=tmp_path / "m.parquet"))
    assert (found.ratings.height, found.movies["genres"].to_list()) == (1, [["x", "y"]])
    assert found.ratings["timestamp"][0] in (NOON, NOON // 1000)
