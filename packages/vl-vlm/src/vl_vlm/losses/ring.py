"""Processes in a circle: blocks of columns travel once around it, with what belongs to them, and end with their owner.

No process ever holds the features of all: at any time it has its own and those of one other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from vl_vlm.losses.inputs import NO_GROUP, Inputs

_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class Ring:
    """The processes of a group in the order of their ranks; without a group, this process alone."""

    def __init__(self, group: dist.ProcessGroup | None):
        if group is not None and (not dist.is_available() or not dist.is_initialized()):
            raise ValueError(
                "group must be None before torch.distributed.init_process_group, got a group; call it first"
            )
        self.group = group
        self.size = 1 if group is None else dist.get_world_size(group)
        self.rank = 0 if group is None else dist.get_rank(group)

    def gather(self, numbers: Sequence[int]) -> list[list[int]]:
        """The numbers of each rank; every rank must call with as many."""
        if self.size == 1:
            return [list(numbers)]
        device = torch.device("cuda" if dist.get_backend(self.group) == "nccl" else "cpu")
        own = torch.tensor(numbers, device=device)
        found = [torch.empty_like(own) for _ in range(self.size)]
        dist.all_gather(found, own, group=self.group)
        return [values.tolist() for values in found]

    def total(self, values: Tensor) -> Tensor:
        """Sum over the ranks, on every rank."""
        if self.size > 1:
            dist.all_reduce(values, group=self.group)
        return values

    def pass_on(self, tensors: Sequence[Tensor], rows: int) -> list[Tensor]:
        """Send tensors to the next rank, and receive as many with ``rows`` rows from the one before."""
        if self.size == 1 or self.group is None:
            return list(tensors)
        following = dist.get_global_rank(self.group, (self.rank + 1) % self.size)
        before = dist.get_global_rank(self.group, (self.rank - 1) % self.size)
        received = [values.new_empty(rows, *values.shape[1:]) for values in tensors]
        operations = []
        for tag, (own, other) in enumerate(zip(tensors, received, strict=True)):
            operations.append(dist.P2POp(dist.isend, own.contiguous(), following, self.group, tag))
            operations.append(dist.P2POp(dist.irecv, other, before, self.group, tag))
        for work in dist.batch_isend_irecv(operations):
            work.wait()
        return received

    def owner(self, hop: int) -> int:
        """The rank whose block is here after ``hop`` exchanges."""
        return (self.rank - hop) % self.size


def agree(ring: Ring, make: Callable[[], Inputs], choice: int = 0) -> tuple[Inputs, list[int], list[int]]:
    """Check the arguments on every rank, so that an error on one is an error on all instead of a wait without end.

    Args:
        ring: The processes.
        make: Checks this rank's arguments.
        choice: A number that must be the same on all ranks.

    Returns:
        This rank's arguments, with ids that pair rank by rank if none were given; the number of images of each rank;
        and its number of columns.

    Raises:
        TypeError: If ``make`` does.
        ValueError: If ``make`` does, here or on another rank, or the ranks do not fit together.
    """
    error: Exception | None = None
    try:
        inputs = make()
        kind = _TYPES.index(inputs.images.dtype) if inputs.images.dtype in _TYPES else len(_TYPES)
        facts = [1, len(inputs.images), len(inputs.columns), inputs.images.shape[1], kind, int(inputs.paired), choice]
    except (TypeError, ValueError) as refused:
        error, facts = refused, [0] * 7
    everyone = ring.gather(facts)
    if error is not None:
        raise error
    for rank, other in enumerate(everyone):
        if not other[0]:
            raise ValueError(
                f"images and texts of every rank must be accepted, got an error on rank {rank}; see its own"
            )
        if other[3:] != facts[3:]:
            raise ValueError(
                f"images must agree between ranks in width, type, positives and direction, got {facts[3:]} on rank "
                f"{ring.rank} and {other[3:]} on rank {rank}; call the loss alike on every rank"
            )
    images, columns = [other[1] for other in everyone], [other[2] for other in everyone]
    if inputs.paired and ring.rank:
        first = sum(images[: ring.rank])
        ids = torch.where(inputs.column_ids == NO_GROUP, NO_GROUP, inputs.column_ids + first)
        inputs = inputs._replace(row_ids=inputs.row_ids + first, column_ids=ids)
    return inputs, images, columns
