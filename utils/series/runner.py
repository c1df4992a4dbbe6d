"""Run the notebooks in order, headless: ``python -m utils.series.runner KEY=VALUE ...`` (``make run``).

Each parameter goes to the notebooks that declare it, or to a single one (``03:BATCH_SIZE=16``); one that none declares
is an error. A notebook is run again only if its code, its parameters or its inputs have changed since its last complete
run, or its outputs are damaged. Executed notebooks go to ``runs/<DATASET>/``; their metadata holds what this decision
needs.
"""

import argparse
import ast
import glob
import hashlib
import json
import os
import re
import resource
import shlex
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any

import nbformat
import papermill
import yaml
from nbclient.exceptions import CellTimeoutError

from utils.content.enrichment import left_to_do
from utils.handoff import lock, manifest
from utils.handoff.atomic import ROOT, explained, make_folder, sha256
from utils.handoff.contract import ARTEFACTS
from utils.handoff.parameters import ParameterError, dataset_name, expanded

RECORD = "multimodal_run"
"""Key of our record in the metadata of an executed notebook."""
FILES = 512
"""Files and sockets that a notebook may open at once, with room to spare."""


@dataclass(frozen=True)
class Step:
    """A notebook, the parameters it declares with their defaults, and those it is given."""

    path: Path
    defaults: Mapping[str, Any]
    given: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The notebook's name without its ending."""
        return self.path.stem

    @property
    def writes(self) -> list[str]:
        """The artefacts that this notebook writes."""
        return [name for name, artefact in ARTEFACTS.items() if artefact.notebook == self.name]


def parse(text: str) -> Any:
    """Return a parameter's value: a Python literal (1e-3, None, [1, 2], "x"), YAML ([a, b], {a: b}), or the text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        pass
    try:
        # A shell takes the quotes from {"movieId":"isbn"}; YAML wants a blank after the colon.
        value = yaml.safe_load(re.sub(r":(?=\S)", ": ", text) if re.fullmatch(r"\{[^{}]*\}", text) else text)
    except yaml.YAMLError:
        return text
    named = text.startswith("{") and isinstance(value, dict) and all(isinstance(one, str) for one in value.values())
    return value if isinstance(value, list | bool) or named else text


def plan(given: Mapping[str, Any], root: Path = ROOT) -> list[Step]:
    """Return the steps of the series in order, each with its share of the parameters.

    A key is the name of a parameter, or a notebook's number and a name ("03:BATCH_SIZE"), which takes precedence.
    Raises ParameterError for a parameter that no notebook declares.
    """
    steps, used = [], set()
    for path in sorted(root.glob("[0-9][0-9]-*.ipynb")):
        declared = papermill.inspect_notebook(str(path))
        keys = {name: [key for key in (f"{path.stem[:2]}:{name}", name) if key in given] for name in declared}
        used |= {key for found in keys.values() for key in found}
        defaults = {name: parse(info["default"]) for name, info in declared.items()}
        steps.append(Step(path, defaults, {name: given[found[0]] for name, found in keys.items() if found}))
    if unknown := [name for name in given if name not in used]:
        everything = ", ".join(sorted({name for step in steps for name in step.defaults}))
        raise ParameterError(f"No notebook has a parameter {unknown[0]!r}. There are: {everything}.")
    return steps


def default_of(steps: Iterable[Step], name: str) -> Any:
    """Return the default of the parameter ``name`` in the first notebook that declares it; None where none does."""
    return next((step.defaults[name] for step in steps if name in step.defaults), None)


def code_of(step: Step, root: Path = ROOT) -> str:
    """Return a hash of the notebook's code cells and of every module below ``root`` that they import, at any depth.

    Tables beside a module, such as the plots, count as part of it.
    """
    cells = [cell.source for cell in nbformat.read(step.path, 4).cells if cell.cell_type == "code"]
    finder = ModuleFinder(path=[str(root)])
    finder.scan_code(compile("\n".join(cells), step.path.name, "exec"), finder.add_module(step.name))
    modules = {Path(file) for module in finder.modules.values() if (file := getattr(module, "__file__", None))}
    tables = {table for module in modules for table in module.parent.glob("*.csv")}
    digest = hashlib.sha256("\0".join(cells).encode())
    for path in sorted(modules | tables):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _state(step: Step, data: Path, root: Path) -> dict[str, Any]:
    """Return what a run of this step depends on and what it made, as of now. ``data`` is DATA_DIR/DATASET."""
    entries = manifest.read(data)
    written = {name: entries[name] for name in step.writes if name in entries}
    inputs = {name for entry in written.values() for name in entry["inputs"]}
    outside = {}
    for name, value in step.given.items():
        # The data folder changes with every notebook; the manifest tells what counts in it.
        path = root / os.path.expanduser(value) if isinstance(value, str) and value else None
        if path is not None and name not in ("DATA_DIR", "DATASET") and os.path.exists(path):
            # With vectors.npy comes vectors.ids.npy or .txt, which says whose they are.
            beside = path.parent.glob(f"{glob.escape(path.stem)}.ids.*")
            files = sorted(path.rglob("*")) if path.is_dir() else [path, *sorted(beside)]
            seen = [(os.path.relpath(file, root), file.stat()) for file in files]
            outside[name] = [[file, status.st_size, status.st_mtime_ns] for file, status in seen]
    return {
        "code": code_of(step, root),
        "parameters": {**step.defaults, **step.given},
        "outside": outside,
        "inputs": {name: entries.get(name, {}).get("sha256") for name in sorted(inputs)},
        "outputs": {name: entry["sha256"] for name, entry in sorted(written.items())},
    }


def is_done(step: Step, executed: Path, data: Path, root: Path = ROOT) -> bool:
    """Return whether the step's last complete run still holds: same code, parameters and inputs, outputs intact."""
    try:
        record = nbformat.read(executed, 4).metadata.get(RECORD)
    except (FileNotFoundError, nbformat.reader.NotJSONError, nbformat.ValidationError, UnicodeDecodeError):
        return False
    if record is None or record != json.loads(json.dumps(_state(step, data, root))):
        return False
    outputs = {data / ARTEFACTS[name].path: digest for name, digest in record["outputs"].items()}
    whole = all(path.exists() and sha256(path) == digest for path, digest in outputs.items())
    if whole and "enrichment_report" in step.writes and (reason := left_to_do(data)):
        print(f"{step.name} is run again: {reason}", flush=True)
        return False
    return whole


def run(step: Step, executed: Path, data: Path, root: Path = ROOT) -> None:
    """Execute one notebook; the result appears at ``executed`` when it is complete.

    A notebook that fails is kept as ``<name>.failed.ipynb``. Raises papermill's PapermillExecutionError, and
    RuntimeError or CellTimeoutError where its process is killed or does not answer.
    """
    make_folder(executed.parent)
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    running = executed.with_name(f"{step.name}.running.ipynb")
    try:
        with explained(running):
            papermill.execute_notebook(
                str(step.path),
                str(running),
                dict(step.given),
                cwd=str(root),
                progress_bar=sys.stderr.isatty(),
                request_save_on_cell_execute=False,
                kernel_name="python3",
                iopub_timeout=120,  # seconds; on a busy machine a cell's output may take longer than the default of 4
                extra_arguments=["--log-level=50"],  # no notices of TCP and of the interrupt that ends it
            )
    except papermill.PapermillExecutionError:
        running.replace(executed.with_name(f"{step.name}.failed.ipynb"))
        raise
    notebook = nbformat.read(running, 4)
    notebook.metadata[RECORD] = _state(step, data, root)
    nbformat.write(notebook, running)
    running.replace(executed)


def run_all(given: Mapping[str, Any], root: Path = ROOT, runs: Path | None = None) -> int:
    """Run the notebooks that are not done yet, into ``runs``/DATASET; return how many were run.

    Raises HandOffError where another run is at work in the data folder, else as ``run``.
    """
    steps = plan(given, root)
    dataset = given.get("DATASET", default_of(steps, "DATASET"))
    data_dir = given.get("DATA_DIR", default_of(steps, "DATA_DIR"))
    dataset_name(dataset)
    data, done = root / expanded("DATA_DIR", data_dir) / dataset, (runs or root / "runs") / dataset
    with lock.held_for_notebooks(make_folder(data), "make run"):
        executed_count = _run_steps(steps, data, done, root)
    print(f"Executed notebooks: {os.path.relpath(done, root)}/   Files: {os.path.relpath(data, root)}/", flush=True)
    return executed_count


def _run_steps(steps: Sequence[Step], data: Path, done: Path, root: Path) -> int:
    executed_count = 0
    for number, step in enumerate(steps, start=1):
        executed = done / step.path.name
        executed.with_name(f"{step.name}.failed.ipynb").unlink(missing_ok=True)
        label = f"[{number}/{len(steps)}] {step.name}"
        if is_done(step, executed, data, root):
            print(f"{label}: unchanged", flush=True)
            continue
        print(f"{label} ...", flush=True)
        started = time.monotonic()
        run(step, executed, data, root)
        executed_count += 1
        print(f"{label}: {time.monotonic() - started:.0f} s", flush=True)
    return executed_count


def _open_files_allowed() -> None:
    """Let this process and its notebooks open FILES files at once; raise OSError where fewer are allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < FILES:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, hard))
        except ValueError as error:
            raise OSError(f"only {hard} files may be open at once. Allow {FILES}: `ulimit -n {FILES}`.") from error


def main(arguments: list[str] | None = None) -> int:
    """Run the series with the parameters of the command line; return the exit code. Errors become one message."""
    parser = argparse.ArgumentParser(
        prog="python -m utils.series.runner", description="Run the notebooks 00 to 07, headless."
    )
    parser.add_argument("parameters", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--params", default="", help='more of them in one string, as in make run PARAMS="K=V …"')
    options = parser.parse_args(arguments)
    try:
        given = {}
        _open_files_allowed()
        try:
            pairs = [*options.parameters, *shlex.split(options.params)]
        except ValueError as error:
            raise ParameterError(f"PARAMS={options.params!r} cannot be cut into NAME=VALUE: {error}.") from error
        for pair in pairs:
            name, equals, value = pair.partition("=")
            if not equals or not re.fullmatch(r"(\d\d:)?[A-Za-z_]\w*", name):
                raise ParameterError(f"{pair!r} is not of the form NAME=VALUE or 03:NAME=VALUE.")
            given[name] = value if name == "DATASET" else parse(value)  # 2024 and no are names, too.
        run_all(given)
    except papermill.PapermillExecutionError as error:
        message = f"\nFAILED: {error.ename}: {error.evalue}\n(cell {error.exec_count} of the notebook above)"
    except CellTimeoutError:
        message = "\nFAILED: the notebook's process stopped answering. Run this again: it goes on where it stopped."
    except (ParameterError, manifest.HandOffError, OSError) as error:
        message = f"FAILED: {error}"
    except RuntimeError as error:  # DeadKernelError; while it starts jupyter_client raises no more than this.
        if "Kernel" not in str(error):
            raise
        killed = "the notebook's process was killed, most often because memory ran out"
        what = "the notebook's process did not start" if "respond" in str(error) else killed
        message = (
            f"\nFAILED: {what}. "
            "Lower BATCH_SIZE or PART_SIZE, or free some memory, and run this again: it goes on where it stopped."
        )
    except KeyboardInterrupt:
        message = "\nStopped. Run this again: it goes on where it stopped."
    else:
        return 0
    print(message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
