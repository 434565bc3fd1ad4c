"""Images of any shape at the size that a model wants."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from vl_diffusion.models import images
from vl_diffusion.models.images import content_id, fit, to_tensor


def scaled_as_a_whole(image, size):
    """What `fit` promises, at whatever cost."""
    _, height, width = image.shape
    scale = size / min(height, width)
    target = (max(size, round(height * scale)), max(size, round(width * scale)))
    whole = F.interpolate(image[None], target, mode="bicubic", antialias=True, align_corners=False)[0].clamp(0, 1)
    top, left = (target[0] - size) // 2, (target[1] - size) // 2
    return whole[:, top : top + size, left : left + size]


def random_image(height, width):
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(37, 50), (50, 37), (375, 500), (31, 248), (9, 64), (64, 8), (3, 7)])
def test_the_middle_of_the_scaled_image_is_taken(shape):
    image = random_image(*shape)
    torch.testing.assert_close(fit(image, 32, 3), scaled_as_a_whole(image, 32), rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(1, 200), (201, 1), (2, 333), (64, 1000), (700, 32), (128, 2000)])
def test_the_center_of_a_strip_is_the_same(shape):
    image = random_image(*shape)
    torch.testing.assert_close(fit(image, 32, 3), scaled_as_a_whole(image, 32), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 100), (7, 500), (37, 1000), (1000, 33), (45, 451), (128, 1999)])
def test_where_sizes_are_rounded_a_strip_is_sampled_within_a_thirtieth_of_a_pixel(shape):
    # A ramp: neighbors differ by `step`, so a shift is a difference of values.
    height, width = shape
    side = torch.linspace(0.1, 0.9, max(shape))
    image = (side if width > height else side[:, None]).expand(1, height, width).contiguous()
    step = 0.8 / (max(shape) - 1) * min(shape) / 32
    difference = (fit(image, 32, 1) - scaled_as_a_whole(image, 32)).abs().max()
    assert float(difference) < step / 30 + 1e-6


def test_a_strip_is_cropped_before_resizing(monkeypatch):
    targets = []
    interpolate = F.interpolate
    monkeypatch.setattr(images.F, "interpolate", lambda x, to, **how: targets.append(to) or interpolate(x, to, **how))
    for shape in ((1, 2000), (2000, 3), (20, 9001)):
        assert fit(random_image(*shape), 64, 3).shape == (3, 64, 64)
    assert max(max(target) for target in targets) <= 11 * 64


def test_images_that_require_gradients_are_accepted():
    image = random_image(4, 4)
    assert content_id(to_tensor(image.clone().requires_grad_())) == content_id(to_tensor(image))
