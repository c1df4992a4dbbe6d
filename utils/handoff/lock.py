"""One run at a time in a data set's folder: two that write the same files would take each other's away.

A notebook holds the lock while its cells run. Jupyter's kernel stays when the last cell is done, so an idle one gives
the lock back after ``IDLE`` seconds, and after an error at once: the remedy may be to run another notebook. A runner
holds the lock for all its notebooks. The operating system takes it from a process that ends, however it ends. Who only
reads, such as a script, needs no lock.
"""

import contextlib
import fcntl
import json
import os
import socket
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from utils.handoff.atomic import explained
from utils.handoff.manifest import HandOffError

FILE = ".lock"
RUNNER = "MULTIMODAL_RUNNER"
"""Environment variable: the runner that holds the lock for the notebooks it starts."""
IDLE = 3.0
"""Seconds without a running cell after which a kernel gives the lock back."""
PATIENCE = 10.0
"""Seconds to wait for another run before it is said to be in the way; more than ``IDLE``."""
_PAUSE = 0.1

_held: dict[Path, IO[str]] = {}
_claims: dict[Path, str] = {}
"""Folders that the notebook of this kernel works in, and its name."""
_guard = threading.RLock()
_busy = threading.Event()
"""Set while a cell runs."""


def hold(folder: Path, who: str, patience: float | None = None) -> None:
    """Take the lock of a data set's folder for this process; nothing where it has it, or its runner has.

    ``who`` is said to others that ask meanwhile; ``patience`` is in seconds, PATIENCE by default. Raises HandOffError
    naming the run that has it.
    """
    path = folder.resolve() / FILE
    with _guard:
        if path in _held:
            return
        with explained(path):
            stream = path.open("a+")
        deadline = time.monotonic() + (PATIENCE if patience is None else patience)
        while not _locked(stream, path):
            owner = _owner(path)
            if owner.get("process") == os.environ.get(RUNNER, ""):
                stream.close()
                return
            if time.monotonic() > deadline:
                stream.close()
                raise HandOffError(
                    f"Another run is at work in {folder}: {owner.get('who', 'a notebook')}, process "
                    f"{owner.get('process', 'unknown')}, since {owner.get('since', 'a moment ago')}. Wait until it "
                    "ends, or stop it (in JupyterLab: shut down its kernel), then run this again."
                )
            time.sleep(_PAUSE)
        stream.seek(0)
        stream.truncate()
        json.dump({"who": who, "process": me(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}, stream)
        stream.flush()
        _held[path] = stream


def free(folder: Path) -> None:
    """Give the lock of a folder back, if this process has it."""
    with _guard:
        if stream := _held.pop(folder.resolve() / FILE, None):
            stream.close()


def hold_while_cells_run(folder: Path, who: str) -> None:
    """Take the lock for the notebook that runs in this kernel, as the module says; nothing outside of a kernel.

    Raises HandOffError as ``hold``, also later, when a kernel that was idle asks again.
    """
    # Not imported: where IPython has not been loaded there is no kernel.
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None or getattr(shell, "kernel", None) is None:
        return
    hold(folder, who)
    with _guard:
        if not _claims:
            _busy.set()
            shell.events.register("pre_run_cell", _before_cell)
            shell.events.register("post_run_cell", _after_cell)
        _claims[folder] = who


@contextlib.contextmanager
def held_for_notebooks(folder: Path, who: str) -> Iterator[None]:
    """Hold the lock of a folder for this process and the notebooks that it starts. Raises HandOffError as ``hold``."""
    before = os.environ.get(RUNNER)
    hold(folder, who)
    os.environ[RUNNER] = me()
    try:
        yield
    finally:
        free(folder)
        del os.environ[RUNNER]
        if before is not None:
            os.environ[RUNNER] = before


def me() -> str:
    """Return this process as others are told of it: its number and machine."""
    return f"{os.getpid()} on {socket.gethostname()}"


def _locked(stream: IO[str], path: Path) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        warnings.warn(
            f"{path} cannot be locked on this disk ({error.strerror}): see to it that no other run works there.",
            stacklevel=4,
        )
    return True


def _owner(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _before_cell(_: Any) -> None:
    _busy.set()
    for folder, who in _claims.items():
        with contextlib.suppress(HandOffError):  # ``Store.record`` will raise it.
            hold(folder, who, patience=0)


def _after_cell(result: Any) -> None:
    _busy.clear()
    if result.error_before_exec or result.error_in_exec:
        _free_unless_busy()
        return
    timer = threading.Timer(IDLE, _free_unless_busy)
    timer.daemon = True
    timer.start()


def _free_unless_busy() -> None:
    with _guard:
        for folder in _claims if not _busy.is_set() else ():
            free(folder)
