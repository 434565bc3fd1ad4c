"""Pages of results: where a request begins, and what its answer holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vl_explorer.search.engine import SearchResult
from vl_explorer.search.http.answers import BadAnswerError


@dataclass(frozen=True)
class Place:
    """Place in the results of a query at which a request begins."""

    start: int = 0
    """Results before it, as if all pages were full."""
    page: int = 0
    """Pages before it."""
    mark: Any = None
    """Mark that the answer before gave to go on with, where the service works by marks."""


@dataclass(frozen=True)
class ResultList:
    """Results of one answer."""

    results: Sequence[SearchResult]
    """In the order of the service; those without an address may be among them."""
    more: bool
    """False if these are the last."""
    mark: Any = None
    """To go on with, where the service works by marks."""


def entries(content: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The objects in the list under a key of an answer.

    Raises:
        BadAnswerError: If there is no list, or something else in it.
    """
    found = content.get(key)
    return checked_entries(found, key)


def checked_entries(found: Any, name: str) -> list[dict[str, Any]]:
    """The objects in a list of an answer.

    Raises:
        BadAnswerError: If it is no list, or something else is in it.
    """
    if not isinstance(found, list):
        raise BadAnswerError(f"{name} must be a list of results, got {type(found).__name__}")
    for entry in found:
        if not isinstance(entry, dict):
            raise BadAnswerError(f"{name} must be a list of objects, got {type(entry).__name__} in it")
    return found
