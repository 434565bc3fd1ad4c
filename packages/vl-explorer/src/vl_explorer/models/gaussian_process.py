"""Exact Gaussian process regression over all concepts, a block of observations after another.

Internet Explorer (Li, Brown, Efros and Pathak, 2023, section 2.5) predicts rewards by a Gaussian process with kernel
exp(−‖e_i − e_j‖²/2) on the embeddings; noise and scaling are not given there. The posterior here is exact, in float64,
yet nothing is fitted anew: with the factor L of K = K_oo + noise, a concept has the variance s² − ‖L⁻¹ k_i‖², rows that
are appended to L append entries to L⁻¹ k_i, and their squares are subtracted from what is known. The kernel between
observations and concepts is computed block by block, once an iteration, and not kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vl_explorer.models.kernel import RadialBasisKernel, kernel_block
from vl_explorer.models.model import Floats, check_positive, checked_embeddings
from vl_explorer.models.observations import Observations
from vl_explorer.models.observed_factor import ObservedFactor

# Entries of a block of the kernel (32 MiB), and concepts of which the observations enter the factor at once.
_TILE = 2**22
_BATCH = 1024


class GaussianProcess:
    """Exact, incremental Gaussian process; a `ConceptModel`.

    A block of b observations after n others costs 2 b n multiplications for each of the N concepts; memory is n² / 2 +
    b n + N numbers. Observing a concept again costs up to n³ / 3 more, since its noise falls inside the factor; new
    rewards of the same observations cost one pass over the kernel.

    Args:
        embeddings: Of the concepts, ``(N, d)``, any floating dtype; kept as they are.
        length_scale: Of the kernel, in the unit of the embeddings. The paper's 1 is long for embeddings of unit length,
            whose squared distances are at most 4.
        signal_variance: Variance of the function before anything is observed, in squared normalized rewards.
        noise: Variance of the noise of one observation, in the same unit; at least 1e-8. The paper gives none. What
            a long length scale cannot follow is noise too, so it is rarely small: `experiments/search/tune_search.py`
            chose a length scale of 0.4 to 0.6 with a noise of 1. See
            `vl_explorer.models.hyperparameters.compare_hyperparameters`.
        normalize: Center rewards by their mean and divide them by their standard deviation at each prediction; see
            `vl_explorer.models.observations`. Otherwise the mean of the process is 0 and variances are in squared
            rewards.

    Raises:
        TypeError: If the embeddings are not floating-point numbers.
        ValueError: If they have another shape or are not finite, or a number is out of range.

    Example:
        >>> model = GaussianProcess(np.eye(3))
        >>> model.observe([0, 1], [1.0, 0.0])
        >>> mean, std = model.predict()
        >>> bool(mean[0] > mean[2] > mean[1]), int(std.argmax())
        (True, 2)
    """

    def __init__(
        self,
        embeddings: ArrayLike,
        *,
        length_scale: float = 1.0,
        signal_variance: float = 1.0,
        noise: float = 0.5,
        normalize: bool = True,
    ):
        check_positive(length_scale=length_scale, signal_variance=signal_variance, noise=noise)
        if noise < 1e-8:
            raise ValueError(f"noise must be at least 1e-8, below which rounding decides, got {noise}")
        self._kernel = RadialBasisKernel(checked_embeddings(embeddings), length_scale, signal_variance)
        self.noise = noise
        self._observations = Observations(len(self.embeddings), normalize=normalize)
        self._begin()

    @property
    def embeddings(self) -> NDArray[Any]:
        """Embeddings of the concepts, ``(N, d)``."""
        return self._kernel.embeddings

    @property
    def observations(self) -> Observations:
        """Observations, in order."""
        return self._observations

    def observe(self, indices: ArrayLike, rewards: ArrayLike) -> None:
        """Add rewards of concepts; nothing is computed before the next prediction, and nothing changes if refused.

        Args:
            indices: Of concepts, ``(b,)``; the same may come several times, in one call or in several.
            rewards: ``(b,)``.

        Raises:
            TypeError: If the indices are not whole numbers.
            ValueError: If shapes differ, indices are out of range, or rewards are not finite.
        """
        self._observations.add(indices, rewards)
        self._current = False

    def replace(self, rewards: ArrayLike) -> None:
        """Replace the rewards of all observations, in the order in which they were observed.

        Raises:
            ValueError: If there is not one for each observation, or one is not finite.
        """
        self._observations.replace(rewards)
        self._current = False

    def predict(self) -> tuple[Floats, Floats]:
        """Expected reward of every concept and its standard deviation without noise, both ``(N,)``.

        Without observations these are 0 and the root of the signal variance.
        """
        if not self._current:
            self._update()
        center, scale = self._observations.scale()
        return center + scale * self._mean, scale * np.sqrt(np.maximum(self._variance, 0))

    def sample(self, generator: np.random.Generator, *, features: int = 1024) -> Floats:
        """One draw ``(N,)`` of the function, of all concepts together.

        Wilson et al. (2020, "Efficiently sampling functions from Gaussian process posteriors"): a draw from the prior,
        by random Fourier features, is corrected by the residuals at the observations. Mean and variance over draws are
        exact, since each has frequencies of its own; correlations within one are off by about 1/√features.

        Args:
            generator: Source of the draw.
            features: Number of random frequencies, each with sine and cosine.
        """
        self.predict()
        frequencies = generator.standard_normal((self.embeddings.shape[1], features)) / self._kernel.length_scale
        weights = generator.standard_normal(2 * features) * math.sqrt(self._kernel.signal_variance / features)
        noise = generator.standard_normal(len(self._observed)) * np.sqrt(self.noise / self._observed.counts)
        draw = np.empty(len(self.embeddings))
        for block in _slices(len(draw), max(64, _TILE // (4 * features))):
            phases = self.embeddings[block].astype(np.float64) @ frequencies
            draw[block] = np.cos(phases) @ weights[:features] + np.sin(phases) @ weights[features:]
        if len(self._observed):
            residuals = self._observations.merged(self._observed.order) - draw[self._observed.order] - noise
            draw += self._pass(np.empty((0, len(residuals))), self._observed.solve(residuals))[1]
        center, scale = self._observations.scale()
        return center + scale * draw

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Observations and predictions as arrays; the factor is computed again when they are loaded."""
        return {
            **self._observations.state_dict(),
            "steps": np.array(self._steps, np.int64),
            "mean": self._mean.copy(),
            "variance": self._variance.copy(),
            "current": np.array(self._current),
        }

    def load_state_dict(self, state: dict[str, NDArray[Any]]) -> None:
        """Take over the state of a process with the same embeddings and options; predictions go on bit by bit.

        Raises:
            ValueError: If the state is of another model or of another number of concepts.
        """
        entries = {"indices", "rewards", "steps", "mean", "variance", "current"}
        if missing := entries - state.keys():
            raise ValueError(f"state must be that of a Gaussian process, {sorted(missing)} are missing")
        shape = (len(self.embeddings),)
        if state["mean"].shape != shape or state["variance"].shape != shape:
            raise ValueError(f"state must be of {shape[0]} concepts like this process, got {len(state['mean'])}")
        if (np.diff(state["steps"], prepend=0) < 1).any() or state["steps"].max(initial=0) > len(state["indices"]):
            raise ValueError(f"state must have steps that end with its observations, got {state['steps']}")
        self._observations.load_state_dict(state)
        self._begin()
        # The same steps again, without the passes over all concepts, give the same factor.
        for end in state["steps"]:
            self._observed.add(self._observations.indices[sum(self._steps[-1:]) : end])
            self._steps.append(int(end))
        self._mean, self._variance = state["mean"].copy(), state["variance"].copy()
        self._current = bool(state["current"])

    def _begin(self) -> None:
        """Forget all that was computed."""
        self._observed = ObservedFactor(self._kernel, self.noise)
        self._steps: list[int] = []  # numbers of observations after each growth of the factor
        self._mean = np.zeros(len(self.embeddings))
        self._variance = np.full(len(self.embeddings), self._kernel.signal_variance)
        self._current = True

    def _update(self) -> None:
        """Bring mean and variance up to date, by one pass for up to 1,024 new observations."""
        rows = np.empty((0, len(self._observed)))
        done, total = sum(self._steps[-1:]), len(self._observations)
        while done < total:
            end = min(done + _BATCH, total)
            rows = self._observed.add(self._observations.indices[done:end])
            self._steps.append(end)
            done = end
            if done < total:
                self._variance -= self._pass(rows, np.zeros(rows.shape[1]))[0]
        if total:
            weights = self._observed.solve(self._observations.merged(self._observed.order))
            squares, self._mean = self._pass(rows, weights)
            self._variance -= squares
        self._current = True

    def _pass(self, rows: Floats, weights: Floats) -> tuple[Floats, Floats]:
        """One pass over all concepts, with rows ``(m, n)`` and weights ``(n,)`` for the kernel ``(n, N)``.

        Returns:
            Sum over m of the squared products with the rows, and the product with the weights, both ``(N,)``.
        """
        squares, weighted = np.empty((2, len(self.embeddings)))
        stacked = np.vstack([rows, weights])
        width = min(len(weighted), max(64, _TILE // len(weights)))
        buffer = np.empty(len(weights) * width)
        for block in _slices(len(weighted), width):
            right = self._kernel.right(block)
            kernel = buffer[: len(weights) * len(right)].reshape(-1, len(right))
            products = stacked @ kernel_block(self._observed.left, right, kernel)
            weighted[block] = products[-1]
            squares[block] = np.einsum("ij,ij->j", products[:-1], products[:-1])
        return squares, weighted


def _slices(length: int, width: int) -> Iterator[slice]:
    """Consecutive slices of a length."""
    return (slice(start, min(start + width, length)) for start in range(0, length, width))
