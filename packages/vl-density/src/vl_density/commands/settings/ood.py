"""The settings of `vl-density ood`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from vl_core.cli import Count, DeviceName, FolderPath, Groups, ImageSource, ModelName, Seed, check_values
from vl_core.data import check_images

from vl_density.models.folders import density_folder

_CODECS = ("png", "webp", "jpeg-ls", "jpeg-xl")


@dataclass(frozen=True, kw_only=True)
class OutOfDistribution:
    """Show how far a density tells images outside its distribution from those inside, by every score.

    By default: densities of Fashion-MNIST without shirts, on digits, strokes, mirrored images and shirts. Being outside
    is the positive class: AUROC is the probability that an image outside scores higher than one inside.
    """

    densities: tuple[ModelName, ...] = ("fashion-0", "fashion-1", "fashion-2")
    """Built-in densities, or folders that vl-density train wrote; the first gives the scores of one model, all of them
    WAIC."""

    background: ModelName | None = "auto"
    """Density of mutated images, for the likelihood ratio, or "None" for no such score; "auto" is fashion-background
    with built-in densities, and none with others."""

    inside: ImageSource | None = None
    """Images of the distribution that no density was trained on: a folder, an .npz or .parquet file, or a built-in data
    set; half of them fit the scores. Default: the test images of Fashion-MNIST without shirts."""

    outside: tuple[ImageSource, ...] = ()
    """Sets of images outside, each like --inside, resized and recolored where the densities need it. Default: digits,
    strokes, flips and shirts."""

    limit: Count = 400
    """Maximum number of images of a set."""

    codecs: tuple[str, ...] = ("png", "webp")
    """Compression of the scores of complexity: png and webp, and with the extra codecs jpeg-ls and jpeg-xl."""

    repetitions: Count = 1000
    """Repetitions of the bootstrap."""

    seed: Seed = 0
    """Seed of the choice of images and of the bootstrap."""

    device: DeviceName = "cpu"
    """Device of the densities, or "auto"."""

    out: FolderPath = Path("vl-density-ood")
    """Folder for ood.csv (metrics with intervals), scores.csv (scores of images) and ood.png."""

    GROUPS: ClassVar[Groups] = {
        "Input": ("densities", "background", "inside", "outside", "limit"),
        "Scores": ("codecs", "repetitions", "seed"),
        "Output": ("out",),
        "Runtime": ("device",),
    }

    ALIASES: ClassVar[Mapping[str, str]] = {}

    def check(self) -> None:
        """Check what needs no model.

        Raises:
            ValueError: If a number is out of range, or a set is named that nothing has.
            FileNotFoundError: If a file or a folder is missing.
            ModuleNotFoundError: If a codec needs an extra that is not installed.
        """
        check_values(self)
        if len(set(self.outside)) < len(self.outside):
            raise ValueError(f"--outside must name each set once, got {' '.join(self.outside)}")
        if not self.densities:
            raise ValueError("--densities must name at least one, got none")
        for codec in self.codecs:
            if codec not in _CODECS:
                raise ValueError(f"--codecs must be among {', '.join(_CODECS)}, got {codec!r}")
            if codec.startswith("jpeg") and find_spec("imagecodecs") is None:
                raise ModuleNotFoundError(
                    f"--codecs {codec} needs imagecodecs, which comes with `pip install 'vl-density[codecs]'`",
                    name="imagecodecs",
                )
        for name in (*self.densities, *([] if self.background in (None, "auto") else [str(self.background)])):
            density_folder(name)

    def check_input(self) -> None:
        """Check what can be seen of the images without a model; see `vl_core.data.check_images`."""
        inside = [] if self.inside is None else [self.inside]
        for argument, sources in (("--inside", inside), ("--outside", self.outside)):
            for source in sources:
                check_images([source], argument, exclude=self.out, limit=2 * self.limit, files=False)
