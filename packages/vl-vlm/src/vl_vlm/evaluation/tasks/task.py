"""The interface of tasks: items to score, and metrics computed from blocks of stored scores."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vl_vlm.evaluation.scorers.scorer import Scorer, Scores
from vl_vlm.evaluation.tasks.ties import Values

Blocks: TypeAlias = Callable[[], Iterator[tuple[NDArray[np.int64], Scores]]]
"""Starts a pass over all items: their numbers ``(n,)`` and raw scores ``(n, width)``, some items at a time."""


@dataclass(frozen=True)
class Measure:
    """One metric, item by item."""

    name: str
    ids: tuple[str, ...]
    """One for each item."""
    groups: NDArray[np.int64]
    """Number of the image that an item belongs to: items of one image are resampled together."""
    expected: Values
    """Probability of a hit over random orders of ties."""
    official: Values
    """1 for a hit by strict comparison, else 0."""
    tied: NDArray[np.bool_]
    """True where a wrong candidate ties with a right one."""


class Task(Protocol):
    """A task that `evaluate` takes."""

    @property
    def kind(self) -> str:
        """Name of the format."""
        ...

    @property
    def item_ids(self) -> tuple[str, ...]:
        """One for each row of scores."""
        ...

    @property
    def width(self) -> int:
        """Scores in a row."""
        ...

    def texts(self) -> list[str]:
        """All texts that a model is asked about."""
        ...

    def score_rows(self, scorer: Scorer, items: Sequence[int], text_batch_size: int) -> Scores:
        """Raw scores ``(len(items), width)``."""
        ...

    def measures(self, blocks: Blocks) -> list[Measure]:
        """Metrics from raw scores."""
        ...

    def truth(self) -> Any:
        """Right answers, in plain lists; raw scores do not depend on them."""
        ...


def digest(task: Task, *, truth: bool) -> str:
    """Hash of a task's items and texts, with or without what is right."""
    facts = [task.kind, task.item_ids, task.texts(), task.truth() if truth else None]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def checked_ids(ids: Sequence[Any] | None, count: int, least: int = 2) -> tuple[str, ...]:
    """Ids of ``count`` items, numbers by default.

    Raises:
        ValueError: If there are too few items, or ids are missing or not unique.
    """
    if count < least:
        raise ValueError(f"images must hold at least {least}, got {count}; fewer cannot be told apart from chance")
    if ids is None:
        return tuple(map(str, range(count)))
    found = tuple(map(str, ids))
    if len(found) != count:
        raise ValueError(
            f"ids must name each of {count} items once, got {len(found)}; give one for each or none at all"
        )
    name, times = Counter(found).most_common(1)[0]
    if times > 1:
        raise ValueError(f"ids must be unique, got {name!r} {times} times; rows are stored and compared by them")
    return found


def checked_texts(texts: Sequence[Any], argument: str) -> tuple[str, ...]:
    """Texts as a tuple.

    Raises:
        TypeError: If one is no text.
        ValueError: If one is empty.
    """
    if isinstance(texts, str):
        raise TypeError(f"{argument} must be a list of texts, got the text {texts[:40]!r}; put it in a list")
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"{argument} must be texts, got {type(text).__name__} at place {place}; write it as text")
        if not text.strip():
            raise ValueError(f"{argument} must not be empty, got {text!r} at place {place}; remove it or write a text")
    return tuple(texts)


def checked_counts(ks: Sequence[int] | None, candidates: int, usual: tuple[int, ...]) -> tuple[int, ...]:
    """Sizes of the list in which a hit counts: by default those of ``usual`` that leave a candidate out.

    Raises:
        ValueError: If one is below 1, or not below the number of candidates, where every model has 100 %.
    """
    if ks is None:
        return tuple(k for k in usual if k < candidates) or (1,)
    for k in ks:
        if not 1 <= k < candidates:
            raise ValueError(
                f"ks must lie in 1..{candidates - 1} for {candidates} candidates, got {k}; with all it is 1"
            )
    if not ks:
        raise ValueError("ks must hold at least one number, got none; leave it out for the usual ones")
    return tuple(sorted(set(ks)))
