"""Stage 07: train in other processes: the twin under torchrun, or HugeCTR by running the rendered script.

Both leave a snapshot in HugeCTR's format, so what follows (scores, metrics, recommendations) is the same code
whoever trained. An exit code other than 0 is an error with the end of the log in it.
"""

import json
import queue
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from utils.handoff.atomic import ROOT, explained
from utils.handoff.store import Store
from utils.machine import threads
from utils.model import hugectr_files, hugectr_script
from utils.model.training import checkpoints, fit
from utils.model.training.fit import Job, Run

LAST_LINES = 60
"""Lines of a log that an error shows: torchrun's own report is long, and the worker's traceback stands above it."""
SILENCE = 600.0
"""Seconds without a line after which HugeCTR is taken to hang: it prints ten lines an epoch."""
GRACE = 60.0
"""Seconds that a process has to end by itself when it is told to: torchrun gives its own 30."""
_LOSS = re.compile(r"Iter: (?P<step>\d+).*?Loss: (?P<loss>[-+.\deE]+|nan)")
_AUC = re.compile(r"Evaluation, AUC: (?P<auc>[-+.\deE]+|nan)")


class TrainerError(RuntimeError):
    """A training process ended with an error, or hung; the message has the end of its log."""


def trainer(store: Store, name: str, num_procs: int, vvgpu: Sequence[Sequence[int]]) -> Callable[[Job, Path], Run]:
    """Return the function that trains a job: here, in ``num_procs`` processes, or by HugeCTR."""
    if name == "hugectr":
        return lambda job, prefix: fit_hugectr(store, job, prefix, vvgpu)
    if num_procs > 1:
        return lambda job, prefix: fit_distributed(store, job, prefix, num_procs)
    return lambda job, prefix: fit.fit(job)


def fit_distributed(store: Store, job: Job, prefix: Path, num_procs: int) -> Run:
    """Train the twin in ``num_procs`` processes under torchrun; the snapshot appears under ``prefix``."""
    with explained(store.folder), tempfile.TemporaryDirectory(dir=store.folder, prefix=".job.") as scratch:
        folder = Path(scratch)
        np.save(folder / "frozen.npy", job.frozen)
        np.savez(folder / "start.npz", **job.start)
        for name, split in (("train", job.train), ("monitor", job.monitor.head(fit.MONITOR_ROWS))):
            arrays = {column: values.numpy() for column, values in split.codes.items()}
            np.savez(folder / f"{name}.npz", label=split.label.numpy(), **arrays)
        described = {
            "graph": job.graph.as_dict(),
            "inputs": asdict(job.inputs),
            "settings": asdict(job.settings),
            "seed": job.seed,
            "prefix": str(prefix.resolve()),
        }
        (folder / "job.json").write_text(json.dumps(described))
        command = [
            sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={num_procs}",
            "-m", "utils.model.training.worker", str(folder.resolve()),
        ]  # fmt: skip
        with threads.divided(num_procs):
            run_logged(command, cwd=ROOT, what=f"torchrun with NUM_PROCS={num_procs}")
    return checkpoints.load(job, prefix)


def fit_hugectr(store: Store, job: Job, prefix: Path, vvgpu: Sequence[Sequence[int]]) -> Run:
    """Train by HugeCTR: render the script for this job, run it in the data folder, load its snapshot.

    Needs HugeCTR and a GPU, which ``training.check_parameters`` has made sure of.
    """
    table = prefix.with_name("content.model")
    hugectr_files.write_sparse(table, np.arange(len(job.frozen)), job.frozen)
    start = hugectr_files.write_start(job.twin(), job.start, prefix.parent)
    script = hugectr_script.Script(
        inputs=job.inputs,
        epochs=job.settings.epochs,
        batch_size=job.settings.batch_size,
        learning_rate=job.settings.learning_rate,
        seed=job.seed,
        train_rows=len(job.train),
        valid_rows=len(job.monitor),
        vvgpu=tuple(tuple(gpus) for gpus in vvgpu),
        table=_relative(table, store.folder),
        start={column: _relative(path, store.folder) for column, path in start.items()},
        snapshot=_relative(prefix, store.folder),
    )
    source = prefix.with_name("model.py")
    source.write_text(hugectr_script.render(job.graph, script))
    command = [sys.executable, _relative(source, store.folder)]
    lines = run_logged(command, cwd=store.folder, what="HugeCTR", silence=SILENCE)
    prefix.with_name(checkpoints.HISTORY).write_text(json.dumps(parse_log(lines)))
    return checkpoints.load(job, prefix)


def run_logged(command: Sequence[str], cwd: Path, what: str, silence: float | None = None) -> list[str]:
    """Run a command, show its last line as it goes, return all lines.

    Raises TrainerError unless it exits with 0, and when it prints nothing for ``silence`` seconds: a thread of HugeCTR
    that fails to read a file only logs it, while the main thread waits for ever.
    """
    lines: list[str] = []
    with (
        subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process,
        tqdm(desc=what, unit="line", leave=False) as progress,
    ):
        try:
            for line in _lines(process, silence):
                lines.append(line.rstrip())
                progress.update()
                progress.set_postfix_str(line.strip()[:80])
        except queue.Empty:
            _end(process)
            raise TrainerError(
                f"{what} printed nothing for {silence:g} seconds and was ended: a thread that reads the data has "
                "probably failed. Look for an error below; run notebook 06 again if it names one of its files. "
                f"The end of the log:\n{_end_of(lines)}"
            ) from None
        except BaseException:
            _end(process)
            raise
    if process.returncode != 0:
        raise TrainerError(f"{what} ended with exit code {process.returncode}. The end of its log:\n{_end_of(lines)}")
    return lines


def _lines(process: subprocess.Popen[str], silence: float | None) -> Iterator[str]:
    """Yield the output of a process line by line; raises queue.Empty after ``silence`` seconds without one."""
    waiting: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            waiting.put(line)
        waiting.put(None)

    threading.Thread(target=read, daemon=True).start()
    while (line := waiting.get(timeout=silence)) is not None:
        yield line


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()


def _end_of(lines: Sequence[str]) -> str:
    return "\n".join(lines[-LAST_LINES:])


def parse_log(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Turn HugeCTR's log into a learning curve: one row an evaluation, with the last loss before it."""
    history: list[dict[str, Any]] = []
    loss = float("nan")
    for line in lines:
        if found := _LOSS.search(line):
            loss = float(found["loss"])
        elif found := _AUC.search(line):
            history.append({"epoch": len(history) + 1, "train_loss": loss, "valid_auc": float(found["auc"])})
    return history


def _relative(path: Path, folder: Path) -> str:
    return path.resolve().relative_to(folder.resolve()).as_posix()
