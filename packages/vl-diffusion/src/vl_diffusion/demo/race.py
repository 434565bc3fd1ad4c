"""What a page remembers of a race: where every class stands, and in which round it dropped out."""

from __future__ import annotations

import numpy as np

from vl_diffusion.classification.result import Classification


class Race:
    """One image's search as seen from outside, a result a round.

    Args:
        classes: The K class names.
        draws: The most draws that the search shows to a class.
    """

    def __init__(self, classes: tuple[str, ...], draws: int) -> None:
        self.classes, self.draws = classes, draws
        self.rounds, self.finished = 0, False
        self.last_seen = np.zeros(len(classes), int)
        """The last round in which each class was evaluated."""
        self._result: Classification | None = None

    @property
    def result(self) -> Classification:
        """The newest result, over one image."""
        if self._result is None:
            raise ValueError("the race has not begun; add a result first")
        return self._result

    @property
    def leader(self) -> int:
        """Index of the class that leads, in the end of the one that won."""
        return int(self.result.predictions[0])

    @property
    def evaluations(self) -> int:
        """Calls of the network so far."""
        return int(self.result.total_evaluations[0])

    @property
    def exhaustive(self) -> int:
        """Calls of the network that showing every class every draw would take; a class may cost several a draw."""
        seen = self.result.draws[0] > 0
        a_draw = self.result.evaluations[0, seen] / self.result.draws[0, seen]
        return int(np.round(self.draws * len(self.classes) * a_draw.mean()))

    @property
    def decided(self) -> bool:
        """Whether it ended because one class was left, rather than because the draws ran out."""
        return self.finished and int((~self.out).sum()) == 1

    @property
    def out(self) -> np.ndarray:
        """Classes that have dropped out, bool ``(K,)``."""
        out: np.ndarray = self.result.pruned[0]
        return out

    @property
    def order(self) -> np.ndarray:
        """Indices ``(K,)`` from first to last: the leader, those still racing, then those out, the latest first."""
        differences = np.nan_to_num(self.result.differences[0], nan=np.inf)
        led = np.arange(len(self.classes)) != self.leader
        order: np.ndarray = np.lexsort((differences, -self.last_seen * self.out, self.out, led))
        return order

    @property
    def last_rival(self) -> int:
        """Index of the class that stayed longest beside the leader; of several, the one that came closest."""
        return int(self.order[1])

    def add(self, result: Classification) -> None:
        """The next round's result."""
        before = 0 if self._result is None else self._result.evaluations[0]
        self.rounds += 1
        self.last_seen[result.evaluations[0] > before] = self.rounds
        self._result = result

    def finish(self) -> None:
        """No round follows."""
        self.finished = True
