"""Docstrings of attributes as they are written.

Napoleon takes what precedes the first colon of an attribute's docstring for a type, and shows the rest alone. Ours have
their types in annotations, so a docstring is all text.
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx
from sphinx.ext.napoleon.docstring import GoogleDocstring


def whole(docstring: Any) -> list[str]:
    """Return all lines of an attribute's docstring."""
    lines: list[str] = docstring._consume_to_end()
    return lines


def setup(app: Sphinx) -> dict[str, Any]:
    """Replace Napoleon's reading of attributes."""
    GoogleDocstring._parse_attribute_docstring = whole
    return {"parallel_read_safe": True, "parallel_write_safe": True}
