"""The settings of `vl-vlm compare`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import tyro
from vl_core.cli import Count, DeviceName, FolderPath, Groups, Seed, check_values


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Compare two evaluated models item by item: differences with intervals, and two tests.

    By default: the two models that ship with the package, evaluated on procedural scenes first.
    """

    folders: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Two folders of vl-vlm evaluate, of the same tasks; default: evaluate both built-in models."""

    samples: Count = 1000
    """Draws of the paired bootstrap."""

    seed: Seed = 0
    """Seed of the draws."""

    device: DeviceName = "cpu"
    """Device of the built-in models where no folders are given, or "auto"."""

    out: FolderPath = Path("vl-vlm-compare")
    """Folder for comparison.csv and comparison.png."""

    GROUPS: ClassVar[Groups] = {
        "Input": ("folders",),
        "Scores": ("samples", "seed"),
        "Output": ("out",),
        "Runtime": ("device",),
    }

    ALIASES: ClassVar[Mapping[str, str]] = {}

    def check(self) -> None:
        """Check what can be seen of the folders.

        Raises:
            ValueError: If they are not two, or hold no result.
        """
        check_values(self)
        if len(self.folders) not in (0, 2):
            raise ValueError(f"FOLDERS must be two folders of vl-vlm evaluate, got {len(self.folders)}")
        for folder in self.folders:
            if not any(folder.expanduser().glob("*/result.json")):
                raise ValueError(f"FOLDERS must be folders of vl-vlm evaluate, {folder} holds no result")
