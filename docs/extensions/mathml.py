"""Equations as MathML, which browsers show without a script or a font from elsewhere."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx


def show(translator: Any, node: nodes.math | nodes.math_block) -> None:
    """Write an equation and skip its source.

    Raises:
        ValueError: If the equation uses a command that the converter does not know.
    """
    block = isinstance(node, nodes.math_block)
    text = node.astext().strip()
    written = convert(text, display="block" if block else "inline")
    # Bars of norms and absolute values stay as large as their line, and close to what they enclose.
    written = re.sub(
        r"<mo[^>]*>(&#x02016;|&#x0007C;|\|)</mo>", r'<mo stretchy="false" lspace="0" rspace="0">\1</mo>', written
    )
    if "\\" in written.partition("</math>")[0]:
        raise ValueError(f"{translator.builder.current_docname}: latex2mathml cannot write the equation {text!r}")
    translator.body.append(f'<div class="math">{written}</div>\n' if block else written)
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer."""
    app.add_html_math_renderer("mathml", (show, None), (show, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
