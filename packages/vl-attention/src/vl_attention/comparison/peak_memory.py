"""Peak memory of a block of code."""

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
    """Peak memory in megabytes, set when the block ends."""

    megabytes: float = 0.0


@contextmanager
def peak_memory() -> Iterator[Peak]:
    """Measure the peak memory within a block: of the GPU if PyTorch sees one, otherwise of this process.

    Linux can reset the process's earlier peak; elsewhere the peak is that of the process so far.
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
        peak.megabytes = torch.cuda.max_memory_allocated() / 1e6 if torch.cuda.is_available() else _process_peak()


def _process_peak() -> float:
    with suppress(OSError):
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(_PEAK))
        return int(line.split()[1]) * 1024 / 1e6
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
