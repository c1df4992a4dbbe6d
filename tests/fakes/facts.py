"""Invented facts: ``movie_facts`` of any movies, each depending on its movieId alone."""

import numpy as np
import pyarrow as pa

from utils.handoff.contract import FACT_LISTS, table_of

PEOPLE = [f"Person {number}" for number in range(60)]
COUNTRIES = ["United States", "France", "Japan"]


def movie_facts(movie_ids: np.ndarray) -> pa.Table:
    """Return facts of every movie; of each seventh only the year is known, of each eleventh nothing."""
    rows = []
    for movie in np.asarray(movie_ids).tolist():
        random = np.random.default_rng(movie)
        people = random.choice(PEOPLE, 6, replace=False).tolist()
        names = {
            "directors": people[:1],
            "writers": people[:2],
            "cast": people[2:],
            "countries": random.choice(COUNTRIES, random.integers(1, 3), replace=False).tolist(),
            "languages": ["English", "French"][: random.integers(1, 3)],
        }
        row = {"movieId": movie, "year": 1930 + movie % 90, "runtime": 80.0 + movie % 60, "source": "fake"} | names
        if movie % 7 == 0 or movie % 11 == 0:
            row |= dict.fromkeys(FACT_LISTS, ()) | {"runtime": None, "source": None}
        if movie % 11 == 0:
            row["year"] = None
        rows.append(row)
    return table_of("movie_facts", rows)
