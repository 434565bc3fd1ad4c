"""Small backbones and views that tests of the methods share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vl_ssl import SiameseMethod, build_method


class Backbone(nn.Module):
    """A convolution with batch normalization and pooling, ``(B, C, H, W)`` to ``(B, 6)``."""

    def __init__(self, channels: int = 3):
        super().__init__()
        self.num_features = 6
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )

    def forward(self, images: Tensor) -> Tensor:
        """Features of images."""
        return self.layers(images)


def make_views(batch: int = 6, channels: int = 3, size: int = 8, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two float64 views of random images that share most of their content."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(batch, channels, size, size, generator=generator, dtype=torch.float64)
    noise = torch.rand(2, *images.shape, generator=generator, dtype=torch.float64)
    return (0.7 * images + 0.3 * noise[0], 0.7 * images + 0.3 * noise[1])


def cosine(a: Tensor, b: Tensor) -> float:
    """Cosine similarity of two vectors by a loop over their numbers."""
    dot = norm_a = norm_b = 0.0
    for x, y in zip(a.tolist(), b.tolist(), strict=True):
        dot, norm_a, norm_b = dot + x * y, norm_a + x * x, norm_b + y * y
    return dot / (norm_a * norm_b) ** 0.5


SETTINGS: dict[str, dict[str, object]] = {
    "simsiam": {"projection": 5, "predictor_hidden": 4},
    "byol": {"projection": 5, "hidden": 7, "predictor_hidden": 4, "momentum": 0.9},
    "moco-v3": {"projection": 5, "hidden": 7, "predictor_hidden": 4, "momentum": 0.9},
    "nnsiam": {"projection": 5, "predictor_hidden": 4, "queue": 16},
    "simclr": {"projection": 5},
    "vicreg": {"projection": 5},
}
"""Small settings of every method."""


def make_method(name: str, channels: int = 3, **settings: object) -> SiameseMethod:
    """A small method in float64, the same at every call."""
    torch.manual_seed(0)
    return build_method(name, Backbone(channels), **{**SETTINGS[name], **settings}).double()
