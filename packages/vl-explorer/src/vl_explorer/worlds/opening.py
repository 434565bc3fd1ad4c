"""Worlds by name."""

from __future__ import annotations

from typing import Literal

from vl_explorer.worlds.builtin import open_builtin
from vl_explorer.worlds.full import open_full
from vl_explorer.worlds.relevance import BUILTIN_RULES, FULL_RULES
from vl_explorer.worlds.world import World

WORLDS = {"builtin": (open_builtin, tuple(BUILTIN_RULES)), "full": (open_full, tuple(FULL_RULES))}
"""Worlds by name: the function that opens one, and the names of its tasks, the default first."""


def open_world(
    name: Literal["builtin", "full"] = "builtin", *, target: str | None = None, every_word: bool = False
) -> World:
    """Open a web on this machine with a task.

    Images are read when they are asked for. No image of the target, or of those that are held out, is in the web.

    Args:
        name: ``"builtin"``, 13,566 images of 28 and 32 pixels that ship with vl-core; or ``"full"``, about 20,000, most
            of them of 64 pixels, from the folder `$VL_DATA`.
        target: Task: of ``"builtin"`` ``"food"`` (the default), ``"animals"``, ``"travel"`` or ``"footwear"``; of
            ``"full"`` ``"animals"`` (the default), ``"vehicles"`` or ``"food"``.
        every_word: Let the vocabulary be all words that ship, most of which bring no image, instead of those that are
            in a caption.

    Returns:
        The world.

    Raises:
        FileNotFoundError: If the world needs `$VL_DATA`, and it is not set or lacks a file.
        ValueError: If there is no such world, or no such task in it.

    Example:
        >>> world = open_world(target="food")
        >>> len(world.web), len(world.relevant), world.engine.name
        (13566, 248, 'builtin')
    """
    if name not in WORLDS:
        raise ValueError(f"name must be {' or '.join(map(repr, WORLDS))}, got {name!r}")
    opened, tasks = WORLDS[name]
    task = tasks[0] if target is None else target
    if task not in tasks:
        raise ValueError(f"target must be one of {', '.join(tasks)} in {name!r}, got {target!r}")
    return opened(task, every_word)
