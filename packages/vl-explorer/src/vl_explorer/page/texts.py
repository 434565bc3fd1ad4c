"""Texts of strangers and numbers, as they stand in a page."""

from __future__ import annotations

import re
from html import escape
from urllib.parse import urlsplit

from vl_core.tables import utf8

# Marks that reorder the text around them, and controls, which no page should show.
_UNSEEN = re.compile("[\u0000-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")
_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def escaped(text: str, at_most: int | None = None) -> str:
    """Text for HTML, inside an element or an attribute in double quotes, cut to a length."""
    shown = _UNSEEN.sub(" ", utf8(text)).strip()
    if at_most is not None and len(shown) > at_most:
        shown = shown[: at_most - 1] + "…"
    return escape(shown, quote=True)


def link(url: str, text: str, at_most: int = 120) -> str:
    """A link that opens apart and tells nobody where it was followed; the text alone if the URL is not of the web."""
    shown = escaped(text, at_most) or escaped(host(url)) or "untitled"
    if not is_web(url):
        return shown
    return (
        f'<a href="{escape(utf8(url), quote=True)}" target="_blank" rel="noopener noreferrer nofollow" dir="auto">'
        f"{shown}</a>"
    )


def is_web(url: str) -> bool:
    """Return True for a URL with http or https and a host, without spaces and controls."""
    if _UNSEEN.search(url) or any(letter.isspace() for letter in url):
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def host(url: str) -> str:
    """Host of a URL of the web; empty for any other."""
    return (urlsplit(url).hostname or "") if is_web(url) else ""


def size_text(count: int) -> str:
    """Bytes in the unit that leaves one to three digits before the point.

    Example:
        >>> size_text(999), size_text(1_234_567)
        ('999 bytes', '1.2 MB')
    """
    value, unit = float(count), 0
    while value >= 999.95 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {_UNITS[0]}" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"
