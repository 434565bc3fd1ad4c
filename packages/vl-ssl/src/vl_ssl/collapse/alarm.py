"""An alarm from a curve of the AUC: it rises, and stays up, when dimensions are lost.

The loss falls whether a network learns or collapses, and decides nothing here. A fixed threshold would depend on the
architecture, so the rule compares a curve with its own lowest point, in shares of what is left to one. Projections of a
healthy run rise as well, by up to two thirds of the way with high learning rates, but their variance stays spread over
several directions; so less of a rise is enough where one direction holds most of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vl_ssl.collapse.checks import check_options

FLAT, LEAST = 0.98, 0.005
"""AUC of shrunk features that is collapse whatever came before, and the least rise that is not rounding."""
RISE = 0.75
"""Share of the way from the lowest AUC to one at which an alarm is due; `experiments/collapse` measures it."""
DOMINATED_RISE, DOMINANCE = 0.4, 0.75
"""The same where one direction dominates, and the share of the variance that it then holds at least."""


@dataclass(frozen=True)
class Alarm:
    """Collapse, and what it was seen by.

    Its text says how many steps were done by then, one more than `step`.
    """

    step: int
    """Step of the reading, from 0."""
    space: str
    """Name of the features that were read, such as ``"projections"``."""
    auc: float
    """AUC of the cumulative explained variance at that step."""
    lowest: float
    """Its lowest value before."""
    lowest_step: int
    """Step of the lowest value, from 0."""
    loss: float | None = None
    """Training loss at that step, for the reader; it decides nothing."""
    shrunk: bool = False
    """True if rows of unit length lie within half the spread of healthy ones: all images become one point."""
    dominance: float | None = None
    """Share of the variance in its largest direction, where it was given."""

    def __str__(self) -> str:
        loss = "" if self.loss is None else f" (loss {self.loss:.3f})"
        advice = (
            "check the predictor, the stop-gradient and the momentum of the target"
            if self.shrunk
            else "lower the learning rate, raise the batch size or widen the backbone; "
            "if all images are shown from the start, begin with a continual schedule"
        )
        rise = f"up from {self.lowest:.3f} after {self.lowest_step + 1:,}"
        if self.auc - self.lowest < LEAST:
            rise = "from the first reading on"
        held = ""
        if self.dominance is not None and self.dominance >= DOMINANCE:
            held = f", one direction holds {100 * self.dominance:.0f} % of the variance"
        return (
            f"after {self.step + 1:,} steps: collapse, the AUC of the {self.space} is {self.auc:.3f}, "
            f"{rise}{held}{loss}; {advice}"
        )


class CollapseAlarm:
    """Rule over one curve of the AUC.

    With the lowest AUC so far ``m``, a reading ``a`` is high if ``a - m >= rise (1 - m)``, and at least 0.005; with
    ``dominated_rise`` in place of ``rise`` where one direction holds three quarters of the variance. A reading of
    features that have shrunk to nearly a point is high from 0.98 on, since a run may collapse before the first reading.
    The alarm is due at the `patience`-th high reading in a row, once; readings go on afterwards, and `clear` makes it
    ready again.

    Args:
        rise: Share of the way from the lowest AUC to one, above 0 and below 1.
        dominated_rise: The same where one direction dominates; by default 0.4, and at most `rise`.
        patience: High readings in a row, at least 1.
        begin: Step from which readings may be high; those before it only lower ``m``.
        space: Name of the features, for the message.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> alarm = CollapseAlarm(patience=1)
        >>> [alarm.update(step, auc) is not None for step, auc in enumerate([0.9, 0.8, 0.82, 0.96])]
        [False, False, False, True]
    """

    def __init__(
        self,
        *,
        rise: float = RISE,
        dominated_rise: float | None = None,
        patience: int = 2,
        begin: int = 0,
        space: str = "features",
    ):
        if not 0 < rise < 1:
            raise ValueError(f"rise must lie between 0 and 1, got {rise}; {RISE:g} is the default")
        self.dominated_rise = min(rise, DOMINATED_RISE) if dominated_rise is None else dominated_rise
        if not 0 < self.dominated_rise <= rise:
            raise ValueError(f"dominated_rise must lie between 0 and rise, {rise}, got {dominated_rise}")
        if patience < 1 or begin < 0:
            raise ValueError(f"patience must be at least 1 reading and begin at least 0, got {patience} and {begin}")
        self.rise, self.patience, self.begin, self.space = rise, patience, begin, space
        self._lowest, self._lowest_step, self._high = math.inf, -1, 0
        self._raised = self._cleared = False

    def update(
        self,
        step: int,
        auc: float,
        *,
        dominance: float | None = None,
        shrunk: bool = False,
        loss: float | None = None,
    ) -> Alarm | None:
        """Take in a reading; return the alarm at the step that it is due.

        Args:
            step: Step of the reading.
            auc: AUC of the features, from 0 to 1.
            dominance: Share of the variance in its largest direction, `1 / nesum`; None if it is not known.
            shrunk: Whether the features are nearly a point.
            loss: Training loss, for the message.

        Raises:
            ValueError: If ``auc`` is not from 0 to 1.
        """
        if not 0 <= auc <= 1:
            raise ValueError(f"auc must lie in 0..1, got {auc}; see vl_ssl.spectrum_auc")
        if auc < self._lowest:
            self._lowest, self._lowest_step = auc, step
        flat = shrunk and auc >= FLAT
        # Features that are still the point they were at `clear` have not collapsed once more.
        self._cleared = self._cleared and flat
        if step < self.begin:
            return None
        dominated = dominance is not None and dominance >= DOMINANCE
        rise = self.dominated_rise if dominated else self.rise
        risen = auc - self._lowest >= max(LEAST, rise * (1 - self._lowest))
        self._high = self._high + 1 if (risen or flat) and not self._cleared else 0
        if self._raised or self._high < self.patience:
            return None
        self._raised = True
        return Alarm(step, self.space, auc, self._lowest, self._lowest_step, loss, shrunk, dominance)

    def clear(self) -> None:
        """Make the alarm ready for another collapse, from the next reading as the lowest: after a switch of schedule.

        Features that are a point, and stay one, give no other alarm.
        """
        self._lowest, self._lowest_step, self._high = math.inf, -1, 0
        self._raised, self._cleared = False, True

    def state_dict(self) -> dict[str, Any]:
        """Return all that the rule remembers, and its arguments, as plain numbers."""
        return {
            "options": self._options(),
            "lowest": None if math.isinf(self._lowest) else self._lowest,
            "lowest_step": self._lowest_step,
            "high": self._high,
            "raised": self._raised,
            "cleared": self._cleared,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the state of an alarm with the same arguments, which may be of other features.

        Raises:
            ValueError: If its arguments are others.
        """
        check_options(state_dict["options"], self._options(), "an alarm")
        lowest = state_dict["lowest"]
        self._lowest = math.inf if lowest is None else float(lowest)
        self._lowest_step, self._high = int(state_dict["lowest_step"]), int(state_dict["high"])
        self._raised, self._cleared = bool(state_dict["raised"]), bool(state_dict["cleared"])

    def _options(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in ("rise", "dominated_rise", "patience", "begin")}
