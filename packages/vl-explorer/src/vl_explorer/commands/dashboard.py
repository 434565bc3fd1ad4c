"""`vl-explorer dashboard`: the page of a run while it goes on."""

from __future__ import annotations

from vl_explorer.commands._chosen_run import chosen_run
from vl_explorer.commands.settings.dashboard import Dashboard
from vl_explorer.store.store import Store


def run(settings: Dashboard) -> None:
    """Serve the page until interrupted.

    Raises:
        OSError: If the port is in use.
        ValueError: If there is no such run, or pages are not written yet.
    """
    settings.check()
    with Store(settings.store, busy_seconds=settings.busy_seconds) as store:
        chosen_run(store, settings.run)
    raise ValueError("vl-explorer dashboard is not written yet; read the store with vl_explorer.Store")
