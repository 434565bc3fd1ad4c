"""The run of a store that a command is about."""

from __future__ import annotations

from vl_core.tables import printable

from vl_explorer.store.rows import Run
from vl_explorer.store.store import Store


def chosen_run(store: Store, name: str | None) -> Run:
    """The run of a name, or the last one.

    Args:
        store: To look in.
        name: Of the run; None for the last one.

    Raises:
        ValueError: If there is no such run.
    """
    runs = store.runs()
    if not runs:
        raise ValueError(f"--store must hold a run, got {store.folder}, which has none yet")
    found = [run for run in runs if name in (None, run.name)]
    if not found:
        names = ", ".join(printable(run.name) for run in runs)
        raise ValueError(f"--run must be a run of the store, one of {names[:300]}, got {name!r}")
    return found[-1]
