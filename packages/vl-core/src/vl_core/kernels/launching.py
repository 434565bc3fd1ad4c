"""What the launchers of Triton kernels need to know of the place where they launch."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor


def on_device_of(tensor: Tensor) -> AbstractContextManager[Any]:
    """Triton launches on the current device, which need not be the tensor's."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


def backend(tensor: Tensor) -> Literal["cuda", "hip", "interpreter"]:
    """Who compiles a kernel for this tensor."""
    if not tensor.is_cuda:
        return "interpreter"
    return "cuda" if torch.version.hip is None else "hip"
