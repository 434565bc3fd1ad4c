"""A progress bar on a terminal; elsewhere, in a log or a pipe, a plain line every ten seconds at most.

And quiet for libraries that draw bars of their own.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from time import time
from typing import Any

from tqdm.auto import tqdm
from tqdm.std import tqdm as plain_tqdm

__all__ = ["progress_bar", "quiet_libraries"]

_SECONDS = 10.0  # between two lines
_FORMAT = "{desc}: {n_fmt} of {total_fmt} {unit} ({percentage:.0f} %), {elapsed} elapsed, {remaining} left{postfix}"


class _Lines(plain_tqdm):  # type: ignore[type-arg]
    """Writes lines instead of redrawing one: the first after ten seconds, and then as rarely; the last at the end."""

    _ending = False

    def __init__(self, *given: Any, **settings: Any) -> None:
        self._written, self._last = 0, time()
        quiet = {"miniters": 1, "mininterval": _SECONDS, "maxinterval": _SECONDS, "bar_format": _FORMAT}
        super().__init__(*given, **(settings | quiet))

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        # tqdm asks for a bar at the beginning, and whenever the numbers behind it change.
        due = time() - self._last >= _SECONDS or (self._ending and self._written > 0)
        if due:
            self._written, self._last = self._written + 1, time()
            self.fp.write(f"{self if msg is None else msg}\n")
            self.fp.flush()

    def close(self) -> None:
        """Write the last line, if there were others; tqdm would add an empty one."""
        if not self.disable:
            self._ending = True
            self.display()
            self.disable = True
            self._decr_instances(self)  # type: ignore[attr-defined]

    def clear(self, nolock: bool = False) -> None:
        """Lines that are written stay."""

    def moveto(self, n: int) -> None:
        """There is no cursor to move."""


def progress_bar(iterable: Iterable[Any] | None = None, **settings: Any) -> Any:
    """A `tqdm` bar, or what stands for it where standard error is no terminal.

    Args:
        iterable: What to go through; None for a bar that is updated by hand.
        settings: Arguments of `tqdm`: ``total``, ``initial``, ``desc``, ``unit``, ``miniters``, ``disable``.

    Returns:
        The bar, with the methods of `tqdm`.
    """
    terminal = hasattr(sys.stderr, "isatty") and sys.stderr.isatty()
    # Notebooks are no terminals either, and tqdm.auto has a widget for them.
    if terminal or tqdm.__module__ == "tqdm.notebook":
        return tqdm(iterable, **settings)
    return _Lines(iterable, **settings)


@contextmanager
def quiet_libraries(*names: str) -> Iterator[None]:
    """Suppress the bars and warnings of Hugging Face libraries inside the block, and put both back after it.

    Args:
        names: ``"transformers"`` or ``"diffusers"``; each must be installed.
    """
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    controls: list[Any] = [import_module(f"{name}.utils.logging") for name in names]
    shown = [control for control in controls if control.is_progress_bar_enabled()]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    for control in shown:
        control.disable_progress_bar()
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        for control in shown:
            control.enable_progress_bar()
