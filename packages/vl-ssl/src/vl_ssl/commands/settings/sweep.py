"""The settings of `vl-ssl sweep`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from vl_core.cli import Count, FolderPath, Groups, ImageSource, Range, Seed, check_values
from vl_core.data import check_images

from vl_ssl.training.configuration import StudyRun, study_grid


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Train a grid of small networks, and measure collapse and k-NN accuracy of each; rerun to resume.

    By default: SimSiam on Fashion-MNIST with three learning rates, with and without the stop-gradient, six runs in
    about two minutes. Options with several values are combined; vl-ssl forecast takes the table.
    """

    images: ImageSource = "fashion"
    """A folder, an .npz or .parquet file, or a built-in data set, with labels for k-NN."""

    limit: Annotated[int, Range(2)] = 1024
    """Maximum number of images, chosen at random."""

    image_size: Annotated[int, Range(8, 256)] = 14
    """Height and width of the images."""

    method: tuple[Literal["simsiam", "byol", "moco-v3", "nnsiam", "simclr", "vicreg"], ...] = ("simsiam",)
    """Methods."""

    ablation: tuple[Literal["none", "no-predictor", "no-stop-gradient"], ...] = ("none", "no-stop-gradient")
    """Parts that are left out, of simsiam and byol; other methods have one run, with none."""

    learning_rate: tuple[Annotated[float, Range(above=0)], ...] = (0.03, 0.12, 0.5)
    """Learning rates for a batch of 256; that of a run is in proportion to its batch size."""

    width: tuple[Annotated[int, Range(2)], ...] = (8,)
    """Channels of the first stage of the residual network, even; features are eight times as wide."""

    schedule: tuple[Literal["multi-epoch", "continual", "hybrid"], ...] = ("multi-epoch",)
    """Images of each epoch: all; one chunk after the other; or chunks for 40 % of the run, then all."""

    share: tuple[Annotated[float, Range(above=0, most=1)], ...] = (1.0,)
    """Shares of the images that are trained on, for as many updates as with all."""

    batch_size: tuple[Annotated[int, Range(2)], ...] = (64,)
    """Images of an update."""

    epochs: Count = 4
    """Epochs of all images, and chunks of the schedules that have some."""

    seeds: tuple[Seed, ...] = (0,)
    """Seeds of weights, order and views."""

    out: FolderPath = Path("vl-ssl-sweep")
    """Folder for runs.csv, and a folder a run with its curve.csv and model/."""

    checkpoint_every: Count = 500
    """Largest number of updates between checkpoints; they change no number."""

    GROUPS: ClassVar[Groups] = {
        "Input": ("images", "limit", "image_size"),
        "Grid": ("method", "ablation", "learning_rate", "width", "schedule", "share", "batch_size", "seeds"),
        "Training": ("epochs",),
        "Output": ("out",),
        "Runtime": ("checkpoint_every",),
    }

    ALIASES: ClassVar[Mapping[str, str]] = {"base_learning_rate": "learning_rate", "seed": "seeds"}

    def runs(self) -> list[StudyRun]:
        """Runs of the grid.

        Raises:
            ValueError: If values do not go together.
        """
        return study_grid(
            {
                "images": [self.images],
                "limit": [self.limit],
                "image_size": [self.image_size],
                "epochs": [self.epochs],
                "method": self.method,
                "width": self.width,
                "schedule": self.schedule,
                "share": self.share,
                "batch_size": self.batch_size,
                "base_learning_rate": self.learning_rate,
                "ablation": self.ablation,
                "seed": self.seeds,
            }
        )

    def check(self) -> None:
        """Check what needs no images.

        Raises:
            ValueError: If a number is out of range, an option has no value, or values do not go together.
        """
        check_values(self)
        for name in self.GROUPS["Grid"]:
            if not getattr(self, name):
                raise ValueError(f"--{name.replace('_', '-')} must have at least one value, got none")
        self.runs()

    def check_input(self) -> None:
        """Check what can be seen of the images without PyTorch; see `vl_core.data.check_images`."""
        check_images(
            [self.images],
            "--images",
            default_split="train",
            split_argument="--images",
            exclude=self.out,
            limit=self.limit,
            files=False,
            labeled=True,
        )
