"""Sphinx configuration: Markdown pages, and the API reference from docstrings. `hatch run docs:build`."""

from __future__ import annotations

from vl_core import __version__

project = "vl"
author = "The vl authors"
copyright = author
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"vl {release}"
html_copy_source = False

# Pages are made from READMEs, whose headings link to each other as they do on the repository's own pages.
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]

# Docstrings are read as they are in the source: `name` is code, "Args:" and "Returns:" are sections.
default_role = "literal"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
maximum_signature_line_length = 88
