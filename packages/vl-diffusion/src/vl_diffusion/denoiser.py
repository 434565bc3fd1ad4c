"""The contract between a diffusion model and the classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from vl_diffusion.schedule import NoiseSchedule

Condition = Tensor | Mapping[str, Tensor]
"""What a network is given beside the noisy image: a tensor with a row for each class or prompt, or several by name."""


class Denoiser(Protocol):
    """A class- or text-conditional diffusion model, seen from the classifier.

    Implement these members to classify with a model that the package does not know. ``B`` is a batch, ``K`` the number
    of classes or prompts, ``(c, h, w)`` the shape that the model denoises (a latent's, or the picture's own).

    Three members may be left out. ``takes_prompts = True`` has `encode_classes` called with filled-in prompts instead
    of class names. ``learns_variance = True`` says that `predict` returns ``(B, 2c, h, w)``, of which the second half
    is the variance in the form of Nichol & Dhariwal (2021, equation 15); the objective ``"vlb"`` reads it.
    ``encode_unconditional()`` gives the row ``(1, ...)`` for no class at all, where a model was trained with one; for a
    model that takes prompts it is the empty prompt unless told otherwise.
    """

    schedule: NoiseSchedule
    """Noise levels and what the network predicts."""

    image_size: int
    """Height and width of the pictures it was trained on, in pixels."""

    image_channels: int
    """1 for grey pictures, 3 for colour."""

    class_names: tuple[str, ...] | None
    """Names of the classes it was trained on, where it knows them."""

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        ...

    def encode_images(self, images: Tensor) -> Tensor:
        """Pictures ``(B, channels, size, size)`` in [0, 1] to what is denoised, float32 ``(B, c, h, w)``."""
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
