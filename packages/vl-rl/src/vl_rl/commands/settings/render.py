"""The settings of `vl-rl render`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro
from vl_core.cli import Count, DeviceName, FolderPath, Groups, Range, Seed, check_values

from vl_rl.commands._options import check_folders


@dataclass(frozen=True, kw_only=True)
class Render:
    """Play trained models, and write a video and a sheet of frames of each method; no display is needed.

    By default: the first seed of each method of `vl-rl train`. MuJoCo renders with EGL or OSMesa where there is no
    display; set MUJOCO_GL to choose.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]] = (Path("vl-rl-train"),)
    """Folders of `vl-rl train`, or of single runs in them."""

    episodes: Count = 1
    """Episodes of each video."""

    max_steps: Count = 1000
    """Maximum number of steps of each episode; the return of one that is cut off says so."""

    seed: Seed = 0
    """Seed of the episodes."""

    stochastic: bool = False
    """Draw actions from the policy instead of its most likely ones."""

    fps: Annotated[float, Range(above=0)] | None = None
    """Frames per second; default: those of the environment."""

    gif: bool = False
    """Write an animated GIF, too."""

    device: DeviceName = "cpu"
    """Device of the networks, or "auto"."""

    out: FolderPath = Path("vl-rl-render")
    """Folder for an .mp4 and a .png by the name of each method."""

    GROUPS: ClassVar[Groups] = {
        "Input": ("runs",),
        "Episodes": ("episodes", "max_steps", "seed", "stochastic"),
        "Output": ("fps", "gif", "out"),
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
