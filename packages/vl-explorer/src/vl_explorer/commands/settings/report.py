"""The settings of `vl-explorer report`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from vl_core.cli import FolderPath, Groups, Range

from vl_explorer.commands.settings.stored import RunSettings


@dataclass(frozen=True, kw_only=True)
class Report(RunSettings):
    """Write the page of a run as one HTML file, which needs no network: progress, concepts, and images with origins."""

    images: Annotated[int, Range(0, 500)] = 60
    """Number of images on the wall, those with the largest rewards."""

    out: FolderPath = Path("vl-explorer-report")
    """Folder for report.html."""

    GROUPS: ClassVar[Groups] = {"Input": ("store", "run", "images"), "Output": ("out",)}
