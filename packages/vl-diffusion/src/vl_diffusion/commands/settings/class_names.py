"""Class names on the command line, or in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

# A thousand times the longest list that is known: ImageNet-21k takes 500 KB.
_LARGEST = 2**29


def class_names(given: Sequence[str] | None) -> tuple[str, ...] | None:
    """The class names of ``--classes``, with ``@FILE`` replaced by the names in the file; None stays None.

    A name that begins with ``@`` itself is written with two.

    Raises:
        OSError: If a file is missing or cannot be read.
        ValueError: If a file has no names or repeats one, or is not text in UTF-8.
    """
    if given is None:
        return None
    names: list[str] = []
    for name in given:
        if name.startswith("@@"):
            names.append(name[1:])
        elif name == "@":
            raise ValueError(
                "--classes @ lacks the name of a file after the @, as in @names.txt; a class called @ is written @@"
            )
        elif name.startswith("@"):
            names += read_class_names(Path(name[1:]))
        else:
            names.append(name)
    return tuple(names)


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read a file of class names, one per line, in UTF-8 with or without a byte order mark.

    Blank lines, and spaces around a name, are dropped.

    Raises:
        OSError: If the file is missing or cannot be read.
        ValueError: If it has no names or repeats one, or is not text in UTF-8.
    """
    if not path.exists():
        raise FileNotFoundError(f"--classes @{path}: no such file; a name that begins with @ is written with two, @@")
    if not path.is_file():
        raise ValueError(f"--classes @{path}: must be a file with a class name per line")
    if path.stat().st_size > _LARGEST:
        size = path.stat().st_size
        raise ValueError(f"--classes @{path}: must be a file with a class name per line, got {size:,} bytes")
    places: dict[str, list[int]] = {}
    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    for number, line in enumerate(content.split(b"\n"), 1):
        try:
            name = line.decode().strip()
        except UnicodeDecodeError:
            raise ValueError(f"--classes @{path}: line {number} is not UTF-8; save the file as UTF-8 text") from None
        if "\0" in name:
            raise ValueError(f"--classes @{path}: line {number} holds a NUL byte; save the file as UTF-8 text")
        if name:
            places.setdefault(name, []).append(number)
    if not places:
        raise ValueError(f"--classes @{path}: the file holds no class names; write one per line")
    if repeated := [(name, lines) for name, lines in places.items() if len(lines) > 1]:
        some = "; ".join(f"{name!r} on lines {', '.join(map(str, lines))}" for name, lines in repeated[:5])
        more = f"; and {len(repeated) - 5} more" if len(repeated) > 5 else ""
        raise ValueError(f"--classes @{path}: names must be unique, got {some}{more}")
    return tuple(places)
