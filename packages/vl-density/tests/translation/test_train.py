"""Training by each signal: it lowers its own loss, resumes exactly, and leaves the density as it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from vl_core.training import TrainingSettings
from vl_density.models.pixel_cnn import PixelCNN
from vl_density.translation.networks import Translator
from vl_density.translation.sides import UnpairedSides, fade
from vl_density.translation.train import content_loss, train_translator

SETTINGS = TrainingSettings(updates=30, batch_size=4, learning_rate=1e-2)


def shapes(count=32):
    """Black images of 8 by 8 pixels with a white rectangle."""
    generator = torch.Generator().manual_seed(0)
    images = torch.zeros(count, 1, 8, 8)
    for image in images:
        top, left, height, width = torch.randint(1, 4, (4,), generator=generator).tolist()
        image[:, top : top + height, left : left + width] = 1
    return images


def new_density():
    torch.manual_seed(1)
    return PixelCNN(image_size=(8, 8), channels=1, levels=16, width=4, layers=1)


def new_translator():
    torch.manual_seed(0)
    return Translator(width=4)


def trained(signal, folder, updates=30, **options):
    translator = new_translator()
    density = new_density() if signal == "density" else None
    sides = UnpairedSides(shapes())
    train_translator(
        translator,
        sides,
        replace(SETTINGS, updates=updates),
        folder,
        signal=signal,
        density=density,
        progress=False,
        **options,
    )
    return translator.eval(), density


def test_pairs_bring_the_translation_to_them(tmp_path):
    translator, _ = trained("pairs", tmp_path, updates=60)
    images = shapes()
    before, after = (((one.translate(fade(images)) - images) ** 2).mean() for one in (new_translator(), translator))
    assert after < before / 2


def test_a_density_gets_its_bits_lowered_and_keeps_its_weights(tmp_path):
    translator, density = trained("density", tmp_path)
    images = fade(shapes())
    with torch.no_grad():
        before, after = (density.relaxed_log_prob(one(images)).mean() for one in (new_translator(), translator))
    assert after > before
    for name, value in new_density().state_dict().items():
        assert torch.equal(value, density.state_dict()[name])
    assert not any(parameter.requires_grad for parameter in density.parameters())


def test_a_critic_moves_the_translation_towards_the_target_side(tmp_path):
    translator, _ = trained("critic", tmp_path, updates=150)
    images = shapes()
    before, after = (((one.translate(fade(images)) - images) ** 2).mean() for one in (new_translator(), translator))
    assert after < before / 2


class Stop(Exception):
    """Stands for anything that ends a process."""


@pytest.mark.parametrize("signal", ["density", "critic"])
def test_a_run_that_was_killed_ends_like_one_that_was_not(signal, tmp_path, monkeypatch):
    whole, _ = trained(signal, tmp_path / "whole")
    monkeypatch.setattr("vl_core.training._loop.CHECKPOINT_SECONDS", 0.0)

    def stop(update):
        if update == 20:
            raise Stop

    with pytest.raises(Stop):
        trained(signal, tmp_path / "parts", after_update=stop)
    again, _ = trained(signal, tmp_path / "parts")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])


def test_a_folder_belongs_to_one_density(tmp_path):
    trained("density", tmp_path, updates=1)
    other = new_density()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    with pytest.raises(ValueError, match="density"):
        train_translator(
            new_translator(), UnpairedSides(shapes()), replace(SETTINGS, updates=1), tmp_path, signal="density",
            density=other, progress=False,
        )  # fmt: skip


def test_content_is_blind_to_brightness_and_contrast_alone():
    images = torch.rand(3, 1, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert content_loss(images, fade(images)).item() == pytest.approx(0, abs=1e-12)
    assert content_loss(images, 1 - images).item() == pytest.approx(2, abs=1e-12)
    other = torch.rand(3, 1, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    pairs = zip(images.flatten(1), other.flatten(1), strict=True)
    correlations = [torch.corrcoef(torch.stack(pair))[0, 1].item() for pair in pairs]
    assert content_loss(images, other).item() == pytest.approx(1 - sum(correlations) / 3, abs=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"signal": "taste"}, "signal must be one of density, critic, pairs, got 'taste'"),
        ({"signal": "density"}, "density must be given for the signal 'density' and for no other, got 'density'"),
        ({"signal": "critic", "density": new_density()}, "and for no other, got 'critic'"),
        ({"signal": "pairs", "content_weight": -1.0}, "signal_weight and content_weight must not be negative, got 1.0"),
    ],
)
def test_wrong_arguments_are_named(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        train_translator(new_translator(), UnpairedSides(shapes()), SETTINGS, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
