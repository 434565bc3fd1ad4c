"""The settings of `vl-attention evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import tyro
from vl_core.cli import Count, DeviceName, Groups, ImageSource, ModelName, RunPath, Seed, check_values
from vl_core.corruptions import SHIFT_NAMES
from vl_core.data import check_images, check_source

from vl_attention.models.folders import check_classifiers, unique_names

NONE = "none"
"""Name for unchanged images."""

Cell = tuple[str, int]
"""A shift and its severity."""


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure the accuracy of classifiers on unchanged and shifted images.

    By default: 500 held-out Fashion-MNIST images under four shifts, less than a minute on two cores. Rerun an
    interrupted command to resume; rerun a finished one with more models, data sets, shifts or severities to add them.
    """

    models: tyro.conf.Positional[tuple[str, ...]] = ("fashion_distilled", "fashion_fine_tuned")
    """Built-in models, folders, or hub ids of timm models."""

    teacher: ModelName | None = None
    """The teacher of students that copy its attention."""

    images: tuple[ImageSource, ...] = ("fashion",)
    """Image folders with a folder per class, .npz or .parquet files, or built-in data sets; each is evaluated
    separately."""

    split: str | None = None
    """Split to use; default: test, if there are splits."""

    shifts: tuple[str, ...] = ("gaussian_noise", "gaussian_blur", "rotation", "occlusion")
    """Names of shifts, "all" nine of them, or "none"; unchanged images are always included."""

    severities: tuple[int, ...] = (1, 3, 5)
    """Severities of the shifts, from 1 to 5."""

    limit: Count | None = 500
    """Maximum number of images per data set, balanced over classes; all of them with --limit None."""

    batch_size: Count = 100
    """Images per forward pass; it does not change results."""

    seed: Seed = 0
    """Seed of the shifts."""

    device: DeviceName = "auto"
    """Device, such as "cpu" or "cuda"; "auto" takes a GPU if there is one."""

    out: RunPath = Path("vl-attention-evaluate")
    """Folder for evaluate.csv and evaluate.png."""

    GROUPS: ClassVar[Groups] = {
        "Input": ("images", "split", "limit"),
        "Model": ("models", "teacher"),
        "Shifts": ("shifts", "severities", "seed"),
        "Output": ("out",),
        "Runtime": ("batch_size", "device"),
    }

    ALIASES: ClassVar[Mapping[str, str]] = {"spec": "images"}

    def check(self) -> None:
        """Check what needs neither the models nor the images.

        Raises:
            ValueError: If a name is unknown or a number out of range.
            OSError: If a model or a data set is missing.
        """
        check_values(self)
        self.cells()
        check_classifiers(self.models, self.teacher)
        unique_names(self.images, "--images")
        for spec in self.images:
            check_source(spec, "--images")

    def check_input(self) -> None:
        """Check what can be seen of the images without a model; see `vl_core.data.check_images`."""
        for spec in self.images:
            check_images(
                [spec],
                "--images",
                split=self.split,
                default_split="test",
                exclude=self.out,
                limit=self.limit,
                files=False,
                labeled=True,
            )

    def cells(self) -> list[Cell]:
        """Unchanged images, and every shift at every severity.

        Raises:
            ValueError: If a name is unknown or a number out of range.
        """
        shifts = SHIFT_NAMES if self.shifts == ("all",) else tuple(map(_spoken, self.shifts))
        if NONE in shifts:
            if len(shifts) > 1:
                raise ValueError(f"--shifts none goes with no other, got {', '.join(self.shifts)}")
            return [(NONE, 0)]
        if unknown := [name for name in shifts if name not in SHIFT_NAMES]:
            known = ", ".join(name.replace(" ", "_") for name in SHIFT_NAMES)
            raise ValueError(f"--shifts must be among {known}, or all, or none, got {unknown[0]!r}")
        if wrong := [severity for severity in self.severities if severity not in range(6)]:
            raise ValueError(
                f"--severities must be from 1 to 5 (0, images as they are, is always there), got {wrong[0]}"
            )
        severities = sorted(set(self.severities) - {0})
        return [(NONE, 0), *((name, severity) for name in dict.fromkeys(shifts) for severity in severities)]


def _spoken(shift: str) -> str:
    """Return the name of a shift with spaces, which a shell would need quotes for."""
    return shift.replace("_", " ").replace("-", " ")
