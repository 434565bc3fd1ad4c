"""The page as a local server: it reads a store that an explorer writes to, and answers this machine alone."""

from __future__ import annotations

import ipaddress
import json
import logging
import re
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import AF_INET, AF_INET6
from socketserver import TCPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from vl_explorer.page.report import page_html
from vl_explorer.page.sections import sections
from vl_explorer.page.state import RunState, find_run, run_state
from vl_explorer.page.style import policy
from vl_explorer.page.thumbnails import thumbnail
from vl_explorer.store.store import Store

_log = logging.getLogger(__name__)

_IMAGE = re.compile(r"/image/([0-9a-f]{64})")
_KEPT = 512  # thumbnails in memory, about 8 kB each
_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="7" cy="7" r="5" fill="none" '
    'stroke="#0072b2" stroke-width="2"/><path d="M11 11l4 4" stroke="#0072b2" stroke-width="2"/></svg>'
)
_HEADERS = {
    "Content-Security-Policy": policy(served=True),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def serve_dashboard(
    folder: str | Path,
    run: str | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8321,
    seconds: float = 3.0,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve the page of a run until interrupted; it follows an explorer at work.

    Args:
        folder: Folder of the store.
        run: Name of the run; may be left out where the store holds one.
        host: Address to listen on. By default this machine alone; whoever reaches another one sees everything.
        port: Port to listen on; 0 for a free one.
        seconds: Between two looks of the page for news.
        ready: Called with the address of the page once it can be opened.

    Raises:
        FileNotFoundError: If there is no store.
        OSError: If the port cannot be listened on.
        ValueError: If there is no such run, or several to choose from, or a number is out of range.

    Example:
        ``serve_dashboard("found", "birds", ready=print)``
    """
    with Dashboard(folder, run, host=host, port=port, seconds=seconds) as dashboard:
        if ready is not None:
            ready(dashboard.url)
        dashboard.serve_forever()


class Dashboard(ThreadingHTTPServer):
    """The server of a run's page; see `serve_dashboard` for its arguments.

    ``/`` is the page, ``/fragment`` its parts, ``/state.json`` the state, ``/image/<SHA-256>`` a small version of an
    image of the store. It reads the store at most once in half the time between two looks, however many look, and only
    if it has changed.
    """

    daemon_threads = True

    def __init__(
        self,
        folder: str | Path,
        run: str | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 8321,
        seconds: float = 3.0,
    ) -> None:
        if not 0 <= port < 65536:
            raise ValueError(f"port must lie in 0..65535, got {port}; 0 takes a free one")
        if not 0.1 <= seconds <= 3600:
            raise ValueError(f"seconds must lie in 0.1..3600, got {seconds}")
        self.store = Store(folder, read_only=True)
        try:
            self.run, self.host, self.seconds = find_run(self.store, run).name, host, seconds
            self.address_family = AF_INET6 if ":" in host else AF_INET
            super().__init__((host, port), _Handler)
        except BaseException as error:
            self.store.close()
            if isinstance(error, OSError):
                raise OSError(f"port must be free to listen on, got {host} port {port}: {error}; try 0") from error
            raise
        self._reading = threading.Lock()
        self._state: RunState | None = None
        self._version, self._read_at = -1, 0.0
        self.thumbnail = lru_cache(_KEPT)(self._thumbnail)

    def server_bind(self) -> None:
        """Listen, without the look-up of this machine's name that `HTTPServer` would make."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.host, self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        """Log what went wrong in the middle of an answer, such as a browser that went away."""
        _log.debug("an answer was not sent to the end", exc_info=True)

    @property
    def url(self) -> str:
        """Address of the page."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.server_address[1]}/"

    def state(self) -> RunState:
        """State of the run, not older than the page may be."""
        with self._reading:
            if self._state is None or time.monotonic() - self._read_at > self.seconds / 2:
                version = self.store.database.version()
                if self._state is None or version != self._version:
                    self._state = run_state(self.store, self.run)
                self._version, self._read_at = version, time.monotonic()
            return self._state

    def _thumbnail(self, digest: str) -> bytes:
        """JPEG of an image; one at a time is decoded, since a large one takes much memory."""
        with self._reading:
            found = thumbnail(self.store, digest)
        if found is None:  # raised, so that it is not remembered
            raise LookupError(digest)
        return found

    def accepts(self, name: str | None) -> bool:
        """Return True if a request's ``Host`` is one of this server's.

        A page of a stranger may let its own name lead to this machine and then read what the server says. Addresses
        cannot be led anywhere, nor can ``localhost``.
        """
        if name is None:
            return False
        try:
            host = urlsplit(f"//{name}").hostname or ""
        except ValueError:
            return False
        if host in ("localhost", self.host.lower()):
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return address.is_loopback or not _is_loopback(self.host)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the server and the store."""
        self.server_close()
        self.store.close()

    def __enter__(self) -> Self:
        """Give the server, which the end of the block closes."""
        return self


class _Handler(BaseHTTPRequestHandler):
    server: Dashboard
    timeout = 30
    server_version, sys_version = "vl-explorer", ""

    def do_GET(self) -> None:
        if not self.server.accepts(self.headers.get("Host")):
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "This name is not the server's; use its address")
            return
        try:
            self._answer(urlsplit(self.path).path)
        except (ConnectionError, TimeoutError):  # the browser went away
            raise
        except Exception as error:
            _log.exception("the page could not be made")
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, f"The store cannot be read: {error}")

    do_HEAD = do_GET

    def _answer(self, path: str) -> None:
        if path == "/":
            self._send(page_html(self.server.state(), _address, seconds=self.server.seconds), "text/html")
        elif path == "/fragment":
            self._send(sections(self.server.state(), _address), "text/html")
        elif path == "/state.json":
            self._send(json.dumps(self.server.state().to_json(), default=str), "application/json")
        elif path == "/icon.svg":
            self._send(_ICON, "image/svg+xml")
        elif match := _IMAGE.fullmatch(path):
            try:
                self.server.store.image(match[1])  # what was forgotten is not shown from memory either
                content = self.server.thumbnail(match[1])
            except LookupError:
                self.send_error(HTTPStatus.NOT_FOUND, "No such image is in the store")
                return
            self._send(content, "image/jpeg")
        else:
            self.send_error(HTTPStatus.NOT_FOUND, "Nothing is here; the page is at /")

    def _refuse(self) -> None:
        self.send_error(HTTPStatus.METHOD_NOT_ALLOWED, "This page can only be read")

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = _refuse

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        self._send(f"{message or HTTPStatus(code).phrase}.\n", "text/plain", status=code)

    def _send(self, content: str | bytes, kind: str, *, status: int = HTTPStatus.OK) -> None:
        body = content.encode() if isinstance(content, str) else content
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8" if isinstance(content, str) else kind)
        self.send_header("Content-Length", str(len(body)))
        # No browser keeps an image that was taken down.
        self.send_header("Cache-Control", "no-store")
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a request every few seconds is no news."""


def _address(digest: str) -> str:
    return f"image/{digest}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
