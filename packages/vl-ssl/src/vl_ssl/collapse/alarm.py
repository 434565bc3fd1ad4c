"""An alarm from a curve of the AUC: it rises, and stays up, when dimensions are lost.

A network begins with few directions in use, so its AUC is high; training that works lowers it, and collapse raises it
again. The loss falls either way and decides nothing here. A fixed threshold would depend on the architecture, so the
rule compares a curve with its own lowest point, in shares of what is left to one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FLAT, LEAST = 0.98, 0.005
"""AUC of shrunk features that is collapse whatever came before, and the least rise that is not rounding."""
RISE = 0.4
"""Share of the way from the lowest AUC to one at which an alarm is due; `experiments/alarm` measures it."""


@dataclass(frozen=True)
class Alarm:
    """Collapse, and what it was seen by."""

    step: int
    """Step of the reading, from 0."""
    space: str
    """Name of the features that were read, such as ``"projections"``."""
    auc: float
    """AUC of the cumulative explained variance at that step."""
    lowest: float
    """Its lowest value before."""
    lowest_step: int
    """Step of the lowest value."""
    loss: float | None = None
    """Training loss at that step, for the reader; it decides nothing."""
    shrunk: bool = False
    """True if rows of unit length lie within half the spread of healthy ones: all images become one point."""

    def __str__(self) -> str:
        loss = "" if self.loss is None else f" (loss {self.loss:.3f})"
        advice = (
            "check the predictor, the stop-gradient and the momentum of the target"
            if self.shrunk
            else "lower the learning rate, raise the batch size, widen the backbone, or begin with a continual schedule"
        )
        rise = f"up from {self.lowest:.3f} at step {self.lowest_step}"
        if self.auc - self.lowest < LEAST:
            rise = "from the first reading on"
        return f"step {self.step}: collapse, the AUC of the {self.space} is {self.auc:.3f}, {rise}{loss}; {advice}"


class CollapseAlarm:
    """Rule over one curve of the AUC.

    With the lowest AUC so far ``m``, a reading ``a`` is high if ``a - m >= rise (1 - m)``, and at least 0.005. One of
    features that have shrunk to nearly a point is high from 0.98 on, since a run may collapse before the first reading.
    The alarm is due at the `patience`-th high reading in a row, once; readings go on afterwards, and `clear` makes it
    ready again.

    Args:
        rise: Share of the way from the lowest AUC to one, above 0 and below 1.
        patience: High readings in a row, at least 1.
        space: Name of the features, for the message.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> alarm = CollapseAlarm(patience=1)
        >>> [alarm.update(step, auc) is not None for step, auc in enumerate([0.9, 0.8, 0.82, 0.9])]
        [False, False, False, True]
    """

    def __init__(self, *, rise: float = RISE, patience: int = 2, space: str = "features"):
        if not 0 < rise < 1:
            raise ValueError(f"rise must lie between 0 and 1, got {rise}; {RISE:g} is the default")
        if patience < 1:
            raise ValueError(f"patience must be at least 1 reading, got {patience}")
        self.rise, self.patience, self.space = rise, patience, space
        self._lowest, self._lowest_step, self._high, self._raised = math.inf, -1, 0, False

    def update(self, step: int, auc: float, *, loss: float | None = None, shrunk: bool = False) -> Alarm | None:
        """Take in a reading; return the alarm at the step that it is due.

        Args:
            step: Step of the reading.
            auc: AUC of the features, from 0 to 1.
            loss: Training loss, for the message.
            shrunk: Whether the features are nearly a point.

        Raises:
            ValueError: If ``auc`` is not from 0 to 1.
        """
        if not 0 <= auc <= 1:
            raise ValueError(f"auc must lie in 0..1, got {auc}; see vl_ssl.spectrum_auc")
        if auc < self._lowest:
            self._lowest, self._lowest_step = auc, step
        risen = auc - self._lowest >= max(LEAST, self.rise * (1 - self._lowest))
        self._high = self._high + 1 if risen or (shrunk and auc >= FLAT) else 0
        if self._raised or self._high < self.patience:
            return None
        self._raised = True
        return Alarm(step, self.space, auc, self._lowest, self._lowest_step, loss, shrunk)

    def clear(self) -> None:
        """Make the alarm ready again, from the next reading as the lowest: after a switch of schedule, for example."""
        self._lowest, self._lowest_step, self._high, self._raised = math.inf, -1, 0, False

    def state_dict(self) -> dict[str, Any]:
        """Return all that the rule remembers, as plain numbers."""
        lowest = None if math.isinf(self._lowest) else self._lowest
        return {"lowest": lowest, "lowest_step": self._lowest_step, "high": self._high, "raised": self._raised}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over such a state."""
        lowest = state_dict["lowest"]
        self._lowest = math.inf if lowest is None else float(lowest)
        self._lowest_step, self._high = int(state_dict["lowest_step"]), int(state_dict["high"])
        self._raised = bool(state_dict["raised"])
