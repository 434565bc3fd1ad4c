"""The parts of an exploration as `vl-explorer run` names them: learner, model of concepts, acquisition, filters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vl_core.data import open_dataset
from vl_core.devices import find_device

from vl_explorer.commands._run_inputs import Inputs
from vl_explorer.commands.settings.run import Run
from vl_explorer.embeddings.glove import GloveNouns
from vl_explorer.learning.learner import FixedLearner, Learner
from vl_explorer.learning.moco import MoCoLearner, paper_training, small_training
from vl_explorer.models.acquisition import (
    Acquisition,
    diverse,
    keep_observed,
    mean_plus_std,
    thompson,
    uniform,
    upper_bound,
)
from vl_explorer.models.gaussian_process import GaussianProcess
from vl_explorer.models.linear import LinearModel
from vl_explorer.models.model import ConceptModel
from vl_explorer.models.nearest import NearestModel
from vl_explorer.rewards.encoder import ImageEncoder
from vl_explorer.rewards.start import open_start_backbone, open_start_encoder
from vl_explorer.store.likeness.leak_guard import LeakGuard

_UPDATES = 40
_BETA = 2.0


def build_learner(settings: Run) -> Learner:
    """The learner, which begins with the start encoder.

    Raises:
        OSError: If the weights are missing.
        ValueError: If they are damaged.
    """
    if settings.learner == "none":
        return FixedLearner(open_start_encoder(settings.encoder))
    backbone = open_start_backbone(settings.encoder).to(find_device(settings.device))
    size = backbone.config.image_size if backbone.config is not None else None
    training, options = paper_training(seed=settings.seed), dict[str, Any]()
    if settings.recipe == "small":
        training = small_training(seed=settings.seed)
        options = {"projection": 128, "hidden": 512, "predictor_hidden": 512, "temperature": 0.2, "momentum": 0.99}
    return MoCoLearner(
        backbone,
        image_size=size or 224,
        settings=training,
        updates=settings.updates or (_UPDATES if settings.recipe == "small" else None),
        name=settings.encoder,
        scorer=open_start_encoder(settings.encoder) if settings.scorer == "start" else None,
        **options,
    )


def build_model(settings: Run, inputs: Inputs) -> ConceptModel:
    """The model of rewards over the vocabulary.

    Raises:
        ValueError: If no word of the task's name is known.
    """
    embed = GloveNouns()
    embeddings = embed([concept.name for concept in inputs.vocabulary])
    if settings.concept_model == "linear":
        return LinearModel(embeddings)
    if settings.concept_model == "nearest":
        return NearestModel(embeddings, embed(inputs.names))
    return GaussianProcess(embeddings)


def build_acquisition(settings: Run) -> Acquisition:
    """Scores of the concepts; equal ones where the search is random."""
    if settings.concept_model == "random":
        return uniform
    count = settings.exploration.queries
    builders: dict[str, Callable[[], Acquisition]] = {
        "mean-plus-std": lambda: keep_observed(mean_plus_std),
        "upper-bound": lambda: upper_bound(_BETA),
        "thompson": lambda: thompson,
        "diverse": lambda: diverse(count, again=settings.exploration.repeat_concepts),
        "greedy": lambda: upper_bound(0.0),
    }
    return builders[settings.acquisition]()


def build_guard(settings: Run, encoder: ImageEncoder) -> LeakGuard | None:
    """The guard of the test images, None where none are given.

    Raises:
        ValueError: If an image cannot be read.
    """
    if settings.test_images is None:
        return None
    dataset = open_dataset(settings.test_images, default_split="test")
    images = (dataset[place][0] for place in range(len(dataset)))
    return LeakGuard(images, lambda image: encoder([image])[0])
