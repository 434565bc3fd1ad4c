"""One version everywhere, one shape for all packages, and no list of packages that differs from the folder."""

import datetime
import re
import tomllib
from pathlib import PurePosixPath
from typing import Any

import pytest
from changelog import Fragment, fold, read_fragments
from packaging.requirements import Requirement
from release import version_problems, written_version
from workspace import ROOT, Package, read_packages, siblings

PACKAGES = read_packages()
ENVS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["envs"]

each_package = pytest.mark.parametrize("package", PACKAGES.values(), ids=PACKAGES)


def project_file(package: Package) -> dict[str, Any]:
    return tomllib.loads(package.pyproject.read_text(encoding="utf-8"))


def test_every_package_has_one_version_and_pins_its_siblings_to_it() -> None:
    assert version_problems(ROOT, written_version(PACKAGES["vl-core"])) == []


def test_packages_are_exactly_the_folders() -> None:
    folders = {path.name for path in (ROOT / "packages").iterdir() if path.is_dir()}
    assert folders == PACKAGES.keys()


def test_default_environment_installs_every_package() -> None:
    patterns = [member if isinstance(member, str) else member["path"] for member in _members(ENVS["default"])]
    installed = [path.name for pattern in patterns for path in ROOT.glob(pattern)]
    assert sorted(installed) == sorted(PACKAGES)


def test_matrices_name_every_package_but_core_which_has_its_own_environment() -> None:
    assert [
        PurePosixPath(member["path"] if isinstance(member, dict) else member).name for member in _members(ENVS["core"])
    ] == ["vl-core"]
    matrices = {
        name: cell["package"] for name, env in ENVS.items() for cell in env.get("matrix", ()) if "package" in cell
    }
    assert "pkg" in matrices
    for name, cells in matrices.items():
        assert sorted([*cells, "vl-core"]) == sorted(PACKAGES), name


def test_matrix_cells_install_the_siblings_that_their_package_declares() -> None:
    added: dict[str, set[str]] = {}
    for rule in ENVS["pkg"]["overrides"]["matrix"]["package"]["workspace"]["members"]:
        for cell in rule["if"]:
            added.setdefault(cell, set()).add(PurePosixPath(rule["value"]).name)
    expected = {name: set(siblings(package, PACKAGES)) - {"vl-core"} for name, package in PACKAGES.items()}
    assert added == {name: others for name, others in expected.items() if others}


def test_waiting_changelog_fragments_can_be_folded() -> None:
    # One more, since after a release none is waiting and a section that tells nothing is refused.
    fragments = [*read_fragments(ROOT, PACKAGES), Fragment("vl", "added", "one-more", "Something to tell.")]
    lines = fold(ROOT, "999.0.0", datetime.date(2026, 12, 24), fragments, list(PACKAGES)).splitlines()
    for fragment in fragments:
        assert f"- {fragment.type.capitalize()}: {fragment.text}" in lines


@each_package
def test_license_equals_the_one_at_the_root(package: Package) -> None:
    assert (package.folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@each_package
def test_package_is_typed_has_tests_and_no_settings_that_hide_the_roots(package: Package) -> None:
    assert (package.folder / "src" / package.module / "py.typed").is_file()
    assert [path.name for path in (package.folder / "src").iterdir() if not path.name.startswith(".")] == [
        package.module
    ]
    assert list((package.folder / "tests").rglob("test_*.py"))
    tools = project_file(package)["tool"]
    assert tools.keys() == {"hatch"}
    assert tools["hatch"].keys() <= {"version", "build"}


@each_package
def test_metadata_has_the_common_shape(package: Package) -> None:
    contents = project_file(package)
    assert contents["build-system"] == project_file(PACKAGES["vl-core"])["build-system"]
    assert contents["build-system"]["build-backend"] == "hatchling.build"
    assert contents["tool"]["hatch"]["version"] == {"path": f"src/{package.module}/__about__.py"}
    assert contents["tool"]["hatch"]["build"]["targets"]["wheel"] == {"packages": [f"src/{package.module}"]}

    project = contents["project"]
    assert project["dynamic"] == ["version"]
    assert project["requires-python"] == ">=3.11"
    assert project["license"].split(" AND ")[0] == "Apache-2.0"
    assert project["license-files"][0] == "LICENSE"
    assert (package.folder / project["readme"]).read_text(encoding="utf-8").startswith(f"# {package.name}\n")
    assert re.fullmatch(r"[A-Z].{20,120}\.", project["description"])
    assert "Typing :: Typed" in project["classifiers"]
    assert project.get("scripts", {}).keys() <= {package.name}


@each_package
def test_requirements_have_a_lower_bound_and_no_upper_one(package: Package) -> None:
    """A cap on somebody else's version makes two libraries uninstallable together; siblings alone are pinned."""
    for text in (*package.dependencies, *(text for texts in package.extras.values() for text in texts)):
        operators = [specifier.operator for specifier in Requirement(text).specifier]
        assert operators == (["=="] if Requirement(text).name in PACKAGES else [">="]), text


def _members(environment: dict[str, Any]) -> list[Any]:
    """Members of an environment's workspace, in either way of writing them."""
    members: list[Any] = environment["workspace"]["members"]
    return members
