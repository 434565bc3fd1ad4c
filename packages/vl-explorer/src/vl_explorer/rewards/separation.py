"""The question before a query is spent: does the encoder tell target images from images of the web?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from vl_core.intervals import Interval, bootstrap

from vl_explorer.rewards.images import Floats, checked_pair, nearest_means, unit

BOUND = 0.6
"""AUROC that the lower end of the interval must exceed. Below it an image of the target outdoes one of the web hardly
more often than a coin says, and rewards are mostly noise."""


@dataclass(frozen=True)
class Separation:
    """Separation of held-out target images from images of the web by rewards, see `separation`."""

    auroc: Interval
    """Probability that a target image has a larger reward than an image of the web, with its 95 % interval."""
    target_images: int
    """Number of target images."""
    web_images: int
    """Number of images of the web."""
    neighbors: int
    """Nearest target images that counted."""

    @property
    def separates(self) -> bool:
        """True if the lower end of the interval is above 0.6, so that rewards can guide the search."""
        return self.auroc.low > BOUND

    def __str__(self) -> str:
        """One line that says what it means and what to do."""
        value = f"AUROC {self.auroc.estimate:.2f} ({self.auroc.low:.2f} to {self.auroc.high:.2f})"
        counts = f"{self.target_images} target images against {self.web_images} of the web"
        if self.separates:
            return f"the start encoder tells the target from the web: {value}, {counts}"
        return (
            f"the start encoder hardly tells the target from the web: {value}, {counts}; its lower end should exceed "
            f"{BOUND:.1f}, or rewards are mostly noise: choose another start encoder, such as imagenet, or add target "
            "images"
        )


def separation(
    target_features: ArrayLike, web_features: ArrayLike, *, neighbors: int = 15, seed: int = 0
) -> Separation:
    """Measure the separation of held-out target images from images of the web by rewards of an encoder.

    Each target image is scored by the others, as if it had been found. Each image of the web is scored without one
    target image as well, so that both have equally many to be near to: where target and web are the same, the expected
    AUROC is 0.5. The web's sample may hold images that belong to the target, which lower it. The interval is a
    bootstrap over the images.

    Args:
        target_features: ``(m, d)``, at least 3 rows.
        web_features: Of a sample of the web by the same encoder, ``(n, d)``; some hundreds will do.
        neighbors: Nearest target images that count, at most ``m - 1`` of them.
        seed: Of the bootstrap.

    Raises:
        TypeError: If features are not numbers.
        ValueError: If a shape is another, there are fewer than 3 target images or none of the web, a feature is not
            finite, a row is zero, or ``neighbors`` is below 1.

    Example:
        >>> angles = np.linspace(0, 0.5, 20)
        >>> target = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        >>> found = separation(target, -target)
        >>> found.auroc.estimate, found.separates
        (1.0, True)
    """
    web, target = checked_pair(web_features, target_features, "target_features", neighbors)
    count = len(target)
    if count < 3:
        raise ValueError(f"target_features must have at least 3 rows, got {count}; one is held out at a time")
    wanted, used = unit(target, "target_features"), min(neighbors, count - 1)
    of_target = nearest_means(target, wanted, used, name="target_features", hide=lambda rows: rows)
    of_web = nearest_means(web, wanted, used, name="web_features", hide=lambda rows: rows % count)
    return Separation(bootstrap(auroc, of_target, of_web, seed=seed), count, len(web), used)


def auroc(positive: Floats, negative: Floats) -> float:
    """Probability that a positive is above a negative, where equals count half.

    Example:
        >>> auroc(np.array([1.0, 2.0]), np.array([0.0, 1.0]))
        0.875
    """
    ordered: NDArray[np.float64] = np.sort(negative)
    below = np.searchsorted(ordered, positive, "left") + np.searchsorted(ordered, positive, "right")
    return float(below.mean() / (2 * len(ordered)))
