"""One version everywhere, one shape for all packages, and no list of packages that differs from the folder."""

import datetime
import re
import subprocess
import tomllib
from pathlib import Path, PurePosixPath
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
        name: cell["package"]
        for name, env in ENVS.items()
        for cell in env.get("matrix", ())
        if "package" in cell and name != "lowest"
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


def test_environments_of_lowest_versions_are_of_the_packages_that_hold_code() -> None:
    with_code = {name for name, package in PACKAGES.items() if not package.is_planned}
    (matrix,) = ENVS["lowest"]["matrix"]
    assert set(matrix["package"]) == with_code
    overrides = ENVS["lowest"]["overrides"]["matrix"]["package"]
    members = {PurePosixPath(rule["value"]).name: rule["if"] for rule in overrides["workspace"]["members"]}
    assert members == {name: [name] for name in with_code - {"vl-core"}}
    # An extra is no dependency of the environment, so its bound stands there a second time.
    for rule in overrides["extra-dependencies"]:
        (name,) = rule["if"]
        assert any(rule["value"] in texts for texts in PACKAGES[name].extras.values()), rule


def test_git_ignores_every_folder_that_a_command_writes_to_by_default() -> None:
    folders = {
        folder
        for path in ROOT.glob("packages/*/src/*/commands/**/*.py")
        for folder in re.findall(
            r"^    out: (?:FolderPath|RunPath) = Path\(\"(.+)\"\)", path.read_text(encoding="utf-8"), re.MULTILINE
        )
    }
    assert "vl-diffusion-classify" in folders
    paths = [f"{folder}/" for folder in sorted(folders)]
    done = subprocess.run(["git", "-C", str(ROOT), "check-ignore", *paths], capture_output=True, text=True, check=False)
    assert done.stdout.split() == paths


TEXTS = sorted(
    path
    for pattern in ("*.md", "changelog.d/README.md", "packages/*/*.md", "packages/*/docs/*.md")
    for path in ROOT.glob(pattern)
)


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_that_a_text_names_exist(text: Path) -> None:
    """Return links and the paths that start at the root or the package; `vl-…` and the like are placeholders."""
    contents = text.read_text(encoding="utf-8")
    roots = "packages|tests|tools|docs|benchmarks|experiments|results|changelog\\.d|\\.github|\\.ci"
    named = re.findall(rf"(?<![\w./-])((?:{roots})/[\w./-]++)(?![…*{{<$])", contents)
    links = re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", contents)
    folders = (ROOT, text.parent, text.parent.parent)  # the last for pages in the docs of a package
    missing = {path for path in named if not any((folder / path.rstrip(".")).exists() for folder in folders)}
    missing |= {path for path in links if not (text.parent / path).exists()}
    assert missing == set()


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
