"""Queries of an iteration: a function of the seed, the iteration and the rewards so far."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vl_explorer.exploring.settings import Exploration
from vl_explorer.models.acquisition import Acquisition
from vl_explorer.models.model import ConceptModel
from vl_explorer.models.sampling import draw, generator_of, query_distribution
from vl_explorer.vocabulary.concepts import Descriptor, Vocabulary

LABEL = "label:"
"""Begins the key of a concept that is a label and none of the vocabulary's."""


@dataclass(frozen=True)
class Proposal:
    """A query to be asked."""

    text: str
    """As the engine is asked."""
    concept: str
    """Key of the concept."""


def propose(
    model: ConceptModel,
    vocabulary: Vocabulary,
    settings: Exploration,
    iteration: int,
    *,
    acquisition: Acquisition,
    asked: Collection[str] = (),
    labels: Sequence[str] = (),
    descriptor: Descriptor | None = None,
) -> list[Proposal]:
    """Queries of an iteration, labels first.

    Args:
        model: Of the rewards of iterations before.
        vocabulary: Its concepts have the indices of the model's embeddings.
        settings: Of the exploration.
        iteration: Number of the iteration.
        acquisition: Scores of the concepts.
        asked: Keys of concepts that were searched for, which are not drawn again unless ``repeat_concepts`` is set.
        labels: Names of classes that are queries themselves.
        descriptor: Gives a word that is put before a concept.

    Returns:
        ``settings.queries_of(iteration)`` of them, fewer once the vocabulary has been asked for; none at its end.
    """
    known = frozenset() if settings.repeat_concepts else frozenset(asked)
    count = settings.queries_of(iteration)
    found = [
        Proposal(label, f"{LABEL}{label}")
        for label in _labels(labels, known, settings, iteration)[: round(settings.label_share * count)]
    ]
    shares = _shares(model, vocabulary, settings, iteration, acquisition, known)
    if shares is None:
        return found
    for index in draw(shares, count - len(found), settings.seed, iteration).tolist():
        found.append(Proposal(vocabulary.query(index, descriptor), vocabulary[index].key))
    return found


def _labels(labels: Sequence[str], known: Collection[str], settings: Exploration, iteration: int) -> list[str]:
    """Labels in turn: those not asked for, or, where concepts are repeated, from where the last iteration ended."""
    free = [label for label in labels if f"{LABEL}{label}" not in known]
    if not settings.repeat_concepts or not free:
        return free
    begin = sum(round(settings.label_share * settings.queries_of(past)) for past in range(iteration)) % len(free)
    return free[begin:] + free[:begin]


def _shares(
    model: ConceptModel,
    vocabulary: Vocabulary,
    settings: Exploration,
    iteration: int,
    acquisition: Acquisition,
    known: Collection[str],
) -> NDArray[np.float64] | None:
    """Probabilities ``(N,)`` of all concepts, None if none is left."""
    free = np.array([concept.key not in known for concept in vocabulary])
    if not free.any():
        return None
    scores = acquisition(model, generator_of(settings.seed, iteration))
    shares = np.zeros(len(vocabulary))
    shares[free] = query_distribution(scores[free], settings.ratio, settings.tiers, settings.masses)
    return shares
