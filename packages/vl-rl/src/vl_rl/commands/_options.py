"""Parts shared by the commands that read runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def check_folders(runs: Sequence[Path]) -> None:
    """Check that there is at least one folder to look for runs in.

    Raises:
        ValueError: If there is none.
    """
    if not runs:
        raise ValueError("RUNS must name at least one folder of `vl-rl train`, got none")
