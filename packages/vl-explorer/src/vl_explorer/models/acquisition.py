"""Acquisition functions: scores of all concepts from what a model expects and does not know.

All are functions of a model and a generator that return scores ``(N,)``; the highest is the concept to search for
first. `vl_explorer.models.sampling` makes a distribution of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vl_explorer.models.model import ConceptModel, Floats

Acquisition = Callable[[ConceptModel, np.random.Generator], Floats]


def mean_plus_std(model: ConceptModel, generator: np.random.Generator) -> Floats:
    """Expected reward plus one standard deviation, ``(N,)``; the paper's choice.

    In the paper concepts that were observed keep their own reward; see `keep_observed`.

    Args:
        model: What is known.
        generator: Not used.

    Example:
        >>> from vl_explorer.models.nearest import NearestModel
        >>> model = NearestModel(np.eye(3), np.array([0.0, 0.6, 0.8]))
        >>> mean_plus_std(model, np.random.default_rng(0)).tolist()
        [0.0, 0.6, 0.8]
    """
    mean, std = model.predict()
    return mean + std


def uniform(model: ConceptModel, generator: np.random.Generator) -> Floats:
    """The same score for all concepts, ``(N,)``: random exploration, the baseline of any other.

    Args:
        model: What is known; only the number of its concepts counts.
        generator: Not used.
    """
    return np.zeros(len(model.embeddings))


def upper_bound(beta: float) -> Acquisition:
    """Acquisition by the expected reward plus `beta` standard deviations; 0 is greedy.

    Raises:
        ValueError: If `beta` is negative or not finite.
    """
    if not 0 <= beta < np.inf:
        raise ValueError(f"beta must be a number of at least 0, got {beta}")

    def bound(model: ConceptModel, generator: np.random.Generator) -> Floats:
        mean, std = model.predict()
        return mean + beta * std

    return bound


def thompson(model: ConceptModel, generator: np.random.Generator) -> Floats:
    """One draw ``(N,)`` of the rewards of all concepts together, from what the model believes.

    Args:
        model: What is known.
        generator: Source of the draw.
    """
    return model.sample(generator)


def diverse(count: int, *, penalty: float = 1.0, base: Acquisition = mean_plus_std, again: bool = False) -> Acquisition:
    """Acquisition that spreads a batch: what is like a concept already chosen loses score.

    Chooses `count` concepts one after another, each time that with the highest score minus `penalty` standard
    deviations (of the scores) times its largest cosine similarity, where positive, with those chosen. Chosen concepts
    keep the score that they were chosen with, so that they come first in the order of choice; the others are below.

    Args:
        count: Size of the batch; one pass over the embeddings each.
        penalty: Strength; 0 leaves the scores of `base` as they are.
        base: Acquisition that gives the scores.
        again: Choose observed concepts too; otherwise none takes a place of the batch.

    Raises:
        ValueError: If `count` is below 1, or `penalty` is negative or not finite.

    Example:
        >>> from vl_explorer.models.nearest import NearestModel
        >>> embeddings = np.array([[1.0, 0.0], [0.999, 0.045], [0.0, 1.0]])
        >>> model = NearestModel(embeddings, np.array([0.8, 0.6]))
        >>> diverse(2, penalty=3.0)(model, np.random.default_rng(0)).argsort()[::-1][:2].tolist()
        [1, 2]
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    if not 0 <= penalty < np.inf:
        raise ValueError(f"penalty must be a number of at least 0, got {penalty}")

    def spread(model: ConceptModel, generator: np.random.Generator) -> Floats:
        scores = base(model, generator)
        weight = penalty * float(scores.std())
        lengths = np.linalg.norm(model.embeddings, axis=1)
        lengths[lengths == 0] = 1
        likeness = np.zeros(len(scores))
        penalized = scores.copy()
        waiting = np.ones(len(scores), bool)
        free = waiting.copy()
        if not again:
            free[model.observations.indices] = False
        for _ in range(min(count, int(free.sum()))):
            chosen = int(np.argmax(np.where(free, penalized, -np.inf)))
            waiting[chosen] = free[chosen] = False
            cosines = model.embeddings @ (model.embeddings[chosen] / lengths[chosen]) / lengths
            np.maximum(likeness, cosines, out=likeness)
            penalized[waiting] = scores[waiting] - weight * likeness[waiting]
        return penalized

    return spread


def keep_observed(base: Acquisition = mean_plus_std) -> Acquisition:
    """Acquisition in which concepts that were observed have their own mean reward, as in the paper.

    Args:
        base: Acquisition that scores the others.
    """

    def kept(model: ConceptModel, generator: np.random.Generator) -> Floats:
        scores = base(model, generator)
        seen = model.observations
        counts = np.bincount(seen.indices, minlength=len(scores))
        sums = np.bincount(seen.indices, seen.rewards, minlength=len(scores))
        return np.where(counts > 0, sums / np.maximum(counts, 1), scores)

    return kept
