"""The settings of `vl-explorer dashboard`."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from typing import Annotated, ClassVar

from vl_core.cli import Groups, Range

from vl_explorer.commands.settings.stored import RunSettings

HOST = "127.0.0.1"
"""Address that the page is served at, which only this machine reaches."""


@dataclass(frozen=True, kw_only=True)
class Dashboard(RunSettings):
    """Serve the page of a run while it goes on: progress, concepts, and images with their origins.

    The page is reachable only from this machine and makes no requests to other ones. Stop it with Ctrl-C.
    """

    port: Annotated[int, Range(1, 65535)] | None = None
    """Port to listen on; default: a free one."""

    seconds: Annotated[float, Range(0.1, 3600)] = 3.0
    """Seconds between two looks of the page for news."""

    browser: bool = False
    """Open the page in the web browser."""

    GROUPS: ClassVar[Groups] = {"Input": ("store", "run"), "Page": ("port", "seconds", "browser")}

    def check_input(self) -> None:
        """Check the store and the port.

        Raises:
            OSError: If there is no store, or the port is in use.
        """
        super().check_input()
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
            # As servers do, so that one that has just ended is not in the way.
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                server.bind((HOST, self.port or 0))
            except OSError as error:
                reason = error.strerror or errno.errorcode.get(error.errno or 0, "in use")
                raise OSError(f"--port must be free to listen on, got {self.port}: {reason}") from error
