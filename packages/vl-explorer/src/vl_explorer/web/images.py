"""Bytes of strangers to 8-bit images, under limits."""

from __future__ import annotations

from PIL import Image
from vl_core.data import ImageError
from vl_core.data import read_image as read_trusted_image

from vl_explorer.web.policy import Policy
from vl_explorer.web.reasons import Fetched, Reason, Refusal, Refused
from vl_explorer.web.sniffing import sniff

# Each scan of a progressive JPEG goes over all its pixels; encoders write about ten.
_MAX_SCANS = 100
_SCAN = b"\xff\xda"


def read_image(body: bytes, policy: Policy) -> Image.Image:
    """Decode an image that came from the web.

    The size in its header is looked at before anything is decoded. Of an animation the first frame is read, the EXIF
    orientation is applied, transparency is composited on white, CMYK, palettes and 16 bits become 8-bit RGB or L.

    Args:
        body: The bytes of a JPEG, PNG, GIF, WebP, BMP or AVIF image.
        policy: ``max_pixels``.

    Returns:
        An image in mode RGB or L, without metadata.

    Raises:
        Refusal: With reason ``not_image``, ``pixels`` or ``broken`` (damaged, cut short, over 100 scans).

    Example:
        >>> import io
        >>> buffer = io.BytesIO()
        >>> Image.new("CMYK", (4, 3)).save(buffer, "JPEG")
        >>> read_image(buffer.getvalue(), Policy()).mode
        'RGB'
    """
    if sniff(body) == "image/jpeg" and body.count(_SCAN) > _MAX_SCANS:
        raise Refusal(Reason.broken, f"a JPEG of {body.count(_SCAN):,} scans costs more than an image does")
    try:
        # A dark image of 16 bits is as dark in 8; without the range, a warning would ask what it was meant to be.
        return read_trusted_image(body, name="the body", max_pixels=policy.max_pixels, pixel_range=(0, 65535))
    except ImageError as error:
        raise Refusal(Reason.pixels if error.too_large else Reason.broken, str(error)) from error


def decode(fetched: Fetched, policy: Policy) -> Image.Image | Refused:
    """`read_image` of what was fetched, with a refusal as a result: for threads, where decoding belongs."""
    try:
        return read_image(fetched.body, policy)
    except Refusal as refusal:
        return Refused(fetched.url, refusal.reason, refusal.detail, refusal.retry_after)
