"""The settings of `vl-vlm evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import tyro
from vl_core.cli import Count, DeviceName, FolderPath, Groups, ModelName, Range, Seed, check_values
from vl_core.data import check_images

from vl_vlm.captions.check import check_captions
from vl_vlm.models.folders import model_folder, transformers_kind


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Evaluate a model of images and texts; rerun to resume.

    By default: a small model that ships with the package, on procedural scenes. Beside the model stand one that sees
    texts alone and one that sees nothing; ties count as chance.
    """

    model: tyro.conf.Positional[ModelName] = "scenes-clip"
    """A built-in model, a folder that vl-vlm train wrote, or one with CLIP or SigLIP of transformers."""

    task: Literal["scenes", "classification", "retrieval", "winoground", "sugarcrepe"] = "scenes"
    """Scenes by every factor; zero-shot classification of labeled images; retrieval of captions; pairs in the form of
    Winoground or SugarCrepe."""

    data: str | None = None
    """For classification images with labels, for retrieval images with captions, for pairs the published JSON file."""

    images: Path | None = None
    """Folder of the images of pairs."""

    split: str | None = None
    """Split of the data; default: test, if there are splits. Of scenes: test or held_out; default: both."""

    templates: tuple[str, ...] = ("a photo of a {}.",)
    """Prompts of classification, whose features are averaged; {} is the name of the class."""

    limit: Annotated[int, Range(2)] = 200
    """Maximum number of images or pairs of a task."""

    decimals: Annotated[int, Range(0, 15)] | None = None
    """Round scores before they are compared, so that rounding errors count as ties."""

    samples: Count = 1000
    """Draws of the bootstrap."""

    seed: Seed = 0
    """Seed of scenes and of the bootstrap."""

    batch_size: Count = 64
    """Images that are scored and stored together."""

    device: DeviceName = "cpu"
    """Device of the model, or "auto"."""

    out: FolderPath = Path("vl-vlm-evaluate")
    """Folder for results.csv, results.png, and a folder a task with its raw scores, for vl-vlm compare."""

    GROUPS: ClassVar[Groups] = {
        "Input": ("model", "task", "data", "images", "split", "limit"),
        "Scores": ("templates", "decimals", "samples", "seed"),
        "Output": ("out",),
        "Runtime": ("batch_size", "device"),
    }

    ALIASES: ClassVar[Mapping[str, str]] = {}

    def check(self) -> None:
        """Check what needs no model.

        Raises:
            ValueError: If a number is out of range, or a value is missing that the task needs.
            OSError: If a file, a folder or the model is missing.
        """
        check_values(self)
        if transformers_kind(self.model) is None:
            model_folder(self.model)
        pairs = self.task in ("winoground", "sugarcrepe")
        if self.task != "scenes" and self.data is None:
            raise ValueError(f"--task {self.task} needs --data")
        if pairs and self.images is None:
            raise ValueError(f"--task {self.task} needs --images, the folder of the images")
        if not pairs and self.images is not None:
            raise ValueError(f"--images goes with --task winoground or sugarcrepe, got it for {self.task}")
        if self.task == "scenes":
            if self.data is not None:
                raise ValueError("--data goes with another --task; scenes are drawn")
            if self.split not in (None, "train", "test", "held_out"):
                raise ValueError(f"--split must be train, test or held_out for scenes, got {self.split!r}")
        if pairs and self.split is not None:
            raise ValueError(f"--split must be left out for --task {self.task}, got {self.split!r}")
        if not self.templates or any("{}" not in template for template in self.templates):
            raise ValueError(f"--templates must each hold {{}} for the class, got {' '.join(self.templates)!r}")
        for option, path in (("--data", self.data if pairs else None), ("--images", self.images)):
            if path is not None and not Path(path).expanduser().exists():
                raise FileNotFoundError(f"{option} must exist, got {path}")

    def check_input(self) -> None:
        """Check what can be seen of the data without a model."""
        if self.task == "classification" and self.data is not None:
            check_images(
                [self.data],
                "--data",
                split=self.split,
                default_split="test",
                exclude=self.out,
                limit=self.limit,
                files=False,
                labeled=True,
            )
        if self.task == "retrieval" and self.data is not None:
            check_captions(
                self.data, "--data", split=self.split, default_split="test", split_argument="--split", exclude=self.out
            )
