"""The settings of `vl-density score`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import tyro
from vl_core.cli import Count, DeviceName, FolderPath, Groups, ImageSource, ModelName, check_values
from vl_core.data import check_images

from vl_density.models.folders import density_folder


@dataclass(frozen=True, kw_only=True)
class Score:
    """Compute the exact log-probability of images under a density.

    By default: 200 test images of Fashion-MNIST under a small density that ships with the package.
    """

    images: tyro.conf.Positional[ImageSource] = "fashion"
    """A folder, an .npz or .parquet file, or a built-in data set, of images, which are resized and recolored
    where the density needs it."""

    density: ModelName = "fashion-0"
    """A built-in density, or a folder that vl-density train wrote."""

    split: str | None = None
    """Split to use; default: test, if there are splits."""

    limit: Count | None = 200
    """Maximum number of images; "None" for all."""

    device: DeviceName = "cpu"
    """Device of the density, or "auto"."""

    out: FolderPath = Path("vl-density-score")
    """Folder for scores.csv (nats and bits per dimension of each image) and scores.png (the most and the least probable
    images)."""

    GROUPS: ClassVar[Groups] = {
        "Input": ("images", "split", "limit", "density"),
        "Output": ("out",),
        "Runtime": ("device",),
    }

    ALIASES: ClassVar[Mapping[str, str]] = {}

    def check(self) -> None:
        """Check what needs no model.

        Raises:
            ValueError: If a number is out of range, or a set is named that nothing has.
            FileNotFoundError: If a file or a folder is missing.
        """
        check_values(self)
        density_folder(self.density)

    def check_input(self) -> None:
        """Check what can be seen of the images without a model; see `vl_core.data.check_images`."""
        check_images(
            [self.images],
            "IMAGES",
            split=self.split,
            default_split="test",
            exclude=self.out,
            limit=self.limit,
            files=False,
        )
