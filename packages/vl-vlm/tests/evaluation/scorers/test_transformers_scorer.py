"""Models of transformers at random weights: equal to their own forward pass, with texts padded as in training."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast, SiglipConfig, SiglipModel
from vl_vlm import ClassificationTask, evaluate, from_transformers

VISION = {
    "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 8,
    "patch_size": 4,
}  # fmt: skip
TEXT = {
    "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 10,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
TEXTS = ["a cat", "a dog a dog"]


def processor(context):
    words = {word: number for number, word in enumerate(["<pad>", "<s>", "</s>", "<unk>", "a", "cat", "dog"])}
    raw = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, model_max_length=context, **special)

    def image_processor(images, return_tensors):
        assert all(image.shape == (8, 8, 3) and image.dtype == np.uint8 for image in images)
        pixels = torch.tensor(np.stack(images)).permute(0, 3, 1, 2) / 127.5 - 1
        return {"pixel_values": pixels}

    return SimpleNamespace(tokenizer=tokenizer, image_processor=image_processor)


def siglip(positions):
    torch.manual_seed(0)
    text = TEXT | {"max_position_embeddings": positions, "projection_size": 16}
    return SiglipModel(SiglipConfig(text_config=text, vision_config=VISION))


def clip(positions):
    torch.manual_seed(0)
    text = TEXT | {"max_position_embeddings": positions}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=VISION, projection_dim=12))


@pytest.fixture
def images():
    return list(np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8))


@pytest.mark.parametrize(("make", "context"), [(siglip, 9), (clip, 9), (siglip, 10**30), (clip, 10**30)])
def test_scores_are_the_models_own(make, context, images):
    model, parts = make(9), processor(context)
    pixels = parts.image_processor(images, "pt")["pixel_values"]
    padding = {"padding": "max_length", "max_length": 9} if make is siglip else {"padding": True}
    tokens = parts.tokenizer(TEXTS, return_tensors="pt", **padding)
    mask = {} if make is siglip else {"attention_mask": tokens["attention_mask"]}
    with torch.no_grad():
        output = model.eval()(input_ids=tokens["input_ids"], pixel_values=pixels, **mask)
    expected = output.image_embeds @ output.text_embeds.T
    model.train()
    scores = from_transformers(model, parts).score(images, TEXTS)
    torch.testing.assert_close(torch.tensor(scores), expected, atol=1e-5, rtol=1e-5)
    assert model.training
    assert scores.std() > 1e-4


def test_siglip_texts_are_padded_to_the_trained_length_without_a_mask(images):
    model, seen = siglip(9), []
    model.text_model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append((kwargs["input_ids"].shape, kwargs.get("attention_mask"))),
        with_kwargs=True,
    )
    from_transformers(model, processor(9)).score(images, TEXTS)
    assert seen == [((2, 9), None)]


def test_long_texts_are_cut_to_the_positions(images):
    assert np.isfinite(from_transformers(clip(9), processor(10**30)).score(images, ["a cat " * 20])).all()


def test_every_form_of_an_image_gives_one_score(images):
    scorer = from_transformers(clip(9), processor(9))
    floats = torch.tensor(images[0]).permute(2, 0, 1) / 255
    scores = [scorer.score([image], TEXTS) for image in (images[0], Image.fromarray(images[0]), floats)]
    np.testing.assert_array_equal(scores[0], scores[1])
    np.testing.assert_array_equal(scores[0], scores[2])


def test_a_model_is_evaluated_in_one_call(images):
    task = ClassificationTask(images, [0, 1, 0], ["cat", "dog"], templates=["a {}", "{}"])
    for model in (clip(9), siglip(9)):
        result = evaluate(from_transformers(model, processor(9)), task, batch_size=2)
        assert 0 <= result.row("top-1 accuracy").value <= 1


@pytest.mark.parametrize("make", [clip, siglip])
def test_a_tokenizer_longer_than_the_tower_is_refused_naming_both(make):
    with pytest.raises(ValueError, match=r"77 tokens, the tower has 64 positions"):
        from_transformers(make(64), processor(77))


@pytest.mark.parametrize(
    ("model", "parts", "message"),
    [
        (object(), None, "model must have get_image_features"),
        (clip(9), object(), "processor must have image_processor"),
        (SimpleNamespace(get_image_features=len, get_text_features=len, config=None), processor(9), "max_position"),
    ],
)
def test_other_objects_are_refused(model, parts, message):
    with pytest.raises(TypeError, match=message):
        from_transformers(model, parts)
