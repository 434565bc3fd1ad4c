"""Which images to show of a study: answers that became right and that became wrong, in proportion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vl_diffusion.studies.adaptation.gains import SOURCE, Study
from vl_diffusion.studies.adaptation.record import Cell


@dataclass(frozen=True)
class Change:
    """An image's answers."""

    cell: Cell
    image: int
    """Number of the image."""

    before: int
    """The source's class."""

    after: int
    """The method's."""


@dataclass(frozen=True)
class Changes:
    """All answers of a method with one seed, and some to show."""

    shown: tuple[Change, ...]
    answers: int
    repaired: int
    """Right where the source was wrong."""

    broken: int
    """Wrong where the source was right."""


def choose_changes(study: Study, cells: Sequence[Cell], method: str, seed: int, at_most: int) -> Changes:
    """Answers that turned right, then those that turned wrong, and others where there are too few."""
    better: list[list[Change]] = []
    worse: list[list[Change]] = []
    other: list[list[Change]] = []
    for cell in cells:
        before = [one.prediction for one in study.outcomes(cell, SOURCE, seed)]
        after = [one.prediction for one in study.outcomes(cell, method, seed)]
        for kind in (better, worse, other):
            kind.append([])
        for image, (old, new, label) in enumerate(zip(before, after, study.labels.tolist(), strict=True)):
            kind = better if new == label != old else worse if old == label != new else other
            kind[-1].append(Change(cell, image, old, new))
    repaired, broken, same = (sum(map(len, kind)) for kind in (better, worse, other))
    room = min(at_most, repaired + broken)
    good = round(room * repaired / max(1, repaired + broken))
    seen: set[int] = set()
    shown = _spread(better, good, seen) + _spread(worse, room - good, seen)
    shown += _spread(other, at_most - room, seen)
    return Changes(tuple(shown), repaired + broken + same, repaired, broken)


def _spread(of_cells: Sequence[Sequence[Change]], count: int, seen: set[int]) -> list[Change]:
    """So many from all cells in turn, and images that were not `seen` yet where there are some."""
    left = [list(changes) for changes in of_cells if changes]
    if 0 < count < len(left):
        left = [left[i * len(left) // count] for i in range(count)]
    chosen: list[Change] = []
    while any(left) and len(chosen) < count:
        for changes in filter(None, left):
            place = next((i for i, change in enumerate(changes) if change.image not in seen), 0)
            chosen.append(changes.pop(place))
            seen.add(chosen[-1].image)
    return chosen[:count]
