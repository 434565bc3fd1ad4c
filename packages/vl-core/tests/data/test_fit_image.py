"""Images of any shape at the size that a model wants."""

from __future__ import annotations

import random

import pytest
import torch
from torch.nn import functional as F
from torchvision.transforms import v2 as transforms
from vl_core.data import _fit as module
from vl_core.data import fit_image


def resized_by_torchvision(image, size, crop=None):
    """Resize and center crop as published evaluations do, at whatever cost."""
    whole = transforms.Resize(size, interpolation=transforms.InterpolationMode.BICUBIC, antialias=True)(image)
    return transforms.CenterCrop(crop or size)(whole.clamp(0, 1))


def random_image(height, width):
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(0))


STRIP = 5e-5
SHAPES = [(37, 50), (50, 37), (200, 131), (375, 500), (31, 248), (9, 64), (64, 8), (3, 7), (1, 1), (33, 32), (28, 28)]


@pytest.mark.parametrize("size", [28, 31, 64])
def test_images_are_resized_as_torchvision_does(size):
    generator = random.Random(size)
    shapes = [*SHAPES, *((generator.randint(1, 90), generator.randint(1, 90)) for _ in range(150))]
    for shape in shapes:
        image = random_image(*shape)
        # Strips are sampled at the crop alone, in float64; torchvision places the filter in float32.
        exact = 0 if max(shape) <= 8 * min(shape) else STRIP
        torch.testing.assert_close(
            fit_image(image, size, 3),
            resized_by_torchvision(image, size),
            rtol=0,
            atol=exact,
            msg=lambda m, s=shape: f"{s} {m}",
        )


@pytest.mark.parametrize("shape", [(1, 200), (201, 1), (2, 333), (7, 500), (37, 1000), (700, 32), (128, 1999), (9, 73)])
@pytest.mark.parametrize("size", [32, 33])
def test_the_center_of_a_strip_is_that_of_the_whole(shape, size):
    image = random_image(*shape)
    torch.testing.assert_close(fit_image(image, size, 3), resized_by_torchvision(image, size), rtol=0, atol=STRIP)


@pytest.mark.parametrize("shape", [*SHAPES, (10, 99)])
def test_a_smaller_crop_is_the_center_of_the_resized_image(shape):
    image = random_image(*shape)
    expected = resized_by_torchvision(image, 36, crop=31)
    torch.testing.assert_close(fit_image(image, 36, 3, crop=31), expected, rtol=0, atol=STRIP)


def test_a_strip_is_not_resized_as_a_whole(monkeypatch):
    targets = []
    interpolate = F.interpolate
    monkeypatch.setattr(module.F, "interpolate", lambda x, to, **how: targets.append(to) or interpolate(x, to, **how))
    for shape in ((1, 2000), (2000, 3), (20, 9001), (1, 10**6)):
        assert fit_image(random_image(*shape), 64, 3).shape == (3, 64, 64)
    assert set(targets) == {(64, 64)}
