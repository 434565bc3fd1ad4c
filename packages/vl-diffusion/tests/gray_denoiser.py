"""A denoiser whose errors are known in closed form, and images for it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from vl_diffusion import LabelTree, NoiseSchedule, Racing

LEVELS = ("black", "dark", "middle", "bright", "white")


class OneGrayPerClass:
    """Knows that class k's images are one gray: it takes what differs from that gray for noise.

    Its error on an image x under class k is exactly ``(signal / noise_level)^2 * (x - gray_k)^2``, whatever the noise.
    """

    image_size, image_channels = 4, 1
    class_names: tuple[str, ...] | None = LEVELS
    device = torch.device("cpu")

    def __init__(self) -> None:
        self.schedule = NoiseSchedule.from_config({"beta_schedule": "linear"})
        self.shown: list[int] = []

    def encode_images(self, images: Tensor) -> Tensor:
        return images * 2 - 1

    def encode_classes(self, classes: Sequence[str]) -> Tensor:
        return torch.tensor([LEVELS.index(name) / 2 - 1 for name in classes])

    def predict(self, x_t: Tensor, timestep: Tensor, condition: Tensor) -> Tensor:
        self.shown.append(len(x_t))
        signal, level = (t.view(-1, 1, 1, 1) for t in self.schedule.levels(timestep.numpy()))
        return (x_t - signal * condition.view(-1, 1, 1, 1)) / level


def tree_of_grays() -> LabelTree:
    return LabelTree({"low": LEVELS[:3], "high": LEVELS[3:]}, LEVELS, Racing(), keep=1)


def gray(value: float) -> Tensor:
    return torch.full((1, 4, 4), value)


def noisy_images(count: int) -> list[Tensor]:
    return list(torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(5)))
