"""Example images of a study: predictions that a method corrected and those that it spoiled, in proportion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vl_diffusion.studies.adaptation.cells import Cell
from vl_diffusion.studies.adaptation.gains import Study
from vl_diffusion.studies.adaptation.names import SOURCE


@dataclass(frozen=True)
class Change:
    """Predictions for one image before and after adaptation."""

    cell: Cell
    image: int
    """Number of the image."""

    before: int
    """Class predicted by the source."""

    after: int
    """Class predicted by the method."""


@dataclass(frozen=True)
class Changes:
    """Number of predictions that a method with one seed corrected and spoiled, and examples."""

    examples: tuple[Change, ...]
    predictions: int
    corrected: int
    """Predictions that are correct where the source's is wrong."""

    spoiled: int
    """Predictions that are wrong where the source's is correct."""


def choose_changes(study: Study, cells: Sequence[Cell], method: str, seed: int, at_most: int) -> Changes:
    """Choose corrected predictions, then spoiled ones, then others if there are too few."""
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
    corrected, spoiled, same = (sum(map(len, kind)) for kind in (better, worse, other))
    room = min(at_most, corrected + spoiled)
    good = round(room * corrected / max(1, corrected + spoiled))
    seen: set[int] = set()
    shown = _spread(better, good, seen) + _spread(worse, room - good, seen)
    shown += _spread(other, at_most - room, seen)
    return Changes(tuple(shown), corrected + spoiled + same, corrected, spoiled)


def _spread(of_cells: Sequence[Sequence[Change]], count: int, seen: set[int]) -> list[Change]:
    """Take `count` changes from the cells in turn, preferring images that are not `seen` yet."""
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
