"""The server answers this machine with the page, and nobody else with anything."""

from __future__ import annotations

import io
import json
import socket
import sqlite3

import pytest
from explorer_page_server import ask, served
from explorer_page_store import advance, encoded
from PIL import Image
from vl_explorer.page.server import Dashboard, serve_dashboard
from vl_explorer.page.state import find_run
from vl_explorer.page.style import policy
from vl_explorer.store.rights.forget import forget


@pytest.fixture
def dashboard(store):
    with served(store.folder, seconds=0.1) as dashboard:
        yield dashboard


def test_the_page_its_parts_and_its_state_are_served(dashboard, store):
    status, headers, page = ask(dashboard, "/")
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    parts = ask(dashboard, "/fragment?x=1")[2]
    assert parts in page
    assert b"2 of 4 iterations are finished" in parts
    state = json.loads(ask(dashboard, "/state.json")[2])
    assert (state["finished"], state["planned"], state["complete"]) == (2, 4, False)
    assert state["wall"][0]["sha256"] in store.best_images(1, 1)
    for answered in (headers, ask(dashboard, "/nothing")[1]):
        assert answered["Content-Security-Policy"] == policy(served=True)
        assert answered["X-Content-Type-Options"] == "nosniff"
        assert answered["Cross-Origin-Resource-Policy"] == "same-origin"
        assert answered["Cache-Control"] == "no-store"
        assert answered["Server"].strip() == "vl-explorer"


def test_images_are_encoded_anew_and_kept_by_the_browser(dashboard, store):
    (digest,) = store.best_images(1, 1)
    status, headers, content = ask(dashboard, f"/image/{digest}")
    assert (status, headers["Content-Type"]) == (200, "image/jpeg")
    assert headers["Cache-Control"] == "no-store"
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.size) == ("JPEG", (48, 32))
    status, headers, nothing = ask(dashboard, f"/image/{digest}", "HEAD")
    assert (status, int(headers["Content-Length"]), nothing) == (200, len(content), b"")
    store.path(digest).write_bytes(encoded(1))
    assert ask(dashboard, f"/image/{digest}")[2] == content  # remembered
    forget(store, digest)
    assert ask(dashboard, f"/image/{digest}")[0] == 404


@pytest.mark.parametrize(
    "path",
    [
        "/image/" + "0" * 64,
        "/image/../store.sqlite",
        "/store.sqlite",
        "/fragment/",
        "/image/" + "A" * 64,
        "/%2e%2e/etc/passwd",
    ],
)
def test_nothing_else_is_served(dashboard, path):
    status, headers, body = ask(dashboard, path)
    assert (status, headers["Content-Type"]) == (404, "text/plain; charset=utf-8")
    assert len(body) < 80


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_the_page_can_only_be_read(dashboard, method):
    status, headers, _ = ask(dashboard, "/", method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    assert ask(dashboard, "/", "BREW")[0] == 501


@pytest.mark.parametrize(
    ("host", "accepted"),
    [
        ("127.0.0.1:80", True),
        ("localhost", True),
        ("LOCALHOST:9000", True),
        ("[::1]:8321", True),
        ("", False),
        ("attacker.example", False),
        ("127.0.0.1.attacker.example", False),
        ("localhost.attacker.example:8321", False),
        ("attacker.example:8321@127.0.0.1.example", False),
        ("192.0.2.1", False),
        ("[::1", False),
    ],
)
def test_only_names_of_this_machine_are_answered(dashboard, host, accepted):
    status, _, body = ask(dashboard, "/state.json", host=host)
    assert status == (200 if accepted else 421)
    assert (b"birds" in body) is accepted


def test_a_server_for_others_takes_addresses_and_its_own_name():
    class Open(Dashboard):
        def __init__(self, host):
            self.host = host

    assert Open("0.0.0.0").accepts("192.0.2.1:8321")
    assert Open("box.example").accepts("box.example:8321")
    assert not Open("box.example").accepts("attacker.example")


def test_the_state_is_read_again_only_when_the_store_has_changed(dashboard, store, monkeypatch):
    first = dashboard.state()
    monkeypatch.setattr("vl_explorer.page.server.time.monotonic", lambda: dashboard._read_at + 1000)
    assert dashboard.state() is first
    advance(store, find_run(store).id, 2)
    second = dashboard.state()
    assert (first.finished, second.finished) == (2, 3)


def test_a_store_that_cannot_be_read_is_said(dashboard, monkeypatch, caplog):
    def locked():
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(dashboard, "state", locked)
    status, _, body = ask(dashboard, "/fragment")
    assert (status, body) == (500, b"The store cannot be read: disk I/O error.\n")
    assert "the page could not be made" in caplog.text


def test_serving_says_where_and_closes_the_store(store, monkeypatch):
    found = []

    def interrupted(self):
        found.append(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(Dashboard, "serve_forever", interrupted)
    with pytest.raises(KeyboardInterrupt):
        serve_dashboard(store.folder, port=0, ready=found.append)
    address, dashboard = found
    assert address == f"http://127.0.0.1:{dashboard.server_address[1]}/"
    with pytest.raises(sqlite3.ProgrammingError):
        dashboard.store.runs()


def test_refused(store, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is none; name its folder"):
        Dashboard(tmp_path / "none")
    with pytest.raises(ValueError, match=r"\('birds'\), got 'herons'; choose one"):
        Dashboard(store.folder, "herons")
    with pytest.raises(ValueError, match=r"port must lie in 0\.\.65535, got 70000"):
        Dashboard(store.folder, port=70_000)
    with pytest.raises(ValueError, match=r"seconds must lie in 0\.1\.\.3600, got 0"):
        Dashboard(store.folder, seconds=0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"port must be free to listen on, got 127.0.0.1 port {port}: .*; try 0"):
            Dashboard(store.folder, port=port)
