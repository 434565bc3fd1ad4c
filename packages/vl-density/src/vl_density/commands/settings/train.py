"""The settings of `vl-density train`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from vl_core.cli import Count, Groups, ImageSource, Range, RunPath, Seed, check_values
from vl_core.data import check_images


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a density of images by maximum likelihood; rerun to resume.

    By default: a small PixelCNN of Fashion-MNIST, in about two minutes.
    """

    images: ImageSource = "fashion"
    """A folder, an .npz or .parquet file, or a built-in data set, of images of any size."""

    split: str | None = None
    """Split to use; default: train, if there are splits."""

    limit: Count | None = None
    """Maximum number of images; default: all."""

    size: Count | None = None
    """Height and width of the images, which are resized by their shorter side, and keep their middle; default: their
    own size if they have one, of at most 64 pixels, else 32."""

    model: Literal["pixelcnn", "pixelcnn++", "transformer"] = "pixelcnn"
    """Kind of the density."""

    head: Literal["logistic-mixture", "categorical", "bernoulli"] = "logistic-mixture"
    """Distribution of a pixel."""

    levels: Annotated[int, Range(2, 256)] = 256
    """Gray values of a channel, to which images are rounded."""

    width: Count = 32
    """Features of the network."""

    layers: Count = 5
    """Layers of the network; for pixelcnn++, blocks of each resolution."""

    conditional: bool = False
    """Condition on the classes of the images."""

    mutation_rate: Annotated[float, Range(0, 1)] = 0.0
    """Share of values that are replaced by uniform ones, for the background of a likelihood ratio."""

    updates: Count = 300
    """Steps of the optimizer."""

    batch_size: Count = 32
    """Images of an update."""

    learning_rate: Annotated[float, Range(above=0)] = 2e-3
    """Peak learning rate of AdamW; it rises over a twentieth of the updates, then falls along a cosine."""

    seed: Seed = 0
    """Seed of the weights and of the order of images."""

    workers: Annotated[int, Range(0)] = 0
    """Processes that prepare images; they change no number."""

    out: RunPath = Path("vl-density-train")
    """Folder for model/ (for --density of the other commands), samples.png, and the record of the run."""

    GROUPS: ClassVar[Groups] = {
        "Input": ("images", "split", "limit", "size"),
        "Density": ("model", "head", "levels", "width", "layers", "conditional"),
        "Training": ("updates", "batch_size", "learning_rate", "mutation_rate", "seed"),
        "Output": ("out",),
        "Runtime": ("workers",),
    }

    ALIASES: ClassVar[Mapping[str, str]] = {}

    def check(self) -> None:
        """Check what needs no model.

        Raises:
            ValueError: If a number is out of range, or the head does not go with the levels.
        """
        check_values(self)
        if self.model == "transformer" and self.width % 4:
            raise ValueError(f"--width must be a multiple of 4 for a transformer, got {self.width}")
        if self.head == "bernoulli" and self.levels != 2:
            raise ValueError(f"--head bernoulli needs --levels 2, got {self.levels}; take categorical")

    def check_input(self) -> None:
        """Check what can be seen of the images without a model; see `vl_core.data.check_images`."""
        check_images(
            [self.images],
            "--images",
            split=self.split,
            default_split="train",
            exclude=self.out,
            limit=self.limit,
            files=False,
            labeled=self.conditional,
        )
