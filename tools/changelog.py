"""The changelog: one fragment a change in `changelog.d/`, folded into one section a release.

A fragment is `changelog.d/<id>.<package>.<type>.md`, such as `17.vl-ssl.fixed.md`: one sentence for the person who
upgrades. `<id>` is the number of an issue or a short word, `<package>` a distribution or `vl` for all of them.
Standard library only.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

CHANGELOG = "CHANGELOG.md"
FOLDER = "changelog.d"
TYPES = ("added", "changed", "deprecated", "removed", "fixed", "security")
EVERY_PACKAGE = "vl"
MARK = "<!-- releases, newest first -->"
"""Line of the changelog under which `fold` puts the new section."""
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_KEPT = {"README.md", ".gitkeep"}


class ChangelogError(ValueError):
    """A changelog or fragment that a release cannot use; one line for each reason."""


class Fragment(NamedTuple):
    """One change."""

    package: str
    type: str
    id: str
    text: str


def fragment_paths(root: Path) -> list[Path]:
    """Every file in the folder of fragments but the ones that explain or keep it."""
    folder = root / FOLDER
    return sorted(path for path in folder.iterdir() if path.name not in _KEPT) if folder.is_dir() else []


def read_fragments(root: Path, packages: Iterable[str]) -> list[Fragment]:
    """Read all fragments, with each text on one line.

    Raises:
        ChangelogError: If a name is not `<id>.<package>.<type>.md`, or a file says nothing.
    """
    known, fragments, problems = {EVERY_PACKAGE, *packages}, [], []
    for path in fragment_paths(root):
        name, parts = f"{FOLDER}/{path.name}", path.name.split(".")
        if len(parts) != 4 or parts[3] != "md" or not _ID.fullmatch(parts[0]):
            problems.append(f"{name}: expected a name like 17.vl-ssl.fixed.md, <id>.<package>.<type>.md")
        elif parts[1] not in known:
            problems.append(f"{name}: {parts[1]!r} is no package, expected one of {', '.join(sorted(known))}")
        elif parts[2] not in TYPES:
            problems.append(f"{name}: {parts[2]!r} is no type of change, expected one of {', '.join(TYPES)}")
        elif not (text := " ".join(path.read_text(encoding="utf-8").split())):
            problems.append(f"{name}: empty, expected one sentence for the person who upgrades")
        else:
            fragments.append(Fragment(parts[1], parts[2], parts[0], text))
    if problems:
        raise ChangelogError("\n".join(problems))
    return fragments


def fold(root: Path, version: str, date: datetime.date, fragments: Sequence[Fragment], packages: Sequence[str]) -> str:
    """Give the whole changelog with a section for `version`: by package as in `packages`, then by type, then by id.

    Raises:
        ChangelogError: If there is nothing to tell, the section exists, or the mark for new sections is missing.
    """
    text = (root / CHANGELOG).read_text(encoding="utf-8")
    if not fragments:
        raise ChangelogError(f"{FOLDER}: no fragment, so {version} would tell nothing; add <id>.<package>.<type>.md")
    if re.search(rf"^## {re.escape(version)}\b", text, re.MULTILINE):
        raise ChangelogError(f"{CHANGELOG}: has a section {version} already; remove it or choose another version")
    if text.count(f"{MARK}\n") != 1:
        raise ChangelogError(f"{CHANGELOG}: expected one line {MARK}, found {text.count(MARK)}")
    lines = [f"## {version} ({date.isoformat()})", ""]
    for package in (EVERY_PACKAGE, *packages):
        own = sorted((TYPES.index(f.type), f.id, f.text) for f in fragments if f.package == package)
        if own:
            lines += [f"### {package}", "", *(f"- {TYPES[kind].capitalize()}: {told}" for kind, _, told in own), ""]
    return text.replace(f"{MARK}\n", f"{MARK}\n\n" + "\n".join(lines).rstrip() + "\n")


def section_problems(root: Path, version: str) -> list[str]:
    """List what is wrong with the section of `version`: missing, undated or empty."""
    path = root / CHANGELOG
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    section = re.search(rf"^## {re.escape(version)}\b(.*)$((?:\n(?!## ).*)*)", text, re.MULTILINE)
    if section is None:
        return [f"{CHANGELOG}: no section ## {version} (YYYY-MM-DD)"]
    problems = []
    if not re.fullmatch(r" \(\d{4}-\d\d-\d\d\)", section[1]):
        problems.append(f"{CHANGELOG}: section {version} has the title {section[0].splitlines()[0]!r}, expected a date")
    if not re.search(r"^- \S", section[2], re.MULTILINE):
        problems.append(f"{CHANGELOG}: section {version} tells no change")
    return problems
