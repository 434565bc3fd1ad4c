"""Give all packages one version, and prove that they have it.

    python tools/release.py make 0.2.0          # write it everywhere, fold the changelog, commit, tag v0.2.0
    python tools/release.py check v0.2.0        # one version, exact pins, changelog, clean tree, tag in place
    python tools/release.py make 0.3.0.dev0     # begin the next version; no changelog section, no tag

The version stands in each package's `__about__.py` and in the exact pins between siblings. `make` works out every new
file before it writes the first, and puts all back if anything goes wrong on the way. Needs `packaging` and `tomlkit`,
both in the default environment (`hatch run python tools/release.py …`).
"""

from __future__ import annotations

import argparse
import datetime
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from changelog import CHANGELOG, fold, fragment_paths, read_fragments, section_problems
from home import CITATION, PLACEHOLDER, read_home
from workspace import ROOT, Package, read_packages

try:
    import tomlkit
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.version import Version
    from tomlkit.items import AbstractTable, Array
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"release: {missing.name} is not installed; python -m pip install packaging tomlkit, "
        "or hatch run python tools/release.py …"
    ) from None

_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(\.dev(0|[1-9]\d*))?")
_ABOUT = re.compile(r'^__version__ = "([^"]*)"$', re.MULTILINE)


class ReleaseError(ValueError):
    """A release that cannot be made; one line for each reason."""


def parse_version(text: str) -> Version:
    """Read `X.Y.Z` or `X.Y.Z.devN`.

    Raises:
        ReleaseError: If the text is anything else.
    """
    if not _VERSION.fullmatch(text):
        raise ReleaseError(f"version must be X.Y.Z or X.Y.Z.devN, got {text!r}; write it like 0.2.0 or 0.3.0.dev0")
    return Version(text)


# ---- What the files say ----


def written_version(package: Package) -> str:
    """Read the version in a package's `__about__.py`.

    Raises:
        ReleaseError: If the file is missing or holds no single line `__version__ = "…"`.
    """
    found = _ABOUT.findall(package.about.read_text(encoding="utf-8")) if package.about.exists() else []
    if len(found) != 1:
        about = package.about.relative_to(package.folder.parents[1])
        raise ReleaseError(f'{about}: expected one line __version__ = "X.Y.Z", found {len(found)}')
    return str(found[0])


def version_problems(root: Path, version: str) -> list[str]:
    """List each `__about__.py` and each pin on a sibling that does not say `version`; empty when all do."""
    packages = read_packages(root)
    problems = []
    for package in packages.values():
        try:
            written = written_version(package)
        except ReleaseError as error:
            problems.append(str(error))
        else:
            if written != version:
                problems.append(f"{package.about.relative_to(root)}: version is {written}, expected {version}")
        for table, array in _requirement_arrays(tomlkit.parse(package.pyproject.read_text(encoding="utf-8"))):
            problems += [
                f"{package.pyproject.relative_to(root)}: {table} has {text!r}, expected {wanted}"
                for text in map(str, array)
                if (wanted := _pin_problem(text, packages, version))
            ]
    return problems


def check(root: Path, tag: str) -> list[str]:
    """List everything that keeps the tree from being the release `tag`, such as `"v0.2.0"`; empty when nothing does."""
    if not tag.startswith("v"):
        raise ReleaseError(f"tag must be v and the version, got {tag!r}; write v{tag}")
    version = parse_version(tag[1:])
    problems = version_problems(root, str(version))
    if not version.is_devrelease:
        problems += section_problems(root, str(version))
        problems += [f"{path.relative_to(root)}: left over, expected in {CHANGELOG}" for path in fragment_paths(root)]
        if (root / CITATION).is_file() and PLACEHOLDER in read_home(root):
            problems.append(
                f"{CITATION}: {read_home(root)} is a placeholder; python tools/home.py ADDRESS writes the real one"
            )
    problems += _dirty(root)
    tagged, head = _commit(root, f"refs/tags/{tag}"), _commit(root, "HEAD")
    if not tagged and not version.is_devrelease:
        problems.append(f"tag {tag}: missing, expected at HEAD; make sets it, git fetch --tags brings it")
    elif tagged and tagged != head:
        problems.append(f"tag {tag} points at {tagged[:12]}, expected HEAD, which is {head[:12]}")
    return problems


# ---- What a release writes ----


def plan(root: Path, version: Version, date: datetime.date) -> dict[Path, str | None]:
    """Work out each file that a release changes, and what it will hold; None for a file that goes.

    Raises:
        ReleaseError: If the tree is not at one version, or the new one is not greater.
        ChangelogError: If there is no fragment, or one has a wrong name or says nothing.
    """
    packages = read_packages(root)
    current = written_version(next(iter(packages.values())))
    if problems := version_problems(root, current):
        raise ReleaseError("\n".join(problems))
    if version <= parse_version(current):
        raise ReleaseError(f"version must be greater than {current}, which the tree has, got {version}")
    files: dict[Path, str | None] = {}
    for package in packages.values():
        about = package.about.read_text(encoding="utf-8")
        files[package.about] = _ABOUT.sub(f'__version__ = "{version}"', about)
        document = tomlkit.parse(package.pyproject.read_text(encoding="utf-8"))
        for _, array in _requirement_arrays(document):
            for index, text in enumerate(map(str, array)):
                if _sibling(Requirement(text), packages):
                    array[index] = _repin(text, current, str(version))
        files[package.pyproject] = tomlkit.dumps(document)
    fragments = read_fragments(root, set(packages))  # a wrong name is refused before a development version too
    if not version.is_devrelease:
        files[root / CHANGELOG] = fold(root, str(version), date, fragments, list(packages))
        files |= dict.fromkeys(fragment_paths(root))
    return {path: text for path, text in files.items() if text is None or text != path.read_text(encoding="utf-8")}


def make(root: Path, text: str, *, date: datetime.date, git: bool = True) -> None:
    """Write version `text` everywhere; with `git`, also commit it and, unless it is a `.devN`, tag it.

    Either all of it happens or none: an error, Ctrl-C or a termination signal puts every file and the branch back.

    Raises:
        ReleaseError: If it cannot be made; nothing has changed then.
        ChangelogError: Likewise, because of a fragment.
        subprocess.CalledProcessError: If git refuses the commit or the tag; nothing has changed then.
    """
    version = parse_version(text)
    if git:
        if _commit(root, f"refs/tags/v{version}"):
            raise ReleaseError(f"tag v{version} exists; choose another version")
        if problems := _dirty(root):
            raise ReleaseError("\n".join([*problems, "commit or remove what is not committed, then make again"]))
    files = plan(root, version, date)
    with _all_or_nothing(root, files, f"v{version}" if git else None):
        for path, content in files.items():
            if content is None:
                path.unlink()
            else:
                path.write_text(content, encoding="utf-8")
        if git:
            begin = f"Begin {version}" if version.is_devrelease else f"Release {version}"
            _git(root, "commit", "--quiet", "--message", begin, "--", *(str(path) for path in files))
            if not version.is_devrelease:
                _git(root, "tag", "--annotate", "--message", f"vl {version}", f"v{version}")


@contextmanager
def _all_or_nothing(root: Path, files: Iterable[Path], tag: str | None) -> Iterator[None]:
    """Unless the block ends well, put `files` back as they were; with `tag`, take back the commit and the tag too."""
    before = {path: path.read_bytes() for path in files}
    head = _commit(root, "HEAD")
    terminate = signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C, so that the way back is taken
    try:
        yield
    except BaseException:
        interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not stop the way back
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for path, content in before.items():
            path.write_bytes(content)
        if tag:
            _git(root, "reset", "--quiet", head)
            _git(root, "update-ref", "-d", f"refs/tags/{tag}")
        signal.signal(signal.SIGINT, interrupt)
        raise
    finally:
        signal.signal(signal.SIGTERM, terminate)


def _requirement_arrays(document: tomlkit.TOMLDocument) -> Iterator[tuple[str, Array]]:
    """Every list of requirements in a `pyproject.toml`, with the name of its table."""
    project = document["project"]
    assert isinstance(project, AbstractTable)
    tables = {"project.dependencies": project.get("dependencies")}
    for extra, array in project.get("optional-dependencies", {}).items():
        tables[f"project.optional-dependencies.{extra}"] = array
    yield from ((name, array) for name, array in tables.items() if isinstance(array, Array))


def _sibling(requirement: Requirement, packages: dict[str, Package]) -> bool:
    return re.sub(r"[-_.]+", "-", requirement.name).lower() in packages


def _pin_problem(text: str, packages: dict[str, Package], version: str) -> str:
    """Say what a requirement should be; empty if it is right or names no sibling."""
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return "a requirement such as NAME==1.0"
    right = not _sibling(requirement, packages) or str(requirement.specifier) == f"=={version}"
    return "" if right else f"{requirement.name}=={version}"


def _repin(text: str, current: str, version: str) -> str:
    """Change the version in a pin and nothing else: extras, marker, quotes and spaces stay."""
    old, changed = Requirement(text), text.replace(current, version, 1)  # the pin stands before any marker
    new = Requirement(changed)
    if (new.name, new.extras, new.marker, str(new.specifier)) != (old.name, old.extras, old.marker, f"=={version}"):
        raise ReleaseError(f"could not change the pin in {text!r} to {version}; write it as NAME=={current}")
    return changed


# ---- Git ----


def _git(root: Path, *arguments: str) -> str:
    return subprocess.check_output(["git", "-C", str(root), *arguments], text=True).strip()


def _commit(root: Path, name: str) -> str:
    """Full hash of the commit that `name` leads to; empty if there is none."""
    command = ["git", "-C", str(root), "rev-parse", "--quiet", "--verify", f"{name}^{{commit}}"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _dirty(root: Path) -> list[str]:
    status = _git(root, "status", "--porcelain").splitlines()
    return [f"{line.split(maxsplit=1)[1]}: differs from what is committed" for line in status]


# ---- Command ----


def main(arguments: list[str] | None = None) -> int:
    """Run the command; exit status 1 with one line for each problem."""
    parser = argparse.ArgumentParser(description="Give all packages one version, and prove that they have it.")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of the repository")
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make", help="write the version everywhere, fold the changelog, commit and tag")
    making.add_argument("version", help="X.Y.Z, or X.Y.Z.devN between releases")
    making.add_argument("--no-git", action="store_true", help="only write the files")
    making.add_argument("--date", type=datetime.date.fromisoformat, help="YYYY-MM-DD; today in UTC by default")
    checking = commands.add_parser("check", help="prove that the tree is this release")
    checking.add_argument("tag", help="vX.Y.Z")
    options = parser.parse_args(arguments)
    root = options.root.resolve()
    try:
        if options.command == "check":
            problems = check(root, options.tag)
        else:
            date = options.date or datetime.datetime.now(datetime.UTC).date()
            make(root, options.version, date=date, git=not options.no_git)
            problems = []
    except (ValueError, OSError, subprocess.CalledProcessError) as error:
        problems = str(error).splitlines()
    except KeyboardInterrupt:
        problems = ["interrupted; everything is as it was"]
    if problems:
        print(*(f"release: {problem}" for problem in problems), sep="\n", file=sys.stderr)
        return 1
    if options.command == "check":
        print(f"{options.tag}: {len(read_packages(root))} packages at one version, every pin equal to it, tree clean")
    else:
        print(_next_steps(parse_version(options.version), git=not options.no_git))
    return 0


def _next_steps(version: Version, *, git: bool) -> str:
    if version.is_devrelease or not git:
        return f"wrote {version}"
    following = f"{version.major}.{version.minor + 1}.0.dev0"
    return (
        f"made {version}, tagged v{version}; now\n"
        f"  python tools/release.py check v{version}\n"
        f"  python tools/release.py make {following}\n"
        f"  git push --atomic origin HEAD v{version}"
    )


if __name__ == "__main__":
    sys.exit(main())
