"""Small models of every kind, with weights that make every connection matter."""

from __future__ import annotations

from typing import Any

import torch
from vl_density.models.density import AutoregressiveDensity
from vl_density.models.pixel_cnn import PixelCNN
from vl_density.models.pixel_cnn_pp import PixelCNNPP
from vl_density.models.transformer import ImageTransformer

KINDS: dict[str, tuple[type[AutoregressiveDensity], dict[str, Any]]] = {
    "PixelCNN": (PixelCNN, {"width": 8, "layers": 3}),
    "wide kernels": (PixelCNN, {"width": 8, "layers": 2, "kernel_size": 5}),
    "PixelCNN++": (PixelCNNPP, {"width": 8, "layers": 2, "stages": 2}),
    "one stage": (PixelCNNPP, {"width": 8, "layers": 2, "stages": 1}),
    "transformer": (ImageTransformer, {"width": 8, "layers": 2, "num_heads": 2}),
}


def small(kind: str, *, seed: int = 0, **options: Any) -> AutoregressiveDensity:
    """A model in float64 and evaluation mode; weights are normal with standard deviation 0.3."""
    cls, arguments = KINDS[kind]
    model = cls(**{"image_size": (4, 6), "channels": 1, **arguments, **options}).double().eval()
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return model
