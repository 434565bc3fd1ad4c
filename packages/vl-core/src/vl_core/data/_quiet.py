"""Suppress Pillow's warnings and log lines, thread-safely and without touching anyone else's."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_inside = 0
_level = logging.NOTSET
_filters: warnings.catch_warnings[None] | None = None


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Ignore warnings raised and lines logged by PIL's own modules, which repeat what the error says, or less.

    `warnings.catch_warnings` saves and restores one list for the whole process: two threads that overlap can restore
    each other's copy and leave warnings muted for good. Here the first one in saves, and the last one out restores.
    """
    global _inside, _filters, _level
    logger = logging.getLogger("PIL")
    with _lock:
        if _inside == 0:
            _filters = warnings.catch_warnings()
            _filters.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
            # Without a handler, Python prints warnings that are logged on standard error.
            _level = logger.level
            logger.setLevel(logging.CRITICAL + 1)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0 and _filters is not None:
                _filters.__exit__(None, None, None)
                _filters = None
                logger.setLevel(_level)
