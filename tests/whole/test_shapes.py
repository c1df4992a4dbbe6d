"""Three data sets of other shapes than MovieLens, through all eight notebooks: books, listening, and a shop."""

import gzip
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
from PIL import Image

from tests.whole.conftest import share_cache
from utils.handoff.own_data import likes_of
from utils.handoff.store import Store, open_store
from utils.series import runner

FULL = "ids+genres+facts+poster+text"
THINGS, PEOPLE, EACH = 40, 60, 18


def pairs(seed: int) -> tuple[np.random.Generator, list[tuple[int, int]]]:
    """Who meets what: each of PEOPLE has EACH of THINGS."""
    generator = np.random.default_rng(seed)
    return generator, [(u, i) for u in range(PEOPLE) for i in generator.permutation(THINGS)[:EACH].tolist()]


def books(folder: Path) -> dict[str, object]:
    """ISBNs, ratings of 1 to 10, no times, Windows's letters, semicolons, and quotes around all."""
    generator, met = pairs(1)
    isbn = [f"{7919 * number:09d}{'X' if number % 4 == 0 else number % 10}" for number in range(THINGS)]
    taste = generator.normal(0, 1, (PEOPLE, 2))
    rated = [np.clip(round(6 + 2.2 * taste[u, i % 2] + generator.normal()), 1, 10) for u, i in met]
    ratings = [f'"Leser {u:03d}";"{isbn[i]}";"{rating:.0f}"' for (u, i), rating in zip(met, rated, strict=True)]
    years, kinds = [0 if i % 9 == 0 else 1595 + i for i in range(THINGS)], ["Krimi", "Reise"] * (THINGS // 2)
    named = zip(isbn, range(THINGS), years, kinds, strict=True)
    things = [f'"{one}";"Bücher & Café {i}, ""zweiter"" Teil";"{year}";"{kind}"' for one, i, year, kind in named]
    header = '"ISBN";"Book-Title";"Year-Of-Publication";"Category"'
    (folder / "BX-Ratings.csv").write_bytes("\n".join(['"User-ID";"ISBN";"Book-Rating"', *ratings]).encode("latin-1"))
    (folder / "BX-Books.csv").write_bytes("\n".join([header, *things]).encode("latin-1"))
    texts = [f"{isbn[i]};Ein Buch über {('Mord', 'Meer')[i % 2]} und Käse." for i in range(THINGS)]
    (folder / "synopses.csv").write_bytes("\n".join(["ISBN;description", *texts]).encode("latin-1"))
    return {
        "RATINGS": str(folder / "BX-Ratings.csv"), "MOVIES": str(folder / "BX-Books.csv"),
        "ENRICHMENT": "local,offline", "ENRICHMENT_DIR": str(folder),
    }  # fmt: skip


def listening(folder: Path) -> dict[str, object]:
    """One row a play, dates with a zone, tabs, gz; nobody dislikes anything."""
    generator, met = pairs(2)
    plays = [
        f"{datetime(2020, 1, 1) + timedelta(hours=int(generator.integers(20_000)))}+01:00\tfan{u}\tartist-{i:04x}"
        for u, i in met
        if (u + i) % 3 or generator.random() < 0.3
        for _ in range(int(generator.integers(1, 4)))
    ]
    with gzip.open(folder / "plays.tsv.gz", "wt") as stream:
        stream.write("\n".join(["played_at\tuser\tartist_id", *plays]))
    things = [f"artist-{i:04x}\tBand {i}\t{('rock', 'folk')[i % 2]}" for i in range(THINGS)]
    (folder / "artists.tsv").write_text("\n".join(["artist_id\tname\ttags", *things]))
    return {
        "RATINGS": str(folder / "plays.tsv.gz"), "MOVIES": str(folder / "artists.tsv"), "ENRICHMENT": "offline",
        "SPLIT": "temporal",
    }  # fmt: skip


def shop(folder: Path) -> dict[str, object]:
    """Labels 0 and 1, milliseconds, no genres, a picture for each SKU."""
    generator, met = pairs(3)
    liked = [int(generator.random() < (0.25, 0.8)[i % 2]) for _, i in met]
    times = generator.integers(1_600_000_000, 1_610_000_000, len(met)).tolist()
    rows = [f"{at}000,{u + 1},SKU-{i:05d},{like}" for (u, i), at, like in zip(met, times, liked, strict=True)]
    (folder / "labels.csv").write_text("\n".join(["time,customer_id,sku,label", *rows]))
    (folder / "items.csv").write_text("\n".join(["sku,name", *(f"SKU-{i:05d},Thing {i}" for i in range(THINGS))]))
    (folder / "posters").mkdir()
    for i in range(THINGS):
        Image.new("RGB", (60, 90), (200 * (i % 2), 40 + 3 * i, 90)).save(folder / "posters" / f"SKU-{i:05d}.PNG")
    return {
        "RATINGS": str(folder / "labels.csv"), "MOVIES": str(folder / "items.csv"), "ENRICHMENT": "local",
        "ENRICHMENT_DIR": str(folder),
    }  # fmt: skip


def said_by(folder: Path, number: str) -> str:
    """All that an executed notebook shows as text."""
    (path,) = folder.glob(f"runs/*/{number}-*.ipynb")
    cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    shown = [output.get("text") or output.get("data", {}).get("text/plain", "") for c in cells for output in c.outputs]
    return "\n".join(shown)


def run(folder: Path, make: Callable[[Path], dict[str, object]]) -> Store:
    """Make a data set and run the series on it."""
    source = folder / "source"
    source.mkdir()
    share_cache(folder / "data")
    given: dict[str, object] = make(source) | {
        "DATA_DIR": str(folder / "data"), "DATASET": make.__name__, "COLD_FRACTION": 0.15, "FACTS": None, "EPOCHS": 3,
        "SEEDS": [1], "FEATURES": ["ids", FULL], "MISSING_SHARES": [], "TUNING": 0, "POSTER_DIM": 4, "TEXT_DIM": 4,
    }  # fmt: skip
    assert runner.run_all(given, runs=folder / "runs") == 8
    return open_store(folder / "data", make.__name__, 42, "07-Training-with-HugeCTR")


def check(store: Store, users: set[str], things: set[str]) -> pd.DataFrame:
    """Return the metrics, after a look at the ids of everything that goes out."""
    for name in ("recommendations", "valid_predictions", "cold_predictions"):
        table = store.read(name).to_pandas()
        assert len(table) and set(table["originalMovieId"]) <= things
        assert set(table["originalUserId"].fillna("")) <= users
    recommended = store.read("recommendations").to_pandas()
    seen = store.read("train").to_pandas()[["userId", "movieId"]]
    assert recommended.merge(seen).empty and recommended["userId"].nunique() == PEOPLE
    metrics = pd.read_csv(store.path("metrics"))
    lists = metrics[metrics["metric"] == "ndcg@10"]
    assert {"warm", "cold"} <= set(lists["slice"]) and np.isfinite(lists["value"]).all()
    return metrics


def test_books(tmp_path: Path) -> None:
    store = run(tmp_path, books)
    movies = store.read("movies_converted").to_pandas()
    assert movies["title"].str.startswith("Bücher & Café").all() and movies["year"].isna().sum() == 5
    metrics = check(store, {f"Leser {u:03d}" for u in range(PEOPLE)}, set(movies["originalId"]))
    auc = metrics.query("metric == 'auc' and model == 'multimodal'").set_index(["slice", "features"])["value"]
    assert auc["cold", FULL] > 0.6, "genres and texts tell books apart"
    assert likes_of(store).above == 6
    assert store.read("enriched")["synopsis"].null_count == 0, "texts are found by ISBN"
    assert "no times" in said_by(tmp_path, "01") and "years that are none" in said_by(tmp_path, "01")


def test_listening(tmp_path: Path) -> None:
    store = run(tmp_path, listening)
    metrics = check(store, {f"fan{u}" for u in range(PEOPLE)}, {f"artist-{i:04x}" for i in range(THINGS)})
    assert metrics.query("metric in ['auc', 'gauc']")["value"].isna().all()
    assert metrics.query("metric == 'ndcg@10' and slice == 'warm' and model == 'lists'")["value"].max() > 0.1
    assert likes_of(store).feedback == "implicit"
    assert store.read("train")["timestamp"].to_numpy().min() > 1_577_000_000
    assert "repeats are set aside" in said_by(tmp_path, "01") and "no dislikes" in said_by(tmp_path, "01")
    told = said_by(tmp_path, "07")
    assert "undefined: no dislikes" in told and "nan" not in told.lower()


def test_shop(tmp_path: Path) -> None:
    store = run(tmp_path, shop)
    metrics = check(store, {""}, {f"SKU-{i:05d}" for i in range(THINGS)})
    auc = metrics.query("metric == 'auc' and model == 'multimodal'").set_index(["slice", "features"])["value"]
    assert auc["warm", FULL] > 0.6, "every other thing is liked"
    assert set(store.read("train")["userId"].to_pylist()) <= set(range(1, PEOPLE + 1)), "numbers stay what they are"
    assert store.read("feature_store")["has_poster"].to_numpy().all(), "pictures are found by SKU"
    assert "times are milliseconds" in said_by(tmp_path, "01") and "no genres" in said_by(tmp_path, "01")
