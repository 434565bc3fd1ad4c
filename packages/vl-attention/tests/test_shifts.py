"""Shifts of images: repeatable, growing with severity, and counted right."""

import pytest
import timm
import torch
from vl_attention import AttentionTransfer
from vl_attention.analysis.shifts import SHIFTS, apply_shift, evaluate_shifts
from vl_core.results import wilson_interval


@pytest.fixture
def images():
    # Smooth images, as photographs are: each shift changes them more the stronger it is.
    small = torch.rand(6, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(small, (32, 32), mode="bicubic").clamp(0, 1)


@pytest.mark.parametrize("name", SHIFTS)
def test_a_shift_grows_and_stays_within_range(images, name):
    shifted = [apply_shift(images, name, severity) for severity in range(6)]
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
    left = [(apply_shift(torch.ones(1, 1, 50, 50), "translation", severity) == 0.5).sum() for severity in range(1, 6)]
    assert [int(n) for n in left] == [2500 - (50 - n) ** 2 for n in (2, 4, 7, 10, 15)]


@pytest.mark.parametrize("name", SHIFTS)
@pytest.mark.parametrize("shape", [(1, 9, 14), (3, 2, 3)])
def test_gray_and_very_small_images_are_shifted_too(name, shape):
    batch = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    assert all(apply_shift(batch, name, severity).shape == batch.shape for severity in (1, 5))


@pytest.mark.parametrize("name", SHIFTS)
def test_a_images_shift_depends_on_seed_and_index_alone(images, name):
    whole = apply_shift(images, name, 3, seed=5)
    part = apply_shift(images[2:4], name, 3, seed=5, first_index=2)
    assert torch.equal(whole[2:4], part)


@pytest.mark.parametrize("name", ["gaussian noise", "rotation", "translation", "occlusion", "brightness"])
def test_random_shifts_differ_between_seeds(images, name):
    found = [apply_shift(images, name, 3, seed=seed) for seed in range(3)]
    assert not torch.equal(found[0], found[1]) or not torch.equal(found[0], found[2])


def test_rows_count_what_is_right_whatever_the_batch(images):
    labels = torch.tensor([0, 1, 0, 1, 0, 1])

    def invert(image, severity, generator):
        return 1 - image

    def predict(batch):
        bright = (batch.mean((1, 2, 3)) > 0.5).float()
        return torch.stack([1 - bright, bright], 1)

    batch = labels[:, None, None, None].float().expand(6, 3, 8, 8).clone()
    batch[0] = 1  # one is wrong as it is, and right when it is inverted
    rows = evaluate_shifts(predict, batch, labels, {"invert": invert}, [0, 4], batch_size=4)
    assert [(row.shift, row.severity, row.correct, row.total) for row in rows] == [
        ("invert", 0, 5, 6),
        ("invert", 4, 1, 6),
    ]
    assert (rows[0].accuracy, rows[0].low, rows[0].high) == (5 / 6, *wilson_interval(5, 6))


def test_a_image_meets_the_same_shift_in_any_batch():
    def chance(image, severity, generator):
        return torch.rand((), generator=generator).expand_as(image)

    def answers(batch_size):
        seen = []

        def predict(batch):
            seen.append(batch[:, 0, 0, 0])
            return torch.zeros(len(batch), 2)

        evaluate_shifts(
            predict, torch.zeros(7, 3, 2, 2), torch.zeros(7), {"chance": chance}, [1], batch_size=batch_size
        )
        return torch.cat(seen)

    assert len(answers(7).unique()) == 7
    assert torch.equal(answers(2), answers(7))


def test_results_do_not_depend_on_the_batch_and_a_module_keeps_its_mode(images):
    torch.manual_seed(0)
    model = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=48, depth=1, num_classes=3, proj_drop_rate=0.5
    )
    transfer = AttentionTransfer(model, seed=0).train()
    labels = torch.arange(6) % 3
    found = [evaluate_shifts(transfer, images, labels, ["rotation"], batch_size=size) for size in (1, 4)]
    assert found[0] == found[1]
    assert transfer.training


def test_what_does_not_exist_is_refused(images):
    labels = torch.zeros(6, dtype=torch.long)
    for shifts, severities, message in [
        (["fog"], [1], "shifts must be among"),
        ("rotation", [1], "list of names"),
        (["rotation"], [6], "severities"),
    ]:
        with pytest.raises(ValueError, match=message):
            evaluate_shifts(lambda x: x, images, labels, shifts, severities)
    with pytest.raises(ValueError, match="equally many"):
        evaluate_shifts(lambda x: x, images, labels[:2])
    with pytest.raises(ValueError, match="keep the shape"):
        apply_shift(images, lambda image, severity, generator: image[:, 1:], 1)
