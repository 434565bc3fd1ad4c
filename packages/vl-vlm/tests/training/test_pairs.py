"""Pairs of a run: a pure function of the place; captions that are true of an image are known as such."""

import pytest
import torch
from PIL import Image
from vl_vlm import CaptionedImages, ContrastiveSettings, dense_sigmoid_loss
from vl_vlm.training.pairs import CaptionPairs, caption_id, captions_digest, known_positives, trimmed
from vl_vlm.training.settings import clip_recipe, lit_recipe, siglip_recipe, small_recipe

COLORS = [Image.new("RGB", (20, 16), (shade, 0, 0)) for shade in (0, 100, 200)]
CAPTIONS = [["black", "a dark red square"], ["Maroon "], ["red", "maroon"]]


@pytest.fixture
def pairs(small_training):
    def make(**options):
        dataset = CaptionedImages(COLORS, CAPTIONS, names=["0", "1", "2"], name="reds")
        return CaptionPairs(dataset, small_training.model(), ContrastiveSettings(batch_size=2, **options))

    return make


def test_an_epoch_has_every_image_once_and_every_caption_in_time(pairs):
    made = pairs()
    epochs = [{tuple(made[3 * epoch + place].image_ids.tolist()) for place in range(3)} for epoch in range(4)]
    assert all(len(epoch) == 3 for epoch in epochs)
    seen = {int(made[place].text_id) for place in range(60)}
    assert seen == {caption_id(caption) for own in CAPTIONS for caption in own}


def test_a_place_is_the_same_whenever_it_is_read(pairs):
    one, other, third = pairs()[7], pairs()[7], pairs(seed=1)[7]
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert not torch.equal(one.image, third.image)


def test_crops_keep_their_share_of_the_area_and_none_is_the_evaluated_image(pairs, small_training):
    ramp = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    dataset = CaptionedImages([ramp, ramp], [["a"], ["b"]], names=["0", "1"], name="ramps")
    whole = CaptionPairs(dataset, small_training.model(), ContrastiveSettings(batch_size=2, crop_scale=(1.0, 1.0)))
    torch.testing.assert_close(whole[0].image, small_training.model().prepare_image(ramp))
    quarter = CaptionPairs(dataset, small_training.model(), ContrastiveSettings(batch_size=2, crop_scale=(0.25, 0.25)))
    heights = torch.tensor([float(quarter[p].image.amax() - quarter[p].image.amin()) for p in range(40)])
    assert 0.35 < heights.mean() < 0.65
    flipped = ContrastiveSettings(batch_size=2, crop_scale=(1.0, 1.0), flip=True)
    sideways = CaptionedImages([ramp.rotate(90)] * 2, [["a"], ["b"]], names=["0", "1"], name="ramps")
    made = CaptionPairs(sideways, small_training.model(), flipped)
    assert {bool(made[place].image[0, 0, 0] < 0.5) for place in range(20)} == {True, False}


def test_a_caption_of_another_image_that_is_true_of_this_one_is_no_negative(pairs):
    made = [pairs()[place] for place in range(3)]
    image_ids, text_ids = (torch.stack([getattr(pair, name) for pair in made]) for name in ("image_ids", "text_id"))
    ids = known_positives(image_ids, text_ids)
    true = (image_ids[:, :, None] == text_ids).any(1)
    features = torch.eye(3, dtype=torch.float64)
    expected = -torch.nn.functional.logsigmoid(torch.where(true, 1.0, -1.0) * features).sum() / 3
    assert dense_sigmoid_loss(features, features, 1.0, positives=ids).item() == pytest.approx(expected.item())
    assert ids[0].shape[1] <= 2


def test_ids_ignore_case_and_spaces_and_are_not_negative():
    assert caption_id("A  red\tcircle ") == caption_id("a red circle") != caption_id("a red circles")
    assert all(caption_id(str(number)) >= 0 for number in range(1000))


def test_padding_that_all_texts_have_is_cut():
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0]])
    ids, kept = trimmed(torch.arange(8).view(2, 4), mask)
    assert ids.tolist() == [[0, 1, 2], [4, 5, 6]]
    assert kept.tolist() == [[1, 1, 0], [1, 1, 1]]


def test_padding_on_the_left_is_cut_on_the_left():
    mask = torch.tensor([[0, 0, 1, 1], [0, 1, 1, 1]])
    ids, kept = trimmed(torch.arange(8).view(2, 4), mask)
    assert ids.tolist() == [[1, 2, 3], [5, 6, 7]]
    assert kept.tolist() == [[0, 1, 1], [1, 1, 1]]


def test_a_digest_knows_captions_and_names():
    def digest(captions, names):
        return captions_digest(CaptionedImages(COLORS[: len(names)], captions, names=names, name="x"))

    found = {
        digest([["a"], ["b"]], "12"),
        digest([["a"], ["c"]], "12"),
        digest([["a"], ["b"]], "13"),
        digest([["a"]], "1"),
    }
    assert len(found) == 4


def test_recipes_are_those_of_the_papers():
    clip, siglip, lit = clip_recipe(), siglip_recipe(), lit_recipe()
    assert (clip.learning_rate, clip.betas, clip.weight_decay, clip.max_scale) == (5e-4, (0.9, 0.98), 0.2, 100)
    assert (siglip.betas, siglip.weight_decay, siglip.max_scale) == ((0.9, 0.95), 1e-4, 0)
    assert lit.lock_image
    assert not small_recipe().flip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sub_batch": -1}, "sub_batch must be at least 0, got -1"),
        ({"batch_size": 1}, "batch_size must be at least 2, got 1"),
        ({"max_scale": 0.5}, "max_scale must be at least 1, or 0 for no limit, got 0.5"),
        ({"crop_scale": (0.0, 1.0)}, "crop_scale must be two shares"),
        ({"crop_scale": (0.9, 0.5)}, "crop_scale must be two shares"),
        ({"updates": 0}, "updates must be at least 1"),
        ({"warmup": 5000}, "warmup must lie in"),
    ],
)
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ContrastiveSettings(**options)
