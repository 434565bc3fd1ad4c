"""Recipes against the papers, and settings that are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from vl_ssl.training.settings import (
    PretrainSettings,
    byol_pretraining,
    moco_v3_pretraining,
    simsiam_pretraining,
    small_pretraining,
)


@pytest.mark.parametrize(
    ("recipe", "images", "peak", "updates", "warmup"),
    [
        (simsiam_pretraining(), 1_281_167, 0.05, 500_455, 0),
        (byol_pretraining(), 1_281_167, 3.2, 312_784, 3128),
        (moco_v3_pretraining(), 1_281_167, 9.6, 31_278, 3128),
        (moco_v3_pretraining(vit=True), 1_281_167, 2.4e-3, 93_835, 12_511),
        (small_pretraining(), 5000, 0.05, 781, 39),
    ],
)
def test_recipes_give_the_rates_and_lengths_of_the_papers(recipe, images, peak, updates, warmup):
    loop = recipe.loop(images)
    assert loop.learning_rate == pytest.approx(peak)
    assert (loop.updates, loop.warmup) == (updates, warmup)
    assert loop.updates * loop.batch_size <= recipe.epochs * images


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, r"epochs must be at least 1, got 0"),
        ({"batch_size": 1}, r"batch_size must be at least 2, got 1; batch statistics"),
        ({"accumulation": 0}, r"accumulation must be at least 1"),
        ({"optimizer": "adam"}, r"optimizer must be one of sgd, lars, adamw, got 'adam'"),
        ({"augment_on": "gpu"}, r"augment_on must be one of auto, workers, device, got 'gpu'"),
        ({"momentum": 1.0}, r"momentum must be at least 0 and below 1, got 1"),
        ({"warmup_epochs": 101}, r"warmup_epochs must lie in 0\.\.100, the epochs, got 101"),
        ({"base_learning_rate": -1.0}, r"base_learning_rate must be at least 0 and finite, got -1"),
        ({"base_learning_rate": float("nan")}, r"base_learning_rate must be at least 0 and finite, got nan"),
        ({"weight_decay": float("inf")}, r"weight_decay must be at least 0 and finite, got inf"),
        ({"max_grad_norm": float("nan")}, r"max_grad_norm must be at least 0 and finite, got nan"),
        ({"betas": (0.9, 1.0)}, r"betas must be two numbers at least 0 and below 1, got \(0\.9, 1\.0\)"),
        ({"seed": -1}, r"seed must be at least 0 and below 2\*\*31, got -1"),
        ({"seed": 2**40}, r"seed must be at least 0 and below"),
        ({"decay_share": 2.0}, r"decay_share must lie in 0\.\.1, got 2"),
        ({"precision": "half"}, r"precision must be 'float32' or 'bfloat16', got 'half'"),
    ],
)
def test_errors_say_what_was_expected_and_what_came(change, message):
    with pytest.raises(ValueError, match=message):
        replace(PretrainSettings(), **change)


def test_a_run_shorter_than_an_update_is_refused():
    with pytest.raises(ValueError, match=r"batch_size must be at most the run's 200 positions \(100 epochs of 2"):
        simsiam_pretraining().loop(2)
