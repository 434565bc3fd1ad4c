"""Monitors and probes: what looks at a method while it trains, and how it sees the whole of an update."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from vl_ssl.methods.distributed import gather, rank, sum_over_ranks, world_size
from vl_ssl.methods.method import SiameseOutput


class Monitor(Protocol):
    """Something that follows the output of every update, such as a meter of collapse with an alarm.

    It lives in the main process and sees the images of all processes and passes, in the order of their positions.
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
        """Show the update to the monitor; return True on every rank if it asks for a switch."""
        if self._monitor is None:
            return False
        output = _whole(self._passes)
        self._passes.clear()
        asked = torch.zeros(1, device=output.loss.device)
        if rank() == 0 and self._monitor.update(update, output, output.loss.item()):
            asked += 1
        return bool(sum_over_ranks(asked).item())

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
