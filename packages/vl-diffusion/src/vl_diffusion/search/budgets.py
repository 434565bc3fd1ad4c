"""Evaluation budgets, and the checks of settings that all searches share."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from vl_diffusion.search.protocol import Search

_Settings = TypeVar("_Settings")


def integers(name: str, values: Iterable[int]) -> tuple[int, ...]:
    """Convert the values to a tuple of Python integers; a TypeError names the argument."""
    try:
        return tuple(integer(name, value) for value in values)
    except TypeError:
        raise TypeError(f"{name} must be a sequence of integers, one per stage, got {values!r}") from None


def integer(name: str, value: int) -> int:
    """Convert the value to a Python integer; a TypeError names the argument."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r} of type {type(value).__name__}") from None


def check_counts(settings: Any, **at_least: int) -> None:
    """Convert fields of a frozen dataclass to integers and check each against its minimum.

    Raises:
        TypeError: If a field is not an integer; only `max_evaluations` may be None.
        ValueError: If a field is below its minimum.
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
    """The planned number of evaluations, capped at `max_evaluations`.

    Raises:
        ValueError: If the cap is below the evaluations needed to see every class once; `what` describes these.
    """
    if max_evaluations is None:
        return planned
    if max_evaluations < needed:
        raise ValueError(f"max_evaluations must be at least {needed}, {what}, got {max_evaluations}")
    return min(planned, max_evaluations)


def limited(search: Search, evaluations: int | None) -> Search:
    """A copy of the search that spends at most `evaluations`.

    Raises:
        TypeError: If the search has no setting `max_evaluations`.
    """
    if evaluations is None:
        return search
    if not hasattr(search, "max_evaluations"):
        raise TypeError(f"inner must have the setting max_evaluations for the budget to be enforced, got {search!r}")
    own = search.max_evaluations
    limit = evaluations if own is None else min(own, evaluations)
    return _changed(search, max_evaluations=limit)


def divide_budget(search: Search, cost: int) -> Search:
    """A copy of the search whose budgets, and those of its inner searches, are divided by `cost` evaluations per draw.

    Raises:
        TypeError: If a search with a budget is not a dataclass.
        ValueError: If a budget is less than one draw of one class.
    """
    changes: dict[str, Any] = {}
    if (inner := getattr(search, "inner", None)) is not None and (divided := divide_budget(inner, cost)) is not inner:
        changes["inner"] = divided
    if (limit := getattr(search, "max_evaluations", None)) is not None:
        changes["max_evaluations"] = limit // cost
    return _changed(search, **changes) if changes else search


def _changed(search: Any, **changes: Any) -> Search:
    if not is_dataclass(search) or isinstance(search, type):
        raise TypeError(f"search must be a dataclass for its budget to be divided, got {search!r}")
    return cast("Search", replace(search, **changes))
