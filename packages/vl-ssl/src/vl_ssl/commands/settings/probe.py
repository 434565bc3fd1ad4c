"""The settings of `vl-ssl probe`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro
from vl_core.cli import Count, DeviceName, FolderPath, Groups, ImageSource, ModelName, Range, Seed, check_values
from vl_core.data import check_images
from vl_core.files import read_json

RANDOM = "random"
"""Name of the small network with random weights, where a folder is asked for."""


@dataclass(frozen=True, kw_only=True)
class ProbeModel:
    """Measure k-NN and linear accuracy of a backbone, beside raw pixels and the same network with random weights.

    By default: no trained network, only raw pixels and a small random one on Fashion-MNIST, which any training must
    beat; in about half a minute.
    """

    model: tyro.conf.Positional[ModelName] = RANDOM
    """A folder of save_backbone, one of vl-ssl train or of a run of vl-ssl sweep, or "random", a small network with
    random weights."""

    images: ImageSource = "fashion"
    """Labeled images: a folder, an .npz or .parquet file, or a built-in data set."""

    limit: Annotated[int, Range(2)] = 1000
    """Maximum number of training images, which k-NN stores and the linear classifier is fitted to."""

    test_limit: Count = 1000
    """Maximum number of test images."""

    size: Annotated[int, Range(8, 1024)] | None = None
    """Height and width of the images; default: what the model was built for, else those of the first image, at most
    224, and 14 for "random"."""

    k: tuple[Count, ...] = (20,)
    """Neighbors that vote."""

    temperature: Annotated[float, Range(above=0)] = 0.07
    """Temperature of the neighbors' weights."""

    regularization: Annotated[float, Range(above=0)] | None = None
    """Penalty of the linear classifier; default: chosen on a fifth of the training images."""

    seed: Seed = 0
    """Seed of random weights, and of the choice of images."""

    batch_size: Count = 256
    """Images of a forward pass."""

    device: DeviceName = "cpu"
    """Device of the network, or "auto"."""

    out: FolderPath = Path("vl-ssl-probe")
    """Folder for probe.csv."""

    GROUPS: ClassVar[Groups] = {
        "Input": ("model", "images", "limit", "test_limit", "size"),
        "Probes": ("k", "temperature", "regularization", "seed"),
        "Output": ("out",),
        "Runtime": ("batch_size", "device"),
    }

    ALIASES: ClassVar[Mapping[str, str]] = {}

    @property
    def folder(self) -> Path | None:
        """Folder of the backbone; None for random weights."""
        return None if self.model == RANDOM else backbone_folder(self.model)

    def check(self) -> None:
        """Check what needs no model.

        Raises:
            ValueError: If a number is out of range, or the folder holds no backbone.
            FileNotFoundError: If there is no such folder.
        """
        check_values(self)
        if not self.k:
            raise ValueError("--k must have at least one value, got none")
        if max(self.k) > self.limit:
            raise ValueError(f"--k must be at most --limit, {self.limit}, got {max(self.k)}")
        if self.folder is not None:
            read_json(self.folder / "config.json", dict)

    def check_input(self) -> None:
        """Check what can be seen of the images without PyTorch; see `vl_core.data.check_images`."""
        check_images(
            [self.images],
            "--images",
            default_split="train",
            split_argument="--images",
            limit=self.limit,
            files=False,
            labeled=True,
        )


def backbone_folder(model: str) -> Path:
    """The folder of a backbone: the one given, or the ``model`` inside it.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If neither holds a backbone.
    """
    given = Path(model).expanduser()
    if not given.exists():
        raise FileNotFoundError(
            f"MODEL must be a folder of a backbone or {RANDOM!r}, got {model}, which does not exist"
        )
    for folder in (given, given / "model"):
        if (folder / "config.json").is_file() and (folder / "model.safetensors").is_file():
            return folder
    raise ValueError(
        f"MODEL must be a folder with config.json and model.safetensors, of save_backbone or vl-ssl train, got {model}"
    )
