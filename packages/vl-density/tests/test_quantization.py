"""Levels, noise, and bits per dimension of known densities."""

from __future__ import annotations

import math

import pytest
import torch
from vl_density.quantization import bits_per_dim, dequantize, from_levels, quantize, to_levels


@pytest.mark.parametrize("levels", [2, 3, 17, 256])
def test_levels_of_images_and_back(levels):
    whole = torch.arange(levels)
    assert torch.equal(to_levels(from_levels(whole, levels), levels), whole)
    assert torch.equal(to_levels(from_levels(whole, levels).half(), levels), whole)


def test_quantization_gives_every_level_its_share():
    values = (torch.arange(256) + 0.5) / 256
    assert torch.bincount(to_levels(quantize(values, 4), 4)).tolist() == [64] * 4
    assert quantize(torch.tensor([1.0]), 4).item() == 1.0


def test_uniform_images_of_eight_bits_have_eight_bits():
    assert bits_per_dim(torch.tensor(-12 * math.log(256), dtype=torch.float64), 12).item() == 8.0
    # A flow that is uniform on the unit cube has log-density 0 of what noise was added to.
    assert bits_per_dim(torch.zeros(3), 12, dequantized_levels=256).tolist() == [8.0] * 3


def test_dequantized_images_fill_their_intervals_and_noise_is_added_once():
    images = torch.rand(1000, generator=torch.Generator().manual_seed(0)).mul(255).round() / 255
    noisy = dequantize(images, generator=torch.Generator().manual_seed(1))
    assert torch.equal((noisy * 256).floor(), (images * 255).round())
    assert (noisy < 1).all()
    with pytest.raises(ValueError, match=r"^images must lie on the grid k / 255 of 256 levels, got .* add no noise"):
        dequantize(noisy)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: quantize(torch.tensor([1.2])), r"images must lie in \[0, 1\] and be finite, got 1.2; divide"),
        (lambda: quantize(torch.tensor([math.nan])), r"images must lie in \[0, 1\] and be finite, got nan"),
        (lambda: quantize(torch.tensor([3])), "images must be floating point"),
        (lambda: quantize(torch.zeros(1), 1), "levels must lie between 2 and 256, got 1"),
        (lambda: bits_per_dim(torch.zeros(1), 0), "dimensions must be at least 1, got 0"),
    ],
)
def test_wrong_input_is_named(action, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        action()
