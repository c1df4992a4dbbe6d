"""Data of one's own, taken through the series: the board games that notebooks 01 and 02 wrote, for the end of 07.

Nothing here knows what a board game is: books or songs go the same way, by ``make run`` with the parameters that
``parameters`` returns for these.
"""

import contextlib
import io
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from papermill import PapermillExecutionError

from utils.series import runner
from utils.series.board_games import DATASET, SOURCE

FILES = {"RATINGS": "plays.csv", "MOVIES": "games.csv", "ENRICHMENT_DIR": "content"}
"""Parameter to the file or folder of SOURCE that it names."""
NOTEBOOKS = "notebooks"
"""Folder of DATA_DIR for the executed notebooks."""
LAST = "06"
"""The last notebook of the nested run: 07 is the one that asks for it."""


class OwnDataError(RuntimeError):
    """A notebook failed on the data of one's own; the message names it and says where to look."""


def why_not(wanted: object, data_dir: str | Path, dataset: str) -> str:
    """Return in one line why there is nothing to do here, or "" where the source can be taken through the series."""
    if not wanted:
        return "OWN_DATA is off: the board games are left out."
    if dataset == DATASET:
        return f"This run is of {DATASET} itself: its tables and pictures are the ones above."
    source = Path(data_dir) / SOURCE
    lacking = [name for name in FILES.values() if not (source / name).exists()]
    if lacking:
        return (
            f"{source} has no {' and no '.join(lacking)}: run notebooks 01 and 02 here first. The section is left out."
        )
    return ""


def parameters(data_dir: str | Path, seed: int) -> dict[str, Any]:
    """Return the parameters that take the source through 00 to 06: names and files, and sizes for so little data."""
    files = {name: str(Path(data_dir) / SOURCE / file) for name, file in FILES.items()}
    small = {"COLD_FRACTION": 0.2, "POSTER_DIM": 16, "TEXT_DIM": 16, "06:OBJECTIVE": "like"}
    return {"DATA_DIR": str(data_dir), "DATASET": DATASET, "SEED": seed, "ENRICHMENT": "local"} | files | small


def run_series(given: Mapping[str, Any]) -> str:
    """Run 00 to 06 with the parameters ``given``, without their output; return one line of what was done.

    What has not changed since the last time is not run again. Executed notebooks go to DATA_DIR/NOTEBOOKS. Raises
    OwnDataError where a notebook fails; the error of the notebook is in its message.
    """
    folder, started = Path(given["DATA_DIR"]) / NOTEBOOKS, time.monotonic()
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), _quiet_kernels():
            count = runner.run_all(given, runs=folder.absolute(), until=LAST)
    except PapermillExecutionError as error:
        at = printed.getvalue().strip().rpartition("\n")[2].removesuffix(" ...")
        raise OwnDataError(
            f"{at} failed on {given['DATASET']}: {error.ename}: {error.evalue} "
            f"How far it went is in {folder / given['DATASET']}/. Mend what it says, or set OWN_DATA=False."
        ) from error
    seconds = time.monotonic() - started
    done = f"{count} notebooks run in {seconds:.0f} s" if count else "nothing has changed since the last run"
    return f"{given['DATASET']}, 00 to {LAST}: {done}; they are in {folder / given['DATASET']}/"


@contextlib.contextmanager
def _quiet_kernels() -> Iterator[None]:
    """Discard what processes that are started here write to stderr: a kernel that is shut down logs it as an error.

    What goes wrong in a notebook does not get lost: papermill raises it.
    """
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
