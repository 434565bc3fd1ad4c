"""Recipes have the published settings; invalid settings are refused."""

from __future__ import annotations

import pytest
from vl_attention.training import recipes
from vl_attention.training.settings import TrainSettings


def test_recipes_hold_the_published_settings():
    distill, copy = recipes.vit_large_distill(), recipes.vit_large_copy()
    assert distill.learning_rate == pytest.approx(8e-4)
    assert copy.learning_rate == pytest.approx(8e-3)
    assert (distill.epochs, distill.warmup_epochs, distill.weight_decay, distill.betas) == (200, 20, 0.3, (0.9, 0.95))
    assert (copy.epochs, copy.warmup_epochs, copy.layer_decay, copy.min_learning_rate) == (100, 5, 0.75, 2e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, r"epochs must be at least 1, got 0"),
        ({"batch_size": 0}, r"batch_size must be at least 1"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be at least 0 and below 1"),
        ({"layer_decay": 0.0}, r"layer_decay must be above 0"),
        ({"warmup_epochs": 300}, r"warmup_epochs must lie in 0..200, got 300"),
        ({"base_learning_rate": 1e-3, "batch_size": 256, "min_learning_rate": 2e-3}, r"0\.002 and 0\.001 \* 256 / 256"),
        ({"precision": "float16"}, r"precision must be 'float32' or 'bfloat16', got 'float16'"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        TrainSettings(**settings)


@pytest.mark.parametrize(("recipe", "rate"), [("vit_large_fine_tune", 4e-3), ("vit_base_fine_tune", 2e-3)])
def test_fine_tuning_is_at_the_published_rate(recipe, rate):
    assert getattr(recipes, recipe)().learning_rate == pytest.approx(rate)
