"""Training: it finds a known distribution, and resumes as if nothing had happened."""

from __future__ import annotations

import math

import pytest
import torch
from vl_core.training import TrainingSettings
from vl_density.models.pixel_cnn import PixelCNN
from vl_density.training.likelihood import train_density

P = 0.8
SETTINGS = TrainingSettings(updates=150, batch_size=64, learning_rate=1e-2)


def copies(count=512):
    """Binary images of two pixels: the first is fair, the second repeats it with probability P."""
    generator = torch.Generator().manual_seed(0)
    first = torch.rand(count, generator=generator) < 0.5
    second = torch.where(torch.rand(count, generator=generator) < P, first, ~first)
    return torch.stack([first, second], 1).view(count, 1, 1, 2).float()


def new_model():
    torch.manual_seed(0)
    return PixelCNN(image_size=(1, 2), channels=1, levels=2, head="bernoulli", width=8, layers=2)


class Stop(Exception):
    """Stands for anything that ends a process."""


def test_it_finds_the_entropy_of_a_known_distribution(tmp_path):
    model = new_model()
    train_density(model, copies(), SETTINGS, tmp_path, progress=False)
    assert not model.training
    bits = model.bits_per_dim(copies()).mean().item()
    entropy = -P * math.log2(P) - (1 - P) * math.log2(1 - P)
    assert bits == pytest.approx((1 + entropy) / 2, abs=0.03)


def test_a_folder_belongs_to_one_density(tmp_path):
    settings = TrainingSettings(updates=1, batch_size=4)
    train_density(new_model(), copies(8), settings, tmp_path, progress=False)
    other = PixelCNN(image_size=(1, 2), channels=1, levels=4, head="categorical", width=8, layers=2)
    with pytest.raises(ValueError, match="density"):
        train_density(other, copies(8), settings, tmp_path, progress=False)


def test_a_run_that_was_killed_ends_like_one_that_was_not(tmp_path, monkeypatch):
    whole = new_model()
    train_density(whole, copies(), SETTINGS, tmp_path / "whole", mutation_rate=0.1, progress=False)
    parts = new_model()
    calls = 0
    forward = PixelCNN.forward

    def stop(self, *args):
        nonlocal calls
        calls += 1
        if calls == 140:
            raise Stop
        return forward(self, *args)

    monkeypatch.setattr(PixelCNN, "forward", stop)
    monkeypatch.setattr("vl_core.training._loop.CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(Stop):
        train_density(parts, copies(), SETTINGS, tmp_path / "parts", mutation_rate=0.1, progress=False)
    again = new_model()
    train_density(again, copies(), SETTINGS, tmp_path / "parts", mutation_rate=0.1, progress=False)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])


def test_an_image_of_another_size_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"images must have shape \(B, 1, 1, 2\) as the model"):
        train_density(new_model(), torch.zeros(8, 1, 2, 2), SETTINGS, tmp_path, progress=False)
