"""Files that a spec names: braces, patterns, and what lies in a folder."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_MOST = 100_000


def expand(spec: str) -> list[Path] | None:
    """Files that braces or a pattern stand for, in natural order; None for a plain path.

    Args:
        spec: ``shards-{000..009}.tar``, ``{train,val}-0.tar``, ``shards-*.tar``.

    Raises:
        FileNotFoundError: If a file that braces name is missing, or a pattern fits none.
        ValueError: If braces stand for no name or for more than 100,000 names.
    """
    if os.path.exists(spec):  # noqa: PTH110
        return None
    if _BRACES.search(spec):
        names = list(itertools.islice(_names(spec), _MOST + 1))
        if not names:
            raise ValueError(f"spec must count up in braces, as in {{000..009}}, got {spec!r}")
        if len(names) > _MOST:
            raise ValueError(f"spec must stand for at most {_MOST:,} files, got {spec!r}; use a pattern or a folder")
        paths = [Path(name) for name in names]
        if missing := [path for path in paths if not path.is_file()]:
            raise FileNotFoundError(
                f"spec must name files that are there, {len(missing)} of the {len(paths)} of {spec!r} are missing, the "
                f"first is {missing[0]}"
            )
        return paths
    if any(mark in spec for mark in "*?["):
        paths = natural(Path(name) for name in glob.glob(spec, recursive=True))  # noqa: PTH207
        if not paths:
            raise FileNotFoundError(f"spec must name files that are there, no file fits the pattern {spec!r}")
        return paths
    return None


def natural(paths: Iterable[Path]) -> list[Path]:
    """Paths in order, numbers in them by value."""
    return sorted(paths, key=lambda path: ([_key(piece) for piece in re.split("([0-9]+)", str(path))], str(path)))


def labels(paths: Sequence[Path]) -> list[str]:
    """A name for each file, its path inside the folder that all have in common."""
    if not paths:
        return []
    root = os.path.commonpath([path.absolute().parent for path in paths])
    return [path.absolute().relative_to(root).as_posix() for path in paths]


def _key(piece: str) -> tuple[int, str]:
    return (int(piece), "") if piece.isdigit() and piece.isascii() else (-1, piece)


def _names(spec: str) -> Iterator[str]:
    found = _BRACES.search(spec)
    if found is None:
        yield spec
        return
    before, inside, after = spec[: found.start()], found[1], spec[found.end() :]
    if numbers := _RANGE.fullmatch(inside):
        first, last = numbers[1], numbers[2]
        width = len(first) if first.startswith("0") else 0
        choices: Iterable[str] = (f"{number:0{width}d}" for number in range(int(first), int(last) + 1))
    else:
        choices = inside.split(",")
    for choice in choices:
        yield from _names(f"{before}{choice}{after}")
