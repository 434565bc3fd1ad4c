"""Warnings of the library as lines of a command."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def plain_warnings(prog: str = "vl-explorer") -> Iterator[None]:
    """Show each warning inside of the block or function as one line on standard error, without a line of code."""
    shown = warnings.showwarning

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        print(f"{prog}: warning: {' '.join(str(message).split())}", file=sys.stderr)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = shown
