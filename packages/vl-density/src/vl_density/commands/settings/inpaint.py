"""The settings of `vl-density inpaint`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from vl_core.cli import Count, DeviceName, FolderPath, Groups, ImageSource, ModelName, Range, Seed, check_values
from vl_core.data import check_images

from vl_density.models.folders import density_folder


@dataclass(frozen=True, kw_only=True)
class Inpaint:
    """Complete images whose lower or right part is hidden, pixel by pixel, each given those before it.

    By default: eight test images of Fashion-MNIST whose lower half is hidden, by a small density that ships with the
    package.
    """

    images: ImageSource = "fashion"
    """A folder, an .npz or .parquet file, or a built-in data set, of images, which are resized and recolored
    where the density needs it."""

    split: str | None = None
    """Split to use; default: test, if there are splits."""

    density: ModelName = "fashion-0"
    """A built-in density, or a folder that vl-density train wrote."""

    count: Count = 8
    """Number of images, the first ones."""

    known: Literal["top", "left"] = "top"
    """Part that stays."""

    share: Annotated[float, Range(above=0, below=1)] = 0.5
    """Share of the rows or columns that stay."""

    seed: Seed = 0
    """Seed of the completions."""

    device: DeviceName = "cpu"
    """Device of the density, or "auto"."""

    out: FolderPath = Path("vl-density-inpaint")
    """Folder for inpaint.png (originals above, completions below) and inpaint.npz (completions as uint8)."""

    GROUPS: ClassVar[Groups] = {
        "Input": ("images", "split", "density", "count"),
        "Completion": ("known", "share", "seed"),
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

    def check_input(self) -> None:
        """Check what can be seen of the images without a model; see `vl_core.data.check_images`."""
        check_images(
            [self.images],
            "--images",
            split=self.split,
            default_split="test",
            exclude=self.out,
            limit=self.count,
            files=False,
        )
