"""The errors of all classes on all draws, for learning weightings and replaying searches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from vl_core.data import checked_ids
from vl_core.progress import progress_bar

from vl_diffusion.checks import checked_integer
from vl_diffusion.classification.encoding import encode_each
from vl_diffusion.models.image_stream import image_sequence
from vl_diffusion.search import Exhaustive

if TYPE_CHECKING:
    from vl_diffusion.classification.classifier import DiffusionClassifier


@dataclass(frozen=True, eq=False)
class DrawErrors:
    """Unweighted errors of B images under K classes on M draws.

    Attributes:
        errors: float32 ``(B, K, M)``, in the classifier's objective and error space, averaged over prompts of a class.
        times: float64 ``(M,)``, the time of each draw, from 0 (no noise) to 1 (pure noise).
        image_ids: int64 ``(B,)``, the ids that determine the noise.
    """

    errors: np.ndarray
    times: np.ndarray
    image_ids: np.ndarray


def draw_errors(
    classifier: DiffusionClassifier,
    images: Any,
    *,
    draws: int | None = None,
    time_range: tuple[float, float] = (0.0, 1.0),
    image_ids: Iterable[int] | None = None,
    progress: bool = False,
) -> DrawErrors:
    """Evaluate all classes on all draws, independently of the classifier's search and weighting.

    Costs images times prompts times draws evaluations of the network.

    Args:
        classifier: The classifier, which determines model, objective, error space and seed.
        images: As for :meth:`~vl_diffusion.DiffusionClassifier.classify`.
        draws: Number of evenly spaced draws; by default those of the classifier's search, with the same noise as in
            classification.
        time_range: Part of the schedule that `draws` cover; ignored unless `draws` is passed.
        image_ids: As for ``classify``.
        progress: Show a progress bar.

    Raises:
        ValueError: If there is no image, `draws` is not positive, or prompts of a class are not averaged.
    """
    if draws is not None and checked_integer("draws", draws) < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    num_classes = len(classifier.classes)
    if not np.array_equal(classifier.candidates.class_indices[:num_classes], np.arange(num_classes)):
        raise ValueError(
            f"prompt_combination must be 'mean' for classes with several prompts, so that a draw has one error per "
            f"class, got {classifier.prompt_combination!r}"
        )
    sequence = image_sequence(images)
    ids = None if image_ids is None else checked_ids(image_ids, len(sequence))
    evaluator = classifier.evaluator
    if draws is not None:
        evaluator = replace(evaluator, steps=classifier.denoiser.schedule.steps(draws, time_range), trials=1)
    num_draws = len(evaluator.steps)
    engine = replace(
        classifier.engine,
        evaluator=evaluator,
        num_choices=num_classes,
        weights=np.ones(num_draws, np.float32),
        aggregation="mean",
    )
    errors = np.empty((len(sequence), num_classes, num_draws), np.float32)
    found_ids = np.empty(len(sequence), np.int64)
    total = len(sequence) * int(classifier.candidates.sizes[:num_classes].sum()) * num_draws
    with progress_bar(total=total, desc="draw errors", unit=" evaluations", disable=not progress) as bar:
        encoded_images = encode_each(classifier.denoiser, sequence, ids)
        for state in engine.run(encoded_images, Exhaustive(num_draws), bar.update):
            errors[state.image.index] = state.errors[:num_classes]
            found_ids[state.image.index] = state.image.image_id
    return DrawErrors(errors, (evaluator.steps + 0.5) / len(classifier.denoiser.schedule), found_ids)
