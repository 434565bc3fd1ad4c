"""Choose the packages that a change has to be tested on.

A change inside a package selects it and every package that needs it, directly or not. A change to what all packages
share selects all of them. Texts select none: their job builds the documentation and runs the repository's own tests,
READMEs included, on every change. A path that no rule knows is an error, so that nothing escapes unnoticed.

    python tools/ci_matrix.py --since origin/main       # what differs from where this branch began
    python tools/ci_matrix.py packages/vl-ssl/README.md # these paths
    git diff --name-only HEAD~1 | python tools/ci_matrix.py -
    python tools/ci_matrix.py --all --github            # a line for $GITHUB_OUTPUT: packages=["vl-core", …]

Prints a JSON list in which every package follows those that it needs. Standard library only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from workspace import ROOT, Package, read_packages, with_dependents

SHARED = (
    ".ci",
    ".gitattributes",
    ".github",
    ".gitignore",
    "LICENSE",
    "conftest.py",
    "pyproject.toml",
    "tests",
    "tools",
)
"""Files and folders at the root that every package is tested with."""
TEXTS = (
    ".editorconfig",
    ".pre-commit-config.yaml",
    "CHANGELOG.md",
    "CITATION.cff",
    "CODE_OF_CONDUCT.md",
    "CONTRIBUTING.md",
    "README.md",
    "SECURITY.md",
    "changelog.d",
    "docs",
)
"""Files and folders at the root that no package's own tests read."""


class UnknownPathError(ValueError):
    """A changed path that no rule covers."""


def select(paths: Iterable[str], packages: Mapping[str, Package], root: Path = ROOT) -> list[str]:
    """Name the packages that changes to `paths` concern, in the order of `packages`.

    Args:
        paths: Relative to `root`, with forward slashes, as git prints them.
        packages: What `workspace.read_packages` returns.
        root: Folder of the repository, whose history tells a package that was removed from one that never was.

    Raises:
        UnknownPathError: If no rule covers a path.
    """
    touched: set[str] = set()
    for path in paths:
        parts = PurePosixPath(path).parts
        if not parts or parts[0].startswith("/") or ".." in parts:
            raise UnknownPathError(f"{path}: expected a path relative to the root, without .., as git prints it")
        first, *rest = parts
        inside = first == "packages" and len(rest) > 1
        if inside and rest[0] in packages:
            touched.add(rest[0])
        elif first in SHARED or (inside and _removed(f"{first}/{rest[0]}", root)):
            touched |= packages.keys()  # the second case: a package that is gone may be missed anywhere
        elif first not in TEXTS:
            raise UnknownPathError(
                f"{path}: expected a path inside packages/vl-* or below one of {', '.join(sorted(SHARED + TEXTS))}; "
                "say in tools/ci_matrix.py what it concerns"
            )
    return with_dependents(touched, packages)


def changed_since(base: str, root: Path = ROOT) -> list[str]:
    """List paths that differ between HEAD and the commit where it left `base`; a rename gives both names."""
    command = ["git", "-C", str(root), "diff", "--name-only", "--no-renames", "-z", f"{base}...HEAD"]
    return [path for path in subprocess.check_output(command, text=True).split("\0") if path]


def _removed(folder: str, root: Path) -> bool:
    """Return True if the folder does not exist but did in the history of HEAD."""
    if (root / folder).exists():
        return False
    history = ["log", "--full-history", "-1", "--format=%h", "--"]
    command = ["git", "-C", str(root), "--literal-pathspecs", *history, folder]
    return bool(subprocess.run(command, capture_output=True, text=True, check=False).stdout)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; exit status 2 where a path is unknown or git cannot compare."""
    parser = argparse.ArgumentParser(description="Choose the packages that a change has to be tested on.")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--all", action="store_true", help="every package: main and releases")
    source.add_argument("--since", metavar="REF", help="paths that differ from where HEAD left REF")
    source.add_argument("paths", nargs="*", default=[], metavar="PATH", help="these paths; - reads them, one a line")
    parser.add_argument("--github", action="store_true", help="print packages=LIST for $GITHUB_OUTPUT")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of the repository")
    options = parser.parse_args(arguments)
    try:
        packages = read_packages(options.root)
        if options.all:
            names = list(packages)
        else:
            paths = changed_since(options.since, options.root) if options.since else options.paths
            if paths == ["-"]:
                paths = sys.stdin.read().splitlines()
            names = select(filter(None, paths), packages, options.root)
    except (ValueError, subprocess.CalledProcessError) as error:
        print(f"ci_matrix: {error}", file=sys.stderr)
        return 2
    print(("packages=" if options.github else "") + json.dumps(names))
    return 0


if __name__ == "__main__":
    sys.exit(main())
