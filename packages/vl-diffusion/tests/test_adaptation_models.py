"""Classifiers of other libraries: their preprocessing, and zero-shot CLIP, on tiny models made here."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, ConvNextImageProcessor, ViTImageProcessor
from vl_diffusion.adaptation.adapter import TestTimeAdapter
from vl_diffusion.adaptation.losses import DiffusionTTA
from vl_diffusion.adaptation.models import Preprocessing, ZeroShotCLIP


def image(height=40, width=48, channels=3):
    return torch.rand(channels, height, width, generator=torch.Generator().manual_seed(0))


def test_values_are_normalized_a_channel():
    prepare = Preprocessing(40, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    given = image(40, 40)
    mean, std = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1), torch.tensor([0.5, 0.6, 0.7]).view(3, 1, 1)
    torch.testing.assert_close(prepare(given), (given - mean) / std)
    assert prepare(image(channels=1)).shape == (3, 40, 40)
    assert Preprocessing(20)(image(channels=1)).shape == (1, 20, 20)
    assert Preprocessing(20, channels=1)(image()).shape == (1, 20, 20)


def test_the_center_is_cut_out_of_a_larger_image():
    given = image(32, 32)
    torch.testing.assert_close(Preprocessing(24, resize=32)(given), given[:, 4:28, 4:28])


MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def timm_model(**built):
    """The attributes of a model of timm, which may have been built for other images than its published weights."""
    config = {"input_size": (3, 224, 224), "mean": MEAN, "std": STD, "crop_pct": 0.875}
    return SimpleNamespace(pretrained_cfg=config, **built)


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        (
            SimpleNamespace(
                pretrained_cfg={"input_size": (3, 224, 224), "mean": (0.5,) * 3, "std": (0.25,) * 3, "crop_pct": 0.875}
            ),
            Preprocessing(224, (0.5,) * 3, (0.25,) * 3, 256),
        ),
        (
            SimpleNamespace(crop_size=[224], resize_size=[232], mean=[0.4] * 3, std=[0.2] * 3),
            Preprocessing(224, (0.4,) * 3, (0.2,) * 3, 232),
        ),
        (
            CLIPImageProcessor(size={"shortest_edge": 64}, crop_size={"height": 48, "width": 48}),
            Preprocessing(48, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711), 64),
        ),
        (ViTImageProcessor(size={"height": 32, "width": 32}), Preprocessing(32, (0.5,) * 3, (0.5,) * 3, 32)),
        (timm_model(in_chans=3, patch_embed=SimpleNamespace(img_size=(32, 32))), Preprocessing(32, MEAN, STD, 36)),
        (timm_model(in_chans=1), Preprocessing(224, (0.5,), (0.25,), 256, channels=1)),
    ],
)
def test_preprocessing_is_read_from_a_librarys_configuration(source, wanted):
    assert Preprocessing.of(source) == wanted


def test_a_processor_with_a_crop_share():
    found = Preprocessing.of(ConvNextImageProcessor(size={"shortest_edge": 224}, crop_pct=0.875))
    assert (found.size, found.resize) == (224, 256)


def test_unknown_preprocessing_is_refused():
    with pytest.raises(ValueError, match="Linear does not say how its images are prepared"):
        Preprocessing.of(torch.nn.Linear(1, 1))
    for built in ({"in_chans": 4}, {"patch_embed": SimpleNamespace(img_size=(32, 48))}):
        with pytest.raises(ValueError, match="expected squares of 1 or 3; pass a function of your own"):
            Preprocessing.of(timm_model(**built))
    with pytest.raises(TypeError, match=r"mean must hold one number per channel, got 0\.5; write \(0\.5,\)"):
        Preprocessing(32, 0.5, 0.5)
    for settings in ({"size": 0}, {"resize": 2}, {"std": (0.0,)}, {"mean": (0.1, 0.2)}, {"channels": 2}):
        with pytest.raises(ValueError, match="must be"):
            Preprocessing(**({"size": 4} | settings))


def clip(tiny):
    tokenizer = tiny.tokenizer()
    specials = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    text = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config=text | {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id} | specials,
        vision_config=text | {"image_size": 32, "patch_size": 8},
        projection_dim=8,
    )
    with tiny.seeded(3):
        return CLIPModel(config).eval(), tokenizer


def test_zero_shot_clip_returns_the_logits_of_clip(tiny):
    model, tokenizer = clip(tiny)
    names, pixels = ("cat", "dog", "ox"), torch.randn(2, 3, 32, 32)
    classifier = ZeroShotCLIP(model, tokenizer, names)
    tokens = tokenizer([f"a photo of a {name}." for name in names], padding=True, return_tensors="pt")
    with torch.no_grad():
        wanted = model(pixel_values=pixels, **tokens).logits_per_image
        torch.testing.assert_close(classifier(pixels), wanted)
    assert not any(name.startswith("text_model") for name, _ in classifier.named_parameters())
    with pytest.raises(ValueError, match=r"must hold \{\} once"):
        ZeroShotCLIP(model, tokenizer, names, "a photo")


def test_clip_adapts_with_a_text_conditional_denoiser(tiny):
    model, tokenizer = clip(tiny)
    names = ("cat", "dog", "ox")
    adapter = TestTimeAdapter(
        ZeroShotCLIP(model, tokenizer, names),
        tiny.stable_diffusion(),
        classes=names,
        objective=DiffusionTTA(4),
        gate=None,
        adapt="vision_model.*",
        learning_rate=1e-3,
        preprocess=Preprocessing(32, (0.5,) * 3, (0.5,) * 3),
    )
    result = adapter([image(), image(64, 33)])
    assert result.outputs.shape == (2, 3)
    assert (result.outputs != result.source).any(1).all()
