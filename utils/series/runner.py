"""Run the notebooks in order, headless: ``python -m utils.series.runner KEY=VALUE ...`` (``make run``).

Each parameter goes to the notebooks that declare it, or to one alone (``03:BATCH_SIZE=16``); one that
none declares is an error. A notebook whose code, parameters and inputs have not changed since its last
complete run, and whose outputs are intact, is not run again. Executed notebooks go to
``runs/<DATASET>/`` and carry, in their metadata, what that decision needs.
"""

import argparse
import ast
import hashlib
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import papermill
import yaml
from nbclient.exceptions import DeadKernelError

from utils.handoff import manifest
from utils.handoff.atomic import ROOT, sha256
from utils.handoff.contract import ARTEFACTS
from utils.handoff.parameters import ParameterError, dataset_name

RECORD = "multimodal_run"
"""Key of our record in the metadata of an executed notebook."""


@dataclass(frozen=True)
class Step:
    """One notebook, the parameters it declares with their defaults, and those it is given."""

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
    """Return a parameter's value: a Python literal (1, 1e-3, None, [1, 2], "x"), YAML ([a, b]), or the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        pass
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return value if isinstance(value, list | bool) else text


def plan(given: Mapping[str, Any], root: Path = ROOT) -> list[Step]:
    """Return the steps of the series in order, each with its share of the parameters.

    A key is a parameter, or a notebook's number and one ("03:BATCH_SIZE"), which goes before. Raises
    ParameterError for a parameter that no notebook declares.
    """
    steps, used = [], set()
    for path in sorted(root.glob("[0-9][0-9]-*.ipynb")):
        declared = papermill.inspect_notebook(str(path))
        defaults = {name: parse(info["default"]) for name, info in declared.items()}
        mine = {}
        for name in defaults:
            for key in (name, f"{path.stem[:2]}:{name}"):
                if key in given:
                    mine[name] = given[key]
                    used.add(key)
        steps.append(Step(path, defaults, mine))
    unknown = [name for name in given if name not in used]
    if unknown:
        everything = ", ".join(sorted({name for step in steps for name in step.defaults}))
        raise ParameterError(f"No notebook has a parameter {unknown[0]!r}. There are: {everything}.")
    return steps


def default_of(steps: Iterable[Step], name: str) -> Any:
    """Return the default that the first notebook to declare the parameter ``name`` gives it; None where none does."""
    return next((step.defaults[name] for step in steps if name in step.defaults), None)


def code_of(step: Step, root: Path = ROOT) -> str:
    """Return a hash of the notebook's code cells and of every module of ``utils`` they reach."""
    digest = hashlib.sha256()
    cells = [cell.source for cell in nbformat.read(step.path, 4).cells if cell.cell_type == "code"]
    reached: set[Path] = set()
    waiting = list(_imported("\n".join(cells), root))
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting += _imported(module.read_text(), root)
    digest.update("\0".join(cells).encode())
    for module in sorted(reached):
        digest.update(module.read_bytes())
    return digest.hexdigest()


def _imported(source: str, root: Path) -> Iterable[Path]:
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "utils":
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.split(".")[0] == "utils"]
        for name in names:
            path = root.joinpath(*name.split("."))
            for file in (path.with_suffix(".py"), path / "__init__.py"):
                if file.is_file():
                    yield file


def _state(step: Step, data: Path, root: Path) -> dict[str, Any]:
    """What a run of this step depends on and made, as of now. ``data`` is DATA_DIR/DATASET."""
    entries = manifest.read(data)
    written = {name: entries[name] for name in step.writes if name in entries}
    inputs = {name for entry in written.values() for name in entry["inputs"]}
    outside = {}
    for name, value in step.given.items():
        # The data folder changes with every notebook; what counts in it is in the manifest.
        if isinstance(value, str) and value and name not in ("DATA_DIR", "DATASET") and os.path.exists(root / value):
            files = [root / value] if (root / value).is_file() else sorted((root / value).rglob("*"))
            outside[name] = [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    return {
        "code": code_of(step, root),
        "parameters": {**step.defaults, **step.given},
        "outside": outside,
        "inputs": {name: entries.get(name, {}).get("sha256") for name in sorted(inputs)},
        "outputs": {name: entry["sha256"] for name, entry in sorted(written.items())},
    }


def is_done(step: Step, executed: Path, data: Path, root: Path = ROOT) -> bool:
    """Whether the step's last complete run still stands: same code, parameters and inputs, outputs intact."""
    if not executed.exists():
        return False
    try:
        record = nbformat.read(executed, 4).metadata.get(RECORD)
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, UnicodeDecodeError):
        return False
    if record is None or json.loads(json.dumps(_state(step, data, root))) != json.loads(json.dumps(record)):
        return False
    if sorted(record["outputs"]) != sorted(name for name in step.writes if name in record["outputs"]):
        return False
    paths = {name: data / ARTEFACTS[name].path for name in record["outputs"]}
    return all(paths[name].exists() and sha256(paths[name]) == digest for name, digest in record["outputs"].items())


def run(step: Step, executed: Path, data: Path, root: Path = ROOT) -> None:
    """Execute one notebook; the result appears at ``executed`` when it is complete.

    A notebook that fails is kept as ``<name>.failed.ipynb``. Raises papermill's execution error.
    """
    executed.parent.mkdir(parents=True, exist_ok=True)
    running = executed.with_name(f"{step.name}.running.ipynb")
    failed = executed.with_name(f"{step.name}.failed.ipynb")
    failed.unlink(missing_ok=True)
    try:
        papermill.execute_notebook(
            str(step.path),
            str(running),
            dict(step.given),
            cwd=str(root),
            progress_bar=sys.stderr.isatty(),
            request_save_on_cell_execute=False,
            kernel_name="python3",
            iopub_timeout=120,  # seconds; a busy machine needs more than the default of 4 to pass on a cell's output
            extra_arguments=["--log-level=40"],  # the kernel's notice about TCP, once a notebook
        )
    except papermill.PapermillExecutionError:
        running.replace(failed)
        raise
    notebook = nbformat.read(running, 4)
    notebook.metadata[RECORD] = _state(step, data, root)
    nbformat.write(notebook, running)
    running.replace(executed)


def run_all(given: Mapping[str, Any], root: Path = ROOT, runs: Path | None = None, until: str = "07") -> int:
    """Run what is not done yet, up to the number ``until``; return how many notebooks were run.

    Executed ones go to ``runs``/DATASET.
    """
    steps = [step for step in plan(given, root) if step.name[:2] <= until]
    dataset = given.get("DATASET", default_of(steps, "DATASET"))
    data_dir = given.get("DATA_DIR", default_of(steps, "DATA_DIR"))
    dataset_name(dataset)
    if not isinstance(data_dir, str):
        raise ParameterError(f"DATA_DIR={data_dir!r} must be the path of a folder, as text.")
    data, done = root / data_dir / dataset, (runs or root / "runs") / dataset
    executed_count = 0
    for number, step in enumerate(steps, start=1):
        executed = done / step.path.name
        label = f"[{number}/{len(steps)}] {step.name}"
        if is_done(step, executed, data, root):
            print(f"{label}: unchanged", flush=True)
            continue
        print(f"{label} ...", flush=True)
        started = time.monotonic()
        run(step, executed, data, root)
        executed_count += 1
        print(f"{label}: {time.monotonic() - started:.0f} s", flush=True)
    print(f"Executed notebooks: {os.path.relpath(done, root)}/   Files: {os.path.relpath(data, root)}/", flush=True)
    return executed_count


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, run, and turn errors into one message and an exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m utils.series.runner", description="Run the notebooks 00 to 07, headless."
    )
    parser.add_argument("parameters", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--params", default="", help='more of them in one string, as in make run PARAMS="K=V …"')
    options = parser.parse_args(arguments)
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    try:
        given = {}
        for pair in [*options.parameters, *shlex.split(options.params)]:
            name, equals, value = pair.partition("=")
            if not equals or not re.fullmatch(r"(\d\d:)?[A-Za-z_]\w*", name):
                raise ParameterError(f"{pair!r} is not of the form NAME=VALUE or 03:NAME=VALUE.")
            given[name] = parse(value)
        run_all(given)
    except papermill.PapermillExecutionError as error:
        print(
            f"\nFAILED: {error.ename}: {error.evalue}\n(cell {error.exec_count} of the notebook above)", file=sys.stderr
        )
        return 1
    except DeadKernelError:
        print(
            "\nFAILED: the notebook's process was killed, most often because memory ran out. "
            "Lower BATCH_SIZE or PART_SIZE, or free some memory, and run this again: it goes on where it stopped.",
            file=sys.stderr,
        )
        return 1
    except (ParameterError, manifest.HandOffError, OSError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
