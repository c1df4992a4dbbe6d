"""``python -m benchmarks.evidence``: prepare the cases, study them side by side, ask the peers, write the report."""

import argparse
import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from benchmarks.evidence import report, study
from benchmarks.evidence.cases import Case, all_cases, prepare, say
from benchmarks.peers.evaluate import peer_rows
from utils.handoff.store import writing
from utils.metrics.click import metrics_table
from utils.series.runner import ROOT

REPORT = ROOT / "benchmarks" / "evidence.md"
FIGURES = ROOT / "docs" / "images" / "evidence"
PEERS = ROOT / "benchmarks" / "peers"


def ask_peers(case: Case) -> None:
    """Train the other libraries on the case in their own environment; errors are theirs and go into the report."""
    python, data = PEERS / ".venv" / "bin" / "python", ROOT / case.data_dir / case.dataset
    lists, rows = case.results / "peers.parquet", case.results / "peers-metrics.csv"
    train = data / "train.parquet"
    if rows.exists() and rows.stat().st_mtime > train.stat().st_mtime:
        return
    subprocess.run(["make", "--no-print-directory", "peers"], cwd=ROOT, check=True)
    command = [str(python), "-m", "benchmarks.peers.run", str(data), str(lists.with_suffix(".csv"))]
    subprocess.run(command, cwd=ROOT, check=True)
    with writing(rows) as path:
        metrics_table(peer_rows(lists, data) if lists.exists() else []).to_csv(path, index=False)


def main(words: list[str] | None = None) -> int:
    """Run the study; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evidence", description=__doc__)
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1), help="cases at a time")
    parser.add_argument("--no-peers", action="store_true", help="leave the other libraries out")
    asked = parser.parse_args(words)
    started, cases = time.time(), all_cases()
    for case in cases:
        prepare(case)
    threads = max(1, torch.get_num_threads() // asked.processes)
    # Bars of several processes would write over each other; the children read this when they start.
    os.environ["TQDM_DISABLE"] = "1"
    with ProcessPoolExecutor(asked.processes, multiprocessing.get_context("spawn")) as pool:
        for done in [pool.submit(study.run, case, threads, started) for case in cases]:
            done.result()
    if not asked.no_peers:
        for case in cases:
            if case.split == "random":
                ask_peers(case)
                say(started, f"{case.name}  peers")
    report.write([case.results for case in cases], REPORT, FIGURES)
    say(started, f"written: {REPORT.relative_to(Path.cwd()) if REPORT.is_relative_to(Path.cwd()) else REPORT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
