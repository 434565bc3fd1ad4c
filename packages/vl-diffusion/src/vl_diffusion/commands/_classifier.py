"""Build the classifier that the settings of a command describe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vl_core.devices import find_device

from vl_diffusion.classification.classifier import DiffusionClassifier
from vl_diffusion.commands.settings.class_names import class_names
from vl_diffusion.commands.settings.classifier import ClassifierSettings, make_search
from vl_diffusion.models.loading import load_denoiser


def build_classifier(settings: ClassifierSettings, known: Sequence[str] = ()) -> DiffusionClassifier:
    """Load the model and build its classifier.

    Args:
        settings: The settings.
        known: Class names to use if neither the settings nor the model have any.

    Raises:
        ValueError: If a setting is out of range, or the model is damaged or not supported.
        OSError: If the model is missing.
    """
    device = find_device(settings.device)
    denoiser = load_denoiser(**settings.loading(), dtype=settings.precision)
    classes = class_names(settings.classes)
    if classes is None and denoiser.class_names is None:
        classes = tuple(known) or None
    named: Any = denoiser.class_names if classes is None else classes
    return DiffusionClassifier(
        denoiser,
        classes,
        search=make_search(settings, named),
        objective=settings.objective,
        error_space=settings.error_space,
        weighting=settings.weighting,
        aggregation=settings.aggregation,
        time_range=settings.time_range,
        temperature=settings.temperature,
        prompt_template=settings.prompts(),
        prompt_combination=settings.prompt_combination,
        seed=settings.seed,
        noise=settings.noise,
        batch_size=settings.batch_size,
        compile=settings.compile,
        device=device,
    )
