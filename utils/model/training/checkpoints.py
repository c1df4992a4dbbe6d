"""Stage 07: finished runs, kept in ``checkpoints/`` in HugeCTR's own snapshot format.

A run's folder is named by a fingerprint of all that it depends on, so a notebook that was killed goes on with
the first unfinished run, and a run of other data or settings is never taken for this one.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from utils.handoff.atomic import make_folder
from utils.handoff.store import HandOffError, Store, sha256, writing
from utils.model import hugectr_files
from utils.model.training.fit import Job, Run

HISTORY = "history.json"
DIGESTS = "sha256.json"
"""What the files of a finished run must hash to: a power cut can leave any of them empty, or full of zeros."""


def fit_or_resume(store: Store, job: Job, features: str, trainer: str, fit: Callable[[Job, Path], Run]) -> Run:
    """Return the run of ``job``: from its checkpoint where it is finished and whole, else by ``fit(job, prefix)``.

    ``fit`` may leave a snapshot under ``prefix`` itself, as HugeCTR does; otherwise the run's twin is saved there. A
    checkpoint that is damaged is announced and replaced.
    """
    folder = store.path("checkpoints") / name_of(store, job, features, trainer)
    if folder.exists():
        try:
            if json.loads((folder / DIGESTS).read_text()) != _digests(folder):
                raise HandOffError("its files are not those that were written")
            return load(job, folder / job.graph.name)
        except (HandOffError, OSError, ValueError) as error:
            print(f"{folder} is damaged and is trained again: {error}")
            if not folder.is_dir():
                folder.unlink()
    make_folder(folder.parent)
    with writing(folder) as temporary:
        temporary.mkdir()
        run = fit(job, temporary / job.graph.name)
        if not (temporary / f"{job.graph.name}_dense_0.model").exists():
            save(run, temporary / job.graph.name)
        (temporary / DIGESTS).write_text(json.dumps(_digests(temporary)))
    return run


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != DIGESTS)
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files}


def save(run: Run, prefix: Path) -> None:
    """Write a run's weights and learning curve beside ``prefix``."""
    hugectr_files.save_snapshot(run.twin, prefix)
    prefix.with_name(HISTORY).write_text(json.dumps(run.history))


def load(job: Job, prefix: Path) -> Run:
    """Read a run back. Raises HandOffError for files that do not fit the job."""
    twin = job.twin()
    hugectr_files.load_snapshot(twin, prefix)
    history = prefix.with_name(HISTORY)
    return Run(twin.eval(), json.loads(history.read_text()) if history.exists() else [], resumed=True)


def name_of(store: Store, job: Job, features: str, trainer: str) -> str:
    """Return the folder name of a run: readable, and with a fingerprint of all that it depends on."""
    depends_on = [
        asdict(job.settings),
        job.seed,
        features,
        trainer,
        [asdict(layer) for layer in job.graph.layers],
        asdict(job.inputs),
        [store.manifest().get(name, {}).get("sha256") for name in ("train-hugectr", "valid-hugectr")],
    ]
    digest = hashlib.sha256(json.dumps(depends_on, sort_keys=True, default=str).encode())
    for table in (job.frozen, *(job.start[column] for column in sorted(job.start))):
        digest.update(hashlib.sha256(np.ascontiguousarray(table).data).digest())
    readable = "".join(character if character.isalnum() else "-" for character in features).strip("-")
    return f"{job.graph.name}_{readable}_{job.seed}_{digest.hexdigest()[:12]}"
