"""Captions as they lie in files: encodings, line ends, blank ones, lists of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CAPTION_KEYS = ("captions", "caption", "text", "title", "sentences", "comment")
"""Names of the fields and columns that hold captions, in order of preference."""


class CaptionError(ValueError):
    """Raised for the captions of one image; the message says what is wrong with them and goes on after its name."""


def decode(content: bytes, what: str = "text") -> str:
    """UTF-8, with or without a byte order mark.

    Raises:
        CaptionError: If it is another encoding.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CaptionError(f"holds {what} that is not UTF-8 (byte {error.start}); save it as UTF-8") from None


def lines(text: str) -> list[str]:
    """Captions of a text file, one a line; blank lines are none.

    Only CR and LF end a line, of all characters that Unicode lets do so.
    """
    return [line.strip() for line in text.replace("\r", "\n").split("\n") if line.strip()]


def captions_of(value: Any) -> list[str]:
    """Captions that a field, a cell or a list of either holds, without white space around them.

    Args:
        value: A text, a list of texts, a list of ``{"raw": text}`` as Karpathy's files have it, or None.

    Raises:
        CaptionError: If there is none, or one is no text.
    """
    found = []
    for item in value if isinstance(value, list | tuple) else [value]:
        text = item.get("raw", item.get("caption")) if isinstance(item, Mapping) else item
        if text is None:
            continue
        if not isinstance(text, str):
            raise CaptionError(f"has a caption that is no text but {type(text).__name__}: {str(text)[:40]!r}")
        if not _is_unicode(text):
            raise CaptionError(f"has a caption with half a character (a lone surrogate): {text[:40]!r}")
        if text.strip():
            found.append(text.strip())
    if not found:
        raise CaptionError("has no caption")
    return found


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
