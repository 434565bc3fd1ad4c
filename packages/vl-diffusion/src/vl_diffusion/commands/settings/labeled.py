"""The settings of `vl-diffusion evaluate` and `vl-diffusion calibrate`, which compare predictions with labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import tyro
from vl_core.cli import Count, Groups, RunPath
from vl_core.data import check_images, check_source

from vl_diffusion.commands.settings.classifier import ClassifierSettings


@dataclass(frozen=True, kw_only=True)
class LabeledSettings(ClassifierSettings):
    """Settings of a classifier and of the labeled images for it."""

    images: tyro.conf.Positional[tuple[str, ...]] = ()
    """Image folders with one subfolder per class, .npz or .parquet files, or names of built-in data sets."""

    out: RunPath
    """Folder for the results."""

    limit: Count | None = None
    """Maximum number of images, balanced over classes; a larger limit includes them."""

    split: str | None = None
    """Split of the data sets."""

    bins: Count = 15
    """Number of bins of the calibration error."""

    DEFAULT_SPLIT: ClassVar[str] = "test"
    """Split of data sets that have splits, unless one is named."""

    GROUPS: ClassVar[Groups] = {"Input": ("images", "split", "limit"), "Output": ("out", "bins")}

    def check(self) -> None:
        """Check what needs neither the model nor the images; see `ClassifierSettings.check`."""
        super().check()
        for spec in self.images:
            check_source(spec, "images")

    def check_input(self) -> None:
        """Check what can be seen of the images without a model; see `vl_core.data.check_images`."""
        check_images(
            self.images or ("fashion",),
            split=self.split,
            default_split=self.DEFAULT_SPLIT,
            exclude=self.out,
            limit=self.limit,
            labeled=True,
            strict=self.strict,
        )


@dataclass(frozen=True, kw_only=True)
class Evaluate(LabeledSettings):
    """Classify labeled images, and report accuracy, cost and calibration.

    Without arguments: 100 held-out images of clothes. Rerun an interrupted command to resume. Processes started by
    `accelerate launch` share the images.
    """

    out: RunPath = Path("vl-diffusion-evaluate")
    """Folder for evaluate.csv (the metrics), predictions.csv, results.parquet, report.png and finished results."""

    split: str | None = None
    """Split of the data sets; default: test, if they have splits."""


@dataclass(frozen=True, kw_only=True)
class Calibrate(LabeledSettings):
    """Fit the temperature on labeled images, with the same search that will be used.

    Without arguments: 100 training images of clothes, which the other commands do not use. Pass the printed value to
    the other commands as --temperature.
    """

    out: RunPath = Path("vl-diffusion-calibrate")
    """Folder for calibration.json, calibration.png and finished results."""

    split: str | None = None
    """Split of the data sets, other than the one used for evaluation; default: train, if they have splits."""

    DEFAULT_SPLIT: ClassVar[str] = "train"
