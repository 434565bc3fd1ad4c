"""Summaries of all ranks of `torch.distributed` as one, the same to the last bit on each of them.

Where no process group is initialized, there is one rank, and nothing is exchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, distributed

from vl_ssl.collapse.summary import Summary

_NUMBERS = 3
Kind = TypeVar("Kind", bound=Summary)


def rank_count() -> int:
    """Number of ranks; 1 where nothing is initialized."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def agree_on_dimensions(dimensions: int | None) -> int | None:
    """Width of the features on all ranks; ranks that have seen none take that of the others.

    Raises:
        ValueError: On all ranks, if two of them have different widths.
    """
    if rank_count() == 1:
        return dimensions
    found = {int(width) for width in _gather(torch.tensor([dimensions or 0.0], dtype=torch.float64))} - {0}
    if len(found) > 1:
        raise ValueError(
            f"features must have one width d on all ranks, got {' and '.join(map(str, sorted(found)))}; "
            "meter the same layer everywhere"
        )
    return found.pop() if found else None


def merge_ranks(own: Kind, empty: Callable[[], Kind]) -> Kind:
    """Merge the summaries of all ranks, which must all call this; what `own` holds stays as it is.

    Args:
        own: Summary of this rank, maybe without rows.
        empty: Makes a summary of the same kind and width.
    """
    merged = empty()
    if rank_count() == 1:
        if own.count:
            merged.merge(own)
        else:  # the scatter within images counts none of its own
            merged.fold_core(own.core.to(merged.device))
        return merged
    numbers = torch.tensor(own.numbers(), dtype=torch.float64, device=own.device)
    small = _gather(torch.cat([numbers, own.means().flatten()]))
    shifts = []
    for row in small:
        count, weight, squares = row[:_NUMBERS].tolist()
        if count:
            shifts.append(merged.join((count, weight, squares), row[_NUMBERS:].reshape(3, -1).to(merged.device)))
    if own.linear:
        total = own.core.to(_exchange_device(), copy=True)
        distributed.all_reduce(total)
        merged.fold_core(total.to(merged.device))
    else:
        # Factors of ranks with few rows are shorter than they are wide.
        height = torch.zeros(own.dimensions, own.dimensions, dtype=torch.float64, device=own.device)
        height[: len(own.core)] = own.core
        for core in _gather(height):
            merged.fold_core(core.to(merged.device))
    if shifts:
        merged.fold(torch.stack(shifts))
    return merged


def _gather(tensor: Tensor) -> list[Tensor]:
    tensor = tensor.to(_exchange_device())
    found = [torch.empty_like(tensor) for _ in range(rank_count())]
    distributed.all_gather(found, tensor)
    return found


def _exchange_device() -> torch.device:
    """NCCL sees only what is on a GPU."""
    if distributed.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")
