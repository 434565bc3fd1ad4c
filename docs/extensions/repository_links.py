"""Links of pages that are made from files of the repository.

Pages lie in `docs/` as their originals lie in the repository. READMEs name files by absolute addresses, so that they
work on a package index; other pages name them relative to themselves. Here, an address of a file that is a page becomes
a link to that page, one of an image the image itself, and any other file a link to the repository.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

ROOT = Path(__file__).resolve().parents[2]


class RepositoryLinks(SphinxTransform):
    """Resolve links to files of the repository."""

    default_priority = 5  # before images are collected

    def apply(self, **_: Any) -> None:
        """Change the links and images of one page."""
        home = re.escape(self.config.repository_home)
        address = re.compile(rf"{home}/(?:blob|raw|tree)/main/([^#?]+)(?:#(.*))?$")
        for image in self.document.findall(nodes.image):
            if found := address.match(image["uri"]):
                image["uri"] = os.path.relpath(ROOT / found[1], (ROOT / "docs" / self.env.docname).parent)
        for link in list(self.document.findall(nodes.reference)):
            if found := address.match(link.get("refuri", "")):
                self._link(link, found[1], found[2])
        for link in list(self.document.findall(addnodes.pending_xref)):
            if link.get("reftype") == "myst":
                path, _, anchor = link["reftarget"].partition("#")
                target = os.path.normpath(PurePosixPath(self.env.docname).parent / path)
                if path and (ROOT / target).is_file() and not self._page(target):
                    self._link(link, target, anchor)

    def _page(self, path: str) -> str:
        """Name of the page made from a file; empty without one."""
        name = "index" if path == "README.md" else path.removesuffix(".md")
        return name if path.endswith(".md") and name in self.env.found_docs else ""

    def _link(self, link: nodes.Element, path: str, anchor: str | None) -> None:
        page = self._page(path)
        new: nodes.Element = nodes.reference()
        if page and anchor:
            # Headings have no names for the domain "std": their addresses follow once all pages are read.
            new["vl_page"], new["vl_anchor"] = page, anchor
        elif page:
            names = {"refdomain": "std", "reftype": "doc", "reftarget": f"/{page}", "refdoc": self.env.docname}
            new = addnodes.pending_xref(refexplicit=True, refwarn=True, **names)
        else:
            where = f"{self.config.repository_home}/blob/main/{path}"
            new["refuri"] = f"{where}#{anchor}" if anchor else where
        new += link.children
        link.replace_self(new)


def resolve_anchors(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Give links to headings of other pages their addresses; `tools/check_docs.py` tells those that do not exist."""
    for link in doctree.findall(nodes.reference):
        if "vl_page" in link:
            link["refuri"] = f"{app.builder.get_relative_uri(docname, link['vl_page'])}#{link['vl_anchor']}"


def original_of(app: Sphinx, pagename: str, _: str, context: dict[str, Any], __: Any) -> None:
    """Let the links to view and to edit a page lead to the file that it is made from; generated pages have none."""
    source = next((f for f in (f"{pagename}.md", f"docs/{pagename}.md") if (ROOT / f).is_file()), None)
    source = {"index": "README.md"}.get(pagename, source)
    if source is None:
        context["theme_source_edit_link"] = context["theme_source_view_link"] = ""
        return
    for kind in ("edit", "view"):
        link = app.config.html_theme_options[f"source_{kind}_link"]
        context[f"theme_source_{kind}_link"] = link.replace("{filename}", source)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the transform."""
    app.add_config_value("repository_home", "", "env", str)
    app.add_transform(RepositoryLinks)
    app.connect("doctree-resolved", resolve_anchors)
    app.connect("html-page-context", original_of)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
