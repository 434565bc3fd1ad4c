"""The contract between a diffusion model and the classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from vl_diffusion.models.schedule import NoiseSchedule

Condition = Tensor | Mapping[str, Tensor]
"""What a network is given beside the noisy image: a tensor with a row for each class or prompt, or several by name."""


class Denoiser(Protocol):
    """A class- or text-conditional diffusion model, seen from the classifier.

    Implement these members to classify with a model that the package does not know. ``B`` is a batch, ``K`` the number
    of classes or prompts, ``(c, h, w)`` the shape that the model denoises (a latent's, or the image's own).

    Five members may be left out. ``takes_prompts = True`` has `encode_classes` called with filled-in prompts instead
    of class names. ``learns_variance = True`` says that `predict` returns ``(B, 2c, h, w)``, of which the second half
    is the variance in the form of Nichol & Dhariwal (2021, equation 15); the objective ``"vlb"`` reads it.
    ``encode_unconditional()`` gives the row ``(1, ...)`` for no class at all, where a model was trained with one; for a
    model that takes prompts it is the empty prompt unless told otherwise. ``mix_conditions(condition, weights)`` gives
    the conditions of B mixtures of the K classes; by default rows of floats are averaged. ``network`` is the module
    whose weights `predict` uses; without it they cannot move in test-time adaptation.
    """

    schedule: NoiseSchedule
    """Noise levels and what the network predicts."""

    image_size: int
    """Height and width of the images it was trained on, in pixels."""

    image_channels: int
    """1 for gray images, 3 for color."""

    class_names: tuple[str, ...] | None
    """Names of the classes it was trained on, where it knows them."""

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        ...

    def encode_images(self, images: Tensor) -> Tensor:
        """Images ``(B, channels, size, size)`` in [0, 1] to what is denoised, float32 ``(B, c, h, w)``."""
        ...

    def encode_classes(self, classes: Sequence[str]) -> Condition:
        """What the network is given for each class, ``(K, ...)``; computed once."""
        ...

    def predict(self, x_t: Tensor, time: Tensor, condition: Condition) -> Tensor:
        """The network's own output, ``(B, c, h, w)``, for times ``(B,)`` and ``B`` rows of `encode_classes`."""
        ...


def condition_rows(condition: Condition, rows: Tensor) -> Condition:
    """The rows of a condition that a batch needs."""
    if isinstance(condition, Tensor):
        return condition[rows]
    return {name: value[rows] for name, value in condition.items()}


def num_rows(condition: Condition) -> int:
    """How many classes or prompts a condition holds."""
    return len(condition) if isinstance(condition, Tensor) else len(next(iter(condition.values())))


def equal_rows(condition: Condition) -> list[tuple[int, int]]:
    """Rows that are the same to a network: each with the first one that it equals, which comes first."""
    values = [condition] if isinstance(condition, Tensor) else list(condition.values())
    # Only rows of equal sums are compared value by value.
    sums = torch.stack([value.flatten(1).sum(1, dtype=torch.float64) for value in values], dim=1).tolist()
    first: dict[tuple[float, ...], int] = {}
    pairs = [(first.setdefault(tuple(of_row), row), row) for row, of_row in enumerate(sums)]
    return [(one, row) for one, row in pairs if one != row and all(value[one].equal(value[row]) for value in values)]


def takes_prompts(denoiser: Denoiser) -> bool:
    """Whether `encode_classes` wants prompts rather than names."""
    return bool(getattr(denoiser, "takes_prompts", False))


def learns_variance(denoiser: Denoiser) -> bool:
    """Whether `predict` returns a variance behind the prediction."""
    return bool(getattr(denoiser, "learns_variance", False))


def unconditional(denoiser: Denoiser) -> Condition:
    """What the network is given for no class at all: one row.

    Raises:
        ValueError: If the model has no such thing.
    """
    own = getattr(denoiser, "encode_unconditional", None)
    if own is not None:
        row: Condition = own()
        return row
    if takes_prompts(denoiser):
        return denoiser.encode_classes([""])
    raise ValueError(
        f"{type(denoiser).__name__} knows no unconditional error: it takes no prompts and has no encode_unconditional()"
    )


def network_of(denoiser: Denoiser) -> nn.Module | None:
    """The module that `predict` computes with, where the denoiser shows it."""
    network = getattr(denoiser, "network", None)
    return network if isinstance(network, nn.Module) else None


def mix_conditions(denoiser: Denoiser, condition: Condition, weights: Tensor) -> Condition:
    """What the network is given for mixtures of classes: rows of `condition`, summed with weights.

    Masks and other integers are not mixed: a place counts if it counts in any class of the mixture.

    Args:
        denoiser: The model.
        condition: What it is given for each of K classes.
        weights: ``(B, K)``, none negative; receives a gradient.

    Returns:
        B rows.

    Raises:
        TypeError: If the condition is a class's number, which cannot be mixed, and the model has no way of its own.
    """
    own = getattr(denoiser, "mix_conditions", None)
    if own is not None:
        mixed: Condition = own(condition, weights)
        return mixed
    if isinstance(condition, Tensor):
        if not condition.is_floating_point():
            raise TypeError(
                f"{type(denoiser).__name__} is given a class's number, and numbers cannot be mixed; give it a method "
                "mix_conditions(condition, weights), or encode classes as vectors"
            )
        return _weighted_rows(condition, weights)
    return {
        name: _weighted_rows(value, weights)
        if value.is_floating_point()
        else torch.where(weights[(...,) + (None,) * (value.ndim - 1)] > 0, value, torch.zeros_like(value)).amax(1)
        for name, value in condition.items()
    }


def _weighted_rows(rows: Tensor, weights: Tensor) -> Tensor:
    """``(K, ...)`` and ``(B, K)`` to ``(B, ...)``."""
    return torch.einsum("bk,k...->b...", weights.to(rows.dtype), rows)
