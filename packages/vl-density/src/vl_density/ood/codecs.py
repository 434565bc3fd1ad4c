"""Lengths of losslessly compressed images."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def compressed_bits(pixels: NDArray[np.uint8], codec: str = "png") -> NDArray[np.float64]:
    """Bits of each image after compression, without what a black image of its size needs.

    Small files are mostly headers: 584 bits of a PNG of 28 by 28 pixels. Those of a constant image are subtracted.

    Args:
        pixels: ``(B, C, H, W)``, one channel or three.
        codec: One of `CODECS`, all lossless; `"jpeg-ls"` and `"jpeg-xl"` need the extra ``codecs``.

    Returns:
        ``(B,)``.

    Raises:
        ValueError: If the codec is unknown, or there are other numbers of channels.
        ModuleNotFoundError: If the codec needs imagecodecs, which is not installed.

    Example:
        >>> compressed_bits(np.zeros((2, 1, 28, 28), np.uint8)).tolist()
        [0.0, 0.0]
    """
    if codec not in CODECS:
        raise ValueError(f"codec must be one of {', '.join(CODECS)}, got {codec!r}")
    if pixels.shape[1] not in (1, 3):
        raise ValueError(f"pixels must have one channel or three, got {pixels.shape[1]}")
    encode = CODECS[codec]

    def bits(image: NDArray[np.uint8]) -> int:
        return 8 * encode(np.ascontiguousarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)))

    header = bits(np.zeros_like(pixels[0])) if len(pixels) else 0
    return np.array([bits(image) - header for image in pixels], dtype=np.float64)


def _pillow(image_format: str, **options: Any) -> Callable[[NDArray[np.uint8]], int]:
    def encode(image: NDArray[np.uint8]) -> int:
        memory = io.BytesIO()
        Image.fromarray(image).save(memory, image_format, **options)
        return memory.tell()

    return encode


def _imagecodecs(function: str, **options: Any) -> Callable[[NDArray[np.uint8]], int]:
    def encode(image: NDArray[np.uint8]) -> int:
        try:
            library = importlib.import_module("imagecodecs")
        except ModuleNotFoundError as error:
            if error.name != "imagecodecs":
                raise
            raise ModuleNotFoundError(
                "imagecodecs is not installed; it comes with `pip install 'vl-density[codecs]'`", name="imagecodecs"
            ) from error
        return len(getattr(library, function)(image, **options))

    return encode


CODECS: dict[str, Callable[[NDArray[np.uint8]], int]] = {
    "png": _pillow("png", optimize=True),
    "webp": _pillow("webp", lossless=True, quality=100, method=6),
    "jpeg-ls": _imagecodecs("jpegls_encode"),
    "jpeg-xl": _imagecodecs("jpegxl_encode", lossless=True, effort=7, numthreads=1),
}
"""Bytes of a file of an image ``(H, W)`` or ``(H, W, 3)``, by name of the codec."""
