"""Every model is a distribution: probabilities sum to 1, nothing looks ahead, and samples do not depend on caches."""

from __future__ import annotations

import itertools

import pytest
import torch

from .small import KINDS, small

each_kind = pytest.mark.parametrize("kind", KINDS)
HEADS = {
    "gray": {"channels": 1, "levels": 256, "head": "logistic-mixture"},
    "color": {"channels": 3, "levels": 4, "head": "logistic-mixture"},
    "categorical color": {"channels": 3, "levels": 4, "head": "categorical"},
    "binary": {"channels": 1, "levels": 2, "head": "bernoulli"},
    "classes": {"channels": 1, "levels": 5, "head": "categorical", "num_classes": 3},
}
each_head = pytest.mark.parametrize("options", HEADS.values(), ids=HEADS)


def everything(model):
    """Every image of the model's size."""
    axis = [value / (model.levels - 1) for value in range(model.levels)]
    images = torch.tensor(list(itertools.product(axis, repeat=model.dimensions)), dtype=torch.float64)
    return images.view(-1, model.channels, *model.image_size)


@each_kind
@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((3, 3), {"levels": 2, "head": "bernoulli"}),
        ((2, 4), {"levels": 2, "head": "logistic-mixture"}),
        ((2, 2), {"levels": 3, "head": "categorical"}),
        ((1, 2), {"levels": 4, "head": "logistic-mixture", "channels": 3}),
        ((1, 2), {"levels": 4, "head": "categorical", "channels": 3}),
    ],
    ids=["binary", "two stages", "three levels", "mixture in color", "categorical in color"],
)
def test_probabilities_of_all_images_sum_to_one(kind, size, options):
    stages = {"stages": 1} if "stages" in KINDS[kind][1] and any(side % 2 for side in size) else {}
    model = small(kind, image_size=size, **options, **stages)
    with torch.no_grad():
        total = model.log_prob(everything(model)).exp().sum()
    assert abs(total.item() - 1) < 1e-6


@each_kind
@each_head
def test_no_feature_depends_on_its_own_pixel_or_a_later_one(kind, options):
    model = small(kind, **options)
    condition = torch.zeros(1, dtype=torch.long) if model.num_classes else None
    pixels = torch.randint(model.levels, (1, model.channels, *model.image_size))
    before = model.features(pixels, condition).flatten(1, 2)
    height, width = model.image_size
    reached = 0
    for place in range(before.shape[1]):
        row, column = divmod(place, width)
        changed = pixels.clone()
        changed[:, :, row, column] = (changed[:, :, row, column] + 1) % model.levels
        after = model.features(changed, condition).flatten(1, 2)
        assert torch.equal(after[:, : place + 1], before[:, : place + 1])
        reached += column < width - 1 and not torch.equal(after[:, place + 1], before[:, place + 1])
    # A pixel is seen by the one to its right; now and then no rectified unit lets it through.
    assert reached > 0.8 * height * (width - 1)


@pytest.mark.parametrize("head", ["logistic-mixture", "categorical"])
def test_channels_depend_on_those_before_them_alone(head):
    model = small("PixelCNN", channels=3, levels=4, head=head, image_size=(2, 2))
    pixels = torch.randint(4, (1, 3, 2, 2))
    before = model.log_prob_map(pixels / 3.0)[0, :, 1, 1]
    for channel in range(3):
        changed = pixels.clone()
        changed[0, channel, 1, 1] = 3 - changed[0, channel, 1, 1]
        after = model.log_prob_map(changed / 3.0)[0, :, 1, 1]
        assert torch.equal(after[:channel], before[:channel])
        assert (after[channel:] != before[channel:]).all()


@each_kind
@each_head
def test_cached_samples_are_those_of_the_plain_loop(kind, options):
    model = small(kind, **options)
    condition = [0, 1, 2] if model.num_classes else None
    cached, plain = (
        model.sample(3, condition, generator=torch.Generator().manual_seed(1), cached=way) for way in (True, False)
    )
    assert torch.equal(cached, plain)
    assert len(cached.unique()) > 1


@each_kind
def test_cached_features_in_float32_are_those_of_the_network(kind):
    cls, options = KINDS[kind]
    torch.manual_seed(0)
    model = cls(image_size=(8, 8), channels=1, head="logistic-mixture", **options).eval()
    pixels = torch.randint(256, (2, 1, 8, 8))
    with torch.no_grad():
        whole = model.features(pixels).flatten(1, 2)
        cursor = model.cursor(2)
        for place in range(64):
            torch.testing.assert_close(cursor.features(), whole[:, place], rtol=1e-5, atol=1e-5)
            cursor.push(pixels[:, :, place // 8, place % 8])


@each_kind
def test_what_is_known_stays_and_the_rest_is_drawn_given_it(kind):
    model = small(kind, levels=16, head="categorical")
    images = torch.rand(3, 1, 4, 6).mul(15).round() / 15
    known = torch.zeros(4, 6, dtype=torch.bool)
    known[:2] = True
    generator = torch.Generator().manual_seed(0)
    drawn = model.inpaint(images, known, generator=generator)
    assert torch.equal(drawn[..., :2, :], images[..., :2, :].float())
    assert (drawn[..., 2:, :] != images[..., 2:, :]).any()
    assert torch.equal(drawn, model.inpaint(images, known, generator=generator.manual_seed(0), cached=False))
