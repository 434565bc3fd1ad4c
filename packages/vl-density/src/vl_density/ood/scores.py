"""Scores of how far images lie outside a distribution, from densities of it.

All have one signature: `fit` on images of the distribution, then `score`, larger the more an image is out. A new one is
a class and a line in `SCORES`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from vl_density.ood.codecs import compressed_bits
from vl_density.ood.likelihoods import Density, log_prob_maps, log_probs, network_of
from vl_density.ood.metrics import OriginalScores

Scores = NDArray[np.float64]


class OODScore(ABC):
    """A score of images, larger the more they are out of the distribution."""

    def fit(self, images: Any) -> Self:
        """Learn from images of the distribution what the score needs; most need nothing.

        Args:
            images: As `AutoregressiveDensity.log_prob` takes them; best ones that the density was not trained on.
        """
        return self

    def score(self, images: Any) -> OriginalScores:
        """Scores ``(B,)`` of images, larger the more they are out."""
        return self.compute(images).view(OriginalScores)

    @abstractmethod
    def compute(self, images: Any) -> Scores:
        """Compute the scores, ``(B,)`` in float64; for subclasses."""


class NegativeLogLikelihood(OODScore):
    """-log p(x), in nats.

    The obvious score, and a misleading one: images that are simpler than those of the distribution have *higher*
    likelihood (Nalisnick et al., *Do Deep Generative Models Know What They Don't Know?*, 2019; Dalal, Li and Taori,
    *Autoregressive Models: What Are They Good For?*, 2019).

    Args:
        model: The density.
    """

    def __init__(self, model: Density):
        self.model = model

    def compute(self, images: Any) -> Scores:
        """Scores ``(B,)``, nats."""
        return -log_probs(self.model, images)

    def score_map(self, images: Any) -> NDArray[np.float64]:
        """Share of each value in the score, ``(B, C, H, W)``."""
        return -log_prob_maps(self.model, images)


class LikelihoodRatio(OODScore):
    """log p_background(x) - log p(x), in nats.

    Ren et al., *Likelihood Ratios for Out-of-Distribution Detection*, NeurIPS 2019. What is common to all images, such
    as a black margin, cancels.

    Args:
        model: The density.
        background: A density of the same images after mutation, see `mutate`.
    """

    def __init__(self, model: Density, background: Density):
        _check_levels([model, background])
        self.model, self.background = model, background

    def compute(self, images: Any) -> Scores:
        """Scores ``(B,)``, nats."""
        return log_probs(self.background, images) - log_probs(self.model, images)

    def score_map(self, images: Any) -> NDArray[np.float64]:
        """Share of each value in the score, ``(B, C, H, W)``."""
        return log_prob_maps(self.background, images) - log_prob_maps(self.model, images)


class InputComplexity(OODScore):
    """-log2 p(x) minus the bits of the losslessly compressed image (Serra et al., *Input Complexity*, ICLR 2020).

    The codec is a density that knows images in general; the header of its files is not counted.

    Args:
        model: The density.
        codec: `"png"` or `"webp"`; with the extra ``codecs``, also `"jpeg-ls"` or `"jpeg-xl"`.
    """

    def __init__(self, model: Density, codec: str = "png"):
        self.model, self.codec = model, codec

    def compute(self, images: Any) -> Scores:
        """Scores ``(B,)``, bits."""
        model = network_of(self.model)
        levels = model.pixels(images)
        pixels = (levels.double() * (255 / (model.levels - 1))).round().to(torch.uint8).cpu().numpy()
        return -log_probs(self.model, images) / math.log(2) - compressed_bits(pixels, self.codec)


class Typicality(OODScore):
    """Distance of -log p(x) from its mean over the distribution, in nats.

    The test of Nalisnick et al. (*Detecting Out-of-Distribution Inputs to Deep Generative Models Using Typicality*,
    2019) for batches of one image.

    Args:
        model: The density.
    """

    def __init__(self, model: Density):
        self.model = model
        self.entropy: float | None = None

    def fit(self, images: Any) -> Self:
        """Estimate the entropy: the mean of -log p over images of the distribution."""
        self.entropy = float(-log_probs(self.model, images).mean())
        return self

    def compute(self, images: Any) -> Scores:
        """Scores ``(B,)``, nats.

        Raises:
            RuntimeError: If it was not fitted.
        """
        if self.entropy is None:
            raise RuntimeError("Typicality needs the entropy of the distribution; call fit(images) first")
        return np.abs(-log_probs(self.model, images) - self.entropy)


class WAIC(OODScore):
    """Variance minus mean of log p(x) over an ensemble (Choi, Jang and Alemi, *WAIC, but Why?*, 2018).

    The Watanabe-Akaike information criterion, with the sign of the other scores.

    Args:
        models: At least two densities of the same images, trained alike from different weights.
    """

    def __init__(self, models: Sequence[Density]):
        if len(models) < 2:
            raise ValueError(f"models must be at least two, whose log-probabilities vary, got {len(models)}")
        _check_levels(models)
        self.models = list(models)

    def compute(self, images: Any) -> Scores:
        """Scores ``(B,)``; the mean is in nats, the variance in nats squared, as in the paper."""
        found = np.stack([log_probs(model, images) for model in self.models])
        scores: Scores = found.var(0) - found.mean(0)
        return scores


def _check_levels(models: Sequence[Density]) -> None:
    """Raise ValueError for densities of different levels, whose log-probabilities are no numbers of one kind."""
    levels = sorted({network_of(model).levels for model in models})
    if len(levels) > 1:
        raise ValueError(f"densities must have one number of levels, got {' and '.join(map(str, levels))}")
