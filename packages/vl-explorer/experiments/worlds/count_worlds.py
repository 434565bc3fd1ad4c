"""Count what the webs of `open_world` hold, and how much of it ten results a word can find.

    python packages/vl-explorer/experiments/worlds/count_worlds.py

Prints the table of `docs/worlds.md`; the web "full" needs `$VL_DATA`, and is left out without it.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from vl_core.results import markdown_table
from vl_explorer import World, open_world
from vl_explorer.worlds.opening import WORLDS

RESULTS = 10


async def results_of(world: World) -> list[set[str]]:
    """Addresses that each word of the vocabulary brings."""
    pages = [await world.engine.search(concept.name, RESULTS) for concept in world.vocabulary]
    return [{result.url for result in page.results} for page in pages]


def counts(world: World) -> dict[str, Any]:
    """Row of a world."""
    found = asyncio.run(results_of(world))
    hits = [addresses & world.relevant for addresses in found]
    side = world.held_out
    return {
        "world, task": f"`{world.name}`, {world.task}",
        "images": f"{len(world.web):,}",
        "relevant": f"{len(world.relevant):,}",
        "brought by some word": f"{len(set[str]().union(*hits)):,}",
        "words with a relevant image": f"{100 * sum(map(bool, hits)) / len(found):.1f} %",
        "of all results": f"{100 * sum(map(len, hits)) / sum(map(len, found)):.1f} %",
        "target": len(world.target),
        "held out, train and test": f"{len(side.train)} and {len(side.test)}, {len(side.test.classes)} classes",
        "words": f"{len(world.vocabulary):,}",
    }


def main() -> None:
    """Print the table."""
    names = [name for name in WORLDS if name == "builtin" or os.environ.get("VL_DATA")]
    rows = [counts(open_world(name, target=task)) for name in names for task in WORLDS[name][1]]  # type: ignore[arg-type]
    print(markdown_table(rows, list(rows[0])))


if __name__ == "__main__":
    main()
