"""Bring the committed inventories up to date; needs the network, which building the documentation does not.

    hatch run docs:python docs/inventories/refresh.py

Each `*.txt` beside this script is a Sphinx inventory of version 1, plain text: a name, its kind, and its page. Names
are those that our signatures use; each is looked up in the inventory of its project, and one that is gone is reported.
"""

from __future__ import annotations

import sys
import urllib.request
from pathlib import Path

from sphinx.util.inventory import InventoryFile

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))


def refreshed(text: str, known: dict[str, str]) -> tuple[str, list[str]]:
    """Return an inventory with the pages of `known`, and the names that it lacks, whose pages stay."""
    head, missing, lines = text.splitlines()[:3], [], []
    for line in text.splitlines()[3:]:
        name, kind, page = line.split()
        if name not in known:
            missing.append(name)
        lines.append(f"{name} {kind} {known.get(name, page).partition('#')[0]}")
    return "\n".join([*head, *lines]) + "\n", missing


def main() -> int:
    """Rewrite every inventory; the exit status is 1 if a name is gone."""
    from conf import intersphinx_mapping

    gone = []
    for name, (address, _) in intersphinx_mapping.items():
        with urllib.request.urlopen(f"{address}/objects.inv", timeout=60) as answer:
            found = InventoryFile.loads(answer.read(), uri="")
        known = {entry: item.uri for kind in found.data.values() for entry, item in kind.items()}
        path = HERE / f"{name}.txt"
        text, missing = refreshed(path.read_text(encoding="utf-8"), known)
        path.write_text(text, encoding="utf-8")
        gone += [f"{name}: {entry}" for entry in missing]
    print("\n".join(gone) or "all names are there")
    return int(bool(gone))


if __name__ == "__main__":
    sys.exit(main())
