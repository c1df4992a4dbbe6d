"""``python -m benchmarks.evidence``: prepare the cases, study one on each core, write the page; finished are left."""

from utils.machine.threads import processors

import argparse
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed

from benchmarks.evidence import picture, report, study
from benchmarks.evidence.cases import DRAWS, SPLITS, all_cases
from utils.series import runner


def main(words: list[str] | None = None) -> int:
    """Run the study; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evidence", description=__doc__)
    parser.add_argument("--only", default="", help="part of a case's name, such as ml-100k-random")
    parser.add_argument("--page", action="store_true", help="only write the page again, from evidence.json")
    asked = parser.parse_args(words)
    os.environ["TQDM_DISABLE"] = "1"
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"{(time.monotonic() - started) / 60:5.1f} min  {text}", flush=True)

    if not asked.page:
        cases = all_cases()
        wanted = [case for case in cases if asked.only in f"{case.dataset}-{case.split}-{case.draw}"]
        for case in cases[:: len(SPLITS) * len(DRAWS)]:  # the first of each data set: its vectors are those of all
            if case.dataset in {one.dataset for one in wanted}:
                case.prepare()
        # A case on each core is faster than one on all: its matrices are small.
        os.environ |= {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
        with ProcessPoolExecutor(processors(), multiprocessing.get_context("spawn")) as pool:
            for finished in as_completed([pool.submit(study.complete, case) for case in wanted]):
                say(finished.result())
        report.summarise([case for case in cases if case.result.exists()])
    report.write()
    say(f"written: {report.PAGE.relative_to(runner.ROOT)}")
    picture.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
