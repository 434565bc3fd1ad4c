"""The settings of `vl-explorer export`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from vl_core.cli import Count, FolderPath, Groups, Metavar

from vl_explorer.commands.settings.stored import RunSettings
from vl_explorer.store.rights.licenses import FREE, UNKNOWN, check_allow


@dataclass(frozen=True, kw_only=True)
class Export(RunSettings):
    """Write the images of a store for others to use, with a manifest of where each came from and its license.

    Stops where an image has another license than those allowed, or none that is known, unless it is told to leave such
    images out.
    """

    best: Count | None = None
    """Number of images, those with the largest rewards of the run; default: all images of the store."""

    licenses: tuple[Annotated[str, Metavar("LICENSE")], ...] = tuple(map(str, FREE))
    """Classes of licenses (public-domain, attribution, share-alike, non-commercial, no-derivatives, reserved), and
    identifiers such as CC-BY-4.0, that may be exported."""

    unknown_licenses: bool = False
    """Export images of which no license is known, too."""

    leave_out: bool = False
    """Leave other images out, and say how many; default: stop there."""

    format: Literal["webdataset", "parquet", "folder"] = "webdataset"
    """Shards of WebDataset, Parquet files with a column of images, or a folder of image files."""

    images_per_file: Count = 1000
    """Images of each shard or Parquet file but the last."""

    out: FolderPath = Path("vl-explorer-export")
    """Folder for the files and manifest.jsonl; must be empty."""

    GROUPS: ClassVar[Groups] = {
        "Input": ("store", "run", "best"),
        "Licenses": ("licenses", "unknown_licenses", "leave_out"),
        "Output": ("format", "images_per_file", "out"),
    }

    ALIASES: ClassVar[Mapping[str, str]] = {"allow": "licenses", "folder": "out"}

    @property
    def allowed(self) -> tuple[str, ...]:
        """Classes and identifiers of all licenses that may be exported."""
        return (*self.licenses, UNKNOWN) if self.unknown_licenses else self.licenses

    def check(self) -> None:
        """Check the values and the names of licenses.

        Raises:
            ValueError: If a number is out of range, or a license is unknown to the program.
        """
        super().check()
        check_allow(self.licenses)
        if self.run is not None and self.best is None:
            raise ValueError(f"--run must come with --best, which counts by its rewards, got {self.run} alone")
