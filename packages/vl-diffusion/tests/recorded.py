"""Optimizers that record the gradients which adaptation gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor


class RecordedSGD(torch.optim.SGD):
    """SGD that appends a copy of every gradient to a list, one entry an update."""

    def __init__(self, tensors: Iterable[Tensor], seen: list[list[Tensor]]) -> None:
        super().__init__(tensors, lr=0.1)
        self.seen = seen

    def step(self) -> None:
        self.seen.append([tensor.grad.clone() for group in self.param_groups for tensor in group["params"]])
        super().step()


def recording(seen: list[list[Tensor]]) -> Callable[[Iterable[Tensor]], RecordedSGD]:
    """An `optimizer` argument whose gradients are appended to `seen`."""
    return lambda tensors: RecordedSGD(tensors, seen)
