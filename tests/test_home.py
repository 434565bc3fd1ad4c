"""One address of the repository, and READMEs whose links work on a package index."""

from __future__ import annotations

from pathlib import Path

import home
import pytest
from workspace import ROOT, read_packages

HOME = "https://forge.example/o/vl"


def test_the_address_is_one_everywhere_and_links_of_readmes_lead_to_files() -> None:
    assert home.problems() == []


def test_every_package_tells_the_index_where_its_home_is() -> None:
    address = home.read_home()
    for package in read_packages().values():
        assert f'Homepage = "{address}"' in package.pyproject.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("![a](docs/a.png)", "docs/a.png is relative"),
        ("[a](LICENSE)", "LICENSE is relative"),
        (f"[a]({HOME}/blob/main/missing.md)", "the repository holds no missing.md"),
        (f"![a]({HOME}/blob/main/README.md)", "must be below https://forge.example/o/vl/raw/main/"),
        ("[a](https://old.example/vl/blob/main/README.md)", "is not below https://forge.example/o/vl"),
    ],
)
def test_a_link_that_would_be_dead_on_the_index_is_named(text: str, problem: str) -> None:
    (found,) = home.readme_problems(text, HOME, ROOT)
    assert problem in found


def test_links_to_elsewhere_to_headings_and_in_code_are_left_alone() -> None:
    text = f"[a](#b) [c](https://pypi.org) [d]({HOME}/blob/main/README.md#x)\n```text\n[e](f)\n```\n"
    assert home.readme_problems(text, HOME, ROOT) == []


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Copy the files that hold the address."""
    names = [*ROOT.glob("packages/*/pyproject.toml"), *ROOT.glob("packages/*/README.md"), ROOT / home.CITATION]
    for path in names:
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    return tmp_path


def test_one_command_writes_the_address_everywhere(copy: Path) -> None:
    old = home.read_home()
    home.write(copy, HOME)
    assert home.read_home(copy) == HOME
    assert not [path for path in copy.rglob("*") if path.is_file() and old in path.read_text(encoding="utf-8")]
    # The copy holds no images and pages, so links to them are the only complaint.
    assert all("the repository holds no" in line for line in home.problems(copy))


def test_packages_that_name_another_address_are_found(copy: Path) -> None:
    path = copy / "packages/vl-rl/pyproject.toml"
    path.write_text(path.read_text(encoding="utf-8").replace('Issues = "https:', 'Issues = "http:'), encoding="utf-8")
    assert any("vl-rl: [project.urls] must be" in line for line in home.problems(copy))


@pytest.mark.parametrize("address", ["http://forge.example/o/vl", "https://forge.example", "forge.example/o/vl"])
def test_an_address_that_is_none_is_refused_and_nothing_written(address: str, copy: Path) -> None:
    before = home.read_home(copy)
    with pytest.raises(ValueError, match="the address must be like"):
        home.write(copy, address)
    assert home.read_home(copy) == before


def test_a_citation_without_an_address_is_refused(tmp_path: Path) -> None:
    (tmp_path / home.CITATION).write_text("title: vl\n")
    with pytest.raises(ValueError, match="repository-code"):
        home.read_home(tmp_path)
