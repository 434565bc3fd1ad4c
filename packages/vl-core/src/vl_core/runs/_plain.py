"""Convert values to plain JSON types, checked so that reading back gives equal values."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

# Characters of a value and of a text, such as one that names files, and items of a list, that a message shows.
_LONG, _LONG_TEXT, _FEW = 160, 1000, 3


def plain(value: Any, name: str) -> Any:
    """Convert ``value`` to dictionaries, lists, strings, numbers, booleans and None.

    Dataclasses become dictionaries, tuples lists, and paths strings. Numbers may be NaN or infinite.

    Args:
        value: Anything built of these.
        name: What error messages call it.

    Returns:
        A copy that shares no container with ``value``.

    Raises:
        TypeError: If a part is of another type or a dictionary has a key that is not a string; the message says where.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, PurePath):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{name} must have strings as keys to be kept as JSON, got {key!r}; write str({key!r})")
        return {key: plain(item, f"{name}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, f"{name}[{index}]") for index, item in enumerate(value)]
    raise TypeError(
        f"{name} must be something JSON can keep (numbers, strings, lists, dictionaries, None), "
        f"got {type(value).__name__}; convert it first"
    )


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Describe each field in which two plain configurations differ; nested fields by dotted name."""
    found = []
    for key in dict.fromkeys([*old, *new]):
        name = prefix + key
        if key not in old or key not in new:
            found.append(f"{name} (only in the {'folder' if key in old else 'new configuration'})")
        elif isinstance(old[key], Mapping) and isinstance(new[key], Mapping):
            found += differences(old[key], new[key], f"{name}.")
        # By text, so that NaN equals itself and 1 differs from True.
        elif json.dumps(old[key], sort_keys=True) != json.dumps(new[key], sort_keys=True):
            found.append(f"{name} ({_change(old[key], new[key])})")
    return found


def _change(old: Any, new: Any) -> str:
    """The difference of two values; of long lists, the items that one of them lacks, the first few by name."""
    if isinstance(old, list) and isinstance(new, list) and len(f"{old}{new}") > _LONG:
        sides = {"only in the folder": _without(old, new), "only in the new configuration": _without(new, old)}
        if parts := [f"{where}: {_some(items)}" for where, items in sides.items() if items]:
            return ", ".join(parts)
    return f"{_cut(old)} in the folder, now {_cut(new)}"


def _without(items: list[Any], others: list[Any]) -> list[Any]:
    known = {json.dumps(item, sort_keys=True) for item in others}
    return [item for item in items if json.dumps(item, sort_keys=True) not in known]


def _some(items: list[Any]) -> str:
    more = f" and {len(items) - _FEW} more" if len(items) > _FEW else ""
    return ", ".join(_cut(item) for item in items[:_FEW]) + more


def _cut(value: Any) -> str:
    text, most = repr(value), _LONG_TEXT if isinstance(value, str) else _LONG
    return text if len(text) <= most else f"{text[:most]}…"
