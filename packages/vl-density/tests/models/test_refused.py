"""Wrong models, images and conditions, each with one line."""

from __future__ import annotations

import pytest
import torch

from .small import small

X = torch.zeros(2, 1, 4, 6)
REFUSALS = {
    "size": (
        lambda: small("PixelCNN").log_prob(X[..., :5]),
        r"images must have shape \(B, 1, 4, 6\) as the model, got",
    ),
    "channels": (lambda: small("PixelCNN").log_prob(X.expand(-1, 3, -1, -1)), r"images must have shape \(B, 1, 4, 6\)"),
    "off the grid": (lambda: small("PixelCNN", levels=4).log_prob(X + 0.1), "images must lie on the grid k / 3"),
    "range": (lambda: small("PixelCNN").log_prob(X + 2), "image 0: "),
    "class of a model without": (
        lambda: small("PixelCNN").log_prob(X, [0, 0]),
        "condition must be None: the model was",
    ),
    "no class": (
        lambda: small("PixelCNN", num_classes=3).log_prob(X),
        "condition must give the class of each image, 0",
    ),
    "unknown class": (lambda: small("PixelCNN", num_classes=3).sample(1, 3), "condition must lie between 0 and 2, got"),
    "too few classes": (
        lambda: small("PixelCNN", num_classes=3).log_prob(torch.cat([X, X]), [0, 1]),
        "condition must be one integer or 4, got torch.int64 of shape",
    ),
    "no samples": (lambda: small("PixelCNN").sample(0), "count must be at least 1, got 0"),
    "known of numbers": (lambda: small("PixelCNN").inpaint(X, X[0, 0]), "known must be boolean, got torch.float32"),
    "known of another shape": (
        lambda: small("PixelCNN").inpaint(X, torch.zeros(3, 3, dtype=torch.bool)),
        r"known must broadcast to \(2, 1, 4, 6\), got \(3, 3\)",
    ),
    "levels": (lambda: small("PixelCNN", levels=1), "levels must lie between 2 and 256, got 1"),
    "image size": (lambda: small("PixelCNN", image_size=(0, 4)), "height must be at least 1, got 0"),
    "classes": (lambda: small("PixelCNN", num_classes=-1), "num_classes must not be negative, got -1"),
    "kernel": (lambda: small("PixelCNN", kernel_size=4), "kernel_size must be odd and at least 3, got 4"),
    "heads": (lambda: small("transformer", num_heads=3), "num_heads must divide width = 8, got 3"),
    "odd size": (
        lambda: small("PixelCNN++", image_size=(5, 4)),
        r"image_size must be divisible by 2\^\(stages - 1\) = 2",
    ),
}


@pytest.mark.parametrize(("action", "message"), REFUSALS.values(), ids=REFUSALS)
def test_wrong_input_is_named(action, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        action()


def test_models_are_saved_and_loaded(tmp_path):
    model = small("PixelCNN", num_classes=3, head="logistic-mixture", head_options={"components": 2}).float()
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path).eval()
    assert torch.equal(loaded.log_prob(X, [0, 1]), model.log_prob(X, [0, 1]))
    assert loaded.image_size == (4, 6)
