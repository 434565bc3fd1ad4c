"""One schedule up to a position, another from there: continual first, then all data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vl_ssl.schedules.schedule import Schedule

_NEVER = -1  # in a state, which holds integers alone


class Hybrid(Schedule):
    """One schedule before a position and another from it on; the position is given, or found on the way.

    The paper's hybrid is ``Hybrid(Continual(size, 100), MultiEpoch(size, 100), switch_at=40 * size)``: 40 % of the data
    in chunks, then all of them. Both schedules count positions from the beginning of the run, so the second goes on
    where the run is, and the learning rate with it. Without ``switch_at`` the run stays with the first until `switch`
    is called, as by a meter that sees collapse; it never goes back.

    Args:
        first: Schedule before the switch.
        second: Schedule from the switch on, of the same size, epochs and length.
        switch_at: First position of the second; None until `switch` is called.

    Raises:
        ValueError: If the schedules differ in size, epochs or length, or the position is outside the run.

    Example:
        >>> schedule = Hybrid(Continual(4, epochs=2), MultiEpoch(4, epochs=2))
        >>> len({schedule.index(position) for position in range(4, 8)})
        2
        >>> schedule.switch(4)
        True
        >>> len({schedule.index(position) for position in range(4, 8)})
        4
    """

    def __init__(self, first: Schedule, second: Schedule, *, switch_at: int | None = None):
        if (first.size, first.epochs, first.length) != (second.size, second.epochs, second.length):
            raise ValueError(
                f"first and second must have the same size, epochs and length, got {first.size} samples in "
                f"{first.epochs} epochs of {first.length} and {second.size} in {second.epochs} of {second.length}"
            )
        super().__init__(first.size, first.epochs, length=first.length, seed=first.seed)
        self.first, self.second, self._given, self._switched_at = first, second, switch_at, switch_at
        if switch_at is not None and not 0 <= switch_at <= self.positions:
            raise ValueError(f"switch_at must lie in 0..{self.positions}, the run's positions, got {switch_at}")

    @property
    def switched_at(self) -> int | None:
        """First position of the second schedule; None if no switch is known yet."""
        return self._switched_at

    def switch(self, position: int) -> bool:
        """Give the positions from this one on to the second schedule; return False if they, or more, have been its own.

        A training loop calls it with the first position that it has not trained on.

        Raises:
            ValueError: If the position is outside the run, or behind `position`: what was seen does not change.
        """
        if not 0 <= position <= self.positions:
            raise ValueError(f"position must lie in 0..{self.positions}, the run's positions, got {position}")
        if position < self.position:
            raise ValueError(
                f"position must not be behind the run's, {self.position}, got {position}; set the schedule's position "
                "to what has been trained on first"
            )
        if self._switched_at is not None and self._switched_at <= position:
            return False
        self._switched_at = position
        return True

    def describe(self) -> dict[str, Any]:
        """Name and arguments, as JSON keeps them; a switch that was found on the way is no argument."""
        parts = {"first": self.first.describe(), "second": self.second.describe()}
        return {**super().describe(), **parts, "switch_at": self._given}

    def state_dict(self) -> dict[str, int]:
        """Position, arguments, and the position of the switch, -1 for none: plain integers."""
        parts = {
            f"{name}.{key}": value
            for name, part in (("first", self.first), ("second", self.second))
            for key, value in part.state_dict().items()
            if key != "position"
        }
        given, found = (_NEVER if at is None else at for at in (self._given, self._switched_at))
        return {**super().state_dict(), **parts, "switch_at": given, "switched_at": found}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Continue where another hybrid of the same schedules was, switched or not.

        Raises:
            ValueError: If the state is of other arguments; nothing changes then.
        """
        super().load_state_dict(state)
        self._load_switches(state, "")

    def reset(self) -> None:
        """Go back to the beginning of the run, and to the switch that was given, or none; in both schedules too."""
        super().reset()
        self._switched_at = self._given
        self.first.reset()
        self.second.reset()

    def _load_switches(self, state: Mapping[str, int], prefix: str) -> None:
        """Take over the switch of this schedule, whose names have a prefix, and those of hybrids in it."""
        found = state[f"{prefix}switched_at"]
        self._switched_at = None if found == _NEVER else int(found)
        for name, part in (("first", self.first), ("second", self.second)):
            if isinstance(part, Hybrid):
                part._load_switches(state, f"{prefix}{name}.")

    def _fixed(self) -> list[str]:
        return [name for name in super()._fixed() if name.rpartition(".")[2] != "switched_at"]

    def _index(self, position: int) -> int:
        switched = self._switched_at is not None and position >= self._switched_at
        return (self.second if switched else self.first).index(position)
