"""Image-text matching: denoising errors of all image-caption pairs, and scores computed from them.

For one image, errors of captions are compared like those of classes, as Li et al. (2023) do on Winoground. Errors of
different images under one caption are not comparable: a plain image is easier to denoise than a busy one under any
caption. Subtracting the unconditional error corrects for this and estimates ``log p(x | c) - log p(x)`` (Krojer et al.,
2023, "Are Diffusion Models Vision-And-Language Reasoners?").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from vl_core.data import checked_ids
from vl_core.devices import checked_device
from vl_core.progress import progress_bar
from vl_core.results import wilson_interval

from vl_diffusion.checks import checked_settings
from vl_diffusion.classification.candidates import Candidates
from vl_diffusion.classification.classifier import DiffusionClassifier
from vl_diffusion.classification.encoding import encode_each
from vl_diffusion.classification.engine import Engine
from vl_diffusion.models.denoiser import Condition, Denoiser, unconditional
from vl_diffusion.models.image_stream import image_sequence
from vl_diffusion.models.loading import as_denoiser
from vl_diffusion.models.schedule import Prediction
from vl_diffusion.scoring.evaluator import ErrorEvaluator
from vl_diffusion.scoring.losses import check_objective
from vl_diffusion.scoring.objectives import Objective
from vl_diffusion.scoring.weighting import Weighting, draw_weights
from vl_diffusion.search import Exhaustive


@dataclass(frozen=True, eq=False)
class MatchResult:
    """Denoising errors of B images under C captions.

    Attributes:
        errors: float64 ``(B, C)``; all captions of an image share the same noise.
        unconditional_errors: float64 ``(B,)``, on the same noise; None if not requested.
    """

    errors: np.ndarray
    unconditional_errors: np.ndarray | None = None

    @property
    def scores(self) -> np.ndarray:
        """Matching scores, float64 ``(B, C)``; larger is better, see `retrieval_scores`.

        Without unconditional errors, only the scores of one image are comparable.
        """
        if self.unconditional_errors is None:
            return -self.errors
        return retrieval_scores(self.errors, self.unconditional_errors)


def match(
    model: Any,
    images: Any,
    captions: Sequence[str],
    *,
    with_unconditional: bool = False,
    draws: int = 100,
    objective: Objective = "l2",
    error_space: Prediction = "epsilon",
    weighting: Weighting = "uniform",
    time_range: tuple[float, float] = (0.0, 1.0),
    seed: int = 0,
    batch_size: int = 64,
    image_ids: Iterable[int] | None = None,
    scheduler: Any | None = None,
    device: str | torch.device | None = None,
    progress: bool = False,
) -> MatchResult:
    """Evaluate every image under every caption.

    Costs images times captions (plus one for the unconditional error) times draws evaluations of the network.

    Args:
        model: A model as for :class:`~vl_diffusion.DiffusionClassifier`, or a classifier, whose model is used.
        images: One image or several, as for ``classify``.
        captions: Prompts, used verbatim, or class names for a class-conditional model.
        with_unconditional: Also evaluate under the empty prompt, or under the label for no class.
        draws: Number of evenly spaced draws per pair.
        objective: Form of the error; this and the next six arguments are those of the classifier.
        error_space: The quantity whose error is measured.
        weighting: Weights of the noise levels.
        time_range: Part of the schedule that the draws cover.
        seed: Seed of the noise.
        batch_size: Evaluations per call of the network.
        image_ids: An integer per image that determines its noise.
        scheduler: For a bare network: its diffusers scheduler.
        device: Device to compute on; default: the model's.
        progress: Show a progress bar.

    Raises:
        TypeError: If captions are not strings, or an image is of an unsupported type.
        ValueError: If there is no image or caption, an argument is out of range, or the model has no unconditional
            error.
    """
    checked_settings(batch_size=batch_size, temperature=1.0, seed=seed)
    texts = _checked_captions(captions)
    sequence = image_sequence(images)
    ids = None if image_ids is None else checked_ids(image_ids, len(sequence))
    search = Exhaustive(draws)
    denoiser: Denoiser = (
        model.denoiser
        if isinstance(model, DiffusionClassifier)
        else as_denoiser(model, scheduler=scheduler, device=checked_device(device))
    )
    check_objective(objective, error_space, denoiser)
    steps = denoiser.schedule.steps(draws, time_range)
    weights = draw_weights(weighting, denoiser.schedule, steps).astype(np.float32)

    def evaluate(condition: Condition, names: tuple[str, ...], advance: Callable[[int], object]) -> np.ndarray:
        errors = ErrorEvaluator(
            denoiser=denoiser,
            condition=condition,
            texts=names,
            steps=steps,
            objective=objective,
            error_space=error_space,
            seed=seed,
            batch_size=batch_size,
        )
        candidates = Candidates(names, tuple(np.arange(len(names))[:, None]), np.arange(len(names)))
        engine = Engine(errors, candidates, len(names), weights)
        found = np.empty((len(sequence), len(names)))
        for state in engine.run(encode_each(denoiser, sequence, ids), search, advance):
            found[state.image.index] = state.errors.mean(1, dtype=np.float64)
        return found

    none = unconditional(denoiser) if with_unconditional else None
    total = len(sequence) * (len(texts) + with_unconditional) * draws
    with progress_bar(total=total, desc="match", unit=" evaluations", disable=not progress) as bar:
        errors = evaluate(denoiser.encode_classes(texts), texts, bar.update)
        # In a separate run, since the empty prompt may be encoded to another length. The noise is the same.
        return MatchResult(errors, None if none is None else evaluate(none, ("",), bar.update)[:, 0])


def match_groups(
    model: Any,
    images: Sequence[Sequence[Any]],
    captions: Sequence[Sequence[str]],
    *,
    progress: bool = False,
    **settings: Any,
) -> MatchResult:
    """Match within each of N small groups of images and captions, such as the two and two of Winoground.

    Args:
        model: As for :func:`match`.
        images: N groups of I images.
        captions: N groups of C captions.
        progress: Show a progress bar over groups.
        **settings: Other arguments of :func:`match` except `image_ids`.

    Returns:
        Errors ``(N, I, C)``, and unconditional errors ``(N, I)`` if requested.

    Raises:
        ValueError: If there is no group, or the numbers of groups or of their members differ.
    """
    if len(images) != len(captions) or not len(images):
        raise ValueError(
            f"images and captions must have the same number of groups, at least one, "
            f"got {len(images)} and {len(captions)}"
        )
    parts = []
    pairs = zip(images, captions, strict=True)
    for group_images, group_captions in progress_bar(
        pairs, total=len(images), desc="match", unit="group", disable=not progress
    ):
        parts.append(match(model, list(group_images), group_captions, **settings))
        if parts[-1].errors.shape != parts[0].errors.shape:
            raise ValueError(
                f"groups must all have as many images and captions as the first, {parts[0].errors.shape}, got "
                f"{parts[-1].errors.shape} for group {len(parts) - 1}"
            )
    none = [part.unconditional_errors for part in parts if part.unconditional_errors is not None]
    return MatchResult(np.stack([part.errors for part in parts]), np.stack(none) if none else None)


def retrieval_scores(errors: np.ndarray, unconditional_errors: np.ndarray) -> np.ndarray:
    """Retrieval scores: the unconditional error minus the error under the caption.

    Args:
        errors: ``(..., B, C)``, images by captions.
        unconditional_errors: ``(..., B)``, on the same noise.

    Returns:
        Scores ``(..., B, C)``; larger is better. The captions of one image are ranked as by their errors.

    Raises:
        ValueError: If the shapes do not match.
    """
    errors, unconditional_errors = np.asarray(errors), np.asarray(unconditional_errors)
    if errors.ndim < 2 or errors.shape[:-1] != unconditional_errors.shape:
        raise ValueError(
            f"unconditional_errors must have the shape of errors without its last dimension, got "
            f"{unconditional_errors.shape} and {errors.shape}"
        )
    scores: np.ndarray = unconditional_errors[..., None] - errors
    return scores


@dataclass(frozen=True)
class Accuracy:
    """Accuracy over a number of examples, with its confidence interval."""

    correct: int
    """Number of correct examples."""

    total: int
    """Number of examples."""

    @property
    def value(self) -> float:
        """Fraction of correct examples, 0 to 1."""
        return self.correct / self.total

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Wilson score interval, see `vl_core.results.wilson_interval`."""
        return wilson_interval(self.correct, self.total, level)


@dataclass(frozen=True)
class WinogroundScores:
    """The three scores of Winoground (Thrush et al., 2022), for examples of two images and two captions."""

    text: Accuracy
    """Examples in which each image has a higher score with its own caption. Chance is 1/4."""

    image: Accuracy
    """Examples in which each caption has a higher score with its own image. Chance is 1/4."""

    group: Accuracy
    """Examples in which both hold. Chance is 1/6."""


def winoground_scores(errors: np.ndarray, unconditional_errors: np.ndarray | None = None) -> WinogroundScores:
    """Text, image and group score of examples in which image 0 belongs to caption 0, and image 1 to caption 1.

    Without unconditional errors, the image score, and with it the group score, mostly reflects which image is plainer.

    Args:
        errors: ``(N, 2, 2)``, examples by images by captions; smaller is better.
        unconditional_errors: ``(N, 2)``, to subtract.

    Returns:
        The scores; a tie is not correct.

    Raises:
        ValueError: If the shapes do not match, there is no example, or an error is NaN.
    """
    table = np.asarray(errors)
    if table.ndim != 3 or table.shape[1:] != (2, 2) or not len(table):
        raise ValueError(f"errors must be (examples, 2 images, 2 captions), got shape {table.shape}")
    if np.isnan(table).any():
        raise ValueError("errors must not be NaN")
    scores = -table if unconditional_errors is None else retrieval_scores(table, unconditional_errors)
    if np.isnan(scores).any():
        raise ValueError("unconditional_errors must not be NaN")
    own, across = scores[:, [0, 1], [0, 1]], scores[:, [0, 1], [1, 0]]
    # Entry i of `across` is image i with the other caption; reversed, the other image with caption i.
    text = (own > across).all(1)
    image = (own > across[:, ::-1]).all(1)
    return WinogroundScores(*(Accuracy(int(correct.sum()), len(table)) for correct in (text, image, text & image)))


def _checked_captions(captions: Sequence[str]) -> tuple[str, ...]:
    if isinstance(captions, str):
        raise TypeError(f"captions must be a sequence of texts, got the single string {captions!r}")
    texts = tuple(captions)
    if invalid := [text for text in texts if not isinstance(text, str)]:
        raise TypeError(f"captions must be strings, got {invalid[0]!r} of type {type(invalid[0]).__name__}")
    if not texts:
        raise ValueError("captions is empty; pass at least one")
    return texts
