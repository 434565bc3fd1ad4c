"""Check of the description of a service: what it must have, what it may have, and clear words about the rest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import fields as fields_of
from datetime import date
from typing import Any, Literal

from vl_explorer.search.engine import Limits, SearchResult
from vl_explorer.search.http.origin import checked_address

Kind = Literal["page", "offset", "none"]

_KINDS: dict[Kind, str | None] = {"page": "{page}", "offset": "{offset}", "none": None}
_RESULT_FIELDS = tuple(field.name for field in fields_of(SearchResult))
_LIMITS = Limits(results_per_page=20, depth=20, requests_per_second=1.0)
_PLACEHOLDERS = ("{query}", "{page}", "{offset}", "{count}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HEADER = re.compile(r"[A-Za-z0-9-]+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class KeyPlace:
    """Source of a key, and its place in a request."""

    header: str
    """Header of the request."""
    environment: str
    """Environment variable."""
    prefix: str = ""
    """Before the key in the header."""


@dataclass(frozen=True)
class Description:
    """A service, as `JsonEngine` asks it."""

    name: str
    """Of the engine."""
    address: str
    """Of the service."""
    parameters: Mapping[str, str]
    """Of the address, with placeholders."""
    results: str
    """Path of the list of results."""
    fields: Mapping[str, str]
    """Path in a result for fields of `SearchResult`."""
    kind: Kind
    """Way of asking for pages."""
    first: int
    """Number of the first page or result."""
    limits: Limits
    """Limits of the service."""
    key: KeyPlace | None
    """Of the service, where it wants one."""


def checked_description(content: Any) -> Description:
    """A description from JSON.

    Raises:
        ValueError: If an entry is missing, unknown, or of another form; the message names it.
    """
    top = _entries(
        content, "description", ("name", "address", "parameters", "results", "fields"), ("key", "paging", "limits")
    )
    name = _text(top["name"], "name", _NAME)
    paging = _entries(top.get("paging", {}), "paging", (), ("kind", "first"))
    kind = paging.get("kind", "none")
    if kind not in _KINDS:
        raise ValueError(f"paging.kind must be one of {', '.join(_KINDS)}, got {kind!r}")
    return Description(
        name=name,
        address=checked_address(_text(top["address"], "address"), name),
        parameters=_parameters(top["parameters"], kind),
        results=_path(top["results"], "results"),
        fields=_fields(top["fields"]),
        kind=kind,
        first=_number(paging.get("first", 1 if kind == "page" else 0), "paging.first", 0),
        limits=_limits(top.get("limits", {}), kind, "key" in top),
        key=_key(top["key"]) if "key" in top else None,
    )


def _entries(content: Any, where: str, required: tuple[str, ...], optional: tuple[str, ...]) -> Mapping[str, Any]:
    """An object with all required entries and no unknown one."""
    if not isinstance(content, Mapping):
        raise ValueError(f"{where} must be an object, got {type(content).__name__}")
    for name in required:
        if name not in content:
            raise ValueError(f"{where} must have {name!r}, got {', '.join(map(str, content)) or 'nothing'}")
    for name in content:
        if name not in required + optional:
            raise ValueError(f"{where} may have {', '.join(required + optional)}, got {name!r}")
    return content


def _text(value: Any, where: str, form: re.Pattern[str] | None = None) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"{where} must be a text, got {type(value).__name__}")
    if form is not None and not form.fullmatch(value):
        raise ValueError(f"{where} must be of the form {form.pattern}, got {value!r}")
    return value


def _path(value: Any, where: str) -> str:
    path = _text(value, where)
    if not all(path.split(".")):
        raise ValueError(f"{where} must be names or list positions with dots between, got {path!r}")
    return path


def _number(value: Any, where: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{where} must be a whole number of at least {least}, got {value!r}")
    return value


def _parameters(content: Any, kind: Kind) -> dict[str, str]:
    if not isinstance(content, Mapping):
        raise ValueError(f"parameters must be an object, got {type(content).__name__}")
    parameters = {_text(name, "a parameter"): _text(value, f"parameters.{name}") for name, value in content.items()}
    for name, value in parameters.items():
        for placeholder in re.findall(r"\{[^{}]*\}", value):
            if placeholder not in _PLACEHOLDERS:
                raise ValueError(f"parameters.{name} may hold {', '.join(_PLACEHOLDERS)}, got {placeholder}")
    for needed in ("{query}", _KINDS[kind]):
        if needed is not None and not any(needed in value for value in parameters.values()):
            raise ValueError(f"parameters must hold {needed} where paging.kind is {kind!r}, got {parameters}")
    return parameters


def _fields(content: Any) -> dict[str, str]:
    entries = _entries(content, "fields", ("url",), _RESULT_FIELDS)
    return {name: _path(path, f"fields.{name}") for name, path in entries.items()}


def _key(content: Any) -> KeyPlace:
    entries = _entries(content, "key", ("header", "environment"), ("prefix",))
    return KeyPlace(
        header=_text(entries["header"], "key.header", _HEADER),
        environment=_text(entries["environment"], "key.environment", _VARIABLE),
        prefix=_text(entries.get("prefix", ""), "key.prefix"),
    )


def _limits(content: Any, kind: Kind, needs_key: bool) -> Limits:
    allowed = tuple(field.name for field in fields_of(Limits) if field.name != "needs_key")
    entries = _entries(content, "limits", (), allowed)
    size = _number(entries.get("results_per_page", _LIMITS.results_per_page), "limits.results_per_page", 1)
    depth = _number(entries.get("depth", size), "limits.depth", size)
    return Limits(
        results_per_page=size,
        depth=size if kind == "none" else depth,
        requests_per_second=_amount(entries.get("requests_per_second", 1.0), "limits.requests_per_second", 1e-6),
        cost_per_request=_amount(entries.get("cost_per_request", 0.0), "limits.cost_per_request", 0.0),
        retires=_date(entries.get("retires"), "limits.retires"),
        needs_key=needs_key,
        notes=_text(entries.get("notes", ""), "limits.notes"),
        checked=_date(entries.get("checked"), "limits.checked"),
    )


def _amount(value: Any, where: str, least: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < float("inf"):
        raise ValueError(f"{where} must be a finite number of at least {least:g}, got {value!r}")
    return float(value)


def _date(value: Any, where: str) -> date | None:
    if value is None:
        return None
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError(f"{where} must be a date such as 2027-01-31, got {value!r}") from None
