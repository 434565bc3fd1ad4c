"""Augmentation of training images."""

from __future__ import annotations

import augmentation
import pytest
import torch
from torch import Tensor


def make_images(count: int = 64, size: int = 28, channels: int = 1) -> Tensor:
    """A bright square on black in each."""
    images = torch.zeros(count, channels, size, size)
    images[:, :, 8:20, 8:20] = 0.8
    return images


def augmented(images: Tensor, seed: int = 0, **settings: float) -> Tensor:
    return augmentation.augmented(images, torch.Generator().manual_seed(seed), **settings)


def test_most_images_change_and_some_stay() -> None:
    images = make_images(400)
    changed = augmented(images)
    assert changed.shape == images.shape
    assert changed.min() >= 0
    assert changed.max() <= 1
    share = (changed != images).flatten(1).any(1).float().mean()
    assert 0.68 < share < 0.82
    assert torch.equal(augmented(images, clean_share=1.0), images)
    assert torch.equal(augmented(images), changed)
    assert not torch.equal(augmented(images, seed=1), changed)


@pytest.mark.parametrize("change", augmentation.CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_change_is_drawn_per_image(change: augmentation.Change, channels: int) -> None:
    images = make_images(6, channels=channels)
    changed = change(images, torch.Generator().manual_seed(0))
    assert changed.shape == images.shape
    assert torch.isfinite(changed).all()
    assert (changed != images).flatten(1).any(1).all()
    if change is not augmentation.coarsen:
        assert not torch.equal(changed[0], changed[1])


def test_a_blur_keeps_the_mean_and_exposure_the_order_of_brightness() -> None:
    images = make_images(8)
    blurred = augmentation.blur(images, torch.Generator().manual_seed(0))
    torch.testing.assert_close(blurred.mean((1, 2, 3)), images.mean((1, 2, 3)), rtol=1e-4, atol=1e-5)
    ramp = torch.linspace(0, 1, 28 * 28).view(1, 1, 28, 28).expand(8, -1, -1, -1)
    exposed = augmentation.exposure(ramp, torch.Generator().manual_seed(0))
    assert (exposed.flatten(1).diff(dim=1) > 0).all()


def test_in_place_changes_are_not_geometric() -> None:
    images = torch.zeros(200, 3, 24, 24)
    images[..., 12:] = 1
    changed = augmented(images, in_place=True)
    assert not torch.equal(changed, augmented(images))
    left, right = changed[..., 2:6].mean((1, 2, 3)), changed[..., -6:-2].mean((1, 2, 3))
    assert (right > left).float().mean() > 0.95
