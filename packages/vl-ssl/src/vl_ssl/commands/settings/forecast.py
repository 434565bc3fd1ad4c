"""The settings of `vl-ssl forecast`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro
from vl_core.cli import Count, FolderPath, Groups, Range, Seed, check_values

from vl_ssl.forecast.runs import BUILT_IN, as_number, check_features, column, configurations, read_all_runs

_LEAST = 3


@dataclass(frozen=True, kw_only=True)
class ForecastRuns:
    """Forecast accuracy from collapse metrics and the training loss, and test the forecast on runs that are held out.

    By default: small runs that ship with the package. Each configuration is predicted from the others, its seeds
    together; runs without a measured accuracy are predicted from all.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]] = ()
    """CSV files of runs or folders of vl-ssl sweep; or folders of vl-ssl train, one a run. Default: those that ship
    with the package."""

    features: tuple[str, ...] = ("auc", "loss")
    """Columns that the forecast is made from."""

    accuracy: str = "knn"
    """Column of the measured accuracy; a run where it is empty is predicted."""

    groups: tuple[str, ...] = ()
    """Columns whose values make the groups that are held out together; default: all settings but the seed."""

    degree: Literal[1, 2] = 1
    """Linear, or with squares and products too."""

    ridge: Annotated[float, Range(above=0)] = 1e-3
    """Penalty of the standardized weights, a run."""

    level: Annotated[float, Range(above=0, below=1)] = 0.9
    """Share of new runs that prediction intervals are to cover."""

    samples: Count = 1000
    """Draws of the bootstrap."""

    seed: Seed = 0
    """Seed of the draws."""

    out: FolderPath = Path("vl-ssl-forecast")
    """Folder for forecast.csv, scores.csv, forecast.json and forecast.png."""

    GROUPS: ClassVar[Groups] = {
        "Input": ("runs", "features", "accuracy", "groups"),
        "Forecast": ("degree", "ridge", "level", "seed"),
        "Output": ("out",),
        "Runtime": ("samples",),
    }

    ALIASES: ClassVar[Mapping[str, str]] = {}

    def read(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[tuple[str, ...]]]:
        """Runs with an accuracy, runs without, and the groups of the first.

        Raises:
            ValueError: If a column is missing, or runs or groups are too few.
            OSError: If there is no such file.
        """
        rows = read_all_runs(self.runs or (BUILT_IN,))
        for option, names in (
            ("--accuracy", [self.accuracy]),
            ("--features", self.features),
            ("--groups", self.groups),
        ):
            for name in names:
                if name not in rows[0]:
                    raise ValueError(f"{option} must be among the columns {', '.join(rows[0])}, got {name!r}")
        known = [row for row in rows if as_number(row.get(self.accuracy)) is not None]
        new = [row for row in rows if as_number(row.get(self.accuracy)) is None]
        check_features(self.features, self.accuracy)
        for name in self.features:
            column(rows, name)
        for number, row in enumerate(rows, 1):
            value = as_number(row.get(self.accuracy))
            if value is not None and not math.isfinite(value):
                raise ValueError(
                    f"{self.accuracy} of run {number} must be finite, got {value}; leave it empty to have it predicted"
                )
        groups = configurations(known, self.groups) if self.groups else configurations(known)
        if len(set(groups)) < _LEAST:
            raise ValueError(
                f"RUNS must hold at least {_LEAST} groups with a measured {self.accuracy}, got {len(set(groups))} in "
                f"{len(known)} runs; add runs of other settings"
            )
        return known, new, groups

    def check(self) -> None:
        """Check settings and runs.

        Raises:
            ValueError: If a number is out of range, or the runs cannot be used.
            OSError: If there is no such file.
        """
        check_values(self)
        if not self.features or len(set(self.features)) < len(self.features):
            raise ValueError(f"--features must be at least one column and none twice, got {' '.join(self.features)!r}")
        self.read()
