"""Hyper-parameters of the Gaussian process: learned from rewards, and compared with fixed ones on rewards held out.

The marginal likelihood of merged, normalized rewards, with its gradient (Rasmussen and Williams, 2006, equation 5.9),
is maximized over the logarithms of length scale, signal variance and noise by L-BFGS.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_solve
from scipy.optimize import minimize

from vl_explorer.models.gaussian_process import GaussianProcess
from vl_explorer.models.model import Floats, check_positive, checked_embeddings, cholesky
from vl_explorer.models.observations import Observations

# Factors by which a learned value may differ from its start, and the least noise in squared normalized rewards.
_RANGE = 1e3
_LEAST_NOISE = 1e-6


@dataclass(frozen=True)
class Hyperparameters:
    """Hyper-parameters of `GaussianProcess`, in the unit of the embeddings and of squared normalized rewards."""

    length_scale: float = 1.0
    """Distance over which rewards are alike."""
    signal_variance: float = 1.0
    """Variance of the function before anything is observed."""
    noise: float = 0.5
    """Variance of the noise of one observation."""

    def model(self, embeddings: ArrayLike, *, normalize: bool = True) -> GaussianProcess:
        """A process with these hyper-parameters, which has observed nothing."""
        return GaussianProcess(
            embeddings,
            length_scale=self.length_scale,
            signal_variance=self.signal_variance,
            noise=self.noise,
            normalize=normalize,
        )


@dataclass(frozen=True)
class Comparison:
    """Fixed and learned hyper-parameters on rewards that were held out."""

    fixed: Hyperparameters
    """Given ones."""
    learned: Hyperparameters
    """Those learned from the other rewards."""
    fixed_density: float
    """Mean log predictive density of a held-out reward in nats under the fixed ones."""
    learned_density: float
    """The same under the learned ones."""
    held_out: int
    """Number of rewards held out."""

    @property
    def better(self) -> Hyperparameters:
        """Those with the higher density; the fixed ones if equal."""
        return self.learned if self.learned_density > self.fixed_density else self.fixed


def log_marginal_likelihood(
    squared_distances: Floats, rewards: Floats, counts: ArrayLike, values: Hyperparameters
) -> tuple[float, Floats]:
    """Log marginal likelihood of merged rewards, and its gradient.

    Args:
        squared_distances: Between the embeddings of the observed concepts, ``(n, n)``.
        rewards: Mean reward of each, ``(n,)``.
        counts: Number of observations of each, ``(n,)``.
        values: Hyper-parameters.

    Returns:
        The likelihood in nats; and its derivatives by the logarithms of length scale, signal variance and noise,
        ``(3,)``.
    """
    scaled = squared_distances / values.length_scale**2
    signal = values.signal_variance * np.exp(-0.5 * scaled)
    noise = values.noise / np.asarray(counts, np.float64)
    factor = cholesky(signal + np.diag(noise))
    inverse = cho_solve((factor, True), np.eye(len(rewards)), check_finite=False)
    weights = inverse @ rewards
    likelihood = -0.5 * (rewards @ weights + len(rewards) * math.log(2 * math.pi)) - np.log(np.diag(factor)).sum()
    # d/dθ = ½ tr((w wᵀ − K⁻¹) dK/dθ)
    slack = np.outer(weights, weights) - inverse
    by_signal = slack * signal
    gradient = 0.5 * np.array([(by_signal * scaled).sum(), by_signal.sum(), np.diag(slack) @ noise])
    return float(likelihood), gradient


def fit_hyperparameters(
    embeddings: ArrayLike,
    indices: ArrayLike,
    rewards: ArrayLike,
    *,
    start: Hyperparameters | None = None,
    limit: int = 2000,
    seed: int = 0,
) -> Hyperparameters:
    """Hyper-parameters that maximize the marginal likelihood.

    Args:
        embeddings: Of all concepts, ``(N, d)``.
        indices: Of observed concepts, ``(n,)``.
        rewards: ``(n,)``; normalized as `GaussianProcess` does.
        start: Where the search begins, by default the fixed ones; values stay within a factor of 1,000 of it.
        limit: Above this many observations, a random subset of this size is used, since the cost is n³.
        seed: Of the subset.

    Returns:
        A local maximum, at least as likely as `start`.

    Raises:
        TypeError: If embeddings or indices are of another type.
        ValueError: If there are fewer than 2 observations, or arguments do not fit one another.

    Example:
        >>> embeddings = np.linspace(0, 10, 50)[:, None]
        >>> found = fit_hyperparameters(embeddings, np.arange(50), np.sin(embeddings[:, 0]))
        >>> found.length_scale > 1 and found.noise < 1e-3
        True
    """
    check_positive(limit=limit)
    table = checked_embeddings(embeddings)
    observations = Observations(len(table))
    observations.add(indices, rewards)
    if len(observations) < 2:
        raise ValueError(f"rewards must be at least 2 to learn from, got {len(observations)}; use the fixed values")
    if len(observations) > limit:
        kept = np.sort(np.random.default_rng(seed).choice(len(observations), limit, replace=False))
        observations = _subset(observations, kept)
    concepts, counts = np.unique(observations.indices, return_counts=True)
    means = observations.merged(concepts)
    distances = _squared_distances(table[concepts])
    start = start or Hyperparameters()
    first = np.log([start.length_scale, start.signal_variance, max(start.noise, _LEAST_NOISE)])

    def objective(logs: Floats) -> tuple[float, Floats]:
        likelihood, gradient = log_marginal_likelihood(distances, means, counts, Hyperparameters(*np.exp(logs)))
        return -likelihood, -gradient

    bounds = [(value - math.log(_RANGE), value + math.log(_RANGE)) for value in first]
    bounds[2] = (max(bounds[2][0], math.log(_LEAST_NOISE)), bounds[2][1])
    found = minimize(objective, first, jac=True, method="L-BFGS-B", bounds=bounds)
    return Hyperparameters(*(float(value) for value in np.exp(found.x)))


def compare_hyperparameters(
    embeddings: ArrayLike,
    indices: ArrayLike,
    rewards: ArrayLike,
    *,
    fixed: Hyperparameters | None = None,
    share: float = 0.25,
    limit: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare fixed and learned hyper-parameters by the log predictive density of rewards of concepts held out.

    Whole concepts are held out, so that no reward is predicted from another of the same concept.

    Args:
        embeddings: Of all concepts, ``(N, d)``.
        indices: Of observed concepts, ``(n,)``.
        rewards: ``(n,)``.
        fixed: The fixed ones, by default those of the paper, with noise of 0.5.
        share: Share of the observed concepts that is held out.
        limit: See `fit_hyperparameters`.
        seed: Of the split.

    Raises:
        TypeError: If embeddings or indices are of another type.
        ValueError: If fewer than 2 observations remain to learn from, or none is held out.
    """
    if not 0 < share < 1:
        raise ValueError(f"share must lie between 0 and 1, got {share}")
    table = checked_embeddings(embeddings)
    observations = Observations(len(table))
    observations.add(indices, rewards)
    concepts = np.random.default_rng(seed).permutation(np.unique(observations.indices))
    held = concepts[: round(share * len(concepts))]
    if not len(held):
        raise ValueError(f"share must hold out a concept, {share} of {len(concepts)} is none; observe more")
    out = np.isin(observations.indices, held)
    fixed = fixed or Hyperparameters()
    known, unseen = _subset(observations, np.flatnonzero(~out)), _subset(observations, np.flatnonzero(out))
    learned = fit_hyperparameters(table, known.indices, known.rewards, start=fixed, limit=limit, seed=seed)
    before, after = (_log_density(table, known, unseen, values) for values in (fixed, learned))
    return Comparison(fixed, learned, before, after, held_out=len(unseen))


def _log_density(embeddings: NDArray[Any], known: Observations, unseen: Observations, values: Hyperparameters) -> float:
    """Mean log density in nats of unseen rewards, noise included."""
    places, inverse = np.unique(np.concatenate([known.indices, unseen.indices]), return_inverse=True)
    model = values.model(embeddings[places])
    model.observe(inverse[: len(known)], known.rewards)
    mean, std = (column[inverse[len(known) :]] for column in model.predict())
    variance = std**2 + values.noise * known.scale()[1] ** 2
    log_densities = -0.5 * ((unseen.rewards - mean) ** 2 / variance + np.log(2 * math.pi * variance))
    return float(log_densities.mean())


def _subset(observations: Observations, kept: NDArray[np.int64]) -> Observations:
    part = Observations(observations.concepts)
    part.add(observations.indices[kept], observations.rewards[kept])
    return part


def _squared_distances(embeddings: NDArray[Any]) -> Floats:
    rows = embeddings.astype(np.float64)
    rows -= rows.mean(axis=0)
    lengths = np.einsum("ij,ij->i", rows, rows)
    distances: Floats = np.maximum(lengths[:, None] + lengths - 2 * rows @ rows.T, 0)
    return distances
