"""Networks, sides and measures: shapes, pairs that differ, and numbers that are known."""

from __future__ import annotations

import pytest
import torch
from vl_density.models.pixel_cnn import PixelCNN
from vl_density.translation.measures import fit_classifier, measure_translation
from vl_density.translation.networks import Critic, Translator
from vl_density.translation.sides import UnpairedSides, fade

IMAGES = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0)).mul(15).round() / 15


def new_density():
    torch.manual_seed(0)
    return PixelCNN(image_size=(8, 8), channels=1, levels=16, width=4, layers=1).eval()


def bright(images):
    """A classifier by brightness."""
    mean = images.flatten(1).mean(1)
    return torch.stack([0.5 - mean, mean - 0.5], 1)


def test_true_pairs_have_no_distance_and_their_own_sharpness_and_bits():
    density, labels = new_density(), bright(IMAGES).argmax(1)
    found = measure_translation(IMAGES, IMAGES, labels, classifier=bright, density=density)
    assert found.distance.max() == 0
    assert found.sharpness.mean() == pytest.approx(1)
    assert found.accuracy.mean() == 1
    assert found.bits == pytest.approx(density.bits_per_dim(IMAGES).detach().numpy(), rel=1e-5)


def test_faded_images_have_half_the_sharpness_and_a_known_distance():
    found = measure_translation(fade(IMAGES), IMAGES, torch.zeros(6), classifier=bright, density=new_density())
    assert found.sharpness.mean() == pytest.approx(0.5)
    expected = (IMAGES / 2 - 0.25).square().flatten(1).mean(1).sqrt()
    assert found.distance == pytest.approx(expected.numpy(), rel=1e-5)


def test_a_classifier_learns_what_brightness_tells():
    images = torch.rand(200, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 0.2
    labels = torch.arange(200) % 2
    images += 0.6 * labels[:, None, None, None]
    classifier = fit_classifier(images, labels, updates=30, progress=False)
    assert (classifier(images).argmax(1) == labels).all()
    again = fit_classifier(images, labels, updates=30, progress=False)
    assert torch.equal(classifier(images), again(images))


def test_sides_hold_each_image_on_one_side_and_its_pair():
    sides = UnpairedSides(IMAGES)
    assert len(sides) == 3
    source, target, pair = sides[1]
    assert torch.equal(source, fade(IMAGES[1]))
    assert torch.equal(target, IMAGES[4])
    assert torch.equal(pair, IMAGES[1])


def test_a_translator_begins_near_the_identity_and_is_saved(tmp_path):
    torch.manual_seed(0)
    translator = Translator(channels=3, width=4)
    images = 0.1 + 0.8 * torch.rand(2, 3, 7, 9)
    assert (translator.translate(images) - images).abs().max() < 0.1
    translator.save_pretrained(tmp_path)
    again = Translator.from_pretrained(tmp_path)
    assert torch.equal(translator.translate(images), again.translate(images))
    assert Critic(channels=3, width=4)(images).shape == (2, 1, 1, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Translator(width=0), "channels and width must be at least 1, got 1 and 0"),
        (
            lambda: Translator().translate(torch.zeros(1, 3, 8, 8)),
            "images must have 1 channels as the translator, got 3",
        ),
        (lambda: UnpairedSides(IMAGES[:1]), r"N at least 2, got \(1, 1, 8, 8\)"),
        (lambda: fit_classifier(IMAGES, torch.zeros(2)), "labels must be one for each of the images, got 2"),
        (
            lambda: measure_translation(IMAGES, IMAGES[:2], torch.zeros(2), classifier=bright, density=new_density()),
            "translated, pairs and labels must be of the same images",
        ),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
