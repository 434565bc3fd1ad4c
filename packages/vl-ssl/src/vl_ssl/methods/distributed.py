"""Sums and batches over all ranks, with gradients; without `torch.distributed` initialized, this process is alone.

Each rank computes a loss of its own, and DistributedDataParallel averages the gradients of the parameters. A tensor
that every rank uses therefore carries back the sum of what all of them ask of it: the average is then the gradient of
the mean of the losses, which is the loss of one process with the whole batch.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of ranks of the default group; 1 if there is none."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Rank of this process in the default group; 0 if there is none."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def sum_over_ranks(values: Tensor) -> Tensor:
    """Sum of a tensor over the ranks, on every rank, with gradients.

    Args:
        values: Same shape and type on every rank.

    Returns:
        The sum, a tensor of that shape; ``values`` itself where there is one rank.

    Example:
        >>> sum_over_ranks(torch.ones(2))
        tensor([1., 1.])
    """
    return values if world_size() == 1 else _Sum.apply(values)


def gather(values: Tensor) -> Tensor:
    """Concatenate the batches of the ranks in their order, with gradients.

    Args:
        values: This rank's rows ``(B, ...)``; same shape and type on every rank.

    Returns:
        Rows of all ranks ``(R * B, ...)``; ``values`` itself where there is one rank.

    Example:
        >>> gather(torch.ones(2, 3)).shape
        torch.Size([2, 3])
    """
    return values if world_size() == 1 else _Gather.apply(values)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return sum_over_ranks(gradient)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        parts = [torch.empty_like(values, memory_format=torch.contiguous_format) for _ in range(world_size())]
        dist.all_gather(parts, values.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return sum_over_ranks(gradient).chunk(world_size())[rank()]
