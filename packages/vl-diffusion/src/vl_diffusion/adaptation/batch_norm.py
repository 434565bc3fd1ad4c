"""What batch normalization does at test time, said aloud."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

BatchNorm = Literal["source", "batch"]
"""Normalize with the statistics of training, or with those of the images that go through the model together: all that
share an update, or each alone where each has weights of its own."""


@contextmanager
def evaluating(model: nn.Module, policy: BatchNorm) -> Iterator[dict[str, Tensor]]:
    """Evaluate a model under a policy; yields copies of the buffers to call it with, so that its own stay as they are.

    A model's layers are in evaluation mode within, and in their own mode again afterwards.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    if policy == "batch":
        # In training mode a layer takes the batch's statistics, and writes them into its buffers.
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.training = True
    try:
        yield buffers
    finally:
        for module, training in modes.items():
            module.training = training
