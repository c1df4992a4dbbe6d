"""Enriches from the fake TMDB in a process of its own, to be killed: data folder and catalogue are its arguments."""

import logging
import os
import sys
from pathlib import Path

import pyarrow.parquet as pq

from utils.content.enrichment import enrich
from utils.content.providers.tmdb import open_tmdb
from utils.fetching.answers import FILE, Answers, Client
from utils.fetching.http import Http, Limits
from utils.handoff.store import open_store

CONNECTIONS = 24
LIMITS = Limits(
    attempts=4, connect=5, stall=1.0, deadline=2.0, back_off=0.02, longest_back_off=0.2, longest_wait=5, failures=20
)

if __name__ == "__main__":
    data, catalogue = Path(sys.argv[1]), Path(sys.argv[2])
    logging.basicConfig(filename=data / "debug.log", level=logging.DEBUG)
    logging.getLogger("PIL").setLevel(logging.INFO)
    store = open_store(data, "ml-25m", 42, "02-Data-Enrichment")
    client = Client("tmdb", Http(1000, LIMITS, CONNECTIONS), Answers(store.folder / FILE))
    tmdb = open_tmdb(client, accept_terms=True, environment=os.environ)
    print(tmdb.describe())
    enriched, report = enrich(store, pq.read_table(catalogue), [tmdb], (64, 96))
    store.write("enriched", enriched)
    store.write("enrichment_report", report)
