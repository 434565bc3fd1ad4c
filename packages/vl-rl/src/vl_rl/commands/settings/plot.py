"""The settings of `vl-rl plot`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import tyro
from vl_core.cli import Count, FolderPath, Groups, check_values

from vl_rl.commands._options import check_folders


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Draw a metric of runs against environment steps, and print the last values and mean heights of the curves.

    By default: the returns of the evaluations of `vl-rl train`. Runs in training are drawn as far as they are. Where
    the seeds of a method were recorded at different steps, values between recorded steps are interpolated.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]] = (Path("vl-rl-train"),)
    """Folders of `vl-rl train`, or of single runs in them."""

    metric: str = "eval/return"
    """Metric, such as rollout/ep_rew_mean or train/critic_loss; a wrong one lists those that a run has."""

    title: str | None = None
    """Heading; default: the environment."""

    repetitions: Count = 2000
    """Repetitions of the bootstrap over seeds."""

    out: FolderPath = Path("vl-rl-plot")
    """Folder for curves.png and curves.csv."""

    GROUPS: ClassVar[Groups] = {"Input": ("runs", "metric"), "Output": ("title", "out"), "Runtime": ("repetitions",)}

    ALIASES: ClassVar[Mapping[str, str]] = {}

    def check(self) -> None:
        """Check what needs no run.

        Raises:
            ValueError: If a number is out of range, or no folder is given.
        """
        check_values(self)
        check_folders(self.runs)
