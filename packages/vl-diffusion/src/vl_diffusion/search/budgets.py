"""Checks that the searches' settings share."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from vl_diffusion.search.protocol import Search

_Settings = TypeVar("_Settings")


def integers(name: str, values: Iterable[int]) -> tuple[int, ...]:
    """The values as a tuple of Python integers, or a TypeError that names the argument."""
    try:
        return tuple(integer(name, value) for value in values)
    except TypeError:
        raise TypeError(f"{name} must be a sequence of integers, one a stage, got {values!r}") from None


def integer(name: str, value: int) -> int:
    """The value as a Python integer, or a TypeError that names the argument."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r} of type {type(value).__name__}") from None


def check_counts(settings: Any, **at_least: int) -> None:
    """Turn fields of a frozen dataclass into integers and hold each to its smallest value.

    Raises:
        TypeError: If one is no integer; `max_evaluations` alone may be None.
        ValueError: If one is too small.
    """
    for name, smallest in at_least.items():
        given = getattr(settings, name)
        if given is None and name == "max_evaluations":
            continue
        value = integer(name, given)
        object.__setattr__(settings, name, value)
        if value < smallest:
            raise ValueError(f"{name} must be at least {smallest}, got {value}")


def within_budget(planned: int, max_evaluations: int | None, needed: int, what: str) -> int:
    """The smaller of what a search would spend and what it may spend.

    Raises:
        ValueError: If it may spend less than it needs to see every class once.
    """
    if max_evaluations is None:
        return planned
    if max_evaluations < needed:
        raise ValueError(f"max_evaluations must be at least {needed}, {what}, got {max_evaluations}")
    return min(planned, max_evaluations)


def limited(search: Search, evaluations: int | None) -> Search:
    """The search with a budget of at most so many evaluations.

    Raises:
        TypeError: If the search has no such setting.
    """
    if evaluations is None:
        return search
    if not hasattr(search, "max_evaluations"):
        raise TypeError(f"inner must have the setting max_evaluations for a budget to be kept, got {search!r}")
    own = search.max_evaluations
    limit = evaluations if own is None else min(own, evaluations)
    return _changed(search, max_evaluations=limit)


def divide_budget(search: Search, cost: int) -> Search:
    """The search with its budgets, and those of searches inside it, in draws of up to `cost` evaluations each.

    Raises:
        TypeError: If a search with a budget is no dataclass.
        ValueError: If a budget is less than one draw of one class.
    """
    changes: dict[str, Any] = {}
    if (inner := getattr(search, "inner", None)) is not None and (counted := divide_budget(inner, cost)) is not inner:
        changes["inner"] = counted
    if (limit := getattr(search, "max_evaluations", None)) is not None:
        changes["max_evaluations"] = limit // cost
    return _changed(search, **changes) if changes else search


def _changed(search: Any, **changes: Any) -> Search:
    if not is_dataclass(search) or isinstance(search, type):
        raise TypeError(f"search must be a dataclass for its budget to be divided, got {search!r}")
    return cast("Search", replace(search, **changes))
