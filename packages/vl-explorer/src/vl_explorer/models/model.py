"""The signature that all concept models share, and the checks of what enters them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from vl_explorer.models.observations import Observations

Floats = NDArray[np.float64]


class ConceptModel(Protocol):
    """Predicts the reward of every concept of a vocabulary from the rewards of those that were searched for."""

    @property
    def embeddings(self) -> NDArray[Any]:
        """Embeddings of the concepts, ``(N, d)``."""

    @property
    def observations(self) -> Observations:
        """Observations, in order."""

    def observe(self, indices: ArrayLike, rewards: ArrayLike) -> None:
        """Add rewards ``(b,)`` of the concepts with these indices ``(b,)``; a concept may be observed again."""

    def replace(self, rewards: ArrayLike) -> None:
        """Replace the rewards of all observations so far, in the order in which they were observed."""

    def predict(self) -> tuple[Floats, Floats]:
        """Expected reward of every concept and its standard deviation, both ``(N,)`` in the unit of the rewards."""

    def sample(self, generator: np.random.Generator) -> Floats:
        """One draw ``(N,)`` of the rewards of all concepts together."""

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """All that was observed and computed, as arrays; the embeddings and options are not among them."""

    def load_state_dict(self, state: dict[str, NDArray[Any]]) -> None:
        """Take over the state of a model with the same embeddings and options."""


def checked_embeddings(embeddings: ArrayLike) -> NDArray[Any]:
    """Embeddings ``(N, d)`` of floating-point numbers, as they are.

    Raises:
        TypeError: If they are not floating-point numbers.
        ValueError: If they have another shape, no concept, or a number that is not finite.
    """
    array = np.asarray(embeddings)
    if not np.issubdtype(array.dtype, np.floating):
        raise TypeError(f"embeddings must be floating-point numbers, got {array.dtype}")
    if array.ndim != 2 or not array.size:
        raise ValueError(f"embeddings must have shape (N, d) with N and d of at least 1, got {array.shape}")
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(bad):
        raise ValueError(f"embeddings must be finite, got others in {len(bad)} rows, the first in row {bad[0]}")
    return array


def checked_indices(indices: ArrayLike, concepts: int) -> NDArray[np.int64]:
    """Indices ``(b,)`` of concepts.

    Raises:
        TypeError: If they are not whole numbers.
        ValueError: If they have another shape, or are not in ``0..concepts - 1``.
    """
    array = np.asarray(indices)
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"indices must be whole numbers, got {array.dtype}")
    if array.ndim != 1:
        raise ValueError(f"indices must have shape (b,), got {array.shape}")
    if array.size and (array.min() < 0 or array.max() >= concepts):
        raise ValueError(f"indices must be in 0..{concepts - 1}, got {array.min()}..{array.max()}")
    return array.astype(np.int64)


def checked_rewards(rewards: ArrayLike, count: int) -> Floats:
    """Rewards ``(count,)`` in float64.

    Raises:
        ValueError: If they have another shape, or are not finite.
    """
    array = np.asarray(rewards, dtype=np.float64)
    if array.shape != (count,):
        raise ValueError(f"rewards must have shape ({count},), one for each observation, got {array.shape}")
    if not np.isfinite(array).all():
        place = int(np.flatnonzero(~np.isfinite(array))[0])
        raise ValueError(f"rewards must be finite, got {array[place]} at {place}; leave out queries without results")
    return array.copy()


def check_positive(**values: float) -> None:
    """Refuse options that are not numbers above 0.

    Raises:
        ValueError: If one is not.
    """
    for name, value in values.items():
        if not 0 < value < np.inf:
            raise ValueError(f"{name} must be a number above 0, got {value}")


def cholesky(matrix: Floats) -> Floats:
    """Lower triangular factor of a positive definite matrix ``(n, n)``."""
    factor = np.linalg.cholesky(matrix)
    return np.asarray(factor, np.float64)
