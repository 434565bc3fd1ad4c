"""The settings of `vl-rl evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro
from vl_core.cli import Count, DeviceName, FolderPath, Groups, Range, Seed, check_values

from vl_rl.commands._options import check_folders


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Play finished runs, and compare their scores over seeds: interquartile means with bootstrap intervals.

    By default: the runs of `vl-rl train`. Each environment has statistics of its own, over seeds and over its
    evaluation tasks if it has many. Methods of the same name in several folders are told apart by their folders.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]] = (Path("vl-rl-train"),)
    """Folders of `vl-rl train`, or of single runs in them."""

    baseline: str | None = None
    """Method that the others are compared with; default: the last one."""

    episodes: Count = 20
    """Episodes of each run; with a family of tasks, one of each evaluation task instead."""

    seed: Seed = 0
    """Seed of the episodes and of the bootstrap."""

    level: Annotated[float, Range(above=0, below=1)] = 0.95
    """Probability that an interval covers."""

    repetitions: Count = 2000
    """Repetitions of the bootstrap."""

    device: DeviceName = "cpu"
    """Device of the networks, or "auto"."""

    out: FolderPath = Path("vl-rl-evaluate")
    """Folder for scores.csv, statistics.csv, a statistics.png by environment, and scores.npz, the dictionary that
    rliable takes."""

    GROUPS: ClassVar[Groups] = {
        "Input": ("runs",),
        "Evaluation": ("episodes", "seed"),
        "Statistics": ("baseline", "level", "repetitions"),
        "Output": ("out",),
        "Runtime": ("device",),
    }

    ALIASES: ClassVar[Mapping[str, str]] = {}

    def check(self) -> None:
        """Check what needs no model.

        Raises:
            ValueError: If a number is out of range, or no folder is given.
        """
        check_values(self)
        check_folders(self.runs)
