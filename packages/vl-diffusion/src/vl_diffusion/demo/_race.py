"""The state of a race for display: the rank of every class, and the round in which it dropped out."""

from __future__ import annotations

import numpy as np

from vl_diffusion.classification.result import Classification


class Race:
    """The racing search of one image, updated with a result per round.

    Args:
        classes: The K class names.
        draws: Maximum draws per class.
    """

    def __init__(self, classes: tuple[str, ...], draws: int) -> None:
        self.classes, self.draws = classes, draws
        self.rounds, self.finished = 0, False
        self.last_seen = np.zeros(len(classes), int)
        """The last round in which each class was evaluated."""
        self._result: Classification | None = None

    @property
    def result(self) -> Classification:
        """The latest result, over one image."""
        if self._result is None:
            raise ValueError("the race has no result yet; call add() first")
        return self._result

    @property
    def leader(self) -> int:
        """Index of the leading class, finally of the winner."""
        return int(self.result.predictions[0])

    @property
    def evaluations(self) -> int:
        """Evaluations of the network so far."""
        return int(self.result.total_evaluations[0])

    @property
    def exhaustive(self) -> int:
        """Evaluations of the network that exhaustive search would take; a draw of a class may cost several."""
        seen = self.result.draws[0] > 0
        per_draw = self.result.evaluations[0, seen] / self.result.draws[0, seen]
        return int(np.round(self.draws * len(self.classes) * per_draw.mean()))

    @property
    def saved(self) -> float:
        """Share of the evaluations of exhaustive search that the race saved so far."""
        return 1 - self.evaluations / self.exhaustive

    @property
    def decided(self) -> bool:
        """True if the race ended with a single class left, and not because the draws ran out."""
        return self.finished and int((~self.out).sum()) == 1

    @property
    def out(self) -> np.ndarray:
        """Classes that have dropped out, bool ``(K,)``."""
        out: np.ndarray = self.result.pruned[0]
        return out

    @property
    def order(self) -> np.ndarray:
        """Class indices ``(K,)`` by rank: the leader, the remaining classes, then those dropped, the latest first."""
        differences = np.nan_to_num(self.result.differences[0], nan=np.inf)
        led = np.arange(len(self.classes)) != self.leader
        order: np.ndarray = np.lexsort((differences, -self.last_seen * self.out, self.out, led))
        return order

    @property
    def last_rival(self) -> int:
        """Index of the class that stayed in the race the longest; of several, the closest to the leader."""
        return int(self.order[1])

    def add(self, result: Classification) -> None:
        """Add the result of the next round."""
        before = 0 if self._result is None else self._result.evaluations[0]
        self.rounds += 1
        self.last_seen[result.evaluations[0] > before] = self.rounds
        self._result = result

    def finish(self) -> None:
        """Mark the race as finished."""
        self.finished = True
