"""Which caption belongs to which image: denoising errors of all pairs, and the scores that are made of them.

For one image the errors of captions compare like those of classes, as Li et al. (2023) do on Winoground. Errors of
different images under one caption do not: a plain image is easier to denoise than a busy one whatever is said of
it. Subtracting the error under no caption takes that away: ``log p(x | c) - log p(x)`` is what remains (Krojer et al.,
2023, "Are Diffusion Models Vision-And-Language Reasoners?").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm
from vl_core.data import checked_ids, is_single_image
from vl_core.results import wilson_interval

from vl_diffusion.checks import checked_settings
from vl_diffusion.classification.candidates import Candidates
from vl_diffusion.classification.classifier import DiffusionClassifier
from vl_diffusion.classification.encoding import encode_each
from vl_diffusion.classification.engine import Engine
from vl_diffusion.models.denoiser import Condition, Denoiser, unconditional
from vl_diffusion.models.loading import as_denoiser
from vl_diffusion.models.schedule import Prediction
from vl_diffusion.scoring.evaluator import ErrorEvaluator
from vl_diffusion.scoring.losses import Objective, check_objective
from vl_diffusion.scoring.weighting import Weighting, draw_weights
from vl_diffusion.search import Exhaustive


@dataclass(frozen=True, eq=False)
class Matching:
    """The denoising errors of B images under C captions.

    Attributes:
        errors: float64 ``(B, C)``; all captions of an image met the same noise.
        unconditional_errors: float64 ``(B,)``, under no caption, on the same noise; None where not asked for.
    """

    errors: np.ndarray
    unconditional_errors: np.ndarray | None = None

    @property
    def scores(self) -> np.ndarray:
        """How well images and captions match, float64 ``(B, C)``, larger being better: see `retrieval_scores`.

        Without unconditional errors, only scores of one image compare.
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
    image_ids: Sequence[int] | None = None,
    scheduler: Any | None = None,
    device: str | torch.device | None = None,
    progress: bool = False,
) -> Matching:
    """Evaluate every image under every caption.

    Costs images times captions (and one, for the unconditional error) times draws calls of the network's.

    Args:
        model: What :class:`~vl_diffusion.DiffusionClassifier` takes, or a classifier, of which only the model is used.
        images: As for ``classify``: one or a sequence.
        captions: What is said of them: prompts as they stand, or names of classes for a model that takes those.
        with_unconditional: Evaluate under the empty prompt, or the label of no class, too.
        draws: Evenly spaced draws a pair.
        objective: As for the classifier, and so are the next six.
        error_space: The quantity whose error is measured.
        weighting: How much each noise level counts.
        time_range: The part of the schedule that draws are spread over.
        seed: Seed of the noise.
        batch_size: Evaluations in one call of the network.
        image_ids: An integer for each image, to which its noise belongs.
        scheduler: For a bare network: its diffusers scheduler.
        device: Where to compute; default: where the model is.
        progress: Show a bar of evaluations.

    Raises:
        TypeError: If captions are no strings, or an image is of no known kind.
        ValueError: If there is no image or caption, an argument is out of range, or the model knows no unconditional
            error.
    """
    checked_settings(batch_size=batch_size, temperature=1.0, seed=seed)
    texts = _checked_captions(captions)
    sequence = [images] if is_single_image(images) else images
    if not len(sequence):
        raise ValueError("images is empty; pass at least one image")
    ids = None if image_ids is None else checked_ids(image_ids, len(sequence))
    search = Exhaustive(draws)
    denoiser: Denoiser = (
        model.denoiser
        if isinstance(model, DiffusionClassifier)
        else as_denoiser(model, scheduler=scheduler, device=device)
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
            found[state.encoded.index] = state.errors.mean(1, dtype=np.float64)
        return found

    none = unconditional(denoiser) if with_unconditional else None
    total = len(sequence) * (len(texts) + with_unconditional) * draws
    with tqdm(total=total, desc="match", unit=" evaluations", disable=not progress) as bar:
        errors = evaluate(denoiser.encode_classes(texts), texts, bar.update)
        # A run of its own, since an empty prompt may be encoded to another length than the others. The noise is equal.
        return Matching(errors, None if none is None else evaluate(none, ("",), bar.update)[:, 0])


def match_groups(
    model: Any,
    images: Sequence[Sequence[Any]],
    captions: Sequence[Sequence[str]],
    *,
    progress: bool = False,
    **settings: Any,
) -> Matching:
    """Match within each of N small groups of images and captions, such as Winoground's two and two.

    Args:
        model: As for :func:`match`.
        images: N groups of I images.
        captions: N groups of C captions.
        progress: Show a bar of groups.
        **settings: The other arguments of :func:`match`, but for `image_ids`.

    Returns:
        Errors ``(N, I, C)``, and unconditional ones ``(N, I)`` where asked for.

    Raises:
        ValueError: If there is no group, or the numbers of groups or of their members differ.
    """
    if len(images) != len(captions) or not len(images):
        raise ValueError(
            f"images and captions must be groups, one and the same number, got {len(images)} and {len(captions)}"
        )
    parts = []
    pairs = zip(images, captions, strict=True)
    for of_group, said in tqdm(pairs, total=len(images), desc="match", unit="group", disable=not progress):
        parts.append(match(model, list(of_group), said, **settings))
        if parts[-1].errors.shape != parts[0].errors.shape:
            raise ValueError(
                f"groups must all have as many images and captions as the first, {parts[0].errors.shape}, got "
                f"{parts[-1].errors.shape} for group {len(parts) - 1}"
            )
    none = [part.unconditional_errors for part in parts if part.unconditional_errors is not None]
    return Matching(np.stack([part.errors for part in parts]), np.stack(none) if none else None)


def retrieval_scores(errors: np.ndarray, unconditional_errors: np.ndarray) -> np.ndarray:
    """What a caption explains of an image: the unconditional error less the error under the caption.

    Args:
        errors: ``(..., B, C)``, images by captions.
        unconditional_errors: ``(..., B)``, on the same noise.

    Returns:
        Scores ``(..., B, C)``, larger being better. Among captions of one image they decide as the errors do.

    Raises:
        ValueError: If the shapes do not fit.
    """
    errors, unconditional_errors = np.asarray(errors), np.asarray(unconditional_errors)
    if errors.ndim < 2 or errors.shape[:-1] != unconditional_errors.shape:
        raise ValueError(
            f"unconditional_errors must have the shape of errors but for its last dimension, got "
            f"{unconditional_errors.shape} and {errors.shape}"
        )
    scores: np.ndarray = unconditional_errors[..., None] - errors
    return scores


@dataclass(frozen=True)
class Share:
    """How many of some examples were right."""

    correct: int
    total: int

    @property
    def value(self) -> float:
        """The share, 0 to 1."""
        return self.correct / self.total

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Wilson's score interval, see `vl_core.results.wilson_interval`."""
        return wilson_interval(self.correct, self.total, level)


@dataclass(frozen=True)
class WinogroundScores:
    """The three scores of Winoground (Thrush et al., 2022), on two images and two captions an example."""

    text: Share
    """For each image, its own caption has the better score than the other. Chance is 1/4."""

    image: Share
    """For each caption, its own image has the better score than the other. Chance is 1/4."""

    group: Share
    """Both. Chance is 1/6."""


def winoground_scores(errors: np.ndarray, unconditional_errors: np.ndarray | None = None) -> WinogroundScores:
    """Text, image and group score of examples in which image 0 goes with caption 0, and 1 with 1.

    Without unconditional errors the image score says mostly which image is plainer, and with it the group score.

    Args:
        errors: ``(N, 2, 2)``, examples by images by captions; smaller being better.
        unconditional_errors: ``(N, 2)``, to subtract.

    Returns:
        The scores; a tie is not right.

    Raises:
        ValueError: If the shapes do not fit, there is no example, or an error is NaN.
    """
    table = np.asarray(errors)
    if table.ndim != 3 or table.shape[1:] != (2, 2) or not len(table):
        raise ValueError(f"errors must be (examples, 2 images, 2 captions), got shape {table.shape}")
    if np.isnan(table).any():
        raise ValueError("errors must be numbers, got NaN")
    scores = -table if unconditional_errors is None else retrieval_scores(table, unconditional_errors)
    if np.isnan(scores).any():
        raise ValueError("unconditional_errors must be numbers, got NaN")
    own, across = scores[:, [0, 1], [0, 1]], scores[:, [0, 1], [1, 0]]
    # Entry i of `across` is image i under the other's caption; turned round, the other's image under caption i.
    text = (own > across).all(1)
    image = (own > across[:, ::-1]).all(1)
    return WinogroundScores(*(Share(int(right.sum()), len(table)) for right in (text, image, text & image)))


def _checked_captions(captions: Sequence[str]) -> tuple[str, ...]:
    if isinstance(captions, str):
        raise TypeError(f"captions must be a sequence of texts, got the single string {captions!r}")
    texts = tuple(captions)
    if strangers := [text for text in texts if not isinstance(text, str)]:
        raise TypeError(f"captions must be strings, got {strangers[0]!r} of type {type(strangers[0]).__name__}")
    if not texts:
        raise ValueError("captions is empty; pass at least one")
    return texts
