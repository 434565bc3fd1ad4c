"""The methods that a study compares, by name, and how each is set up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch.nn.modules.batchnorm import _BatchNorm

from vl_diffusion.adaptation.losses import DiffusionTTA, Entropy, NoAdaptation
from vl_diffusion.models.denoiser import network_of, takes_prompts
from vl_diffusion.studies.adaptation.workers import Adapting, Classifying, Setup, Worker


@dataclass(frozen=True)
class Method:
    """A way of answering, with or without adaptation."""

    name: str
    """What tables call it."""

    start: Callable[[Setup], Worker]
    """Sets it up for one seed."""


def _source(setup: Setup) -> Worker:
    return _adapting(setup, objective=NoAdaptation(), adapt="last", steps=1, gate=None, images_at_once=64)


def _tent(setup: Setup) -> Worker:
    """Wang et al. (2021): one step of Adam a batch on the normalization layers, with the batch's statistics."""
    has_batch_norm = any(isinstance(module, _BatchNorm) for module in setup.source.model.modules())
    return _adapting(
        setup,
        objective=Entropy(),
        adapt="norm",
        mode="online",
        batch_norm="batch" if has_batch_norm else "source",
        optimizer="adam",
        learning_rate=1e-3,
        steps=1,
        gate=None,
        images_at_once=32,
    )


def _diffusion_tta(setup: Setup) -> Worker:
    """Prabhudesai et al. (2023) as released: 5 steps of 180 draws; a DiT moves too, a text-conditional model not."""
    moves = network_of(setup.denoiser) is not None and not takes_prompts(setup.denoiser)
    return _adapting(
        setup,
        objective=DiffusionTTA(draws=180, placement="random"),
        adapt="all",
        adapt_denoiser="all" if moves else None,
        optimizer="sgd",
        learning_rate=5e-3,
        steps=5,
        gate=None,
    )


def _default(setup: Setup, **settings: Any) -> Worker:
    return _adapting(setup, objective=setup.evidence(), **settings)


def _adapting(setup: Setup, **settings: Any) -> Worker:
    return Adapting(setup.adapter(**settings), setup.errors)


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("source", _source),
        Method("tent", _tent),
        Method("default", _default),
        Method("default_online", lambda setup: _default(setup, mode="online")),
        Method("ungated", lambda setup: _default(setup, gate=None)),
        Method("diffusion_tta", _diffusion_tta),
        Method("diffusion_classifier", Classifying),
    )
}
"""All by name: the classifier as it is; TENT; the adapter's defaults, episodic and online, and without a gate; the
published setting of Diffusion-TTA; and the diffusion model as the classifier."""
