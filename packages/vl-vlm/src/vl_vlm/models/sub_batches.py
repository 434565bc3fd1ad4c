"""Encoding of a large batch in parts whose activations are not kept, as in GradCache."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def encode_in_parts(encode: Callable[..., Tensor], inputs: tuple[Tensor | None, ...], size: int) -> Tensor:
    """Features of a batch, with the activations of ``size`` samples in memory at a time.

    Gao et al. (2021, section 3): the parts are encoded without their activations, the loss of the whole batch gives
    the gradients of all features, and each part is encoded again when the backward pass reaches it. Features and
    gradients are those of the whole batch; dropout draws other numbers for other sizes.

    Args:
        encode: From parts of the inputs to features.
        inputs: Tensors with the batch as their first dimension; None is passed on.
        size: Samples of a part; 0 for the whole batch at once.

    Raises:
        ValueError: If ``size`` is negative.
    """
    if size < 0:
        raise ValueError(f"sub_batch must be at least 0, got {size}; 0 is for the whole batch at once")
    count = len(next(values for values in inputs if values is not None))
    if not size or size >= count or not torch.is_grad_enabled():
        return encode(*inputs)
    parts = (
        tuple(None if values is None else values[start : start + size] for values in inputs)
        for start in range(0, count, size)
    )
    return torch.cat([checkpoint(encode, *part, use_reentrant=False) for part in parts])


def check_batch_statistics(model: nn.Module) -> None:
    """Check that no module computes statistics of its batch, which those of a part would replace.

    Raises:
        ValueError: If one does, in training mode; the message names it.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
            raise ValueError(
                f"sub_batch must be 0 for a model with batch normalization ({name}): statistics of a part are not "
                "those of the batch; take a network with other norms, or freeze it"
            )
