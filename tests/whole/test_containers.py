"""The containers and ``make lab``: what they copy and call is there, no user is root, no port is open to all."""

import fnmatch
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.places import ROOT

FILES = ("Dockerfile", "Dockerfile.gpu")
TARGETS = set(re.findall(r"^([a-z.$()A-Z/-]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE))


def instructions(name: str) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile, each on one line."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(kind, rest.strip()) for kind, _, rest in (line.partition(" ") for line in joined.splitlines()) if kind]


def of(name: str, wanted: str) -> list[str]:
    return [rest for kind, rest in instructions(name) if kind == wanted]


def ignored(path: str) -> bool:
    patterns = [line for line in (ROOT / ".dockerignore").read_text().split("\n") if line and line[0] != "#"]
    return any(fnmatch.fnmatch(path, each) or fnmatch.fnmatch(path, each.removeprefix("**/")) for each in patterns)


@pytest.mark.parametrize("name", FILES)
def test_an_image_of_one_version_and_a_user_without_rights(name: str) -> None:
    (base,) = of(name, "FROM")
    assert re.fullmatch(r"\S+:[\w.-]+", base) and not base.endswith(":latest")
    assert of(name, "USER")[-1].split(":")[0] not in ("root", "0")
    assert instructions(name)[-1][0] == "CMD" and isinstance(json.loads(of(name, "CMD")[0]), list)
    for command in of(name, "RUN"):
        assert "sudo" not in command
        assert "apt-get install" not in command or "rm -rf /var/lib/apt/lists/*" in command


def test_what_is_copied_is_there_and_comes_into_the_image() -> None:
    sources = [word for copied in of("Dockerfile", "COPY") for word in copied.split()[:-1] if not word.startswith("--")]
    assert sources == ["requirements.txt", "constraints.txt", "Makefile", "."]
    assert all((ROOT / source).exists() and not ignored(source) for source in sources)
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    assert not [path for path in tracked if path and any(ignored(part) for part in (path, path.split("/")[0]))]
    assert all(map(ignored, (".git", ".venv", "data", "runs", ".env", "__pycache__", ".mypy_cache")))


def test_what_the_image_calls_are_targets_of_make() -> None:
    commands = [" ".join(json.loads(each)) for each in of("Dockerfile", "CMD")] + of("Dockerfile", "RUN")
    called = {word for command in commands for word in re.findall(r"(?:^|&& )make (\S+)", command)}
    assert called == {"lab", ".venv/.ready"}
    assert {target.replace("$(VENV)", ".venv") for target in TARGETS} >= called | {"run"}
    shown = re.findall(r"^#   (docker run .*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert any("-p 127.0.0.1:8888:8888" in line for line in shown) and of("Dockerfile", "EXPOSE") == ["8888"]
    assert any("make run" in line for line in shown)


def test_the_image_for_hugectr_is_that_of_the_documentation_and_runs_the_script_alone() -> None:
    (base,) = of("Dockerfile.gpu", "FROM")
    assert base in (ROOT / "docs" / "gpu.md").read_text()
    assert json.loads(of("Dockerfile.gpu", "CMD")[0]) == ["python", "model.py"]
    assert not of("Dockerfile.gpu", "COPY") and not of("Dockerfile.gpu", "RUN")


def test_the_devcontainer_is_the_image() -> None:
    described = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert (ROOT / ".devcontainer" / described["build"]["dockerfile"]).resolve() == ROOT / "Dockerfile"
    assert f"useradd --create-home --uid 1000 {described['remoteUser']}" in (ROOT / "Dockerfile").read_text()
    (folder,) = of("Dockerfile", "WORKDIR")
    assert described["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"].startswith(folder)
    assert described["forwardPorts"] == [int(port) for port in of("Dockerfile", "EXPOSE")]


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder with the Makefile and an environment in which JupyterLab only shows how it is called."""
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name in ("requirements.txt", "constraints.txt", ".venv/.ready"):
        (tmp_path / name).touch()
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    jupyter = tmp_path / ".venv" / "bin" / "jupyter"
    jupyter.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    jupyter.chmod(0o755)
    return tmp_path


def make(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {
        name: value for name, value in os.environ.items() if name not in ("LAB", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    } | environment
    return subprocess.run(["make", *arguments], cwd=folder, env=given, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("flags", ["", "--no-browser --port 9999", "--ip=0.0.0.0", "$(shell touch x) `touch x`; *"])
@pytest.mark.parametrize("user", ["0", "1000"])
def test_the_lab_listens_here_and_takes_flags(made: Path, flags: str, user: str) -> None:
    """As root Jupyter wants to be told that this is meant; nothing of LAB is executed, and no token is switched off."""
    (made / "id").write_text(f"#!/bin/sh\necho {user}\n")
    (made / "id").chmod(0o755)
    done = make(made, "lab", f"LAB={flags}", PATH=f"{made}:{os.environ['PATH']}")
    assert done.stdout.split("\n") == ["lab", "--ip=127.0.0.1", *["--allow-root"] * (user == "0"), *flags.split(), ""]
    assert not (made / "x").exists()


@pytest.mark.parametrize(
    ("python", "said"),
    [
        (
            "/no/python3.11",
            "Python 3.11 is needed and /no/python3.11 was not found. Name one that is there: make",
        ),
        (
            "python",
            "is Python 3.10.1. Debian: apt-get install python3.11 python3.11-dev python3.11-venv; or name",
        ),
    ],
)
def test_a_wrong_python_is_said_in_a_line_with_the_remedy(made: Path, python: str, said: str) -> None:
    wrong = made / "python"
    wrong.write_text('#!/bin/sh\ntest "$1" != -V || echo Python 3.10.1\nexit 1\n')
    wrong.chmod(0o755)
    done = make(made, "check-machine", f"PYTHON={made / python if python == 'python' else python}")
    assert done.returncode and said in done.stdout and len(done.stdout.splitlines()) == 1


def test_an_index_of_other_builds_of_pytorch_is_asked_for_the_pinned_ones_and_may_fail(made: Path) -> None:
    (made / "requirements.txt").write_text((ROOT / "requirements.txt").read_text())
    pip = made / ".venv" / "bin" / "python"
    pip.write_text('#!/bin/sh\necho "$@" | grep -v no-deps\n')
    pip.chmod(0o755)
    (made / ".venv" / ".ready").unlink()
    done = make(made, ".venv/.ready", "TORCH_INDEX=https://no.such/$(shell touch x)")
    assert done.returncode == 0 and not (made / "x").exists()
    assert "https://no.such/$(shell touch x) does not give these builds" in done.stdout
    pip.write_text('#!/bin/sh\necho "$@"\n')
    (made / ".venv" / ".ready").unlink()
    done = make(made, ".venv/.ready", "TORCH_INDEX=https://some.where")
    pinned = re.findall(r"^(torch(?:vision)?==\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert len(pinned) == 2 and f"--no-deps --index-url https://some.where {' '.join(pinned)}\n" in done.stdout
