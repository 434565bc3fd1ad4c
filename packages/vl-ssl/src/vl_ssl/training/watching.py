"""Monitors and probes: what looks at a method while it trains, and how it sees the whole of an update."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from vl_core.training import StopTraining

from vl_ssl.methods.distributed import gather, rank, sum_over_ranks, world_size
from vl_ssl.methods.method import SiameseOutput


class Monitor(Protocol):
    """Something that follows the output of every update, such as a meter of collapse with an alarm.

    It lives in the main process and sees the images of all processes and passes, in the order of their positions. If it
    has a method ``reset()``, `pretrain` calls it at the beginning: what a monitor has seen is in the checkpoint, and no
    part of it is of an earlier run with the same object.
    """

    def update(self, update: int, output: SiameseOutput, loss: float, /) -> bool | None:
        """Take in an update, counted from 0; return True to switch the schedule now."""
        ...

    def metrics(self) -> Mapping[str, float]:
        """Numbers for the run's row of metrics, of the latest updates."""
        ...

    def state_dict(self) -> Mapping[str, Any]:
        """Everything that it needs to go on; see `vl_core.training.Stateful`."""
        ...

    def load_state_dict(self, state_dict: Any, /) -> Any:
        """Take over such a state."""
        ...


class Probe(Protocol):
    """Accuracy of what has been learned so far, by name: k-NN for example."""

    def __call__(self, method: nn.Module, update: int, /) -> Mapping[str, float]:
        """Evaluate the method after an update; it must leave modes and buffers as they are."""
        ...


_SWITCH, _STOPPED, _FAILED = 1, 2, 3


class EndedByMonitor(StopTraining):
    """The end of a run on the ranks other than the main one, whose monitor has stopped it."""


class Watch:
    """Outputs of the passes of an update, put together for a monitor.

    Args:
        monitor: Follows them in the main process; None for none, which costs nothing.
    """

    def __init__(self, monitor: Monitor | None):
        self._monitor = monitor
        self._passes: list[SiameseOutput] = []

    def add(self, output: SiameseOutput) -> None:
        """Keep the output of a pass."""
        if self._monitor is not None:
            self._passes.append(output._replace(loss=output.loss.detach()))

    def update(self, update: int) -> bool:
        """Show the update to the monitor; return True on every rank if it asks for a switch.

        Raises:
            ValueError: If the loss is not finite.
            EndedByMonitor: On the other ranks, if the monitor stops the run.
            RuntimeError: On the other ranks, if the monitor raises another error.
        """
        if self._monitor is None:
            return False
        output = _whole(self._passes)
        self._passes.clear()
        loss = output.loss.item()
        if not math.isfinite(loss):
            raise ValueError(f"the loss is not finite at update {update} ({loss}); lower the learning rate")
        answer, error = torch.zeros(1, device=output.loss.device), None
        if rank() == 0:
            # What it raises is raised on all ranks: none may wait for another that has left.
            try:
                answer += _SWITCH if self._monitor.update(update, output, loss) else 0
            except Exception as found:
                answer, error = answer + (_STOPPED if isinstance(found, StopTraining) else _FAILED), found
        answer = sum_over_ranks(answer)
        if error is not None:
            raise error
        code = round(answer.item())
        if code == _STOPPED:
            raise EndedByMonitor(f"the monitor in the main process stopped the run at update {update}; see its message")
        if code == _FAILED:
            raise RuntimeError(f"another process, the main one, failed at update {update}; see its message")
        return code == _SWITCH

    def metrics(self) -> Mapping[str, float]:
        """Columns of the monitor."""
        return {} if self._monitor is None else self._monitor.metrics()


@torch.no_grad()
def _whole(passes: list[SiameseOutput]) -> SiameseOutput:
    """One output of all passes and ranks; rank after rank within a pass, as positions are dealt."""
    loss = sum_over_ranks(torch.stack([each.loss for each in passes]).mean()) / world_size()

    def joined(name: str) -> tuple[Tensor, Tensor]:
        first, second = (torch.cat([gather(getattr(each, name)[view]) for each in passes]) for view in (0, 1))
        return first, second

    return SiameseOutput(loss, joined("features"), joined("projections"))
