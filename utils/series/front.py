"""What the front page of the site shows of a run: its pictures and its numbers."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from nbformat import NotebookNode

from utils.handoff import manifest
from utils.handoff.store import Store
from utils.metrics.click import summarise
from utils.series.committed_outputs import PICTURES, picture_of

QUESTIONS = (
    (
        "Will they like it? AUC",
        "How often a liked rating scores above one that was not: 0.5 is chance, 1 is perfect. Mean of the seeds, "
        "with the 95% interval over users and movies.",
        "auc",
        ("user mean", "user+movie bias", "multimodal"),
    ),
    (
        "What will they pick next? NDCG@10",
        "How well ten recommendations match what users liked later: 0 is nothing, 1 is perfect. With the 95% interval "
        "over users. New movies are ranked among themselves.",
        "ndcg@10",
        ("popularity", "item-knn", "EASE", "lists"),
    ),
)
"""Title, explanation, metric and models of each table."""
SLICES = {"warm": "movies with ratings", "cold": "movies nobody has rated"}


def pictures(notebooks: Sequence[NotebookNode]) -> dict[str, str]:
    """Return the README's pictures of this run as data: addresses, by file name without its ending."""
    found = {}
    for path, call in PICTURES.items():
        for notebook in notebooks:
            if (drawn := picture_of(notebook, call)) is not None:
                found[Path(path).stem] = f"data:image/png;base64,{base64.b64encode(drawn).decode()}"
    return found


def tables(folder: Path, dataset: str) -> list[dict[str, Any]]:
    """Return the tables of ``metrics.csv``: title, about, slices, and rows of a name and (value, interval) cells.

    Raises HandOffError where there is no fresh one.
    """
    store = Store(folder, dataset, manifest.read(folder).get("metrics", {}).get("seed", 0), "site", {})
    measured = summarise(pd.read_csv(store.need("metrics")))
    measured = measured[measured["slice"].isin(list(SLICES)) & ~measured["features"].str.contains("(", regex=False)]
    found = []
    for title, about, metric, models in QUESTIONS:
        rows = []
        for (model, features), own in measured[measured["metric"] == metric].groupby(["model", "features"], sort=False):
            if model in models:
                cells = own.set_index("slice").reindex(list(SLICES))[["value", "low", "high"]].to_numpy()
                name = model if own["trainer"].iloc[0] == "baseline" else f"{model}: {features.replace('+', ' + ')}"
                shown = [(f"{v:.3f}", f"[{low:.3f}, {high:.3f}]") if v == v else ("", "") for v, low, high in cells]
                rows.append((models.index(model), name, shown))
        rows.sort(key=lambda row: row[0])
        named = {"title": title, "about": about, "slices": list(SLICES.values())}
        found.append(named | {"rows": [(name, cells) for _, name, cells in rows]})
    return [table for table in found if table["rows"]]
