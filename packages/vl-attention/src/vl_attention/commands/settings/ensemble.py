"""The settings of `vl-attention ensemble`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro
from vl_core.cli import Count, DeviceName, FolderPath, Groups, ImageSource, ModelName, Range, check_values
from vl_core.data import check_images, check_source

from vl_attention.models.folders import check_classifiers


@dataclass(frozen=True, kw_only=True)
class EnsembleModels:
    """Measure the accuracy of classifiers and of their ensemble, the mean of their probabilities.

    By default: a student distilled from its teacher's attention and the fine-tuned teacher, on 2,000 held-out
    Fashion-MNIST images.
    """

    models: tyro.conf.Positional[tuple[str, ...]] = ("fashion_distilled", "fashion_fine_tuned")
    """Two or more built-in models, folders, or hub ids of timm models."""

    teacher: ModelName | None = None
    """The teacher of students that copy its attention."""

    images: ImageSource = "fashion"
    """An image folder with a folder per class, an .npz or .parquet file, or a built-in data set."""

    split: str | None = None
    """Split to use; default: test, if there are splits."""

    limit: Count | None = None
    """Maximum number of images, balanced over classes; default: all."""

    fit: Annotated[int, Range(0)] = 0
    """Number of other images, balanced over classes, to fit the weights of two models on; 0 for equal weights. Use
    images that neither model was trained on."""

    fit_split: str | None = None
    """Split for --fit; default: train, or, without splits, the images themselves, which are then excluded from the
    evaluation."""

    batch_size: Count = 100
    """Images per forward pass."""

    device: DeviceName = "auto"
    """Device, such as "cpu" or "cuda"; "auto" takes a GPU if there is one."""

    out: FolderPath = Path("vl-attention-ensemble")
    """Folder for ensemble.csv (accuracies) and agreement.csv (number of images that pairs classify correctly)."""

    GROUPS: ClassVar[Groups] = {
        "Input": ("images", "split", "limit"),
        "Model": ("models", "teacher"),
        "Weights": ("fit", "fit_split"),
        "Output": ("out",),
        "Runtime": ("batch_size", "device"),
    }

    ALIASES: ClassVar[Mapping[str, str]] = {"spec": "images"}

    def check(self) -> None:
        """Check what needs neither the models nor the images.

        Raises:
            ValueError: If a number is out of range, or two do not fit.
            OSError: If a model or the data set is missing.
        """
        check_values(self)
        if len(self.models) < 2:
            raise ValueError(f"models must be two or more, got {len(self.models)}")
        if self.fit and len(self.models) != 2:
            raise ValueError(f"--fit needs exactly two models, got {len(self.models)}; leave it out for equal weights")
        check_classifiers(self.models, self.teacher)
        check_source(self.images, "--images")

    def check_input(self) -> None:
        """Check what can be seen of the images without a model; see `vl_core.data.check_images`."""
        check_images(
            [self.images],
            "--images",
            split=self.split,
            default_split="test",
            split_argument="--split",
            exclude=self.out,
            limit=self.limit,
            files=False,
            labeled=True,
        )
        if self.fit:
            check_images(
                [self.images],
                "--images",
                split=self.fit_split,
                default_split="train",
                split_argument="--fit-split",
                exclude=self.out,
                files=False,
                labeled=True,
            )
