"""A dashboard in a thread, and requests to it."""

from __future__ import annotations

import http.client
import threading
from contextlib import contextmanager

from vl_explorer.page.server import Dashboard


@contextmanager
def served(folder, run=None, **settings):
    """A dashboard on a free port of this machine, until the end of the block."""
    with Dashboard(folder, run, port=0, **{"seconds": 0.2, **settings}) as dashboard:
        thread = threading.Thread(target=dashboard.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield dashboard
        finally:
            dashboard.shutdown()
            thread.join()


def ask(dashboard, path, method="GET", host=None):
    """Status, headers and body of an answer; with another Host than its own where one is given, "" for none."""
    connection = http.client.HTTPConnection("127.0.0.1", dashboard.server_address[1], timeout=20)
    try:
        connection.putrequest(method, path, skip_host=host is not None)
        if host:
            connection.putheader("Host", host)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()
