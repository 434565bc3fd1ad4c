"""Suppress Pillow's warnings and log lines, thread-safely and without touching anyone else's."""

from __future__ import annotations

import ctypes
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, lru_cache

from PIL import _imaging as core

_TIFF_HANDLERS = ("TIFFSetErrorHandler", "TIFFSetWarningHandler")

_lock = threading.Lock()
_inside = 0
_disabled: list[tuple[logging.Logger, bool]] = []
_tiff_handlers: list[tuple[str, int | None]] = []
_filters: warnings.catch_warnings[None] | None = None


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Ignore warnings raised and lines logged by PIL's own modules, and lines that libtiff prints on standard error.

    They repeat what the error says, or less.

    `warnings.catch_warnings` saves and restores one list for the whole process: two threads that overlap can restore
    each other's copy and leave warnings muted for good. Here the first one in saves, and the last one out restores.
    """
    global _inside, _filters
    with _lock:
        if _inside == 0:
            _filters = warnings.catch_warnings()
            _filters.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
            # Without a handler, Python prints warnings that are logged on standard error. Setting a level would clear
            # the caches of all loggers, for every image.
            _disabled[:] = [(logger, logger.disabled) for logger in _loggers(len(logging.root.manager.loggerDict))]
            for logger, _ in _disabled:
                logger.disabled = True
            _tiff_handlers[:] = [(name, _set_tiff_handler(name, None)) for name in _TIFF_HANDLERS]
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0 and _filters is not None:
                _filters.__exit__(None, None, None)
                _filters = None
                for logger, before in _disabled:
                    logger.disabled = before
                for name, handler in _tiff_handlers:
                    _set_tiff_handler(name, handler)


@lru_cache(maxsize=1)
def _loggers(count: int) -> list[logging.Logger]:
    """Loggers of PIL among so many in the process; they only ever become more."""
    found = [logging.getLogger("PIL")]
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if name.startswith("PIL.") and isinstance(logger, logging.Logger):
            found.append(logger)
    return found


@cache
def _tiff_setter(name: str) -> Callable[[int | None], int | None] | None:
    """Function of libtiff that sets a handler and returns the one before.

    There is none where libtiff is no library of its own that Pillow's loads, as on Windows.
    """
    try:
        set_handler = getattr(ctypes.CDLL(core.__file__), name)
    except (AttributeError, OSError, TypeError):
        return None
    set_handler.restype, set_handler.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    setter: Callable[[int | None], int | None] = set_handler
    return setter


def _set_tiff_handler(name: str, handler: int | None) -> int | None:
    """Set what libtiff does with its own messages, and return what it did before; by default it prints them."""
    setter = _tiff_setter(name)
    return None if setter is None else setter(handler)
