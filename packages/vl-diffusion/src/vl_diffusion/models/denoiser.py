"""The interface of diffusion models, and helpers for their conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from vl_diffusion.models.schedule import NoiseSchedule

Condition = Tensor | Mapping[str, Tensor]
"""Conditioning input of the network: a tensor with one row per class or prompt, or several tensors by name."""


class Denoiser(Protocol):
    """Interface of a class- or text-conditional diffusion model.

    Implement it to classify with a model that the package does not support. ``B`` is the batch size, ``K`` the number
    of classes or prompts, ``(c, h, w)`` the shape that the model denoises (the latent's, or the image's own).

    Five members are optional. With ``takes_prompts = True``, `encode_classes` is called with filled-in prompts instead
    of class names. With ``learns_variance = True``, `predict` returns ``(B, 2c, h, w)``, of which the second half is
    the variance as parameterized by Nichol & Dhariwal (2021, equation 15), used by the objective ``"vlb"``.
    ``encode_unconditional()`` returns the condition ``(1, ...)`` for no class, if the model was trained with one; by
    default the empty prompt for models that take prompts. ``mix_conditions(condition, weights)`` returns the conditions
    of B mixtures of the K classes; by default floating-point rows are averaged. ``network`` is the module whose weights
    `predict` uses; without it they cannot be adapted at test time.
    """

    schedule: NoiseSchedule
    """Noise levels and prediction type of the network."""

    image_size: int
    """Height and width of the training images, in pixels."""

    image_channels: int
    """1 for gray images, 3 for color."""

    class_names: tuple[str, ...] | None
    """Names of the training classes, if known."""

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        ...

    def encode_images(self, images: Tensor) -> Tensor:
        """Encode images ``(B, channels, size, size)`` in [0, 1] as model inputs, float32 ``(B, c, h, w)``."""
        ...

    def encode_classes(self, classes: Sequence[str]) -> Condition:
        """Encode class names or prompts as conditions ``(K, ...)``; called once."""
        ...

    def predict(self, x_t: Tensor, time: Tensor, condition: Condition) -> Tensor:
        """Output of the network, ``(B, c, h, w)``, for times ``(B,)`` and ``B`` rows of `encode_classes`."""
        ...


def condition_rows(condition: Condition, rows: Tensor) -> Condition:
    """Select rows of a condition."""
    if isinstance(condition, Tensor):
        return condition[rows]
    return {name: value[rows] for name, value in condition.items()}


def num_rows(condition: Condition) -> int:
    """Number of rows of a condition."""
    return len(condition) if isinstance(condition, Tensor) else len(next(iter(condition.values())))


def equal_rows(condition: Condition) -> list[tuple[int, int]]:
    """Pairs of equal rows ``(first, row)``, each with the first row that it equals."""
    values = [condition] if isinstance(condition, Tensor) else list(condition.values())
    # Only rows with equal sums are compared value by value.
    sums = torch.stack([value.flatten(1).sum(1, dtype=torch.float64) for value in values], dim=1).tolist()
    first: dict[tuple[float, ...], int] = {}
    pairs = [(first.setdefault(tuple(key), row), row) for row, key in enumerate(sums)]
    return [(one, row) for one, row in pairs if one != row and all(value[one].equal(value[row]) for value in values)]


def takes_prompts(denoiser: Denoiser) -> bool:
    """True if `encode_classes` takes prompts instead of class names."""
    return bool(getattr(denoiser, "takes_prompts", False))


def learns_variance(denoiser: Denoiser) -> bool:
    """True if `predict` returns a variance after the prediction."""
    return bool(getattr(denoiser, "learns_variance", False))


def unconditional(denoiser: Denoiser) -> Condition:
    """The condition for no class, one row.

    Raises:
        ValueError: If the model has none.
    """
    own = getattr(denoiser, "encode_unconditional", None)
    if own is not None:
        row: Condition = own()
        return row
    if takes_prompts(denoiser):
        return denoiser.encode_classes([""])
    raise ValueError(
        f"model must take prompts or have encode_unconditional() for an unconditional error, "
        f"got {type(denoiser).__name__}"
    )


def network_of(denoiser: Denoiser) -> nn.Module | None:
    """The module that `predict` uses, if the denoiser has an attribute `network`."""
    network = getattr(denoiser, "network", None)
    return network if isinstance(network, nn.Module) else None


def mix_conditions(denoiser: Denoiser, condition: Condition, weights: Tensor) -> Condition:
    """Conditions of mixtures of classes: weighted sums of rows of `condition`.

    Masks and other integers are combined by their maximum over the classes of the mixture.

    Args:
        denoiser: The model.
        condition: Conditions of the K classes.
        weights: Non-negative ``(B, K)``; differentiable.

    Returns:
        B rows.

    Raises:
        TypeError: If the condition is a class index, which cannot be mixed, and the model has no `mix_conditions`.
    """
    own = getattr(denoiser, "mix_conditions", None)
    if own is not None:
        mixed: Condition = own(condition, weights)
        return mixed
    if isinstance(condition, Tensor):
        if not condition.is_floating_point():
            raise TypeError(
                f"condition must be floating point to be mixed, and {type(denoiser).__name__} takes class indices; "
                "implement mix_conditions(condition, weights), or encode classes as vectors"
            )
        return _weighted_rows(condition, weights)
    return {
        name: _weighted_rows(value, weights)
        if value.is_floating_point()
        else torch.where(weights[(...,) + (None,) * (value.ndim - 1)] > 0, value, torch.zeros_like(value)).amax(1)
        for name, value in condition.items()
    }


def _weighted_rows(rows: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums ``(B, ...)`` of rows ``(K, ...)`` with weights ``(B, K)``."""
    return torch.einsum("bk,k...->b...", weights.to(rows.dtype), rows)
