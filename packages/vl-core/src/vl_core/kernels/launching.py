"""Device and backend of a Triton launch."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor


def on_device_of(tensor: Tensor) -> AbstractContextManager[Any]:
    """Make the tensor's device current: Triton launches on the current device."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


def backend(tensor: Tensor) -> Literal["cuda", "hip", "interpreter"]:
    """Backend that compiles a kernel for this tensor."""
    if not tensor.is_cuda:
        return "interpreter"
    return "cuda" if torch.version.hip is None else "hip"
