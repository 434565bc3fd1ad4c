"""Write the address of the repository everywhere that needs it, and prove that it is the same everywhere.

    python tools/home.py https://github.com/OWNER/vl    # write it
    python tools/home.py                                # one address, and links that lead to files; or what is wrong

The address stands in `CITATION.cff` (`repository-code`), in `[project.urls]` of every package, and in the links and
images of the packages' READMEs: a package index shows a README without the repository around it. Its paths are
GitHub's: `/blob/main/` for pages, `/raw/main/` for images, `/issues`. Standard library only.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from pathlib import Path

from workspace import ROOT, Package, read_packages

CITATION = "CITATION.cff"
PLACEHOLDER = ".example/"
"""Part of an address that nobody can own; a release with one is refused."""
_ADDRESS = re.compile(r"^repository-code: \"?(https://[^\s\"]+?)/?\"?$", re.MULTILINE)


def read_home(root: Path = ROOT) -> str:
    """Read the address, without a slash at its end.

    Raises:
        ValueError: If `CITATION.cff` names none.
    """
    found = _ADDRESS.search((root / CITATION).read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"{CITATION} must have a line `repository-code: https://…`, found none; add one")
    return found[1]


def project_urls(home: str, package: Package) -> dict[str, str]:
    """Addresses of one package for `[project.urls]`."""
    return {
        "Homepage": home,
        "Documentation": f"{home}/blob/main/packages/{package.name}/README.md",
        "Source": f"{home}/tree/main/packages/{package.name}",
        "Issues": f"{home}/issues",
        "Changelog": f"{home}/blob/main/CHANGELOG.md",
    }


def links(text: str) -> list[str]:
    """Give the targets of Markdown links and images outside fenced blocks, without those to headings of the page."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", prose) if not target.startswith("#")]


def readme_problems(text: str, home: str, root: Path) -> list[str]:
    """Say which links of a README would not work on a package index."""
    found = []
    for target in links(text):
        path = re.match(rf"{re.escape(home)}/(?:blob|raw|tree)/main/([^#?]+)", target)
        if "://" not in target:
            found.append(f"{target} is relative; a package index shows no file beside the README: begin it with {home}")
        elif path and not (root / path[1]).exists():
            found.append(f"{target}: the repository holds no {path[1]}")
        elif PLACEHOLDER in target and not target.startswith(f"{home}/"):
            found.append(f"{target} is not below {home}")
    images = re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", text)
    return found + [f"the image {image} must be below {home}/raw/main/" for image in images if "/blob/" in image]


def problems(root: Path = ROOT) -> list[str]:
    """Say where the address is missing or another one, and which links of READMEs lead nowhere."""
    home, found = read_home(root), []
    for package in read_packages(root).values():
        urls = tomllib.loads(package.pyproject.read_text(encoding="utf-8"))["project"].get("urls")
        if urls != project_urls(home, package):
            found.append(f"{package.name}: [project.urls] must be {project_urls(home, package)}, got {urls}")
        readme = package.folder / "README.md"
        found += [f"{package.name}: {line}" for line in readme_problems(readme.read_text(encoding="utf-8"), home, root)]
    return found


def write(root: Path, home: str) -> None:
    """Replace the address everywhere.

    Raises:
        ValueError: If `home` is no https address of a repository.
    """
    if not re.fullmatch(r"https://[\w.-]+(/[\w.-]+)+", home):
        raise ValueError(
            f"the address must be like https://github.com/OWNER/vl, without a slash at its end, got {home}"
        )
    old = read_home(root)
    for path in [
        root / CITATION,
        *(root / "packages").glob("*/README.md"),
        *(root / "packages").glob("*/pyproject.toml"),
    ]:
        text = path.read_text(encoding="utf-8")
        changed = re.sub(rf"{re.escape(old)}(?=[/\"#)\s]|$)", home, text)
        if changed != text:
            path.write_text(changed, encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Write or check; the exit status is 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", nargs="?", help="the new address; default: check")
    home = parser.parse_args(arguments).home
    try:
        if home:
            write(ROOT, home.rstrip("/"))
        found = problems()
    except ValueError as error:
        found = [str(error)]
    print("\n".join(found) or f"{read_home()} stands everywhere", file=sys.stderr if found else sys.stdout)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
