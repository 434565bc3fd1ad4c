"""A small generator between two sides of images, and a critic of images."""

from __future__ import annotations

from typing import Any

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn
from torch.nn import functional as F
from vl_core.data import image_batch

_EDGE = 0.02
"""Distance from 0 and 1 at which a source is clipped before its logit is taken."""


class Translator(nn.Module, PyTorchModelHubMixin):
    """Generator from images to images of the same size, which begins close to the identity.

    Two resolutions; the output is a sigmoid of the source's logit plus what the network adds.

    Args:
        channels: Channels of an image, source and target alike.
        width: Features at full resolution.

    Raises:
        ValueError: If a number is not positive.

    Example:
        >>> Translator().translate(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 1, 28, 28])
    """

    def __init__(self, *, channels: int = 1, width: int = 24):
        super().__init__()
        if channels < 1 or width < 1:
            raise ValueError(f"channels and width must be at least 1, got {channels} and {width}")
        self.channels = channels
        self.enter = nn.Conv2d(channels, width, 3, padding=1)
        self.down = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.inner: Any = nn.ModuleList(nn.Conv2d(2 * width, 2 * width, 3, padding=1) for _ in range(2))
        self.up = nn.Conv2d(2 * width, width, 3, padding=1)
        self.join = nn.Conv2d(2 * width, width, 3, padding=1)
        self.leave = nn.Conv2d(width, channels, 3, padding=1)
        with torch.no_grad():
            for parameter in self.leave.parameters():
                parameter.mul_(0.1)

    def forward(self, images: Tensor) -> Tensor:
        """Translate ``(B, C, H, W)`` in [0, 1]; differentiable."""
        fine = F.relu(self.enter(2 * images - 1))
        coarse = F.relu(self.down(fine))
        for layer in self.inner:
            coarse = coarse + F.relu(layer(coarse))
        wide = F.interpolate(F.relu(self.up(coarse)), size=fine.shape[2:])
        added = self.leave(F.relu(self.join(torch.cat([fine, wide], 1))))
        translated: Tensor = (torch.logit(images.clamp(_EDGE, 1 - _EDGE)) + added).sigmoid()
        return translated

    @torch.no_grad()
    def translate(self, images: Any) -> Tensor:
        """Translate images as `vl_core.data.image_batch` takes them, ``(B, C, H, W)`` in [0, 1].

        Raises:
            ValueError: If they have other channels than the translator.
        """
        batch = image_batch(images).to(self.enter.weight.device)
        if batch.shape[1] != self.channels:
            raise ValueError(
                f"images must have {self.channels} channels as the translator, got {batch.shape[1]}; convert them"
            )
        found: Tensor = self(batch)
        return found


class Critic(nn.Module):
    """Score of patches of an image: 1 for images of the target side, 0 for translated ones.

    Mao et al., *Least Squares Generative Adversarial Networks*, 2017, with three convolutions.

    Args:
        channels: Channels of an image.
        width: Features of the first layer.
    """

    def __init__(self, *, channels: int = 1, width: int = 24):
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)),
            *(nn.Conv2d(width, 2 * width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)),
            nn.Conv2d(2 * width, 1, 3, padding=1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Scores of patches, ``(B, 1, H / 4, W / 4)``."""
        found: Tensor = self.layers(2 * images - 1)
        return found
