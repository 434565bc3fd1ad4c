"""The settings of `vl-diffusion classify`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import tyro
from vl_core.cli import Count, Groups, RunPath
from vl_core.data import check_images, check_source

from vl_diffusion.commands.settings.classifier import ClassifierSettings


@dataclass(frozen=True, kw_only=True)
class Classify(ClassifierSettings):
    """Classify images by the error with which a diffusion model predicts the noise added to them.

    Without arguments: 32 held-out images of clothes, with the small model that ships with the package. Rerun an
    interrupted command to resume. Processes started by `accelerate launch` share the images.
    """

    images: tyro.conf.Positional[tuple[str, ...]] = ()
    """Image files, image folders, .npz or .parquet files, names of built-in data sets, or - to read file names from
    standard input, one per line."""

    out: RunPath = Path("vl-diffusion-classify")
    """Folder for classify.csv, classify.png, results.parquet and finished results; images in it are not classified."""

    limit: Count | None = None
    """Maximum number of images, balanced over classes; a larger limit includes them."""

    split: str | None = None
    """Split of the data sets; default: all splits."""

    GROUPS: ClassVar[Groups] = {"Input": ("images", "split", "limit"), "Output": ("out",)}

    def check(self) -> None:
        """Check what needs neither the model nor the images; see `ClassifierSettings.check`."""
        super().check()
        for spec in self.images:
            if spec != STANDARD_INPUT:
                check_source(spec, "images")

    def check_input(self) -> None:
        """Check what can be seen of the images without a model; see `vl_core.data.check_images`."""
        listed = STANDARD_INPUT in self.images
        given = tuple(spec for spec in self.images or ("fashion",) if spec != STANDARD_INPUT)
        if not listed:
            check_images(given, split=self.split, exclude=self.out, limit=self.limit, strict=self.strict)


STANDARD_INPUT = "-"
"""In place of the images: their names are read from standard input."""
