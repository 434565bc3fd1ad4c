"""`vl-explorer report`: the page of a run as one file."""

from __future__ import annotations

from vl_explorer.commands.settings.report import Report
from vl_explorer.page.report import write_report
from vl_explorer.store.store import Store


def run(settings: Report) -> None:
    """Write the page.

    Raises:
        OSError: If a file cannot be written.
        ValueError: If there is no such run.
    """
    settings.check()
    with Store(settings.store, busy_seconds=settings.busy_seconds, read_only=True) as store:
        settings.out.mkdir(parents=True, exist_ok=True)
        write_report(settings.out / "report.html", store, settings.run, images=settings.images)
    print(f"wrote report.html to {settings.out}")
