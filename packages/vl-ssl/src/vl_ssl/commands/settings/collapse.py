"""The settings of `vl-ssl collapse`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import tyro
from vl_core.cli import Count, DeviceName, FolderPath, Groups, check_values


@dataclass(frozen=True, kw_only=True)
class Collapse:
    """Measure the collapse of features in files, by all metrics of their singular values.

    By default: features of built-in images without any training, pixels and random projections of them.
    """

    features: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Files with features of shape (n, d): .npy, .npz, .safetensors or .parquet, a row of the table each; default:
    pixels and projections of built-in images."""

    key: str | None = None
    """Array, tensor or column of the files; default: the only one with two dimensions."""

    limit: Count | None = None
    """Number of rows of each file, the first ones, since only metrics of equal n compare; default: all."""

    accurate: bool = False
    """Decompose without squaring, for singular values below 1e-7 of the largest; takes several times longer."""

    sketch: Count | None = None
    """Rank of a sketch, for 8,000 dimensions and more; default: the whole scatter."""

    device: DeviceName = "cpu"
    """Device of the sums, or "auto"."""

    out: FolderPath = Path("vl-ssl-collapse")
    """Folder for collapse.csv and spectrum.png."""

    GROUPS: ClassVar[Groups] = {
        "Input": ("features", "key", "limit"),
        "Spectrum": ("accurate", "sketch"),
        "Output": ("out",),
        "Runtime": ("device",),
    }

    ALIASES: ClassVar[Mapping[str, str]] = {}

    def check(self) -> None:
        """Check the options and the names of the files.

        Raises:
            OSError: If a file does not exist.
            ValueError: If a file is of another kind or empty, or options exclude one another.
        """
        check_values(self)
        if self.accurate and self.sketch is not None:
            raise ValueError("--sketch and --accurate must not both be given; a sketch estimates small singular values")
        if self.features:
            from vl_ssl.collapse.feature_files import check_feature_file

            for path in self.features:
                check_feature_file(path.expanduser())
        elif self.key is not None:
            raise ValueError("--key names an array of FEATURES, got no file; give one")
