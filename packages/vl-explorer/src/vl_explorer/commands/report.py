"""`vl-explorer report`: the page of a run as one file."""

from __future__ import annotations

from vl_explorer.commands._chosen_run import chosen_run
from vl_explorer.commands.settings.report import Report
from vl_explorer.store.store import Store


def run(settings: Report) -> None:
    """Write the page.

    Raises:
        OSError: If a file cannot be written.
        ValueError: If there is no such run, or pages are not written yet.
    """
    settings.check()
    with Store(settings.store, busy_seconds=settings.busy_seconds) as store:
        chosen_run(store, settings.run)
    raise ValueError("vl-explorer report is not written yet; read the store with vl_explorer.Store")
