"""Scores of maps: mean intersection over union, structural similarity, depth error, and bootstrap intervals.

Scores are computed from statistics per image, so that images can be resampled for an interval.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def confusion(predicted: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Confusion counts, int64 ``(B, K, K)``, true class by predicted class, of masks ``(B, H, W)``."""
    pairs = (truth * classes + predicted).flatten(1)
    counts = torch.zeros(len(truth), classes * classes, dtype=torch.long)
    return counts.scatter_add_(1, pairs, torch.ones_like(pairs)).view(-1, classes, classes)


def mean_iou(counts: Tensor) -> Tensor:
    """Mean over classes of intersection over union, ``(...)``, of counts ``(..., K, K)``.

    A class that is neither present nor predicted does not count.
    """
    counts = counts.double()
    both = counts.diagonal(dim1=-2, dim2=-1)
    either = counts.sum(-1) + counts.sum(-2) - both
    return (both / either).nanmean(-1)


def rmse(predicted: Tensor, truth: Tensor) -> Tensor:
    """Root mean squared error of each image, ``(B,)``, of depths ``(B, 1, H, W)``."""
    return (predicted - truth).double().square().flatten(1).mean(1).sqrt()


def ssim(predicted: Tensor, truth: Tensor, *, extent: float, sigma: float = 1.5, window: int = 11) -> Tensor:
    """Mean structural similarity of each image, ``(B,)``, of maps ``(B, 1, H, W)``.

    Wang, Bovik, Sheikh & Simoncelli (2004), equation 13, with their constants and Gaussian window, wherever the window
    lies within the image.

    Args:
        predicted: One map per image.
        truth: Ground truth, likewise.
        extent: Largest possible value minus the smallest.
        sigma: Width of the Gaussian, in pixels.
        window: Side of the window, in pixels, odd.
    """
    offset = torch.arange(window, dtype=torch.float64) - window // 2
    weights = torch.exp(-offset.square() / (2 * sigma**2))
    weights = (weights / weights.sum()).view(1, 1, 1, -1)

    def blurred(maps: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(maps, weights), weights.transpose(2, 3))

    x, y = predicted.double(), truth.double()
    mean_x, mean_y = blurred(x), blurred(y)
    variance_x, variance_y = blurred(x * x) - mean_x**2, blurred(y * y) - mean_y**2
    covariance = blurred(x * y) - mean_x * mean_y
    small, smaller = (0.01 * extent) ** 2, (0.03 * extent) ** 2
    likeness = (2 * mean_x * mean_y + small) * (2 * covariance + smaller)
    size = (mean_x**2 + mean_y**2 + small) * (variance_x + variance_y + smaller)
    return (likeness / size).flatten(1).mean(1)


def paired_interval(
    before: Tensor, after: Tensor, score: Callable[[Tensor], Tensor], *, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of ``score(after) - score(before)`` by a paired bootstrap over images.

    Args:
        before: Statistics of n images, ``(n, ...)``.
        after: Statistics of the same images.
        score: Maps the mean of such statistics over images, ``(..., *)``, to scores ``(...)``.
        draws: Number of bootstrap samples.
        seed: Seed of the bootstrap.
    """
    count = len(before)
    chosen = np.random.default_rng(seed).multinomial(count, [1 / count] * count, size=draws) / count
    weights = torch.from_numpy(chosen)
    sums = [(weights @ one.double().view(count, -1)).view(draws, *one.shape[1:]) for one in (before, after)]
    low, high = torch.quantile(score(sums[1]) - score(sums[0]), torch.tensor([0.025, 0.975], dtype=torch.float64))
    return float(low), float(high)
