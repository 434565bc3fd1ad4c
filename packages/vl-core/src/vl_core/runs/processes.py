"""The processes of one launch: the place of this one among them, and small values that they exchange.

`accelerate launch` and `torchrun` start processes and number them in the environment. They exchange file names, ids and
other small values through gloo, whatever the device: nothing here touches a GPU. A process connects to the others when
it first exchanges something, and a single process opens no port.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

__all__ = ["ProcessGroup", "current_process"]

_T = TypeVar("_T")

# One process may have harder images or a slower device than another; the usual half an hour would end both.
_TIMEOUT = timedelta(days=14)


@dataclass(frozen=True)
class ProcessGroup:
    """This process among the others of its launch."""

    index: int = 0
    """Its rank among all; the main process, 0, writes the tables and reports for all."""

    count: int = 1
    """Number of processes."""

    local_index: int = 0
    """Its rank among those of its machine."""

    @property
    def is_main(self) -> bool:
        """True in the first process."""
        return self.index == 0

    def wait(self) -> None:
        """Block until all processes have come here.

        Raises:
            ChildProcessError: If one of them has ended.
        """
        if self.count > 1:
            _exchange(lambda distributed: distributed.barrier())

    def from_main(self, value: _T) -> _T:
        """Return the main process's value, which must be picklable, in all of them.

        Raises:
            ChildProcessError: If a process has ended.
        """
        values: list[Any] = [value]
        if self.count > 1:
            _exchange(lambda distributed: distributed.broadcast_object_list(values))
        found: _T = values[0]
        return found

    def gather(self, value: _T) -> list[_T]:
        """Return the values of all processes in the order of their ranks, in each of them.

        Raises:
            ChildProcessError: If a process has ended.
        """
        values: list[Any] = [value] * self.count
        if self.count > 1:
            _exchange(lambda distributed: distributed.all_gather_object(values, value))
        return values


def current_process() -> ProcessGroup:
    """Read the place of this process from the environment; a process that no launcher numbered is a group of one."""
    found = {name: os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    if not all(number.isdecimal() for number in found.values()) or int(found["WORLD_SIZE"]) < 2:
        return ProcessGroup()
    return ProcessGroup(int(found["RANK"]), int(found["WORLD_SIZE"]), int(found["LOCAL_RANK"]))


def _exchange(operation: Callable[[Any], object]) -> None:
    """Run a collective operation of `torch.distributed`; if another process has ended, its message says why."""
    # Only a launch of several processes exchanges anything; a single one need not wait for torch.
    from torch import distributed

    try:
        if not distributed.is_initialized():
            distributed.init_process_group("gloo", timeout=_TIMEOUT)
        operation(distributed)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ChildProcessError(f"another process of this launch has ended, see its message ({reason})") from error
