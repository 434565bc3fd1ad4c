"""Strengths of the corruptions: published for images of three sizes, interpolated for the rest.

Hendrycks & Dietterich (2019) tuned five severities for images of 224 px (ImageNet-C), 64 px (Tiny ImageNet-C) and
32 px (CIFAR-10-C), because what can be read at one size is beyond recognition at another: a small image has no
neighboring pixels to average noise over. Each corruption states its three rows of five values, and an image takes
those of its own size, its shorter side. Between two sizes a value is interpolated, geometrically and in the logarithm
of the side. Below 32 px and above 224 px values stay, except that lengths in pixels follow the side in proportion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Table = Mapping[int, tuple[float, float, float, float, float]]
"""Positive values at severities 1 to 5, by the side in pixels for which they were tuned."""

PUBLISHED_SIZES: tuple[int, ...] = (32, 64, 224)
"""Sides in pixels of the images for which strengths were published."""


@dataclass(frozen=True)
class Strengths:
    """Strength of a corruption on one image: reads its tables at a severity and a size.

    Attributes:
        severity: 1 to 5.
        side: The image's shorter side, in pixels.
        tuned_for: Side of the images whose values are taken; None for the image's own.
    """

    severity: int
    side: int
    tuned_for: int | None = None

    @property
    def table_side(self) -> int:
        """The side at which tables are read, from 32 to 224."""
        return min(max(self.tuned_for or self.side, PUBLISHED_SIZES[0]), PUBLISHED_SIZES[-1])

    def value(self, table: Table) -> float:
        """A number that does not depend on the size of pixels, such as a level of light, or a share."""
        values = [table[size][self.severity - 1] for size in PUBLISHED_SIZES]
        return float(np.exp(np.interp(np.log(self.table_side), np.log(PUBLISHED_SIZES), np.log(values))))

    def length(self, table: Table) -> float:
        """A length in pixels, brought from the table's images to this one in proportion to their sides."""
        return self.value(table) * self.side / self.table_side

    def neighborhood(self, table: Table) -> float:
        """A length in pixels that would do nothing if it shrank below a pixel: at least the one at 32 px."""
        return max(self.length(table), table[PUBLISHED_SIZES[0]][self.severity - 1])
