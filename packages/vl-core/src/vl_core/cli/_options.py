"""The options of a command, read from the dataclass of its settings: flags, values, groups, defaults and their text."""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from vl_core.cli._checks import DeviceCheck, FolderCheck, Range, RunFolderCheck

Groups: TypeAlias = Mapping[str, Sequence[str]]
"""Headings of the help of a command, and the fields below each; the class attribute ``GROUPS`` of its settings."""

_LAST = ("Output", "Runtime")  # groups that every command has, shown after its own
_OTHER = "Options"  # the group of fields that no group names


class Metavar(str):
    """Placeholder for the value of an option in the help, as in ``Annotated[Path, Metavar("FOLDER")]``."""


FolderPath: TypeAlias = Annotated[Path, Metavar("FOLDER"), FolderCheck()]
RunPath: TypeAlias = Annotated[Path, Metavar("FOLDER"), RunFolderCheck()]
ImageSource: TypeAlias = Annotated[str, Metavar("IMAGES")]
ModelName: TypeAlias = Annotated[str, Metavar("MODEL")]
DeviceName: TypeAlias = Annotated[str, Metavar("DEVICE"), DeviceCheck()]
Count: TypeAlias = Annotated[int, Range(1)]
Seed: TypeAlias = Annotated[int, Range(0, 2**31 - 1)]


@dataclass(frozen=True)
class Option:
    """One option of a command, or its positional argument."""

    field: str
    """Name of the field; with dots for one of nested settings."""

    flag: str
    """The option as it is written, ``"--batch-size"``, or ``"IMAGES"`` for the positional argument."""

    value: str
    """Placeholder for a value in the help; empty for a switch."""

    count: int | None
    """Number of values; None for any."""

    expected: str
    """Expected kind of value, for errors, such as ``"a whole number"``."""

    choices: tuple[str, ...]
    """The only possible values; empty if there are others."""

    default: str
    """The default as it is written on the command line; empty if there is nothing to say."""

    text: str
    """Explanation."""

    group: str
    """Heading in the help."""

    annotation: Any
    """Type of the field, with its marks."""

    positional: bool = False
    """True for the argument that is given without a flag."""

    @property
    def negative(self) -> str:
        """The flag that turns a switch off: ``"--no-flip"``, or ``"--train.no-flip"`` in nested settings."""
        prefix, dot, name = self.flag.removeprefix("--").rpartition(".")
        return f"--{prefix}{dot}no-{name}"

    @property
    def usage(self) -> str:
        """The option with its values: ``--keep N ...``."""
        if self.positional:
            return self.flag if self.count == 1 else f"{self.flag} ..."
        if self.default == "on":
            return f"{self.flag}, {self.negative}"
        values = " ".join([self.value] * self.count) if self.count is not None else f"{self.value} ..."
        return f"{self.flag} {values}".rstrip()


def read_options(settings: type, defaults: Any = None, prefix: str = "", group: str = "") -> list[Option]:
    """Read the options of settings in the order of the help; fields that tyro fixes or hides are none.

    Args:
        settings: A dataclass. Its attribute docstrings are the texts, and ``GROUPS`` its groups.
        defaults: An instance with the defaults of nested settings; by default, those of the fields.
        prefix: Prefix of the flags of nested settings.
        group: Group of all options of nested settings.
    """
    texts, hints, places = _texts(settings), get_type_hints(settings, include_extras=True), _places(settings)
    found = []
    for field in fields(settings):
        annotation, marks = _unwrap(hints[field.name])
        if {"Suppress", "Fixed"} & set(map(str, marks)):
            continue
        default = _default(field) if defaults is None else getattr(defaults, field.name)
        place = group or places.get(field.name, _OTHER)
        name = f"{prefix}{field.name}"
        if is_dataclass(annotation):
            found += read_options(annotation, default, f"{name}.", place)  # type: ignore[arg-type]
            continue
        value, count, expected, choices = _values(hints[field.name])
        positional = "Positional" in map(str, marks)
        text = " ".join(texts.get(field.name, "").replace("`", "").split())
        found.append(
            Option(
                field=name,
                flag=name.upper() if positional else f"--{name.replace('_', '-')}",
                value=value,
                count=count,
                expected=expected,
                choices=choices,
                default="" if "default:" in text.lower() else _spoken(default),
                text=text,
                group=place,
                annotation=annotation,
                positional=positional,
            )
        )
    return _in_order(found, places) if not prefix else found


def _in_order(options: Sequence[Option], places: Mapping[str, str]) -> list[Option]:
    """Sort by group, with the positional argument first in its own."""
    headings = [heading for heading in dict.fromkeys(places.values()) if heading not in _LAST]
    order = [*headings, _OTHER, *_LAST]
    ranks = {name: rank for rank, name in enumerate(places)}

    def rank(option: Option) -> tuple[int, bool, int]:
        return order.index(option.group), not option.positional, ranks.get(option.field.partition(".")[0], len(ranks))

    return sorted(options, key=rank)


def _places(settings: type) -> dict[str, str]:
    """The group of each field, in the order of the groups; a class adds to the groups of its bases."""
    groups: dict[str, list[str]] = {}
    for part in reversed(settings.__mro__):
        for heading, names in vars(part).get("GROUPS", {}).items():
            groups.setdefault(heading, []).extend(names)
    return {name: heading for heading, names in groups.items() for name in names}


def _texts(settings: type) -> dict[str, str]:
    """The docstring below each field, that of the most derived class."""
    found: dict[str, str] = {}
    for part in reversed(settings.__mro__):
        if not is_dataclass(part):
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(part))).body
        body = tree.body  # type: ignore[attr-defined]
        for line, below in pairwise(body):
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and isinstance(below, ast.Expr):
                found[line.target.id] = str(getattr(below.value, "value", ""))
    return found


def _unwrap(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """The annotation without its marks, and the marks."""
    marks: tuple[Any, ...] = ()
    while hasattr(annotation, "__metadata__"):
        marks += annotation.__metadata__
        annotation = annotation.__origin__
    return annotation, marks


def _values(annotation: Any) -> tuple[str, int | None, str, tuple[str, ...]]:
    """Metavar, number, meaning and choices of the values that an annotation asks for."""
    annotation, marks = _unwrap(annotation)
    if own := [str(mark) for mark in marks if isinstance(mark, Metavar)]:
        return (own[0], *_values(annotation)[1:])
    arguments = get_args(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        (first, *_) = [argument for argument in arguments if argument is not type(None)]
        return _values(first)
    if get_origin(annotation) is Literal:
        choices = tuple(map(str, arguments))
        return f"{{{','.join(choices)}}}", 1, f"one of {', '.join(choices)}", choices
    if get_origin(annotation) is tuple:
        value, _, expected, choices = _values(arguments[0])
        if arguments[-1] is Ellipsis:
            return value, None, _plural(expected), choices
        return value, len(arguments), f"{len(arguments)} {_plural(expected)}", choices
    if annotation is bool:
        return "", 0, "alone", ()
    value, expected = _PLAIN.get(annotation, ("VALUE", "a value"))
    return value, 1, expected, ()


_PLAIN: Mapping[Any, tuple[str, str]] = {
    int: ("N", "a whole number"),
    float: ("X", "a number"),
    str: ("NAME", "a text"),
    Path: ("FILE", "a path"),
}


def _plural(expected: str) -> str:
    return expected if expected.startswith("one of") else f"{expected.removeprefix('a ')}s"


def _default(field: Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _spoken(default: Any) -> str:
    """A default as it is written on the command line; empty for none, an empty text or a switch that is off."""
    if default is None or default is MISSING or default is False:
        return ""
    if default is True:
        return "on"
    if isinstance(default, Iterable) and not isinstance(default, str):
        return " ".join(map(_spoken, default))
    if isinstance(default, float):
        return f"{default:g}"
    return f'"{default}"' if " " in str(default) else str(default)
