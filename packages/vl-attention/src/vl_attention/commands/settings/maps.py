"""The settings of `vl-attention maps`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro
from vl_core.cli import Count, DeviceName, FolderPath, Groups, ImageSource, Range, check_values
from vl_core.data import check_images, check_source

from vl_attention.models.folders import check_models


@dataclass(frozen=True, kw_only=True)
class Maps:
    """Draw the attention of several models on the same images, and measure its similarity.

    By default: a teacher, a student distilled from its attention, and the fine-tuned teacher, on held-out Fashion-MNIST
    images.
    """

    models: tyro.conf.Positional[tuple[str, ...]] = ("fashion_teacher", "fashion_distilled", "fashion_fine_tuned")
    """Built-in models, folders, or hub ids of timm models; no classifier is needed."""

    images: ImageSource = "fashion"
    """An image folder, an .npz or .parquet file, or a built-in data set."""

    split: str | None = None
    """Split to use; default: test, if there are splits."""

    count: Count = 6
    """Number of images to draw, from different classes if possible."""

    layer: int = -1
    """Layer to draw; negative ones count from the last."""

    head: Annotated[int, Range(0)] | None = None
    """Head to draw; default: the mean over heads."""

    limit: Count | None = 200
    """Maximum number of images to compare, balanced over classes; all of them with --limit None."""

    batch_size: Count = 32
    """Images per forward pass; it does not change results."""

    device: DeviceName = "auto"
    """Device, such as "cpu" or "cuda"; "auto" takes a GPU if there is one."""

    out: FolderPath = Path("vl-attention-maps")
    """Folder for maps.png, layers.png and heads.png (divergence of the maps by layer and head), and similarity.csv."""

    GROUPS: ClassVar[Groups] = {
        "Input": ("images", "split", "limit"),
        "Model": ("models",),
        "Maps": ("count", "layer", "head"),
        "Output": ("out",),
        "Runtime": ("batch_size", "device"),
    }

    ALIASES: ClassVar[Mapping[str, str]] = {"spec": "images"}

    def check(self) -> None:
        """Check what needs neither the models nor the images.

        Raises:
            ValueError: If a number is out of range.
            OSError: If a model or the data set is missing.
        """
        check_values(self)
        check_models(self.models)
        check_source(self.images, "--images")

    def check_input(self) -> None:
        """Check what can be seen of the images without a model; see `vl_core.data.check_images`."""
        check_images([self.images], "--images", split=self.split, default_split="test", exclude=self.out, files=False)
