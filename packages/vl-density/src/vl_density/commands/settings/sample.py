"""The settings of `vl-density sample`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from vl_core.cli import Count, DeviceName, FolderPath, Groups, ModelName, Range, Seed, check_values

from vl_density.models.folders import density_folder


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Draw images from a density, and say how probable each is.

    By default: 32 clothes of a small density that ships with the package, in about two seconds.
    """

    density: ModelName = "fashion-0"
    """A built-in density, or a folder that vl-density train wrote."""

    count: Count = 32
    """Number of images."""

    condition: Annotated[int, Range(0)] | None = None
    """Class of all images, for a density with classes."""

    seed: Seed = 0
    """Seed of the images; they are the same on every device."""

    device: DeviceName = "cpu"
    """Device of the density, or "auto"."""

    out: FolderPath = Path("vl-density-sample")
    """Folder for samples.png, samples.npz (images as uint8) and samples.csv (bits per dimension)."""

    GROUPS: ClassVar[Groups] = {
        "Input": ("density",),
        "Samples": ("count", "condition", "seed"),
        "Output": ("out",),
        "Runtime": ("device",),
    }

    ALIASES: ClassVar[Mapping[str, str]] = {}

    def check(self) -> None:
        """Check what needs no model.

        Raises:
            ValueError: If a number is out of range.
            FileNotFoundError: If there is no such density.
        """
        check_values(self)
        density_folder(self.density)
