"""Observations: rewards in order, merged by concept and normalized.

**Normalization.** Rewards are cosine similarities in features that change while the encoder learns, so their level and
spread mean nothing from one iteration to the next. At each prediction, which is once an iteration, all rewards known
then are centered by their mean and divided by their standard deviation (by 1 where they are all equal); predictions are
scaled back. For this the rewards must be those of one encoder: score old images again and call ``replace``.

**Merging.** Rewards y₁…y_c of one concept with noise variance σ² have the likelihood of their mean with variance σ²/c,
up to a factor that does not depend on the function. So a concept counts once, with its mean and its count.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vl_explorer.models.model import Floats, checked_embeddings, checked_indices, checked_rewards


class Observations:
    """Rewards of concepts in the order in which they came.

    Args:
        concepts: Number N of concepts.
        normalize: Center and scale the rewards; otherwise they are taken as they are.
    """

    def __init__(self, concepts: int, *, normalize: bool = True):
        self.concepts = concepts
        self.normalize = normalize
        self.indices = np.empty(0, np.int64)
        self.rewards = np.empty(0)

    def __len__(self) -> int:
        return len(self.indices)

    def add(self, indices: ArrayLike, rewards: ArrayLike) -> None:
        """Append rewards ``(b,)`` of concepts ``(b,)``.

        Raises:
            TypeError: If the indices are not whole numbers.
            ValueError: If shapes differ, indices are out of range, or rewards are not finite.
        """
        places = checked_indices(indices, self.concepts)
        values = checked_rewards(rewards, len(places))
        self.indices = np.concatenate([self.indices, places])
        self.rewards = np.concatenate([self.rewards, values])

    def replace(self, rewards: ArrayLike) -> None:
        """Replace all rewards, in the order in which they came.

        Raises:
            ValueError: If there is not one for each observation, or one is not finite.
        """
        self.rewards = checked_rewards(rewards, len(self))

    def scale(self) -> tuple[float, float]:
        """Center and scale of the rewards; 0 and 1 without any, or where they are not normalized."""
        if not self.normalize or not len(self):
            return 0.0, 1.0
        center = float(self.rewards.mean())
        spread = float(self.rewards.std())
        # Equal rewards differ from their mean by rounding, which must not be blown up.
        return center, spread if spread > 1e-12 * max(1e-300, float(np.abs(self.rewards).max())) else 1.0

    def merged(self, order: NDArray[np.int64]) -> Floats:
        """Mean normalized reward of the concepts in the given order ``(n,)``, each of which was observed."""
        center, scale = self.scale()
        counts = np.bincount(self.indices, minlength=self.concepts)[order]
        sums = np.bincount(self.indices, (self.rewards - center) / scale, minlength=self.concepts)[order]
        means: Floats = sums / counts
        return means

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Indices and rewards."""
        return {"indices": self.indices.copy(), "rewards": self.rewards.copy()}

    def load_state_dict(self, state: dict[str, NDArray[Any]]) -> None:
        """Take over what another kept.

        Raises:
            ValueError: If entries are missing, or are not observations of these concepts.
        """
        if missing := {"indices", "rewards"} - state.keys():
            raise ValueError(f"state must be that of a concept model, {sorted(missing)} are missing")
        indices = checked_indices(state["indices"], self.concepts)
        self.rewards = checked_rewards(state["rewards"], len(indices))
        self.indices = indices


class ObservingModel:
    """A `ConceptModel` whose whole state is its observations: base of those that compute the rest at each prediction.

    Args:
        embeddings: Of the concepts, ``(N, d)``, any floating dtype; kept as they are.
        normalize: As of `Observations`.
    """

    def __init__(self, embeddings: ArrayLike, *, normalize: bool):
        self._embeddings = checked_embeddings(embeddings)
        self._observations = Observations(len(self._embeddings), normalize=normalize)

    @property
    def embeddings(self) -> NDArray[Any]:
        """Embeddings of the concepts, ``(N, d)``."""
        return self._embeddings

    @property
    def observations(self) -> Observations:
        """Observations, in order."""
        return self._observations

    def observe(self, indices: ArrayLike, rewards: ArrayLike) -> None:
        """Add rewards ``(b,)`` of concepts ``(b,)``; errors as of `GaussianProcess.observe`."""
        self._observations.add(indices, rewards)

    def replace(self, rewards: ArrayLike) -> None:
        """Replace the rewards of all observations; errors as of `GaussianProcess.replace`."""
        self._observations.replace(rewards)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """The observations as arrays."""
        return self._observations.state_dict()

    def load_state_dict(self, state: dict[str, NDArray[Any]]) -> None:
        """Take over the observations of a model of the same concepts; errors as of `GaussianProcess`."""
        self._observations.load_state_dict(state)
