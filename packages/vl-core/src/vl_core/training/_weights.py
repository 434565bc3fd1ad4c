"""A digest of a model's weights."""

from __future__ import annotations

import hashlib

import torch
from torch import nn


def weights_digest(model: nn.Module) -> str:
    """The first 16 hexadecimal digits of a SHA-256 over the names, dtypes, shapes and bytes of a model's weights.

    Bytes are read in place, so a model in main memory is not copied: a gigabyte takes a few seconds.
    """
    total = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        total.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        total.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return total.hexdigest()[:16]
