"""How much memory a piece of work took at most."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

_PEAK = "VmHWM:"


@dataclass
class Peak:
    """A number that is there when the work is done."""

    megabytes: float = 0.0


@contextmanager
def peak_memory() -> Iterator[Peak]:
    """Measure what is within: of the GPU where PyTorch sees one, else of this process.

    Linux forgets the process's earlier peak when it is asked to; elsewhere the peak is that of the process so far.
    """
    peak = Peak()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    else:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    try:
        yield peak
    finally:
        peak.megabytes = torch.cuda.max_memory_allocated() / 1e6 if torch.cuda.is_available() else _of_process()


def _of_process() -> float:
    with suppress(OSError):
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(_PEAK))
        return int(line.split()[1]) * 1024 / 1e6
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
