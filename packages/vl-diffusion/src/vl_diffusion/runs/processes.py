"""The processes of one launch: which this one is, and the little that they tell one another.

`accelerate launch` and `torchrun` start them and put their numbers into the environment. They share nothing but file
names and ids, which travel through gloo whatever the device: nothing here touches a GPU, and one process by itself
opens no port.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed

_T = TypeVar("_T")

# One process may have harder images or a slower device than another; the usual half an hour would end both.
_PATIENCE = timedelta(days=14)


@dataclass(frozen=True)
class ProcessGroup:
    """This process among the others."""

    index: int = 0
    """Which it is; the first one writes the tables and speaks for all."""

    count: int = 1
    """How many there are."""

    local_index: int = 0
    """Which it is on its machine."""

    @property
    def is_main(self) -> bool:
        """Whether it is the first one."""
        return self.index == 0

    def wait(self) -> None:
        """Return once all processes have come here.

        Raises:
            ChildProcessError: If one of them has ended.
        """
        if self.count > 1:
            _together(distributed.barrier)

    def from_main(self, value: _T) -> _T:
        """The first process's value, which JSON or pickle can hold, in all of them.

        Raises:
            ChildProcessError: If a process has ended.
        """
        values: list[Any] = [value]
        if self.count > 1:
            _together(lambda: distributed.broadcast_object_list(values))
        found: _T = values[0]
        return found

    def gather(self, value: _T) -> list[_T]:
        """The values of all processes in their order, in each of them.

        Raises:
            ChildProcessError: If a process has ended.
        """
        values: list[Any] = [value] * self.count
        if self.count > 1:
            _together(lambda: distributed.all_gather_object(values, value))
        return values


def current_process() -> ProcessGroup:
    """This process as its launch has numbered it, connected to the others; by itself where it was just started.

    Raises:
        ChildProcessError: If the others are not found.
    """
    found = {name: os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    if not all(number.isdecimal() for number in found.values()) or int(found["WORLD_SIZE"]) < 2:
        return ProcessGroup()
    if not distributed.is_initialized():
        _together(lambda: distributed.init_process_group("gloo", timeout=_PATIENCE))
    return ProcessGroup(int(found["RANK"]), int(found["WORLD_SIZE"]), int(found["LOCAL_RANK"]))


def own_device() -> str:
    """The device that this process computes on where none is asked for: its share of the accelerators, or the CPU."""
    # What `accelerate launch --cpu` says.
    on_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("true", "yes", "1")
    accelerator = None if on_cpu else torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return "cpu"
    processes = current_process()
    if processes.count == 1:
        return accelerator.type
    return f"{accelerator.type}:{processes.local_index % torch.accelerator.device_count()}"


def _together(talk: Callable[[], object]) -> None:
    """Do what takes all processes; when one has ended, its own message says why, and this one only that it has."""
    try:
        talk()
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ChildProcessError(f"another process of this launch has ended, see its message ({reason})") from error
