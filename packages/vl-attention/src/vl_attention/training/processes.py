"""Which of several processes this is, before any of them has joined the others."""

from __future__ import annotations

import os


def is_main_process() -> bool:
    """Whether this process writes what all of them made; launchers number processes in ``RANK``."""
    return int(os.environ.get("RANK", "0")) == 0
