"""Measures of translated images that use no density, beside the density's own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from vl_core.progress import progress_bar

from vl_density.models.density import AutoregressiveDensity
from vl_density.ood.likelihoods import log_probs
from vl_density.quantization import bits_per_dim, quantize

MEASURES = ("bits", "distance", "accuracy", "sharpness")
"""Names of the measures of `Measured`."""


@dataclass(frozen=True)
class Measured:
    """Measures of each translated image, ``(N,)``."""

    bits: NDArray[np.float64]
    """Bits per dimension of the density, exact, of the image rounded to its levels."""
    distance: NDArray[np.float64]
    """Root of the mean squared difference from the true pair."""
    accuracy: NDArray[np.float64]
    """1 where a classifier of the target side is correct."""
    sharpness: NDArray[np.float64]
    """Mean absolute difference between neighbors, divided by that of all true pairs."""


@torch.no_grad()
def measure_translation(
    translated: Tensor, pairs: Tensor, labels: Tensor, *, classifier: nn.Module, density: AutoregressiveDensity
) -> Measured:
    """Measure translated images against their true pairs.

    Args:
        translated: ``(N, C, H, W)`` in [0, 1].
        pairs: The true ones, the same shape.
        labels: Classes ``(N,)``.
        classifier: From images to logits, trained on the target side; see `fit_classifier`.
        density: Gives the bits, and is not used for the other measures.

    Raises:
        ValueError: If shapes differ.
    """
    if translated.shape != pairs.shape or len(labels) != len(pairs):
        raise ValueError(
            f"translated, pairs and labels must be of the same images, got {tuple(translated.shape)}, "
            f"{tuple(pairs.shape)} and {len(labels)} labels"
        )
    nats = torch.from_numpy(log_probs(density, quantize(translated.cpu(), density.levels)))
    found = {
        "bits": bits_per_dim(nats, density.dimensions),
        "distance": (translated - pairs).square().flatten(1).mean(1).sqrt(),
        "accuracy": classifier(translated).argmax(1) == labels,
        "sharpness": _steps(translated) / _steps(pairs).mean(),
    }
    return Measured(**{name: values.double().cpu().numpy() for name, values in found.items()})


def _steps(images: Tensor) -> Tensor:
    """Mean absolute difference between neighbors in rows and columns, ``(N,)``."""
    return images.diff(dim=-1).abs().flatten(1).mean(1) + images.diff(dim=-2).abs().flatten(1).mean(1)


def fit_classifier(
    images: Tensor, labels: Tensor, *, updates: int = 600, seed: int = 0, progress: bool = True
) -> nn.Module:
    """Fit a small convolutional classifier, to judge translated images by.

    Args:
        images: ``(N, C, H, W)`` in [0, 1], at least 4 pixels high and wide.
        labels: Classes ``(N,)``, from 0.
        updates: Steps of Adam, with 128 images each.
        seed: Seed of weights and order.
        progress: Show a progress bar.

    Returns:
        Module from images to logits.

    Raises:
        ValueError: If there is not one label an image.
    """
    if images.ndim != 4 or not len(images) or len(labels) != len(images):
        raise ValueError(f"labels must be one for each of the images, got {len(labels)} for {tuple(images.shape)}")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        classifier = nn.Sequential(
            *(nn.Conv2d(images.shape[1], 32, 3, stride=2, padding=1), nn.ReLU()),
            *(nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(7), nn.Flatten(), nn.Linear(64 * 49, int(labels.max()) + 1)),
        )
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(classifier.parameters(), 2e-3)
    for _ in progress_bar(range(updates), desc="fit a classifier", unit="updates", disable=not progress):
        some = torch.randint(len(images), (128,), generator=generator)
        loss = F.cross_entropy(classifier(images[some]), labels[some])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return classifier.eval().requires_grad_(False)
