"""Shifts of images: repeatable, and growing with severity."""

import pytest
import torch
from vl_core.corruptions import SHIFTS, shift


@pytest.fixture
def images():
    # Smooth images, as photographs are: each shift changes them more the stronger it is.
    small = torch.rand(6, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(small, (32, 32), mode="bicubic").clamp(0, 1)


@pytest.mark.parametrize("name", SHIFTS)
def test_a_shift_grows_and_stays_within_range(images, name):
    shifted = [shift(images, name, severity) for severity in range(6)]
    assert torch.equal(shifted[0], images)
    changes = [(image - images).abs().mean().item() for image in shifted]
    assert changes[1] > 0
    # A texture moved further need not differ more.
    assert name == "translation" or changes == sorted(changes)
    for image in shifted:
        assert image.shape == images.shape
        assert image.dtype == images.dtype
        assert 0 <= image.min() <= image.max() <= 1


def test_a_translation_leaves_more_of_the_image_the_stronger_it_is():
    left = [(shift(torch.ones(1, 1, 50, 50), "translation", severity) == 0.5).sum() for severity in range(1, 6)]
    assert [int(n) for n in left] == [2500 - (50 - n) ** 2 for n in (2, 4, 7, 10, 15)]


@pytest.mark.parametrize("name", SHIFTS)
@pytest.mark.parametrize("shape", [(1, 9, 14), (3, 2, 3)])
def test_gray_and_very_small_images_are_shifted_too(name, shape):
    batch = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    assert all(shift(batch, name, severity).shape == batch.shape for severity in (1, 5))


@pytest.mark.parametrize("name", SHIFTS)
def test_the_shift_of_an_image_depends_on_seed_and_id_alone(images, name):
    whole = shift(images, name, 3, seed=5)
    part = shift(images[2:4], name, 3, seed=5, image_ids=[2, 3])
    assert torch.equal(whole[2:4], part)


@pytest.mark.parametrize("name", ["gaussian noise", "rotation", "translation", "occlusion", "brightness"])
def test_random_shifts_differ_between_seeds(images, name):
    found = [shift(images, name, 3, seed=seed) for seed in range(3)]
    assert not torch.equal(found[0], found[1]) or not torch.equal(found[0], found[2])


def test_a_function_is_applied_under_its_name_and_draws_by_it(images):
    def offset(image, severity, generator):
        return image + severity * torch.rand((), generator=generator) / 10

    first = shift(images, "offset", 2, function=offset)
    assert torch.equal(first, shift(images, "offset", 2, function=offset))
    assert not torch.equal(first, shift(images, "another", 2, function=offset))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "fog"}, r"name must be one of gaussian noise, .*, occlusion, got 'fog'; pass function="),
        ({"severity": 6}, r"severity must be a whole number from 0 \(unchanged\) to 5, got 6"),
        ({"severity": True}, r"severity must be .*, got True"),
        ({"image_ids": [1]}, r"image_ids needs one entry for each of the 6 images, got 1"),
        ({"images": torch.zeros(0, 1, 4, 4)}, r"images is empty"),
        (
            {"function": lambda image, severity, generator: image[:, 1:]},
            r"'contrast' must keep the shape \(3, 32, 32\)",
        ),
    ],
)
def test_errors_say_what_was_expected_and_what_came(images, change, message):
    arguments = {"images": images, "name": "contrast", "severity": 1, **change}
    with pytest.raises(ValueError, match=message):
        shift(arguments.pop("images"), arguments.pop("name"), arguments.pop("severity"), **arguments)
