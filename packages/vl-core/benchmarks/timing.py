"""Times several ways to do the same thing, in turns, so that what slows the machine down slows them all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch

Quantiles = tuple[float, float, float]


def interleaved(ways: Mapping[str, Callable[[], object]], repeats: int, device: str) -> dict[str, Quantiles]:
    """Seconds that each way takes: 20 % quantile, median, 80 % quantile over `repeats` turns, after one to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, way in ways.items():
            taken = _gpu_seconds(way) if device == "cuda" else _cpu_seconds(way)
            if turn:
                seconds[name].append(taken)
    found = {}
    for name, taken in seconds.items():
        low, median, high = torch.tensor(taken).quantile(torch.tensor((0.2, 0.5, 0.8))).tolist()
        found[name] = low, median, high
    return found


def _cpu_seconds(way: Callable[[], object]) -> float:
    start = time.perf_counter()
    way()
    return time.perf_counter() - start


def _gpu_seconds(way: Callable[[], object]) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    way()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1000
