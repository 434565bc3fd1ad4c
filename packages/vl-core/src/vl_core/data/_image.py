"""Read one image from a file or from bytes; any fault becomes one clear error."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from PIL import ExifTags, Image, UnidentifiedImageError

from vl_core.data._modes import PixelRange, checked_range, to_rgb_or_gray
from vl_core.data._quiet import quiet_pillow
from vl_core.files import DEFLATE_RATIO

MAX_PIXELS = 100_000_000

# A blank page of one bit a pixel has 8256 pixels for each byte of deflate; some formats store blank ones in less.
_PIXELS_A_BYTE = 8 * DEFLATE_RATIO
_PIXELS_OF_ANY_FILE = 16_000_000

# Formats that a data set may hold. Left out on purpose: those that start another program (EPS) or that are documents.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageError(ValueError):
    """An unusable image; the message is one line with its name and the cause.

    Attributes:
        too_large: True if it was refused for the size that it declares, before anything was decoded.
    """

    def __init__(self, message: str = "", *, too_large: bool = False) -> None:
        super().__init__(message)
        self.too_large = too_large


def read_image(
    source: str | os.PathLike[str] | bytes,
    *,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    pixel_range: Sequence[float] | None = None,
) -> Image.Image:
    """Read an image upright, as 8-bit RGB, or as L where it is grayscale.

    The EXIF orientation is applied (a damaged EXIF block leaves the image as stored), transparency is composited on
    white, palettes and CMYK become RGB, 1-bit and 16-bit grayscale become L. Of an animation, the first frame is read.
    Nothing global is changed: neither `PIL.Image.MAX_IMAGE_PIXELS`, whose own limit applies beside ``max_pixels``, nor
    the warning filters.

    Args:
        source: A path, or the bytes of an encoded image (AVIF, BMP, GIF, JPEG, JPEG 2000, PNG, PPM, TIFF, WebP).
        name: Name of the image in errors; by default its path, or ``"image bytes"``.
        max_pixels: The largest width times height that is decoded. The header is looked at first, so that a
            decompression bomb costs no memory. A file of few bytes is held to less: 16 million pixels, or 8256 for
            each of its bytes.
        pixel_range: The values of 16-bit and floating-point grayscale that become black and white, such as
            ``(0, 4095)`` for 12-bit images in 16-bit files; values beyond are clipped, and 8-bit images and colors are
            not changed. By default ``(0, 65535)`` and ``(0, 1)``.

    Returns:
        An image in mode RGB or L, without metadata.

    Raises:
        FileNotFoundError: If there is no such file.
        ImageError: If the file is empty, no image, damaged, cut short or too large.
        ValueError: If ``pixel_range`` is not two finite numbers, the lower first.

    Example:
        >>> from PIL import Image
        >>> buffer = io.BytesIO()
        >>> Image.new("RGBA", (4, 3), (255, 0, 0, 0)).save(buffer, "PNG")
        >>> read_image(buffer.getvalue()).getpixel((0, 0))
        (255, 255, 255)
    """
    window = checked_range(pixel_range)
    if isinstance(source, bytes):
        return _decode(io.BytesIO(source), name or "image bytes", max_pixels, window)
    path = Path(source)
    label = name or str(path)
    if path.is_dir():
        raise ImageError(f"{label} is a folder, not an image; open_dataset reads folders")
    if path.exists() and not path.is_file():
        # A pipe never ends, or never begins.
        raise ImageError(f"{label} is a pipe or a device, not a file")
    try:
        with path.open("rb") as file:
            return _decode(file, label, max_pixels, window)
    except FileNotFoundError:
        raise FileNotFoundError(f"{label} does not exist; check the path") from None


def upright(image: Image.Image) -> Image.Image:
    """Copy of an opened image as `read_image` returns it: turned by its EXIF orientation, in mode RGB or L.

    Raises:
        ImageError: If the image was opened lazily, and its file is damaged or closed, or it was closed itself.
        ValueError: If values are out of range, see `to_rgb_or_gray`.
    """
    with quiet_pillow():
        try:
            image.load()
        except Exception as error:  # as in `_decode`
            closed = isinstance(error, AttributeError) or "closed" in str(error)
            hint = "; it was closed, so call load() before its file is" if closed else ""
            raise ImageError(f"image cannot be decoded: {_one_line(error)}{hint}") from error
        try:
            return _turned(image, None)
        except ValueError:
            raise
        except Exception as error:
            raise ImageError(f"image cannot be decoded: {_one_line(error)}") from error


def _turned(image: Image.Image, pixel_range: PixelRange | None) -> Image.Image:
    turn = _UPRIGHT.get(_orientation(image))
    plain = to_rgb_or_gray(image, pixel_range)
    return plain if turn is None else plain.transpose(turn)


def _decode(file: IO[bytes], name: str, max_pixels: int, pixel_range: PixelRange | None) -> Image.Image:
    size = file.seek(0, os.SEEK_END)
    if not size:
        raise ImageError(f"{name} is empty (0 bytes)")
    file.seek(0)
    most = max(_PIXELS_OF_ANY_FILE, _PIXELS_A_BYTE * size)
    Image.init()
    with quiet_pillow():
        try:
            with Image.open(file, formats=[known for known in FORMATS if known in Image.OPEN]) as image:
                width, height = image.size
                if width * height > max_pixels:
                    raise ImageError(
                        f"{name} has {width} x {height} = {width * height:,} pixels, over the limit of {max_pixels:,}; "
                        "pass a larger max_pixels if you trust it",
                        too_large=True,
                    )
                if width * height > most:
                    raise ImageError(
                        f"{name} declares {width} x {height} = {width * height:,} pixels in {size:,} bytes, more than "
                        f"{most:,}; such a file is damaged or empty of content",
                        too_large=True,
                    )
                if image.format == "TIFF" and not _covered(image):
                    raise ImageError(f"{name} declares {width} x {height} pixels and has data for fewer; it is damaged")
                image.load()
                return _turned(image, pixel_range)
        except ImageError:
            raise
        except UnidentifiedImageError:
            raise ImageError(f"{name} is not an image in a known format ({', '.join(FORMATS)})") from None
        except Image.DecompressionBombError as error:
            raise ImageError(
                f"{name} is too large: {_one_line(error).rstrip('.')}; max_pixels is {max_pixels:,}, and Pillow's own "
                "limit is twice PIL.Image.MAX_IMAGE_PIXELS",
                too_large=True,
            ) from error
        # A damaged file can make a decoder raise nearly anything; all of it means the same to the caller.
        except Exception as error:
            raise ImageError(f"{name} cannot be decoded: {_one_line(error)}") from error


def _covered(image: Image.Image) -> bool:
    """False if the strips or tiles of a TIFF file leave a part of the image empty, which costs memory all the same."""
    boxes = [tile[1] for tile in getattr(image, "tile", ())]
    area = sum((right - left) * (lower - upper) for left, upper, right, lower in boxes)
    return not boxes or area >= image.width * image.height


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # as above; the pixels are whole, and only which way up they belong is unknown
        return 1


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
