"""Numbers that a command was given: checked, under the names of their options, before anything is written."""

from __future__ import annotations

import math

from vl_core.runs.processes import current_process

from vl_attention.training.settings import TrainSettings

RESUME = "rerun to resume from the last checkpoint"
"""The note that an interrupted training leaves."""


def check_at_least(option: str, value: float | None, least: float) -> None:
    """Raise where a number is too small, or none.

    Raises:
        ValueError: If it is.
    """
    if value is not None and not least <= value < math.inf:
        raise ValueError(f"{option} must be at least {least}, got {value}")


def check_above_zero(option: str, value: float | None) -> None:
    """Raise where a number is not positive, or none.

    Raises:
        ValueError: If it is not.
    """
    if value is not None and not 0 < value < math.inf:
        raise ValueError(f"{option} must be above 0, got {value}")


def check_update(settings: TrainSettings, prefix: str = "--", *, mixing: bool = True) -> None:
    """Raise where the images of an update cannot be shared out among its passes.

    Args:
        settings: Of training.
        prefix: What stands before the names of its fields on the command line.
        mixing: Whether the training mixes images in pairs, if the settings say so.

    Raises:
        ValueError: If the shares would not be equal, or would be odd where images are mixed.
    """
    processes = current_process().count
    passes = settings.accumulation * processes
    among = f" times {processes} processes" if processes > 1 else ""
    even = mixing and (settings.mixup > 0 or settings.cutmix > 0)
    if settings.batch_size % (2 * passes if even else passes):
        raise ValueError(
            f"{prefix}batch-size must be a multiple of {'twice ' if even else ''}{prefix}accumulation{among}, "
            f"{2 * passes if even else passes}{', since images are mixed in pairs' if even else ''}; got "
            f"{settings.batch_size}"
        )
