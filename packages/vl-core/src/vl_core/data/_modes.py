"""Convert every mode that Pillow reads to 8-bit RGB, or to 8-bit L for grayscale."""

from __future__ import annotations

import numpy as np
from PIL import Image

_GRAY = ("1", "L", "LA", "La")
_SIXTEEN_BIT = ("I", "I;16", "I;16B", "I;16L", "I;16N")


def to_rgb_or_gray(image: Image.Image) -> Image.Image:
    """Copy of ``image`` in mode RGB, or L if it is grayscale, without metadata.

    Transparency, in a channel, in a palette or as one color, is composited on white. 16-bit grayscale is divided by
    257, so that 0 and 65535 become 0 and 255; floating point must lie in [0, 1]. Color profiles are not applied.

    Args:
        image: An image in any mode.

    Returns:
        A new image of the same size in mode RGB or L.

    Raises:
        ValueError: If the values of a 32-bit image are out of range, or Pillow cannot convert the mode.
    """
    if image.mode in _SIXTEEN_BIT:
        result = _from_integers(image)
    elif image.mode == "F":
        result = _from_floats(image)
    elif image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        result = _on_white(image)
    elif image.mode in _GRAY:
        result = image.convert("L")
    else:
        result = image.convert("RGB")
    if result is image:
        result = image.copy()
    result.info.clear()
    return result


def _on_white(image: Image.Image) -> Image.Image:
    gray = image.mode in _GRAY
    colored = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    flat = Image.alpha_composite(white, colored)
    # A gray image has three equal channels here; one of them is exact, where a weighted sum might round.
    return flat.getchannel("R") if gray else flat.convert("RGB")


def _from_integers(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int32)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ValueError(f"integer pixels must lie in 0..65535, got {low}..{high}; scale the image to 16 bits")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _from_floats(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    # Written so that NaN fails it too.
    if not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(
            f"floating-point pixels must lie in [0, 1], got {values.min()} to {values.max()}; scale the image"
        )
    return Image.fromarray(np.rint(values * 255).astype(np.uint8))
