"""Faults that make a built site incomplete, on a site of two pages; `hatch run docs:build` checks the real one."""

from __future__ import annotations

from pathlib import Path

import check_docs
import pytest

SOURCE = '''
class Settings:
    rate: float = 0.1
    """Share of the weights: what moves; ``"all"`` of :class:`~vl_x.Weights`, or `None`."""
    _hidden: int = 0
    """Not public: left out."""
'''
WHOLE = 'Share of the weights: what moves; <code>"all"</code> of <a href="#top">Weights</a>, or <code>None</code>.'


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Make a site without a fault, and the source that it documents."""
    site = tmp_path / "site"
    (site / "api/generated").mkdir(parents=True)
    (site / "vl.css").write_text("@font-face { src: url(data:x) } a { background: url('x.png') }")
    (site / "index.html").write_text(
        '<link rel="stylesheet" href="vl.css"><link rel="canonical" href="https://elsewhere.test/">'
        '<script>var x = "\\\\(";</script><a href="api/generated/vl_x.Settings.html#top">a</a><a href="https://b.test">b</a>'
    )
    (site / "api/generated/vl_x.Settings.html").write_text(f'<h1 id="top">Settings</h1><p>{WHOLE}</p>')
    source = tmp_path / "packages/vl-x/src/vl_x"
    source.mkdir(parents=True)
    (source / "settings.py").write_text(SOURCE)
    return site


def found(site: Path) -> list[str]:
    return check_docs.problems(site, site.parent)


def test_a_whole_site_has_no_problem(site: Path) -> None:
    assert found(site) == []


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("a.html", '<script src="https://cdn.test/x.js"></script>', "a.html: loads https://cdn.test/x.js"),
        ("a.html", '<img src="//cdn.test/x.png">', "a.html: loads //cdn.test/x.png"),
        ("a.html", '<link rel="stylesheet" href="https://fonts.test/f">', "a.html: loads https://fonts.test/f"),
        ("a.css", "@import 'https://fonts.test/f';", "a.css: loads https://fonts.test/f"),
        ("a.css", "a { src: url(https://fonts.test/f) }", "a.css: loads https://fonts.test/f"),
        ("a.html", '<a href="none.html">x</a>', "a.html: none.html is no file"),
        ("a.html", '<a href="index.html#none">x</a>', "a.html: index.html#none is no heading of that page"),
        ("a.html", r"<p>\(\mathbb{E}\)</p>", r"a.html: \( is not shown as an equation"),
    ],
)
def test_what_is_wrong_with_a_page_is_named(site: Path, file: str, content: str, problem: str) -> None:
    (site / file).write_text(content)
    assert found(site) == [problem]


@pytest.mark.parametrize("shown", ["what moves; all of Weights, or None.", "Share of the weights"])
def test_a_docstring_that_is_cut_is_named_with_its_attribute(site: Path, shown: str) -> None:
    (site / "api/generated/vl_x.Settings.html").write_text(f'<h1 id="top">Settings</h1><p>{shown}</p>')
    (line,) = found(site)
    assert "the docstring of Settings.rate is cut" in line


def test_an_empty_folder_is_no_site(tmp_path: Path) -> None:
    assert "holds no page" in check_docs.problems(tmp_path)[0]
