"""A monitor for training loops: meters over what the network computes anyway, and an alarm over each.

It needs no labels and no forward pass of its own, so batch statistics and modes are untouched. Readings are of the last
`window` first views, as the network computed them in training mode.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal, Protocol, TypeAlias, get_args

from torch import Tensor
from vl_core.training import StopTraining

from vl_ssl.collapse.alarm import RISE, Alarm, CollapseAlarm
from vl_ssl.collapse.checks import check_options
from vl_ssl.collapse.meter import CollapseMeter
from vl_ssl.collapse.report import CollapseReport

Action: TypeAlias = Literal["warn", "switch", "stop"]
"""Response to an alarm: a warning alone, a switch of the schedule too, or the end of the run."""

SHRUNK = 0.5
"""Share of the spread of healthy rows of unit length below which features are nearly a point."""

_PER_DIMENSION = 4
_LEAST = 1024

_logger = logging.getLogger(__name__)


class Outputs(Protocol):
    """Output of a siamese method, such as `vl_ssl.SiameseOutput`."""

    @property
    def features(self) -> tuple[Tensor, Tensor]:
        """Features of both views, ``(B, d)`` each."""
        ...

    @property
    def projections(self) -> tuple[Tensor, Tensor]:
        """Projections of both views, ``(B, k)`` each."""
        ...


class CollapseError(StopTraining):
    """The end of a run that its monitor stopped, with a checkpoint of `vl_ssl.pretrain`; `alarm` says why."""

    def __init__(self, alarm: Alarm):
        super().__init__(str(alarm))
        self.alarm = alarm


class CollapseMonitor:
    """Reads features and projections of a running training, and says when dimensions are lost.

    Args:
        every: Steps between readings; if not all steps are observed, at least so many.
        window: Samples of a reading, the last ones; by default four for each dimension and at least 1,024. There is no
            reading before so many were seen, since fewer samples look more collapsed.
        begin: Step from which there may be an alarm: a network that begins to learn changes its spectrum fast. Earlier
            readings count as the lowest.
        rise: Sensitivity of the alarm, see `CollapseAlarm`.
        patience: High readings in a row that make an alarm.
        action: ``"warn"`` logs the alarm; ``"switch"`` also asks the trainer to switch a `Hybrid` schedule, and makes
            the alarms ready for another collapse; ``"stop"`` raises `CollapseError`. `pretrain` keeps a checkpoint of
            that update; with another action the run goes on.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> monitor = CollapseMonitor(every=2, window=64, begin=0)
        >>> for step in range(6):
        ...     features = torch.randn(32, 8, generator=torch.Generator().manual_seed(step))
        ...     alarm = monitor.observe(step, features, loss=-0.5)
        >>> sorted(monitor.reports), alarm
        (['features'], None)
    """

    def __init__(
        self,
        *,
        every: int = 100,
        window: int | None = None,
        begin: int = 100,
        rise: float = RISE,
        patience: int = 2,
        action: Action = "warn",
    ):
        if every < 1 or (window is not None and window < 2):
            raise ValueError(f"every must be at least 1 and window at least 2, got {every} and {window}")
        if action not in get_args(Action):
            raise ValueError(f"action must be one of {', '.join(get_args(Action))}, got {action!r}")
        self.every, self.window, self.begin, self.action = every, window, begin, action
        self.rise, self.patience = rise, patience
        self._new_alarm = partial(CollapseAlarm, rise=rise, patience=patience, begin=begin)
        self._new_alarm()  # checks the rule
        self.reset()

    def reset(self) -> None:
        """Forget all features, readings and alarms, as at the beginning of a run."""
        self._meters: dict[str, CollapseMeter] = {}
        self._alarms: dict[str, CollapseAlarm] = {}
        self.reports: dict[str, CollapseReport] = {}
        """The latest reading of each kind of features."""
        self.alarms: list[Alarm] = []
        """All alarms so far."""
        self._stopped = False
        self._latest: int | None = None  # step of a reading, or of one that had too few samples

    def observe(
        self, step: int, features: Tensor, *, projections: Tensor | None = None, loss: float | None = None
    ) -> Alarm | None:
        """Take in what a step computed; return an alarm if this step's reading makes one.

        Args:
            step: Number of the step, from 0.
            features: Backbone features of one view ``(B, d)``.
            projections: Projections of the same view ``(B, k)``.
            loss: Training loss, for the message.

        Raises:
            ValueError: If features are not finite or change their width.
            CollapseError: If there is an alarm and the action is ``"stop"``.
        """
        if self._latest is None or step < self._latest:
            self._latest = step // self.every * self.every - 1
        due = step - self._latest >= self.every
        found = None
        for space, values in {"features": features, "projections": projections}.items():
            if values is None:
                continue
            meter = self._meter(space, values.shape[-1])
            meter.update(values)
            if due and meter.samples >= (meter.window or 0):
                report = self.reports[space] = meter.compute()
                alarm = self._alarms[space].update(
                    step,
                    report.auc,
                    dominance=1 / report.nesum if report.nesum else 1.0,
                    shrunk=report.std_scaled < SHRUNK,
                    loss=loss,
                )
                found = found or alarm
                if alarm is not None:
                    self.alarms.append(alarm)
                    _logger.warning("%s", alarm)
        if due:
            self._latest = step
        if found is not None and self.action == "stop":
            self._stopped = True
            raise CollapseError(found)
        if found is not None and self.action == "switch":
            for rule in self._alarms.values():
                rule.clear()
        return found

    def update(self, update: int, output: Outputs, loss: float) -> bool:
        """Take in an update of `vl_ssl.pretrain`; return True if the schedule is to switch now."""
        alarm = self.observe(update, output.features[0], projections=output.projections[0], loss=loss)
        return alarm is not None and self.action == "switch"

    def metrics(self) -> dict[str, float]:
        """Numbers of the latest readings, for logs, such as ``collapse/features/auc``; and the number of alarms."""
        rows = {
            f"collapse/{space}/{name}": getattr(report, name)
            for space, report in self.reports.items()
            for name in ("auc", "rankme", "effective_rank", "nesum", "stable_rank", "std_scaled", "dimensions_90")
        }
        return {**rows, "collapse/alarms": len(self.alarms)} if rows else {}

    def describe(self) -> dict[str, Any]:
        """Arguments by which a run is known; the action may be another when it is resumed."""
        return {name: getattr(self, name) for name in ("every", "window", "begin", "rise", "patience")}

    def state_dict(self) -> dict[str, Any]:
        """All that it needs to go on, and its arguments."""
        return {
            "options": self.describe(),
            "meters": {space: meter.state_dict() for space, meter in self._meters.items()},
            "widths": {space: meter.dimensions for space, meter in self._meters.items()},
            "rules": {space: alarm.state_dict() for space, alarm in self._alarms.items()},
            # Rows of metrics show the latest reading until the next.
            "reports": {space: vars(report) for space, report in self.reports.items()},
            "alarms": [vars(alarm) for alarm in self.alarms],
            "stopped": self._stopped,
            "latest": self._latest,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the state of a monitor with the same arguments; the action may be another.

        Raises:
            ValueError: If the state is of a monitor with other arguments; nothing changes then.
            CollapseError: If an alarm has stopped that monitor, and the action is ``"stop"`` here too.
        """
        check_options(state_dict["options"], self.describe(), "a monitor")
        self.reset()
        stopped = bool(state_dict["stopped"])
        # An alarm that has stopped a run is due once more where it is to switch the schedule.
        again = {"raised": False} if stopped and self.action == "switch" else {}
        for space, width in state_dict["widths"].items():
            meter = self._meter(space, int(width))
            meter.load_state_dict(dict(state_dict["meters"][space]))
            self._alarms[space].load_state_dict({**state_dict["rules"][space], **again})
        for space, fields in state_dict["reports"].items():
            values = tuple(fields["singular_values"])  # a list, if it was kept as JSON
            self.reports[space] = CollapseReport(**{**fields, "singular_values": values})
        self.alarms = [Alarm(**fields) for fields in state_dict["alarms"]]
        self._latest = state_dict["latest"]
        self._stopped = stopped and self.action == "stop"
        if self._stopped:
            raise CollapseError(self.alarms[-1])

    def _meter(self, space: str, width: int) -> CollapseMeter:
        if space not in self._meters:
            window = max(_LEAST, _PER_DIMENSION * width) if self.window is None else self.window
            self._meters[space] = CollapseMeter(width, window=window)
            self._alarms[space] = self._new_alarm(space=space)
        return self._meters[space]
