"""Sphinx configuration: Markdown pages, and the API reference from docstrings. `hatch run docs:build`.

The site makes no request to another host, neither when it is built nor when it is read: equations become MathML, fonts
come from the system, and inventories of other projects are committed. `tools/check_docs.py` proves it after each build.
"""

from __future__ import annotations

import sys
from pathlib import Path

from vl_core import __version__

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "extensions"), str(HERE.parent / "tools")]

from home import read_home  # noqa: E402

project = "vl"
author = "The vl authors"
copyright = author
release = version = __version__
home = read_home()

extensions = [
    *("myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"),
    *("sphinx.ext.intersphinx", "sphinx.ext.viewcode", "sphinx_copybutton"),
    *("mathml", "repository_links", "whole_docstrings"),
]
exclude_patterns = ["_build", "inventories"]
templates_path = ["templates"]
html_theme = "furo"
html_title = f"vl {release}"
html_copy_source = False
html_static_path = ["static"]
html_css_files = ["vl.css"]
html_theme_options = {
    "source_edit_link": home + "/edit/main/{filename}",
    "source_view_link": home + "/blob/main/{filename}?plain=1",
}
html_math_renderer = "mathml"
repository_home = home

# Pages are made from READMEs, whose headings link to each other as they do on the repository's own pages.
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]

# Docstrings are read as they are in the source: `name` is code, "Args:" and "Returns:" are sections.
default_role = "literal"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autosummary_imported_members = True
autosummary_ignore_module_all = False
python_use_unqualified_type_names = True
maximum_signature_line_length = 72

# Names of other projects link to their pages; `docs/inventories/refresh.py` brings the addresses up to date.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", "inventories/python.txt"),
    "numpy": ("https://numpy.org/doc/stable", "inventories/numpy.txt"),
    "torch": ("https://docs.pytorch.org/docs/stable", "inventories/torch.txt"),
    "pillow": ("https://pillow.readthedocs.io/en/stable", "inventories/pillow.txt"),
    "matplotlib": ("https://matplotlib.org/stable", "inventories/matplotlib.txt"),
}

# What a copied command should not begin with.
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True
