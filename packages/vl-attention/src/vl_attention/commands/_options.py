"""Parts shared by the commands that train: the check of their batches, and the note on their interruption."""

from __future__ import annotations

from vl_core.runs.processes import current_process

from vl_attention.training.settings import TrainSettings

RESUME = "rerun to resume from the last checkpoint"
"""Note on the error of an interrupted training."""


def check_update(settings: TrainSettings, prefix: str = "--", *, mixing: bool = True) -> None:
    """Check that the batch size divides evenly over processes and accumulation steps.

    Args:
        settings: Training settings.
        prefix: Prefix of their options on the command line.
        mixing: True if the training applies mixup and CutMix as the settings say, which mix images in pairs.

    Raises:
        ValueError: If the parts would be unequal, or odd although images are mixed.
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
