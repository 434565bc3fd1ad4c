"""Lengths of losslessly compressed images."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_OPTIONS: dict[str, dict[str, Any]] = {
    "png": {"optimize": True},
    "webp": {"lossless": True, "quality": 100, "method": 6},
}


def compressed_bits(pixels: NDArray[np.uint8], codec: str = "png") -> NDArray[np.float64]:
    """Bits of each image after compression, without what a black image of its size needs.

    Small files are mostly headers: 584 bits of a PNG of 28 by 28 pixels. Those of a constant image are subtracted.

    Args:
        pixels: ``(B, C, H, W)``, one channel or three.
        codec: `"png"` or `"webp"`, both lossless.

    Returns:
        ``(B,)``.

    Raises:
        ValueError: If the codec is unknown, or there are other numbers of channels.
    """
    if codec not in _OPTIONS:
        raise ValueError(f"codec must be one of {', '.join(_OPTIONS)}, got {codec!r}")
    if pixels.shape[1] not in (1, 3):
        raise ValueError(f"pixels must have one channel or three, got {pixels.shape[1]}")
    header = _bits(np.zeros_like(pixels[0]), codec) if len(pixels) else 0
    return np.array([_bits(image, codec) - header for image in pixels], dtype=np.float64)


def _bits(image: NDArray[np.uint8], codec: str) -> int:
    memory = io.BytesIO()
    encoded = Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))
    encoded.save(memory, codec, **_OPTIONS[codec])
    return 8 * memory.tell()
