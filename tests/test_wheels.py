"""Built distributions work alone: each in an environment that holds it, what it requires, and nothing else.

A package is installed from the tree's wheel alone, because the one from its sdist is byte for byte the same, which is
asserted too. In need of the package index for the libraries of others; `-m "not wheels"` leaves these tests out.
Siblings can come only from the wheels built here: constraints give every one of them this folder's address, and what
was installed must name that address.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import uv
from filelock import FileLock
from packaging.utils import parse_wheel_filename
from workspace import ROOT, Package, read_packages, siblings

pytestmark = pytest.mark.wheels

PACKAGES = read_packages()
MEGABYTE = 2**20
HIDDEN = {"PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "VIRTUAL_ENV"}
"""Variables that would change what an environment imports, or have it compile PyTorch for every process."""
Wheels = dict[str, dict[str, Path]]

each_package = pytest.mark.parametrize("package", PACKAGES.values(), ids=PACKAGES)

REPORT = """
import importlib, importlib.metadata as metadata, json, sys
name = sys.argv[1]
module = importlib.import_module(name.replace("-", "_"))
ours = {d.name: d.read_text("direct_url.json") for d in metadata.distributions() if d.name.startswith("vl-")}
print(json.dumps({
    "file": module.__file__,
    "version": module.__version__,
    "commands": [e.name for e in metadata.distribution(name).entry_points if e.group == "console_scripts"],
    "origins": {name: json.loads(text)["url"] if text else None for name, text in ours.items()},
}))
"""


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Wheels:
    """Paths of the wheels by origin (`"tree"`, `"sdist"`) and distribution; workers of one run share them."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "dist"
    with FileLock(f"{folder}.lock"):
        if not (folder / "complete").exists():
            build_all(folder)
            (folder / "complete").touch()
    return {
        origin: {parse_wheel_filename(path.name)[0]: path for path in (folder / origin).glob("*.whl")}
        for origin in ("tree", "sdist")
    }


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment that each test syncs to exactly one package and what it requires.

    It is kept because most of the time would go into compiling the modules of PyTorch anew for each package.
    """
    folder = tmp_path_factory.mktemp("alone") / "environment"
    run_uv("venv", "--python", sys.executable, folder)
    return folder


def test_every_package_makes_one_pure_wheel(wheels: Wheels) -> None:
    for found in wheels.values():
        assert found.keys() == PACKAGES.keys()
        assert all(path.name.endswith("-py3-none-any.whl") for path in found.values())


@each_package
def test_sdist_makes_the_same_wheel_as_the_tree(wheels: Wheels, package: Package) -> None:
    assert wheels["sdist"][package.name].read_bytes() == wheels["tree"][package.name].read_bytes()


@each_package
def test_wheel_holds_the_package_its_types_and_its_license_and_nothing_else(wheels: Wheels, package: Package) -> None:
    with zipfile.ZipFile(wheels["tree"][package.name]) as archive:
        names = archive.namelist()
        metadata = next(name.split("/")[0] for name in names if name.endswith(".dist-info/METADATA"))
        assert {name.split("/")[0] for name in names} == {package.module, metadata}
        assert f"{package.module}/py.typed" in names
        assert archive.read(f"{metadata}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
        # No file that ships is larger: the heaviest are images of vl-core and the emoji model of vl-diffusion.
        assert max(file.file_size for file in archive.infolist()) <= 5_000_000
    assert wheels["tree"][package.name].stat().st_size <= 16 * MEGABYTE


@each_package
def test_wheel_installs_imports_and_runs_alone(
    wheels: Wheels, package: Package, environment: Path, tmp_path: Path
) -> None:
    """Whatever the package does not require leaves the environment first (`--exact`)."""
    built = wheels["tree"]
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("".join(f"{name} @ {path.as_uri()}\n" for name, path in built.items()))
    run_uv("pip", "install", "--exact", "--python", environment, "--constraints", constraints, built[package.name])
    run_uv("pip", "check", "--python", environment)

    scripts = environment / ("Scripts" if os.name == "nt" else "bin")
    report = json.loads(run(scripts / "python", "-I", "-c", REPORT, package.name, cwd=tmp_path))
    assert Path(report["file"]).is_relative_to(environment)
    assert report["version"] == str(parse_wheel_filename(built[package.name].name)[1])
    assert report["origins"] == {name: built[name].as_uri() for name in with_siblings(package)}
    for command in report["commands"]:
        assert command in run(scripts / command, "--help", cwd=tmp_path)


def test_wheel_without_its_siblings_does_not_install(wheels: Wheels, tmp_path: Path) -> None:
    """The constraints above rest on an exact pin, which only our own wheel can meet."""
    run_uv("venv", "--python", sys.executable, tmp_path)
    with pytest.raises(AssertionError, match="vl-core"):
        run_uv("pip", "install", "--python", tmp_path, "--no-index", wheels["tree"]["vl-density"])


def with_siblings(package: Package) -> set[str]:
    """Name the package and all that it needs of the workspace, directly or not."""
    return {package.name}.union(*(with_siblings(PACKAGES[name]) for name in siblings(package, PACKAGES)))


def build_all(folder: Path) -> None:
    """Build every package below `folder`: in `tree` from the repository, and in `sdist` from what lies in `tree`."""
    for package in PACKAGES.values():
        build(package.folder, folder / "tree", "-t", "sdist", "-t", "wheel")
    for archive in (folder / "tree").glob("*.tar.gz"):
        with tarfile.open(archive) as files:
            files.extractall(folder / "unpacked", filter="data")
        build(folder / "unpacked" / archive.name.removesuffix(".tar.gz"), folder / "sdist", "-t", "wheel")


def build(folder: Path, out: Path, *targets: str) -> None:
    """Build distributions of the package in `folder`, with the backend that its `pyproject.toml` names."""
    run(sys.executable, "-m", "hatchling", "build", "-d", out, *targets, cwd=folder)


def run_uv(*arguments: str | Path) -> str:
    """Run the uv that is installed beside pytest."""
    return run(uv.find_uv_bin(), *arguments, "--quiet")


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Give what a command printed; fail with everything it said."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={name: value for name, value in os.environ.items() if name not in HIDDEN},
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout
