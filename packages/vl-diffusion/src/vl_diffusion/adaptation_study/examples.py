"""Which pictures to show of a study: answers that became right and that became wrong, in proportion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vl_diffusion.adaptation_study.gains import SOURCE, Study
from vl_diffusion.adaptation_study.record import Cell


@dataclass(frozen=True)
class Change:
    """A picture's answers."""

    cell: Cell
    image: int
    """Number of the picture."""

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
    """Pictures of all cells in turn: first those whose answer turned right or wrong, in proportion, then others."""
    better: list[list[Change]] = []
    worse: list[list[Change]] = []
    other: list[list[Change]] = []
    for cell in cells:
        before = [one.prediction for one in study.outcomes(cell, SOURCE, seed)]
        after = [one.prediction for one in study.outcomes(cell, method, seed)]
        for kinds in (better, worse, other):
            kinds.append([])
        for image, (b, a, label) in enumerate(zip(before, after, study.labels.tolist(), strict=True)):
            kinds = better if a == label != b else worse if b == label != a else other
            kinds[-1].append(Change(cell, image, b, a))
    repaired, broken = in_turn(better), in_turn(worse)
    changed = len(repaired) + len(broken)
    room = min(at_most, changed)
    good = round(room * len(repaired) / changed) if changed else 0
    shown = repaired[:good] + broken[: room - good]
    shown += in_turn(other)[: at_most - len(shown)]
    return Changes(tuple(shown), sum(map(len, better + worse + other)), len(repaired), len(broken))


def in_turn(lists: Sequence[Sequence[Change]]) -> list[Change]:
    """The first of each list, then the second of each, and so on."""
    longest = max(map(len, lists), default=0)
    return [items[i] for i in range(longest) for items in lists if i < len(items)]
