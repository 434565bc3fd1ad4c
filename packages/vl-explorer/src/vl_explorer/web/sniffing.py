"""Type of a body by its bytes, whatever its name and its declared type say.

Only formats that browsers show are taken, and of those none that is text (SVG). A file that is an image and something
else at the same time (a script, a page, an archive, a document) is refused, although an image reader would take it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from vl_explorer.web.reasons import Reason, Refusal

_MAGIC = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
_AVIF_BRANDS = (b"avif", b"avis")
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)

# Servers that do not know better send these.
_UNSPECIFIC = frozenset({"", "application/octet-stream", "binary/octet-stream", "image", "image/*"})

# The size of a GIF, of the file in a bitmap or WebP, and of JPEG's first segment can be the first letters of a script.
_SCRIPT: dict[str, Callable[[bytes], bool]] = {
    "image/jpeg": lambda body: body[4:6] == b"/*",
    "image/png": lambda body: False,
    "image/gif": lambda body: body[6:8] == b"/*" or (body[7:8] >= b" " and body[9:10] >= b" "),
    "image/webp": lambda body: body[4:6] in (b"/*", b"='", b'="'),
    "image/bmp": lambda body: body[2:4] in (b"/*", b"='", b'="'),
    "image/avif": lambda body: False,
}

_MARKUP = re.compile(rb"<script|<html|<!doctype html|<iframe|<\?php|<svg[\s:>]", re.IGNORECASE)
_PDF_WITHIN = 1024
_ZIP_END = b"PK\x05\x06"
_ZIP_END_BYTES = 22


def check_declared(content_type: str) -> None:
    """Refuse a declared type that is no image; one that says nothing in particular is let through.

    Raises:
        Refusal: With reason ``not_image``.
    """
    declared = content_type.partition(";")[0].strip().lower()
    if declared in _UNSPECIFIC or (declared.startswith("image/") and "svg" not in declared):
        return
    raise Refusal(Reason.not_image, f"the declared type is {declared!r}")


def sniff(body: bytes) -> str:
    """Return the type of an image by its bytes: JPEG, PNG, GIF, WebP, BMP or AVIF.

    Raises:
        Refusal: With reason ``not_image`` if it is none of them or something else as well, ``broken`` if it is empty.

    Example:
        >>> sniff(b"GIF89a" + bytes(20))
        'image/gif'
    """
    if not body:
        raise Refusal(Reason.broken, "the body is empty")
    kind = _kind(body)
    if kind is None:
        raise Refusal(Reason.not_image, f"the body begins with {body[:12]!r}, which no image does")
    other = _something_else(body, kind)
    if other:
        raise Refusal(Reason.not_image, f"the body is {kind} and {other} at the same time")
    return kind


def _kind(body: bytes) -> str | None:
    for magic, kind in _MAGIC:
        if body.startswith(magic):
            return kind
    if body[:4] == b"RIFF" and body[8:12] == b"WEBP":
        return "image/webp"
    if body[4:8] == b"ftyp" and body[8:12] in _AVIF_BRANDS:
        return "image/avif"
    # Two letters are too few to know a bitmap by.
    if body[:2] == b"BM" and body[6:10] == bytes(4) and int.from_bytes(body[14:18], "little") in _BMP_HEADERS:
        return "image/bmp"
    return None


def _something_else(body: bytes, kind: str) -> str | None:
    if _SCRIPT[kind](body):
        return "a script"
    found = _MARKUP.search(body)
    if found:
        return f"a page with {found[0]!r}"
    if b"%PDF-" in body[:_PDF_WITHIN]:
        return "a PDF document"
    end = body.rfind(_ZIP_END)
    if end >= 0 and end + _ZIP_END_BYTES + int.from_bytes(body[end + 20 : end + 22], "little") == len(body):
        return "a ZIP archive"
    return None
