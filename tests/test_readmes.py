"""The pages hold: their Python runs as it stands, their commands exist, and "planned" means planned.

The Python blocks of a page run as one script with names of its own, as a reader would paste them: in an empty folder,
without the hub (the root's conftest.py says so), warnings as errors. All pages share this process, whose libraries are
loaded already; their imports run in a fresh one, too.
"""

from __future__ import annotations

import ast
import functools
import io
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from workspace import ROOT, Package, read_packages

PACKAGES = read_packages()
PAGES = [
    *(ROOT / "README.md", ROOT / "docs/install.md"),
    *(package.folder / "README.md" for package in PACKAGES.values()),
    *(page for package in PACKAGES.values() for page in sorted((package.folder / "docs").glob("*.md"))),
]
PLANNED = "**Status: planned.**"

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
each_package = pytest.mark.parametrize("package", PACKAGES.values(), ids=PACKAGES)


def blocks(page: Path, language: str) -> list[str]:
    """Give the fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> Iterator[list[str]]:
    """Give each command of the console blocks as words; where there are prompts, other lines are what was printed."""
    for block in blocks(page, "console"):
        lines = block.replace("\\\n", " ").splitlines()
        typed = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")] or lines
        for command in re.split("&&|;|\n", "\n".join(typed)):
            yield shlex.split(command, comments=True)


each_python_page = pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.relative_to(ROOT).as_posix()
)


@each_python_page
def test_python_on_the_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    code = "\n".join(blocks(page, "python"))
    exec(compile(code, page, "exec"), {"__name__": "__main__"})
    printed = capsys.readouterr().out
    assert "print(" not in code or printed.strip()
    shown = re.search(r"^```python\n[^`]*^```\n+```text\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)
    assert not shown or agrees(shown[1], printed), printed


@pytest.mark.slow
def test_the_first_command_prints_what_the_page_shows(tmp_path: Path) -> None:
    (block,) = (block for block in blocks(ROOT / "README.md", "console") if "vl-diffusion classify" in block)
    _, command, *shown = block.splitlines()
    words = command.removeprefix("$ ").split()
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert agrees("\n".join(shown), done.stdout), done.stdout


def agrees(shown: str, printed: str) -> bool:
    """True if two texts have the same words, and figures within a quarter: processors round differently."""

    def same(one: str, other: str) -> bool:
        try:
            return abs(float(one) - float(other)) <= 0.25 * abs(float(one))
        except ValueError:
            return one == other

    left, right = shown.split(), printed.split()
    return len(left) == len(right) and all(map(same, left, right))


@pytest.mark.parametrize(
    ("shown", "printed", "expected"),
    [
        ("dress: 0.0043 after 73", "dress:  0.0041 after 70\n", True),
        ("dress 0.0043", "dress 0.0080", False),
        ("dress 1", "shirt 1", False),
        ("dress", "dress 1", False),
    ],
)
def test_printed_texts_agree_in_words_and_nearly_in_figures(shown: str, printed: str, expected: bool) -> None:
    assert agrees(shown, printed) is expected


def test_imports_of_the_pages_warn_of_nothing_in_a_fresh_process(tmp_path: Path) -> None:
    code = "\n".join(block for page in PAGES for block in blocks(page, "python"))
    imports = [ast.unparse(node) for node in ast.parse(code).body if isinstance(node, ast.Import | ast.ImportFrom)]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(imports)], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@each_page
def test_commands_on_the_page_exist(page: Path) -> None:
    for words in commands(page):
        problem = problem_with(words)
        assert not problem, f"{page.relative_to(ROOT)}: `{shlex.join(words)}`: {problem}"


@each_package
def test_page_says_planned_where_there_is_no_code_yet_and_shows_an_example_elsewhere(package: Package) -> None:
    page = package.folder / "README.md"
    assert (PLANNED in page.read_text(encoding="utf-8")) == package.is_planned
    assert bool(blocks(page, "python")) != package.is_planned


def test_table_at_the_root_has_every_package_with_its_status() -> None:
    rows = re.findall(
        r"^\| \[`(vl-\w+)`\]\((\S+)\) \| .* \| (\w+) \|$",
        (ROOT / "README.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert sorted(name for name, _, _ in rows) == sorted(PACKAGES)
    for name, link, status in rows:
        assert link == f"packages/{name}/README.md"
        assert (status == "planned") == PACKAGES[name].is_planned, name


@each_package
def test_a_planned_package_gives_no_instructions_to_install_it(package: Package) -> None:
    text = (package.folder / "README.md").read_text(encoding="utf-8")
    assert bool(re.search(r"^\$? ?(uv )?pip install|^## Install$", text, re.MULTILINE)) != package.is_planned


def test_planned_packages_stand_under_the_roadmap() -> None:
    before, _, roadmap = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Roadmap")
    for package in PACKAGES.values():
        assert (f"`{package.name}`](" in roadmap, f"`{package.name}`](" in before) == (
            package.is_planned,
            not package.is_planned,
        )


@each_package
def test_a_readme_fits_on_two_screens(package: Package) -> None:
    lines = (package.folder / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 100, f"{len(lines)} lines; move tables and studies to docs/"


def test_every_page_of_a_package_is_in_the_documentation() -> None:
    pages = [*ROOT.glob("packages/*/README.md"), *ROOT.glob("packages/*/docs/*.md")]
    pages += [*ROOT.glob("packages/*/results/*/README.md"), *ROOT.glob("packages/*/src/*/pretrained/*/README.md")]
    assert [page for page in pages if not (ROOT / "docs" / page.relative_to(ROOT)).exists()] == []


@each_package
def test_documentation_has_a_page_made_from_the_readme(package: Package) -> None:
    page = ROOT / "docs/packages" / package.name / "README.md"
    included = re.match(r"```\{include\} (\S+)\n", page.read_text(encoding="utf-8"))
    assert included
    assert (page.parent / included[1]).resolve() == package.folder / "README.md"


# ---- Commands ----


def problem_with(words: list[str]) -> str:
    """Say why a command on a page cannot work; empty if it can, or if it is not about this repository."""
    match words:
        case ["hatch", "run", *rest]:
            return problem_with_script(next(word for word in rest if not word.startswith("+")))
        case ["python", script, *_] if script.endswith(".py"):
            return "" if (ROOT / script).is_file() else f"no file {script}"
        case ["hatch", "build", "--all"] | ["export", _] | ["git", *_]:
            return ""
        case ["python", "-m", "pip", *rest] | ["pip", *rest] | ["uv", "pip", *rest] if rest[0] == "install":
            return "; ".join(filter(None, map(problem_with_requirement, rest[1:])))
        case ["uvx", command, *arguments] | [command, *arguments] if command in PACKAGES:
            return problem_with_options(command, arguments)
    return "not a command that this test knows; teach it"


def test_install_page_lists_every_extra_of_vl_core() -> None:
    page = (ROOT / "docs/install.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `vl-core\[(\w+)\]` \|", page, re.MULTILINE)
    assert sorted(rows) == sorted(PACKAGES["vl-core"].extras)


def problem_with_script(script: str) -> str:
    """Look for a Hatch script, `name` or `environment:name`."""
    environments: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "hatch"
    ]["envs"]
    environment, _, name = script.rpartition(":")
    known = environments.get(environment or "default", {}).get("scripts", {})
    return "" if name in known else f"no script {name!r} in the environment {environment or 'default'!r}"


def problem_with_requirement(text: str) -> str:
    """Look for the extras of one of our packages; others' packages are their own affair."""
    if not text.startswith("vl-"):
        return ""
    requirement = Requirement(text)
    if requirement.name not in PACKAGES:
        return f"no package {requirement.name!r}"
    missing = requirement.extras - PACKAGES[requirement.name].extras.keys()
    return f"no extra {sorted(missing)} in {requirement.name}" if missing else ""


def problem_with_options(command: str, arguments: list[str]) -> str:
    """Look for a command, its subcommand and its options in the help that it prints."""
    if command not in {entry.name for entry in entry_points(group="console_scripts")}:
        return f"{command} is not a command that is installed"
    subcommands = arguments[:1] if arguments and arguments[0].replace("-", "a").isalpha() else []
    status, text = help_of(command, *subcommands)
    if status:
        return text.strip()
    options = {word.split("=")[0] for word in arguments if word.startswith("--")}
    missing = {option for option in options if option not in text}
    return f"no option {sorted(missing)}" if missing else ""


@functools.cache
def help_of(command: str, *subcommands: str) -> tuple[int, str]:
    """Run a command in this process, asking for help; give its exit status and what it printed."""
    (entry,) = entry_points(group="console_scripts", name=command)
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed), redirect_stderr(printed):
        patch.setattr("sys.argv", [command, *subcommands, "--help"])
        try:
            status = entry.load()()
        except SystemExit as exit:
            status = exit.code
    return int(status or 0), printed.getvalue()
