"""The settings of `vl-diffusion compare-search`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np
import tyro
from vl_core.cli import Count, Groups, RunPath, check_values
from vl_core.data import check_images, check_source

from vl_diffusion.commands.settings.classifier import ClassifierSettings, SearchName, read_tree
from vl_diffusion.scoring.objectives import NoiseSharing
from vl_diffusion.search import Grid, Staged
from vl_diffusion.search.evidence import Bound

_T = TypeVar("_T")

# A setting of the other commands that this one does not have.
NotAsked = tyro.conf.Suppress[tyro.conf.Fixed[_T]]


@dataclass(frozen=True, kw_only=True)
class CompareSearch(ClassifierSettings):
    """Compare the accuracy and cost of all searches on the same draws of the same labeled images.

    Each error is computed once for all searches. Without arguments: a dozen held-out images of clothes, about two
    minutes on two cores. Rerun an interrupted command to resume, or a finished one with a larger --limit to extend it.
    """

    images: tyro.conf.Positional[tuple[str, ...]] = ()
    """Image folders with one subfolder per class, .npz or .parquet files, or names of built-in data sets."""

    out: RunPath = Path("vl-diffusion-compare-search")
    """Folder for search.csv, search.png and finished results."""

    limit: Count | None = None
    """Maximum number of images, balanced over classes; a larger limit includes them."""

    split: str | None = None
    """Split of the data sets; default: test, if they have splits."""

    draws: tuple[Count, ...] | None = None
    """Draws of all searches at once: one number N for --exhaustive N and --stages N/10 N; or several for --stages, the
    last of them for --exhaustive as well."""

    exhaustive: Count = 250
    """Draws of exhaustive search, and the maximum for halving, racing and the searches that end in a race."""

    stages: tuple[Count, ...] = (50, 500)
    """Cumulative draws of the staged searches."""

    survivors: tuple[Count, ...] = (5, 1)
    """Number of classes kept after each stage."""

    top: Count = 5
    """Classes on the shortlist."""

    max_evaluations: Count | None = None
    """Hard limit on the evaluations per image, for all searches except the exhaustive one, which is the reference."""

    search: NotAsked[SearchName] = "exhaustive"
    """All are compared."""

    trials: NotAsked[int] = 1
    """Every draw has a time step of its own."""

    keep: NotAsked[tuple[int, ...]] = (1,)
    """See `survivors`."""

    grid: NotAsked[Grid] = "nested"
    """Both are compared."""

    bound: NotAsked[Bound] = "t"
    """Both are compared."""

    noise: NotAsked[NoiseSharing] = "independent"
    """Races need independent draws."""

    logits: Path | None = None
    """Scores of another model for the shortlist: a .npy array of images by classes, in the order of the images before
    --limit; default: a nearest-class-mean classifier, if there is a training split."""

    GROUPS: ClassVar[Groups] = {
        "Input": ("images", "split", "limit", "logits"),
        "Search": ("draws", "exhaustive", "stages", "survivors", "top"),
        "Output": ("out",),
    }

    ALIASES: ClassVar[Mapping[str, str]] = {
        **ClassifierSettings.ALIASES,
        **{"draws": "stages", "keep": "survivors"},
    }

    def check(self) -> None:
        """Check what needs neither the model nor the images; see `ClassifierSettings.check`."""
        check_values(self)
        if self.draws is not None:
            try:
                self.with_draws().check()
            except ValueError as error:
                # Of the stages, which --draws has set.
                if str(error).startswith("draws "):
                    raise ValueError(f"--{error}") from error
                raise
            return
        for spec in self.images:
            check_source(spec, "images")
        super().check()
        Staged(self.stages, self.survivors, max_evaluations=self.max_evaluations)
        if self.logits is not None and not self.logits.is_file():
            raise FileNotFoundError(f"--logits must be a file, got {self.logits}; check the path")
        if self.tree is not None:
            read_tree(self.tree)

    def check_input(self) -> None:
        """Check what can be seen of the images without a model; see `vl_core.data.check_images`."""
        check_images(
            self.images or ("fashion",),
            split=self.split,
            default_split="test",
            exclude=self.out,
            limit=self.limit,
            labeled=True,
            strict=self.strict,
        )
        if self.logits is not None:
            _check_logits(self.logits)

    def with_draws(self) -> CompareSearch:
        """The settings with `draws` replaced by the `exhaustive` and the `stages` that it stands for.

        Raises:
            ValueError: If it is less than two, or given beside one of these.
        """
        if self.draws is None:
            return self
        if (self.exhaustive, self.stages) != (CompareSearch.exhaustive, CompareSearch.stages):
            raise ValueError(f"--draws {_spaced(self.draws)} stands for --exhaustive and --stages; leave these out")
        if not self.draws or self.draws[-1] < 2:
            raise ValueError(f"--draws must be at least 2, got {_spaced(self.draws) or 'none'}")
        most = self.draws[-1]
        stages = self.draws if len(self.draws) > 1 else (max(1, most // 10), most)
        return replace(self, draws=None, exhaustive=most, stages=stages)


def _check_logits(path: Path) -> None:
    """Raise ValueError unless a file has an array of images by classes, as far as its first bytes tell."""
    wrong = f"{path}: --logits must be a .npy file of numbers, images by classes"
    try:
        scores = np.load(path, mmap_mode="r", allow_pickle=False)
    # NumPy takes anything else for a pickle, and says so.
    except (ValueError, EOFError) as error:
        raise ValueError(wrong) from error
    if len(shape := getattr(scores, "shape", ())) != 2:
        raise ValueError(f"{wrong}, got shape {shape}")


def _spaced(numbers: tuple[int, ...]) -> str:
    return " ".join(map(str, numbers))
