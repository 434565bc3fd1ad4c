"""The settings of `vl-density toy`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from vl_core.cli import Count, FolderPath, Groups, Range, Seed, check_values


@dataclass(frozen=True, kw_only=True)
class Toy:
    """Climb a density that fits held-out data nearly perfectly, and see that one leaves the data.

    The true density is known: a few templates of plus and minus one, under Gaussian noise. An autoregressive model is
    fitted to data of it, a second one is narrower, and a third has fewer data. Then points climb the log-density of the
    model and the true one.
    """

    dimensions: Annotated[int, Range(2, 256)] = 32
    """Values of a point."""

    templates: Annotated[int, Range(1, 1000)] = 8
    """Number of templates."""

    noise: Annotated[float, Range(above=0)] = 0.4
    """Standard deviation of the noise."""

    width: Annotated[int, Range(4, 1024)] = 32
    """Units of a hidden layer of the model; the narrow one has a quarter."""

    examples: Annotated[int, Range(10)] = 100_000
    """Number of examples; the model with fewer has a tenth."""

    updates: Count = 1000
    """Steps of the fit."""

    starts: Count = 200
    """Points that climb, for each seed, from outside and from data."""

    steps: Count = 500
    """Steps of the ascent."""

    seeds: Count = 3
    """Number of seeds; each has templates, data and weights of its own."""

    seed: Seed = 0
    """First seed."""

    threads: Count = 1
    """Threads of the CPU; matrices as small as these gain nothing from more."""

    out: FolderPath = Path("vl-density-toy")
    """Folder for toy.csv and toy.png."""

    GROUPS: ClassVar[Groups] = {
        "Density": ("dimensions", "templates", "noise"),
        "Model": ("width", "examples", "updates"),
        "Ascent": ("starts", "steps", "seeds", "seed"),
        "Output": ("out",),
        "Runtime": ("threads",),
    }

    ALIASES: ClassVar[Mapping[str, str]] = {}

    def check(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: If one is out of range.
        """
        check_values(self)
