"""Checks of values by their types: each is a mark of the annotation of a field, and names the option.

They run for every command before it is imported, so that a wrong value costs no seconds.
"""

from __future__ import annotations

import difflib
import errno
import math
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, get_args, get_type_hints

__all__ = ["Check", "DeviceCheck", "FolderCheck", "Range", "RunFolderCheck", "check_values"]

# The names that PyTorch knows; packages that add others say so in their entry points.
_DEVICES = (
    *("cpu", "cuda", "mps", "xpu", "hpu", "mtia", "xla", "ipu", "hip", "maia", "meta", "ve", "vulkan", "fpga"),
    *("ideep", "lazy", "mkldnn", "opencl", "opengl", "privateuseone"),
)


class Check(ABC):
    """A check of one value, as a mark of its type: ``Annotated[int, Range(1)]``."""

    @abstractmethod
    def __call__(self, option: str, value: Any) -> None:
        """Raise ValueError or OSError, whose message begins with the option, if the value is wrong."""


@dataclass(frozen=True)
class Range(Check):
    """A finite number between bounds.

    Example:
        >>> Range(1)("--limit", 0)
        Traceback (most recent call last):
        ValueError: --limit must be at least 1, got 0
    """

    least: float = -math.inf
    """Smallest number."""

    most: float = math.inf
    """Largest number."""

    above: float = -math.inf
    """Largest number that is too small."""

    below: float = math.inf
    """Smallest number that is too large."""

    def __call__(self, option: str, value: Any) -> None:
        if not (self.least <= value <= self.most and self.above < value < self.below):
            raise ValueError(f"{option} must be {self}, got {value}")

    def __str__(self) -> str:
        if math.isfinite(self.least) and math.isfinite(self.most):
            return f"from {self.least} to {self.most}"
        bounds = {"at least": self.least, "above": self.above, "at most": self.most, "below": self.below}
        words = [f"{word} {bound}" for word, bound in bounds.items() if math.isfinite(bound)]
        return " and ".join(words) or "a finite number"


class FolderCheck(Check):
    """A folder to write to, which is there or can be made."""

    def __call__(self, option: str, value: Any) -> None:
        folder = Path(value).absolute()
        for place in (folder, *folder.parents):
            try:
                place.lstat()
                break
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                reason = f"a name of {len(place.name):,} letters" if error.errno == errno.ENAMETOOLONG else value
                raise OSError(f"{option} must be a folder that can be made, got {reason}: {error.strerror}") from error
        if not place.is_dir():
            what = "a file" if place.is_file() else "no folder"
            got = f"{value}, which is {what}" if place == folder else f"{value}, and {place} is {what}"
            raise NotADirectoryError(f"{option} must be a folder, got {got}; choose another name")
        # Not the rights of whoever has started the process, but those that it has.
        effective = {"effective_ids": True} if os.access in os.supports_effective_ids else {}
        if not os.access(place, os.W_OK | os.X_OK, **effective):
            raise PermissionError(
                f"{option} must be a folder that can be written to, got {value}, and {place} is write-protected; "
                "choose another folder"
            )


class RunFolderCheck(FolderCheck):
    """A folder of a run: one that holds a run, or nothing, or can be made."""

    def __call__(self, option: str, value: Any) -> None:
        super().__call__(option, value)
        from vl_core.runs import check_run_folder

        check_run_folder(value, option)


class DeviceCheck(Check):
    """``auto``, or the name of a device that works; only a name that may be right imports PyTorch."""

    def __call__(self, option: str, value: Any) -> None:
        if value in ("auto", "cpu"):
            return
        kind = value.partition(":")[0]
        known = kind in _DEVICES or bool(entry_points(group="torch.backends"))
        if not known or not re.fullmatch(r"\w+(:[0-9]+)?", value):
            close = difflib.get_close_matches(kind.lower(), ["auto", *_DEVICES[:8]], n=1)
            advice = f"; did you mean {close[0]}?" if close else ""
            raise ValueError(f"{option} must be auto, cpu, cuda, cuda:1, mps or another device, got {value!r}{advice}")
        from vl_core.devices import find_device

        find_device(value, option)


def check_values(settings: Any, prefix: str = "--") -> None:
    """Check the values of settings by the marks of their types, each part of a sequence by itself; None passes.

    Args:
        settings: An instance of a dataclass; nested ones are checked too.
        prefix: Prefix of the options.

    Raises:
        ValueError: If a value is wrong.
        OSError: If a folder cannot be written to.
    """
    kind: Any = type(settings)
    for name, checks in _checks(kind).items():
        value = getattr(settings, name)
        if is_dataclass(value):
            check_values(value, f"{prefix}{name}.")
        for check in checks:
            for part in _parts(value):
                check(f"{prefix}{name.replace('_', '-')}", part)


@cache
def _checks(settings: type) -> dict[str, tuple[Check, ...]]:
    """The checks of each field."""
    hints = get_type_hints(settings, include_extras=True)
    return {field.name: tuple(_marked(hints[field.name])) for field in fields(settings)}


def _marked(annotation: Any) -> Iterator[Check]:
    """The checks in an annotation, at any depth."""
    yield from (mark for mark in getattr(annotation, "__metadata__", ()) if isinstance(mark, Check))
    # Of an annotated type, the first argument is the type and the others are its marks.
    inside = get_args(annotation)
    for part in inside[:1] if hasattr(annotation, "__metadata__") else inside:
        yield from _marked(part)


def _parts(value: Any) -> Sequence[Any]:
    if value is None:
        return ()
    return [part for part in value if part is not None] if isinstance(value, list | tuple) else [value]
