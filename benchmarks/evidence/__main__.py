"""``python -m benchmarks.evidence``: prepare the cases, study each, write the page; finished cases are left."""

import argparse
import os
import sys
import time

from benchmarks.evidence import picture, report, study
from benchmarks.evidence.cases import all_cases
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
        for case in cases:
            if asked.only in f"{case.dataset}-{case.split}-{case.draw}":
                if not case.result.exists():
                    case.prepare()
                    study.run(case, say)
                if not case.peers.exists():
                    study.peers(case, say)
        report.summarise([case for case in cases if case.result.exists()])
    report.write()
    say(f"written: {report.PAGE.relative_to(runner.ROOT)}")
    picture.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
