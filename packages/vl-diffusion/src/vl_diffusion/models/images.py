"""Images as tensors, and their ids by content."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from torch import Tensor
from vl_core.data import image_to_tensor


def to_tensor(image: Any) -> Tensor:
    """Convert an image of any supported type to float32 ``(1 or 3, H, W)`` in [0, 1] on the CPU."""
    return image_to_tensor(image).detach().cpu()


def content_id(image: Tensor) -> int:
    """Hash of the pixels, so that the noise depends on the image and not on its index.

    Returns:
        A signed 64-bit integer, BLAKE2b of the shape and the float32 values.
    """
    values = np.ascontiguousarray(image.float().numpy(), dtype="<f4")
    digest = hashlib.blake2b(repr(values.shape).encode() + values.tobytes(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
