"""Small sets of gray images of 28 by 28 pixels that lie outside Fashion-MNIST, far or near."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from vl_core.data import image_batch, open_dataset

from vl_density.quantization import quantize

HELD_OUT = "shirt"
"""Class of Fashion-MNIST that the built-in densities have not seen."""
OUTSIDE = ("digits", "strokes", "flips", "shirts")
"""Names of the sets of `open_outside`."""


def open_fashion(split: str) -> Tensor:
    """Fashion-MNIST as the built-in densities know it, without shirts, ``(N, 1, 28, 28)`` in [0, 1].

    Args:
        split: `"train"` or `"test"`, as for `vl_core.data.open_dataset("fashion")`.
    """
    dataset = open_dataset("fashion", split=split)
    return image_batch(dataset)[torch.as_tensor(dataset.labels) != dataset.classes.index(HELD_OUT)]


def open_outside(name: str, *, seed: int = 0) -> Tensor:
    """A set of images outside, ``(N, 1, 28, 28)`` in [0, 1] with 256 levels.

    `"digits"` are 1,797 handwritten ones, enlarged to 20 by 20 pixels in the middle; `"strokes"` are 1,000 bright
    curves on black; `"flips"` are the test images of `open_fashion`, left and right exchanged; `"shirts"` are test
    images of the class that was held out.

    Args:
        name: One of `OUTSIDE`.
        seed: Seed of the strokes.

    Raises:
        ValueError: If there is no such set.
    """
    if name == "digits":
        with np.load(str(files("vl_density") / "builtin" / "digits.npz"), allow_pickle=False) as data:
            small = torch.from_numpy(data["x"])[:, None].float() / 16
        large = F.interpolate(small, size=(20, 20), mode="bilinear", align_corners=False)
        return quantize(F.pad(large.clamp(0, 1), (4, 4, 4, 4)))
    if name == "strokes":
        return _strokes(1000, torch.Generator().manual_seed(seed))
    if name == "flips":
        return open_fashion("test").flip(-1)
    if name == "shirts":
        dataset = open_dataset("fashion", split="test")
        return image_batch(dataset)[torch.as_tensor(dataset.labels) == dataset.classes.index(HELD_OUT)]
    raise ValueError(f"name must be one of {', '.join(OUTSIDE)}, got {name!r}")


def _strokes(count: int, generator: torch.Generator) -> Tensor:
    """Quadratic curves between random points, drawn with a soft brush."""
    ends = torch.rand(count, 3, 2, generator=generator) * 20 + 4
    along = torch.linspace(0, 1, 40)[None, :, None]
    path = (1 - along) ** 2 * ends[:, :1] + 2 * along * (1 - along) * ends[:, 1:2] + along**2 * ends[:, 2:]
    axis = torch.arange(28.0)
    places = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).view(1, -1, 2)
    distance = torch.cdist(places.expand(count, -1, -1), path).amin(2).view(count, 1, 28, 28)
    return quantize((1.8 - distance).clamp(0, 1))
