"""Summary of an iteration, as the store keeps it and pages and charts read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True)
class IterationSummary:
    """Summary of a finished iteration."""

    concept_rewards: tuple[float | None, ...]
    """Reward of each query's concept, by its place, as the encoder of this iteration measured it; None where too few
    images were found."""
    image_reward: float
    """Mean reward of the images that the iteration found."""
    best_reward: float
    """Mean reward of the best tenth of them."""
    found: int
    """Images that the iteration's queries brought, those that were there before among them."""
    new: int
    """Images that no earlier iteration of the run had brought."""
    refused: int
    """Results that gave no image."""
    dropped: int
    """Queries that were dropped after their first images."""
    requests: int
    """Requests to the engine."""
    cost: float
    """Of these requests, in US dollars."""
    trained: int
    """Updates of the encoder that scored this iteration, since the run began."""
    accuracy: float | None = None
    """Accuracy of k-NN on features of the network that had so many updates, where labels are known."""
    encoder: str = ""
    """Name of the encoder that scored."""

    def to_json(self) -> dict[str, Any]:
        """The same as a mapping of JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Summary of what `to_json` gave."""
        return cls(**{**values, "concept_rewards": tuple(values["concept_rewards"])})
