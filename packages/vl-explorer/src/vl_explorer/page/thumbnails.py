"""Small versions of stored images, encoded anew, so that no byte of a stranger's file reaches a browser."""

from __future__ import annotations

import base64
import io

from PIL import Image

from vl_explorer.store.store import Store
from vl_explorer.web.images import read_image
from vl_explorer.web.policy import Policy
from vl_explorer.web.reasons import Refusal

SIZE = 160
"""Pixels of the longer side."""

_QUALITY = 82


def thumbnail(store: Store, digest: str, *, size: int = SIZE) -> bytes | None:
    """JPEG of an image of a store, made of its pixels alone.

    Args:
        store: Store that holds the image.
        digest: SHA-256 of the image.
        size: Pixels of the longer side at most; smaller images stay as they are.

    Returns:
        The file; None if the image is not there, was evicted, or cannot be read.
    """
    try:
        image = read_image(store.path(digest).read_bytes(), Policy())
    except (KeyError, OSError, Refusal):
        return None
    image.thumbnail((size, size))
    # Only the pixels go on: what a file says beside them (comment, profile, EXIF) would be written with the image.
    bare = Image.frombytes(image.mode, image.size, image.tobytes())
    file = io.BytesIO()
    bare.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def as_data(content: bytes | None) -> str | None:
    """A JPEG as the address of an image inside a page."""
    return None if content is None else f"data:image/jpeg;base64,{base64.b64encode(content).decode('ascii')}"
