"""Convert every mode that Pillow reads to 8-bit RGB, or to 8-bit L for grayscale."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

PixelRange = tuple[float, float]

_GRAY = ("1", "L", "LA", "La")
_SIXTEEN_BIT = ("I", "I;16", "I;16B", "I;16L", "I;16N")
_STRIP_PIXELS = 4_000_000


def to_rgb_or_gray(image: Image.Image, pixel_range: PixelRange | None = None) -> Image.Image:
    """Copy of ``image`` in mode RGB, or L if it is grayscale, without metadata.

    Transparency, in a channel, in a palette or as one color, is composited on white. 16-bit grayscale is divided by
    257, so that 0 and 65535 become 0 and 255; floating point must lie in [0, 1]. Color profiles are not applied.

    Args:
        image: An image in any mode.
        pixel_range: The values of integer grayscale of more than 8 bits, and of floating point, that become black and
            white; see `window`.

    Returns:
        A new image of the same size in mode RGB or L.

    Warns:
        UserWarning: If integer grayscale of more than 8 bits holds 8-bit values only, which become nearly black.

    Raises:
        ValueError: If the values of a 32-bit image are out of range, or Pillow cannot convert the mode.
    """
    if pixel_range is None and image.mode in _SIXTEEN_BIT and _holds_bytes(image):
        warnings.warn(
            "integer pixels of an image all lie in 0..255 and are read as a part of 0..65535, so it becomes nearly "
            "black; if they are 8-bit values, pass pixel_range=(0, 255), or the image as uint8",
            stacklevel=2,
        )
    if image.width * image.height > _STRIP_PIXELS:
        result = _by_strips(image, pixel_range)
    else:
        result = _converted(image, pixel_range)
    if result is image:
        result = image.copy()
    result.info.clear()
    return result


def checked_range(pixel_range: Any) -> PixelRange | None:
    """Return the two ends of a range of pixel values.

    Raises:
        ValueError: If they are not two finite numbers, the lower one first.
    """
    if pixel_range is None:
        return None
    try:
        low, high = map(float, () if isinstance(pixel_range, str) else pixel_range)
        ordered = math.isfinite(low) and math.isfinite(high) and low < high
    except (TypeError, ValueError, OverflowError):
        ordered = False
    if not ordered:
        raise ValueError(
            f"pixel_range must be two finite numbers, black and white, the lower first, got {pixel_range!r}; "
            "12-bit images have (0, 4095)"
        )
    return low, high


def window(values: npt.NDArray[Any], pixel_range: PixelRange) -> npt.NDArray[np.uint8]:
    """Scale numbers linearly so that the ends of the range become 0 and 255; numbers beyond are clipped."""
    low, high = pixel_range
    scaled = (values.astype(np.float64) - low) * 255 / (high - low)
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)


def _by_strips(image: Image.Image, pixel_range: PixelRange | None) -> Image.Image:
    """Convert a large image in strips, since some conversions need several copies of what they convert."""
    rows = max(1, _STRIP_PIXELS // image.width)
    result = None
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(image.height, top + rows)))
        # Pillow's `crop` leaves out the transparent color.
        strip.info = dict(image.info)
        converted = _converted(strip, pixel_range)
        if result is None:
            result = Image.new(converted.mode, image.size)
        result.paste(converted, (0, top))
    assert result is not None
    return result


def _converted(image: Image.Image, pixel_range: PixelRange | None) -> Image.Image:
    if image.mode in _SIXTEEN_BIT:
        return _from_integers(image, pixel_range)
    if image.mode == "F":
        return _from_floats(image, pixel_range)
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return _on_white(image)
    return image.convert("L" if image.mode in _GRAY else "RGB")


def _on_white(image: Image.Image) -> Image.Image:
    gray = image.mode in _GRAY
    colored = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    flat = Image.alpha_composite(white, colored)
    # A gray image has three equal channels here; one of them is exact, where a weighted sum might round.
    return flat.getchannel("R") if gray else flat.convert("RGB")


def _holds_bytes(image: Image.Image) -> bool:
    """True if no pixel is above 255, and not all are zero."""
    try:
        low, high = image.getextrema()
    except ValueError:  # a byte order that Pillow reads and does not compute with
        values = np.asarray(image)
        low, high = values.min(), values.max()
    return bool(low >= 0 and 0 < high <= 255)  # type: ignore[operator]


def _from_integers(image: Image.Image, pixel_range: PixelRange | None) -> Image.Image:
    values = np.asarray(image).astype(np.int32)
    if pixel_range is not None:
        return Image.fromarray(window(values, pixel_range))
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ValueError(f"integer pixels must lie in 0..65535, got {low}..{high}; scale the image to 16 bits")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _from_floats(image: Image.Image, pixel_range: PixelRange | None) -> Image.Image:
    values = np.asarray(image)
    if pixel_range is not None:
        if not np.isfinite(values).all():
            raise ValueError("floating-point pixels must be finite, got NaN or infinity")
        return Image.fromarray(window(values, pixel_range))
    # Written so that NaN fails it too.
    if not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(
            f"floating-point pixels must lie in [0, 1], got {values.min()} to {values.max()}; scale the image"
        )
    return Image.fromarray(np.rint(values * 255).astype(np.uint8))
