"""The settings of `vl-density translate`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from vl_core.cli import Count, FolderPath, Groups, ModelName, Range, Seed, check_values

from vl_density.models.folders import density_folder


@dataclass(frozen=True, kw_only=True)
class Translate:
    """Train a generator by a frozen density, and judge it by measures that use none; rerun to resume.

    Faded clothes are translated to clothes, without pairs. One term keeps the content; the other is to teach how
    clothes look: the density, or, to compare, a critic that is trained beside it, or the true pairs. One generator of
    the density begins as all do, and one with what the pairs have taught.
    """

    density: ModelName = "fashion-0"
    """A built-in density, or a folder that vl-density train wrote, of gray images of 28 by 28 pixels."""

    updates: Annotated[int, Range(4)] = 160
    """Steps of the optimizer, for each generator."""

    batch_size: Count = 8
    """Images of an update."""

    learning_rate: Annotated[float, Range(above=0)] = 2e-3
    """Peak learning rate of AdamW, which falls along a cosine."""

    signal_weight: Annotated[float, Range(0)] = 1.0
    """Weight of the density, the critic, or the pairs."""

    content_weight: Annotated[float, Range(0)] = 3.0
    """Weight of one less the correlation between a source and its translation."""

    seeds: Count = 2
    """Number of seeds; each has weights and orders of its own."""

    seed: Seed = 0
    """First seed."""

    limit: Annotated[int, Range(2)] = 100
    """Number of test images that are translated and measured."""

    threads: Count = 1
    """Threads of the CPU; networks as small as these gain little from more."""

    out: FolderPath = Path("vl-density-translate")
    """Folder for translate.csv (measures at the end), steps.csv (on the way), translate.png, and a run for each
    generator."""

    GROUPS: ClassVar[Groups] = {
        "Input": ("density", "limit"),
        "Training": ("updates", "batch_size", "learning_rate", "signal_weight", "content_weight", "seeds", "seed"),
        "Output": ("out",),
        "Runtime": ("threads",),
    }

    ALIASES: ClassVar[Mapping[str, str]] = {}

    def check(self) -> None:
        """Check what needs no model.

        Raises:
            ValueError: If a number is out of range.
            FileNotFoundError: If there is no such density.
        """
        check_values(self)
        density_folder(self.density)
