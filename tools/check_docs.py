"""Prove that the built documentation is whole, and asks no other host for anything.

    python tools/check_docs.py docs/_build/html

Read by a browser, a page may load scripts, styles, fonts and images from the site alone; links between pages lead to
pages and headings that exist; no equation is left as LaTeX; and the docstring of every attribute of a class that has a
page stands on it from its first word to its last. `hatch run docs:build` runs this after Sphinx. Standard library only.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from workspace import ROOT

_LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href", "video": "src"}


class Page(HTMLParser):
    """Everything that one page loads and links to, its anchors, and its text."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.words: list[str] = []
        self._silent = 0
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note addresses and anchors."""
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        self._silent += tag in ("script", "style")
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif (name := _LOADS.get(tag)) and name in given and given.get("rel") not in _NOT_LOADED:
            self.loads.append(given[name])

    def handle_endtag(self, tag: str) -> None:
        """End what is not shown."""
        self._silent -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        """Collect text."""
        if not self._silent:
            self.words.append(data)

    @property
    def text(self) -> str:
        """Words of the page, without marks between them."""
        return plain("".join(self.words))


# Links in the head that name a page without loading it.
_NOT_LOADED = ("index", "search", "next", "prev", "canonical", "author", "copyright", "top", "up")


def plain(text: str) -> str:
    """Return letters and digits of a text, a space between words; roles of reStructuredText count as their text."""
    text = re.sub(r":[\w:]+:`(?:[^`<]*<)?[~!]?([^`>]+)>?`", lambda found: found[1].rpartition(".")[2], text)
    return " ".join(re.findall(r"[^\W_]+", text))


def is_elsewhere(address: str) -> bool:
    """True for an address of another host."""
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme in ("http", "https")


def outside_requests(pages: dict[Path, Page], site: Path) -> Iterator[str]:
    """Name everything that a page or a style sheet loads from another host."""
    for path, page in pages.items():
        yield from (f"{path.relative_to(site)}: loads {address}" for address in page.loads if is_elsewhere(address))
    for path in sorted(site.rglob("*.css")):
        for address in re.findall(r"(?:url\(|@import)\s*[\"']?([^\"')\s]+)", path.read_text(encoding="utf-8")):
            if is_elsewhere(address):
                yield f"{path.relative_to(site)}: loads {address}"


def dead_links(pages: dict[Path, Page], site: Path) -> Iterator[str]:
    """Name links between pages whose page or heading does not exist."""
    for path, page in pages.items():
        for address in sorted(set(page.links)):
            if is_elsewhere(address) or address.startswith(("mailto:", "data:", "javascript:")):
                continue
            name, _, anchor = address.partition("#")
            target = (path.parent / unquote(name.partition("?")[0])).resolve() if name else path
            if not target.is_file():
                yield f"{path.relative_to(site)}: {address} is no file"
            elif anchor and target in pages and unquote(anchor) not in pages[target].anchors:
                yield f"{path.relative_to(site)}: {address} is no heading of that page"


def equations_left(pages: dict[Path, Page], site: Path) -> Iterator[str]:
    """Name pages that show an equation as LaTeX."""
    for path, page in pages.items():
        if found := re.search(r"\\(?:\(|\[|mathbb|frac|sum_|lVert|operatorname)", "".join(page.words)):
            yield f"{path.relative_to(site)}: {found[0]} is not shown as an equation"


def attribute_docstrings(source: str) -> Iterator[tuple[str, str, str]]:
    """Class, attribute and docstring of every documented public attribute of the public classes of a file."""
    for node in ast.parse(source).body:
        if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
            continue
        for field, after in zip(node.body, node.body[1:], strict=False):
            match field, after:
                case (
                    ast.AnnAssign(target=ast.Name(id=attribute)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ) if not attribute.startswith("_"):
                    yield node.name, attribute, text


def cut_docstrings(pages: dict[Path, Page], site: Path, root: Path) -> Iterator[str]:
    """Name attributes whose docstring does not stand whole on the page of their class."""
    by_class: dict[str, list[Path]] = {}
    for path in pages:
        if path.parent == site / "api/generated":
            by_class.setdefault(path.stem.rpartition(".")[2], []).append(path)
    for file in sorted(root.glob("packages/*/src/**/*.py")):
        package = file.relative_to(root / "packages").parts[2]
        for name, attribute, docstring in attribute_docstrings(file.read_text(encoding="utf-8")):
            own = [path for path in by_class.get(name, ()) if path.name.startswith(f"{package}.")]
            if own and not any(plain(docstring) in pages[path].text for path in own):
                yield f"{own[0].relative_to(site)}: the docstring of {name}.{attribute} is cut: {docstring!r}"


def problems(site: Path, root: Path = ROOT) -> list[str]:
    """Say everything that is wrong with a built site."""
    site = site.resolve()
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    if not pages:
        return [f"{site} holds no page; hatch run docs:build makes them"]
    return [
        *outside_requests(pages, site),
        *dead_links(pages, site),
        *equations_left({path: page for path, page in pages.items() if "_modules" not in path.parts}, site),
        *cut_docstrings(pages, site, root),
    ]


def main() -> int:
    """Check the site that is named; the exit status is 1 if something is wrong."""
    found = problems(Path(sys.argv[1]))
    print("\n".join(found) or "the documentation is whole", file=sys.stderr if found else sys.stdout)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
