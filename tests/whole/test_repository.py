"""What the repository says of itself is so: commands, links, versions, paths, the contract, messages."""

import ast
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import nbformat
import pyarrow as pa
import pytest
import yaml

from tests.places import ROOT
from utils.handoff.contract import ARTEFACTS
from utils.series import runner

FRONT = [ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG", "SECURITY")]
PAGES = [*FRONT, *sorted((ROOT / "docs").glob("*.md"))]
NOTEBOOKS = [*sorted(ROOT.glob("[0-9][0-9]-*.ipynb")), *sorted(ROOT.glob("examples/*.ipynb"))]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGET = re.compile(r"(?:^|[\s;&|(])make +(?:[A-Z]+=\S+ +)*([a-z][a-z-]*)", re.MULTILINE)
PYTHON = "3.11"


def text_of(path: Path) -> str:
    """The text of a page, or the markdown cells of a notebook."""
    if path.suffix != ".ipynb":
        return path.read_text()
    return "\n\n".join(cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown")


def fenced(text: str) -> Iterator[str]:
    """Blocks of shell commands, with lines that go on joined and without comments."""
    for kind, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if kind == "bash":
            yield re.sub(r"(^|\s)#.*$", "", block.replace("\\\n", " "), flags=re.MULTILINE)


def prose(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def code_spans(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose(text))


def loaded(path: Path) -> dict:
    return yaml.safe_load(path.read_text())


def steps() -> list[dict]:
    return [step for path in WORKFLOWS for job in loaded(path)["jobs"].values() for step in job["steps"]]


@cache
def targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE))


def pins(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^\s#]+)", (ROOT / name).read_text(), re.MULTILINE))


def test_workflows_have_few_rights_an_end_and_pinned_actions() -> None:
    assert WORKFLOWS
    for path in WORKFLOWS:
        workflow = loaded(path)
        assert workflow["permissions"] == {"contents": "read"}
        assert all(0 < job["timeout-minutes"] <= 120 for job in workflow["jobs"].values())
        assert not any("permissions" in job for job in workflow["jobs"].values())
    used = [step["uses"] for step in steps() if "uses" in step]
    assert used and all(re.fullmatch(r"[\w.-]+/[\w./-]+@(v\d+[\d.]*|[0-9a-f]{40})", action) for action in used)


def test_ci_lints_tests_and_runs_the_series_in_the_python_of_the_project() -> None:
    commands = " && ".join(step.get("run", "") for step in steps())
    assert {"lint", "test", "run", "report"} <= set(TARGET.findall(commands))
    versions = {step["with"]["python-version"] for step in steps() if "setup-python" in step.get("uses", "")}
    assert versions == {PYTHON}
    assert f'target-version = "py{PYTHON.replace(".", "")}"' in (ROOT / "pyproject.toml").read_text()
    assert f"python{PYTHON}" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("name", ["DATASET", "ARCHIVE", "PARAMS"])
def test_make_does_not_run_what_it_is_given(name: str, tmp_path: Path) -> None:
    subprocess.run(
        ["make", "help", f"{name}=$(shell touch {tmp_path}/ran)"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
    assert list(tmp_path.iterdir()) == []


def test_ci_keeps_what_a_run_shows_where_the_runner_puts_it() -> None:
    kept = [step["with"]["path"] for step in steps() if "upload-artifact" in step.get("uses", "")]
    default = runner.plan({})[0].defaults["DATASET"]
    assert kept == [f"runs/{default}/"]


def test_hooks_are_those_of_make_lint_in_the_same_versions() -> None:
    hooks = {
        hook["id"]: (repo, hook) for repo in loaded(ROOT / ".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]
    }
    assert set(hooks) == {"ruff-check", "ruff-format", "mypy", "lint-imports"}
    lint = (ROOT / "Makefile").read_text().partition("\nlint:")[2].partition("\n\n")[0]
    for name, (repo, hook) in hooks.items():
        if name.startswith("ruff"):
            assert repo["rev"] == f"v{pins('requirements-dev.txt')['ruff']}"
            assert "jupyter" in hook["types_or"]
            assert f"$(BIN)/{name.replace('-', ' ')}" in lint
        else:
            assert hook["entry"].replace(".venv/bin/", "$(BIN)/") in lint


def test_no_package_is_pinned_twice() -> None:
    named = [
        set(map(str.lower, pins(name))) for name in ("requirements.txt", "requirements-dev.txt", "constraints.txt")
    ]
    assert all(named)
    assert not named[0] & named[1]
    assert not named[0] & named[2]


@pytest.mark.parametrize("path", [*PAGES, *NOTEBOOKS, *WORKFLOWS], ids=lambda path: path.name)
def test_every_make_target_that_is_named_exists(path: Path) -> None:
    if path.suffix == ".yml":
        code = [step.get("run", "") for step in steps()]
    else:
        code = [*fenced(text_of(path)), *code_spans(text_of(path))]
    assert {found for part in code for found in TARGET.findall(part)} <= targets()


@pytest.mark.parametrize("path", [*PAGES, *NOTEBOOKS], ids=lambda path: path.name)
def test_every_run_that_is_shown_has_parameters_that_notebooks_declare(path: Path) -> None:
    for words in shown_runs(text_of(path)):
        assert given_by(words) <= declared()


@cache
def declared() -> set[str]:
    """What `make run` takes: parameters of notebooks, for all that have them (EPOCHS) or for one (07:EPOCHS)."""
    found = [(step.name[:2], name) for step in runner.plan({}) for name in step.defaults]
    return {name for _, name in found} | {f"{number}:{name}" for number, name in found}


def shown_runs(text: str) -> Iterator[list[str]]:
    for block in fenced(text):
        for line in re.sub(r'"[^"]*"', lambda quoted: quoted[0].replace("\n", " "), block).splitlines():
            words = shlex.split(line)
            if words[:2] == ["make", "run"] and "&&" not in words:
                yield words[2:]


def given_by(words: list[str]) -> set[str]:
    given = dict(word.split("=", 1) for word in words)
    return {pair.partition("=")[0] for pair in shlex.split(given.pop("PARAMS", "").replace("…", ""))} | set(given)


@pytest.mark.parametrize("path", [*PAGES, *NOTEBOOKS], ids=lambda path: path.name)
def test_modules_that_are_run_exist(path: Path) -> None:
    for name in re.findall(r"python -m ((?:utils|benchmarks)[\w.]*)", text_of(path)):
        module = ROOT.joinpath(*name.rstrip(".").split("."))
        assert module.with_suffix(".py").is_file() or (module / "__main__.py").is_file(), name


@pytest.mark.parametrize("path", [*PAGES, *NOTEBOOKS], ids=lambda path: path.name)
def test_every_relative_link_leads_to_a_file(path: Path) -> None:
    for target in re.findall(r"\]\(([^()\s]+)\)", prose(text_of(path))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, fragment = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        assert file.exists(), target
        assert file.is_relative_to(ROOT)
        assert file.relative_to(ROOT).parts[:1] not in (("data",), ("runs",)), f"{target} is in no fresh copy"
        if fragment:
            assert fragment in headings(file), target


def headings(path: Path) -> set[str]:
    """Fragments of a page's headings, as GitHub makes them."""
    found = re.findall(r"^#+ +(.+)$", prose(text_of(path)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in found}


def test_every_page_of_docs_is_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        linked = re.findall(r"\]\(([^()\s:#]+\.md)", prose(text_of(page)))
        waiting += {(page.parent / name).resolve() for name in linked} - reached
    assert set(PAGES) - {ROOT / "CHANGELOG.md"} - reached == set()


@pytest.mark.parametrize("path", [*PAGES, *NOTEBOOKS], ids=lambda path: path.name)
def test_every_source_file_that_is_named_exists(path: Path) -> None:
    paths = [span for span in code_spans(text_of(path)) if re.fullmatch(r"(utils|tests|benchmarks)/[\w/]+\.py", span)]
    assert [name for name in paths if not (ROOT / name).is_file() and not name.endswith("/NAME.py")] == []


def test_contributing_names_every_room_in_the_order_of_imports() -> None:
    (tree,) = re.findall(r"^```\nutils/(.*?)^```", text_of(ROOT / "CONTRIBUTING.md"), re.MULTILINE | re.DOTALL)
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    rooms = linter["contracts"][0]["layers"][::-1]
    named = [line.split("/")[0].strip() for line in tree.splitlines()]
    assert set(named) == set(rooms) == {path.parent.name for path in (ROOT / "utils").glob("*/__init__.py")}
    # plots is imported by what comes last only, although it needs no other room.
    assert [room for room in named if room != "plots"] == [room for room in rooms if room != "plots"]


def test_the_citation_and_the_forms_of_issues_can_be_read() -> None:
    citation = loaded(ROOT / "CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= set(citation)  # What the schema, 1.2.0, asks for.
    assert f"# {citation['title']}\n" in text_of(ROOT / "README.md")
    assert citation["license"] == "Apache-2.0" and "Apache License" in (ROOT / "LICENSE").read_text()
    forms = [path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml"]
    assert len(forms) == 2
    for form in map(loaded, forms):
        assert {"name", "description", "body"} <= set(form)
        ids = [part["id"] for part in form["body"] if part["type"] != "markdown"]
        assert ids and len(set(ids)) == len(ids)


def sections(text: str) -> dict[str, str]:
    """Name of an artefact to the section whose heading names it."""
    parts = re.split(r"^### (.+)$", re.sub(r"^## .+$", "", text, flags=re.MULTILINE), flags=re.MULTILINE)
    return {
        name: body
        for head, body in zip(parts[1::2], parts[2::2], strict=True)
        for name in re.findall(r"`(\S+?)`", head)
    }


def test_the_page_of_the_contract_names_every_artefact() -> None:
    assert set(sections(text_of(ROOT / "docs" / "data-contract.md"))) == set(ARTEFACTS)


def type_name(kind: pa.DataType | str) -> str:
    """As the contract calls it; Arrow prints float32 as "float" and names the items of a list."""
    return "float32" if kind == pa.float32() else str(kind).replace("item: ", "")


@pytest.mark.parametrize("name", ARTEFACTS)
def test_the_page_of_the_contract_has_path_columns_and_types(name: str) -> None:
    artefact, section = ARTEFACTS[name], sections(text_of(ROOT / "docs" / "data-contract.md"))[name]
    assert artefact.path in {span.rstrip("/") for span in code_spans(section)}
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", section, re.MULTILINE)
    wanted = {column: type_name(kind) for column, kind in (artefact.columns or {}).items()}
    assert dict(rows) == wanted
    assert len(rows) == len(wanted)


@cache
def messages() -> tuple[str, ...]:
    """Every text in utils, with … for what is filled in, and the Makefile."""
    found = [(ROOT / "Makefile").read_text()]
    for path in (ROOT / "utils").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                found.append("".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return tuple(found)


def in_messages(fragment: str) -> bool:
    pattern = re.compile(".*".join(map(re.escape, fragment.strip("… ").split("…"))), re.DOTALL)
    return any(pattern.search(message) for message in messages())


def quoted_messages() -> list[str]:
    lines = text_of(ROOT / "docs" / "troubleshooting.md").splitlines()
    return [found[1] for line in lines if (found := re.match(r"\| `([^`]+)` \|", line))]


def test_every_message_of_troubleshooting_is_in_the_source() -> None:
    assert len(quoted_messages()) >= 20
    assert [message for message in quoted_messages() if not in_messages(message)] == []
    assert not in_messages("RATINGS and MOVIES must be given together"), "nothing says this"
