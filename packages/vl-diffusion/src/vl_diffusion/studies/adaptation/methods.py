"""The methods that a study compares, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch.nn.modules.batchnorm import _BatchNorm

from vl_diffusion.adaptation.losses import DiffusionTTA, Entropy, NoAdaptation
from vl_diffusion.models.denoiser import network_of, takes_prompts
from vl_diffusion.studies.adaptation.names import METHOD_NAMES
from vl_diffusion.studies.adaptation.runners import AdapterRunner, DiffusionClassifierRunner, MethodInputs, Runner


@dataclass(frozen=True)
class Method:
    """A way of classifying images, with or without adaptation."""

    name: str
    """Its name in tables."""

    build: Callable[[MethodInputs], Runner]
    """Builds it for one seed."""


def _source(inputs: MethodInputs) -> Runner:
    return _adapter(inputs, objective=NoAdaptation(), adapt="last", steps=1, gate=None, images_at_once=64)


def _tent(inputs: MethodInputs) -> Runner:
    """Wang et al. (2021): one step of Adam a batch on the normalization layers, with the batch's statistics."""
    has_batch_norm = any(isinstance(module, _BatchNorm) for module in inputs.source.model.modules())
    return _adapter(
        inputs,
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


def _diffusion_tta(inputs: MethodInputs) -> Runner:
    """Prabhudesai et al. (2023) as released: 5 steps of 180 draws; adapts a DiT, but no text-conditional model."""
    adapts_denoiser = network_of(inputs.denoiser) is not None and not takes_prompts(inputs.denoiser)
    return _adapter(
        inputs,
        objective=DiffusionTTA(draws=180, placement="random"),
        adapt="all",
        adapt_denoiser="all" if adapts_denoiser else None,
        optimizer="sgd",
        learning_rate=5e-3,
        steps=5,
        gate=None,
    )


def _default(inputs: MethodInputs, **settings: Any) -> Runner:
    return _adapter(inputs, objective=inputs.evidence(), **settings)


def _adapter(inputs: MethodInputs, **settings: Any) -> Runner:
    return AdapterRunner(inputs.adapter(**settings), inputs.errors)


_BUILDERS: tuple[Callable[[MethodInputs], Runner], ...] = (
    _source,
    _tent,
    _default,
    lambda inputs: _default(inputs, mode="online"),
    lambda inputs: _default(inputs, gate=None),
    _diffusion_tta,
    DiffusionClassifierRunner,
)
METHODS: dict[str, Method] = {name: Method(name, build) for name, build in zip(METHOD_NAMES, _BUILDERS, strict=True)}
"""Methods by name, in the order of `METHOD_NAMES`."""
