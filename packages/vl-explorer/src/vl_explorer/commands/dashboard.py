"""`vl-explorer dashboard`: the page of a run while it goes on."""

from __future__ import annotations

import webbrowser

from vl_explorer.commands.settings.dashboard import HOST, Dashboard
from vl_explorer.page.server import serve_dashboard


def run(settings: Dashboard) -> None:
    """Serve the page until interrupted.

    Raises:
        OSError: If the port is in use.
        ValueError: If there is no such run.
    """
    settings.check()

    def ready(url: str) -> None:
        print(f"The page is at {url} (stop it with Ctrl-C)", flush=True)
        if settings.browser:
            webbrowser.open(url)

    try:
        serve_dashboard(
            settings.store, settings.run, host=HOST, port=settings.port or 0, seconds=settings.seconds, ready=ready
        )
    except KeyboardInterrupt:
        print("closed")
