"""`vl-explorer run`: the whole loop."""

from __future__ import annotations

from vl_explorer.commands.settings.run import Run


def run(settings: Run) -> None:
    """Explore.

    Raises:
        ValueError: Always; the loop is not there yet.
    """
    settings.check()
    raise ValueError("vl-explorer run is not written yet; use the parts, such as vl_explorer.Store, by themselves")
