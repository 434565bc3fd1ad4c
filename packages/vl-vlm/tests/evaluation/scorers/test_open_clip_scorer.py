"""Models of open_clip at random weights: equal to their own forward pass, with texts padded as in training."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from vl_vlm import ClassificationTask, RetrievalTask, evaluate, from_open_clip

open_clip = pytest.importorskip("open_clip", reason="open_clip comes with the extra vl-vlm[openclip]")
PREPROCESS = open_clip.transform.PreprocessCfg(size=16)
VISION = {"image_size": 16, "patch_size": 8, "layers": 1, "width": 16, "head_width": 8}
TEXT = {"context_length": 12, "width": 16, "heads": 2, "layers": 1}
TEXTS = ["a cat", "a dog on a mat", "x " * 40]
preprocess = open_clip.transform.image_transform_v2(PREPROCESS, is_train=False)
tokenizer = open_clip.SimpleTokenizer(context_length=12)


def clip(**text):
    torch.manual_seed(0)
    return open_clip.CLIP(embed_dim=8, vision_cfg=VISION, text_cfg=TEXT | text)


def siglip(**text):
    torch.manual_seed(0)
    own = {"no_causal_mask": True, "pool_type": "last", "proj_bias": True}
    return open_clip.CustomTextCLIP(
        embed_dim=8, vision_cfg=VISION, text_cfg=TEXT | own | text, init_logit_scale=2.3, init_logit_bias=-10
    )


def coca(**text):
    torch.manual_seed(0)
    own = {"embed_cls": True, "output_tokens": True, "pool_type": "last"}
    vision = {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True}
    return open_clip.CoCa(
        embed_dim=8, vision_cfg=VISION | vision, text_cfg=TEXT | own | text, multimodal_cfg=TEXT | {"dim_head": 8}
    )


@pytest.fixture
def images():
    return list(np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8))


def pixels_of(images):
    return torch.stack([preprocess(Image.fromarray(image)) for image in images])


@pytest.mark.parametrize("make", [clip, siglip, coca])
def test_scores_are_the_models_own(make, images):
    model = make()
    with torch.no_grad():
        model.eval()
        if make is coca:  # its forward pass would decode, too
            features = model.encode_image(pixels_of(images)), model.encode_text(tokenizer(TEXTS))
        else:
            features = model(pixels_of(images), tokenizer(TEXTS))[:2]
    expected = features[0] @ features[1].T
    model.train()
    scores = from_open_clip(model, preprocess, tokenizer).score(images, TEXTS)
    torch.testing.assert_close(torch.tensor(scores), expected, atol=1e-5, rtol=1e-5)
    assert model.training
    assert scores.std() > 1e-3


@pytest.mark.parametrize("make", [clip, siglip, coca])
def test_texts_are_padded_to_the_trained_length(make, images):
    """A tokenizer of a shorter context would move the last token, which SigLIP's tower reads."""
    model = make()
    short = open_clip.SimpleTokenizer(context_length=7)
    expected = from_open_clip(model, preprocess, tokenizer).score(images, TEXTS)
    np.testing.assert_array_equal(from_open_clip(model, preprocess, short).score(images, TEXTS), expected)


def test_a_text_tower_of_transformers_gets_the_tokenizers_length(images):
    seen = []

    class Tower(torch.nn.Module):
        context_length, vocab_size = 20, 49408

        def forward(self, tokens):
            seen.append(tokens.shape)
            return torch.nn.functional.one_hot(tokens[:, 1] % 8, 8).float()

    model = siglip()
    model.text = Tower()
    assert np.isfinite(from_open_clip(model, preprocess, tokenizer).score(images, TEXTS)).all()
    assert seen == [(3, 12)]


def test_half_precision_and_every_form_of_an_image_are_taken(images):
    model = clip()
    expected = from_open_clip(model, preprocess, tokenizer).score(images, TEXTS)
    floats = torch.tensor(images[0]).permute(2, 0, 1) / 255
    for one in (Image.fromarray(images[0]), floats):
        np.testing.assert_array_equal(from_open_clip(model, preprocess, tokenizer).score([one], TEXTS), expected[:1])
    scores = from_open_clip(model.bfloat16(), preprocess, tokenizer).score(images, TEXTS)
    np.testing.assert_allclose(scores, expected, atol=0.03)


def test_zero_shot_accuracy_is_that_of_open_clips_classifier(images):
    model = clip().eval()
    classes, templates = ["cat", "dog", "red bus", "tree"], ["a photo of a {}", "{}", "many {}"]
    weights = open_clip.build_zero_shot_classifier(model, tokenizer, classes, templates)
    with torch.no_grad():
        logits = model.encode_image(pixels_of(images), normalize=True) @ weights
    labels = [0, 1, 2, 3, int(logits[4].argmax())]
    task = ClassificationTask(images, labels, classes, templates=templates, ks=(1, 2))
    scorer = from_open_clip(model, preprocess, tokenizer)
    np.testing.assert_allclose(
        scorer.score_groups(images, [[template.format(name) for template in templates] for name in classes]),
        logits,
        atol=1e-5,
    )
    result = evaluate(scorer, task, batch_size=2)
    for k in (1, 2):
        hits = (logits.topk(k).indices == torch.tensor(labels)[:, None]).any(1).float().mean().item()
        assert result.row(f"top-{k} accuracy").value == pytest.approx(hits)


def test_recall_is_that_of_clip_benchmark(images):
    retrieval = pytest.importorskip(
        "clip_benchmark.metrics.zeroshot_retrieval", reason="clip-benchmark is not installed"
    )
    model = clip().eval()
    captions = [[f"{word} {number}" for number in range(3)] for word in ("cat", "dog", "bus", "tree", "car")]
    batches = [(pixels_of(images[start : start + 2]), captions[start : start + 2]) for start in (0, 2, 4)]
    expected = retrieval.evaluate(model, batches, tokenizer, "cpu", amp=False, recall_k_list=[1, 2, 4])
    task = RetrievalTask(images, captions, ks=(1, 2, 4))
    result = evaluate(from_open_clip(model, preprocess, tokenizer), task, batch_size=2)
    for k in (1, 2, 4):
        for found, direction in (("image", "text-to-image"), ("text", "image-to-text")):
            theirs = expected[f"{found}_retrieval_recall@{k}"]
            assert result.row(f"{direction} recall@{k}").value == pytest.approx(theirs)


TRAINING = open_clip.transform.image_transform_v2(PREPROCESS, is_train=True)
FEW_TOKENS = SimpleNamespace(context_length=12, __call__=None)


@pytest.mark.parametrize(
    ("model", "parts", "error", "message"),
    [
        (object(), (preprocess, tokenizer), TypeError, "model must have visual, got object"),
        (clip(), (None, tokenizer), TypeError, "preprocess must take a PIL image, got NoneType"),
        (clip(), (TRAINING, tokenizer), ValueError, "preprocess must be that for evaluation, got one with Random"),
        (clip(), (preprocess, len), TypeError, "tokenizer must have context_length and take texts"),
        (clip(), (preprocess, FEW_TOKENS), TypeError, "tokenizer must have context_length and take texts"),
    ],
)
def test_other_objects_are_refused(model, parts, error, message):
    with pytest.raises(error, match=f"^{message}"):
        from_open_clip(model, *parts)


@pytest.mark.parametrize("make", [clip, siglip, coca])
def test_a_tokenizer_longer_than_the_tower_is_refused_naming_both(make):
    with pytest.raises(ValueError, match=r"77 tokens, the tower has 64 positions"):
        from_open_clip(make(context_length=64), preprocess, open_clip.SimpleTokenizer(context_length=77))


def test_tokens_that_the_model_does_not_know_are_refused(images):
    scorer = from_open_clip(siglip(vocab_size=1000), preprocess, tokenizer)
    with pytest.raises(ValueError, match=r"tokens of the model, whose vocabulary is 1000, got token 4\d+"):
        scorer.score(images, TEXTS)
