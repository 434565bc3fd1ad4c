"""A masked autoencoder encodes visible patches, predicts masked ones, and exports a teacher."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from vl_attention import AttentionTransfer, Normalization
from vl_attention.models.masked_autoencoder import MaskedAutoencoder
from vl_attention.training.pretraining import pretrain

SPEC = importlib.util.spec_from_file_location("small_training", Path(__file__).parent / "small_training.py")
small_training = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(small_training)
SIZE = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 0}


def autoencoder(name="vit_tiny_patch16_224", dynamic=False, **options):
    torch.manual_seed(0)
    encoder = timm.create_model(name, **SIZE, dynamic_img_size=dynamic)
    return MaskedAutoencoder(encoder, decoder_width=16, decoder_depth=1, decoder_heads=2, **options).eval()


@pytest.fixture
def images():
    return torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_small_patch14_reg4_dinov2", "deit3_small_patch16_224"])
def test_with_every_patch_in_view_the_encoder_is_the_model_itself(name, images):
    model = autoencoder(name)
    normalized = model.student_normalization(images)
    places = torch.arange(16).expand(3, -1)
    torch.testing.assert_close(model.encode(normalized, places), model.student.forward_features(normalized))


def test_a_distilled_encoder_is_refused():
    with pytest.raises(ValueError, match=r"encoder must have no distillation token"):
        autoencoder("deit_tiny_distilled_patch16_224")


def test_an_encoder_with_dynamic_image_size_is_trained_at_its_own_size(images):
    fixed, dynamic = autoencoder(), autoencoder(dynamic=True)
    order = torch.arange(16).expand(3, -1)
    torch.testing.assert_close(dynamic(images, order), fixed(images, order), rtol=0, atol=0)
    with pytest.raises(ValueError, match=r"images must have the encoder's size \(16, 16\), got \(24, 24\)"):
        dynamic(torch.rand(1, 3, 24, 24))


def test_the_encoder_does_not_see_masked_patches(images):
    model = autoencoder()
    order = torch.stack([torch.randperm(16, generator=torch.Generator().manual_seed(i)) for i in range(3)])
    seen = order[:, : model.num_visible]
    assert model.num_visible == 4
    changed = images.clone()
    for image, hidden in zip(changed, order[:, model.num_visible :], strict=True):
        for patch in hidden.tolist():
            row, column = divmod(patch, 4)
            image[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 0.5
    first, second = (model.encode(model.student_normalization(x), seen) for x in (images, changed))
    torch.testing.assert_close(first, second, rtol=0, atol=1e-6)
    assert not torch.allclose(model(images, order), model(changed, order))


def test_the_loss_is_that_of_a_loop_over_hidden_patches(images):
    model = autoencoder(mask_ratio=0.5, normalization=Normalization.none())
    order = torch.stack([torch.randperm(16, generator=torch.Generator().manual_seed(i)) for i in range(3)])
    predicted = model.predict(model.encode(images, order[:, :8]), order)
    losses = []
    for image, places, pixels in zip(images, order, predicted, strict=True):
        for patch in places[8:].tolist():
            row, column = divmod(patch, 4)
            target = image[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].reshape(-1)
            target = (target - target.mean()) / (target.var() + 1e-6) ** 0.5
            losses.append(((pixels[patch] - target) ** 2).mean())
    torch.testing.assert_close(model(images, order), torch.stack(losses).mean())


def test_prediction_of_a_patch_does_not_depend_on_the_order_of_the_others(images):
    model = autoencoder()
    order = torch.stack([torch.randperm(16, generator=torch.Generator().manual_seed(i)) for i in range(3)])
    other = torch.cat([order[:, : model.num_visible].flip(1), order[:, model.num_visible :].flip(1)], 1)
    torch.testing.assert_close(model(images, order), model(images, other))


def test_targets_may_be_the_pixels_themselves(images):
    model = autoencoder(target_epsilon=None, normalization=Normalization.none())
    assert torch.equal(model.targets(images)[1, 5].view(3, 4, 4), images[1, :, 4:8, 4:8])


def test_a_pretrained_encoder_predicts_better_and_can_teach(tmp_path, images):
    model = autoencoder(normalization=Normalization.none())
    settings = replace(small_training.SETTINGS, epochs=24, random_augment="", erasing=0.0)
    pretrain(model, small_training.Colors(), settings, tmp_path, size=(16, 16), log_every=5, progress=False)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["loss"] < 0.98 * rows[0]["loss"]
    transfer = AttentionTransfer(model.student, num_classes=2)
    assert transfer(images).logits.shape == (3, 2)


def test_invalid_encoders_and_mask_ratios_are_refused():
    with pytest.raises(TypeError, match=r"encoder must be timm's VisionTransformer, got ResNet"):
        MaskedAutoencoder(timm.create_model("resnet18"))
    with pytest.raises(ValueError, match=r"mask_ratio must leave some of the 16 patches .* got 0\.99"):
        autoencoder(mask_ratio=0.99)


@pytest.mark.parametrize("epsilon", [None, 1e-6])
def test_a_reconstruction_keeps_visible_patches_and_fills_masked_ones(images, epsilon):
    model = autoencoder(mask_ratio=0.5, target_epsilon=epsilon)
    masked, filled = model.reconstruct(images, seed=3)
    hidden = (masked == 0.5).all(1, keepdim=True).expand_as(images)
    assert hidden.float().mean() == pytest.approx(0.5, abs=0.01)
    torch.testing.assert_close(masked[~hidden], images[~hidden])
    torch.testing.assert_close(filled[~hidden], images[~hidden])
    assert not filled[hidden].isclose(images[hidden]).all()
    assert torch.equal(filled, model.reconstruct(images, seed=3)[1])


def test_a_perfect_prediction_reconstructs_the_image(images, monkeypatch):
    model = autoencoder()
    monkeypatch.setattr(model, "predict", lambda tokens, order: model.targets(model.student_normalization(images)))
    _, filled = model.reconstruct(images)
    torch.testing.assert_close(filled, images, atol=1e-4, rtol=0)


@torch.no_grad()
def test_compiled_blocks_give_the_same_loss(images):
    model, order = autoencoder(), torch.arange(16).expand(3, -1)
    expected = model(images, order)
    calls = []
    torch._dynamo.reset()
    model.compile_blocks(backend=lambda graph, inputs: calls.append(1) or graph.forward)
    torch.testing.assert_close(model(images, order), expected)
    assert calls
    torch._dynamo.reset()
