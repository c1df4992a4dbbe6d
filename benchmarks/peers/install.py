"""Make the peers' environment, ``benchmarks/peers/.venv``: exact pins, and a note of every peer that does not install.

Run with Python 3.11 (LightFM has no wheel and is built with the C++ compiler that NVTabular needs too).
"""

import json
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).parent
FAILURES = HERE / ".venv" / "failures.json"
"""Package to the last words of its installer, for the packages that could not be had."""
BUILDERS = ("pip==23.2.1", "setuptools==65.5.0", "wheel==0.48.0")
"""LightFM 1.17 asks ``__builtins__`` for an attribute in its setup.py, which isolated (PEP 517) builds make a dict:
it builds only the older way, with a pip that still has that way."""
PEERS = {
    "cornac": (),
    "implicit": (),
    "lightfm": ("--no-use-pep517", "--no-build-isolation", "--no-deps", "--no-binary", "lightfm"),
}
"""Packages that may fail without harm to the others, with the options of pip that each needs."""


def pins(text: str) -> dict[str, str]:
    """Return package to requirement ("name==version") of each line of a requirements file, comments left out."""
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return {line.split("==")[0].lower(): line for line in lines if line}


def main() -> int:
    """Install everything; return 0 when the environment can run, whichever peers are missing."""
    if sys.version_info[:2] != (3, 11):
        print(f"Python 3.11 is needed, this is {sys.version.split()[0]}: its pins have no other wheels.")
        return 1
    folder = HERE / ".venv"
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    wanted = pins((HERE / "requirements.txt").read_text())
    shared = [requirement for name, requirement in wanted.items() if name not in PEERS]
    subprocess.run([*pip, *BUILDERS], check=True)
    failures = {}
    # LightFM first: the shared packages bring a setuptools that cannot build it.
    for name in sorted(PEERS, reverse=True):
        done = subprocess.run([*pip, "--no-deps", *PEERS[name], wanted[name]], capture_output=True, text=True)
        if done.returncode:
            failures[name] = last_words(done.stderr)
            print(f"{wanted[name]} does not install: {failures[name]}")
    subprocess.run([*pip, *shared], check=True)
    FAILURES.write_text(json.dumps(failures, indent=1) + "\n")
    return 0


def last_words(stderr: str) -> str:
    """Return the most telling line of pip's complaint: the last that names an error, else the last."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()] or ["no message"]
    named = [line for line in lines if "Error:" in line] or [line for line in lines if line.startswith("ERROR")]
    return (named or lines)[-1]


if __name__ == "__main__":
    sys.exit(main())
