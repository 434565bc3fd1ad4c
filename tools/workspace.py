"""Packages of the repository and the dependencies between them.

Read from `packages/vl-*/pyproject.toml`, so no tool keeps a list of its own. Standard library only: continuous
integration asks before anything is installed.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")


@dataclass(frozen=True)
class Package:
    """One distribution of the workspace."""

    name: str
    """As on the index: `vl-core`."""
    folder: Path
    """Folder of its `pyproject.toml`."""
    dependencies: tuple[str, ...]
    """Requirements that always hold, as written."""
    extras: Mapping[str, tuple[str, ...]]
    """Requirements of each optional extra, as written."""

    @property
    def module(self) -> str:
        """Import name: `vl_core`."""
        return self.name.replace("-", "_")

    @property
    def pyproject(self) -> Path:
        """The file that says all of this."""
        return self.folder / "pyproject.toml"

    @property
    def about(self) -> Path:
        """The file that holds the version."""
        return self.folder / "src" / self.module / "__about__.py"

    @property
    def is_planned(self) -> bool:
        """True where the package holds nothing but its version."""
        modules = {path.name for path in (self.folder / "src" / self.module).rglob("*.py")}
        return modules == {"__init__.py", "__about__.py"}

    @property
    def required(self) -> frozenset[str]:
        """Distributions named in the dependencies."""
        return frozenset(map(distribution, self.dependencies))

    @property
    def optional(self) -> frozenset[str]:
        """Distributions named in any extra."""
        return frozenset(distribution(text) for texts in self.extras.values() for text in texts)


def distribution(requirement: str) -> str:
    """Give the normalized name at the head of a requirement: `"Vl_Core[x]==1"` names `"vl-core"`.

    Raises:
        ValueError: If the text does not begin with a name.
    """
    found = _NAME.match(requirement)
    if found is None:
        raise ValueError(f"a requirement begins with the name of a distribution, got {requirement!r}")
    return re.sub(r"[-_.]+", "-", found[1]).lower()


def read_packages(root: Path = ROOT) -> dict[str, Package]:
    """Read every package below `root`, each after all the siblings that it needs.

    Raises:
        ValueError: If there are none, if a folder and its package differ in name, or if packages need each other in
            a circle.
    """
    found = {}
    for pyproject in sorted(root.glob("packages/vl-*/pyproject.toml")):
        project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
        if project["name"] != pyproject.parent.name:
            raise ValueError(
                f"{pyproject} names the package {project['name']!r}, expected {pyproject.parent.name!r} like its "
                "folder; rename one of them"
            )
        extras = {name: tuple(texts) for name, texts in project.get("optional-dependencies", {}).items()}
        found[project["name"]] = Package(
            project["name"], pyproject.parent, tuple(project.get("dependencies", ())), extras
        )
    if not found:
        raise ValueError(f"no packages/vl-*/pyproject.toml below {root}; give the folder of the repository")
    return _in_dependency_order(found)


def siblings(package: Package, packages: Mapping[str, Package]) -> frozenset[str]:
    """Packages of the workspace that `package` names in its dependencies or extras."""
    return ((package.required | package.optional) & packages.keys()) - {package.name}


def with_dependents(names: Iterable[str], packages: Mapping[str, Package]) -> list[str]:
    """Give `names` and every package that needs one of them, directly or not, in the order of `packages`."""
    chosen = set(names)
    for name, package in packages.items():  # a package comes after what it needs, so one pass is enough
        if siblings(package, packages) & chosen:
            chosen.add(name)
    return [name for name in packages if name in chosen]


def _in_dependency_order(packages: Mapping[str, Package]) -> dict[str, Package]:
    ordered: dict[str, Package] = {}
    while len(ordered) < len(packages):
        ready = [p for p in packages.values() if p.name not in ordered and siblings(p, packages) <= ordered.keys()]
        if not ready:
            raise ValueError(f"packages need each other in a circle: {', '.join(packages.keys() - ordered.keys())}")
        ordered |= {package.name: package for package in ready}
    return ordered
