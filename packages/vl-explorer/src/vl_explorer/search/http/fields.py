"""Fields of JSON that somebody else wrote: what is not as expected is as good as absent."""

from __future__ import annotations

import html
import re
from typing import Any

LONGEST_TEXT = 1_000
"""Characters that are kept of a title, an author or a license."""
LONGEST_ADDRESS = 4_000
"""Characters of an address; longer ones are as good as absent."""

_TAG = re.compile(r"<[^<>]*>")
_ADDRESS = re.compile(r"https?://[^/?#\s]", re.IGNORECASE)


def at(value: Any, path: str) -> Any:
    """Value at a path of names and list positions; None where there is nothing.

    Example:
        >>> at({"hits": [{"image": {"src": "x"}}]}, "hits.0.image.src")
        'x'
    """
    for step in path.split("."):
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isascii() and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def text(value: Any) -> str:
    """A text on one line, or a number as text; empty for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    # Lone surrogates can neither be printed nor stored.
    clean = str(value).encode("utf-8", "replace").decode()
    words = "".join(character if character.isprintable() else " " for character in clean).split()
    return " ".join(words)[:LONGEST_TEXT]


def plain_text(value: Any) -> str:
    """The text in a piece of HTML.

    Example:
        >>> plain_text('<a href="//example.org">A. Painter</a> &amp; Sons')
        'A. Painter & Sons'
    """
    if not isinstance(value, str):
        return ""
    return text(html.unescape(_TAG.sub(" ", value[: 10 * LONGEST_TEXT])))


def number(value: Any) -> int:
    """A whole number of pixels, from a number or its digits; 0 for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 10**9:
        return 0
    return int(value)


def address(value: Any) -> str:
    """An address of the web; empty for anything else.

    One without a scheme, ``//example.org/a.jpg``, is taken as ``https``.
    """
    if not isinstance(value, str):
        return ""
    found = value.strip()
    found = f"https:{found}" if found.startswith("//") else found
    if len(found) > LONGEST_ADDRESS or not found.isprintable() or " " in found or not _ADDRESS.match(found):
        return ""
    return found
