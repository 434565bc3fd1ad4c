"""Learning rate, EMA and order against their closed forms, and settings that are refused."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from vl_core.training import ResumableBatchSampler, Shuffled, TrainingSettings, WeightEMA, shuffled_index

SETTINGS = TrainingSettings(updates=20, batch_size=8, learning_rate=0.5, min_learning_rate=0.1, warmup=5)


def test_the_learning_rate_rises_linearly_and_falls_along_half_a_cosine():
    rise = [0.5 * t / 5 for t in range(1, 6)]
    fall = [0.1 + 0.4 * (1 + math.cos(math.pi * t / 15)) / 2 for t in range(1, 16)]
    assert [SETTINGS.learning_rate_at(update) for update in range(20)] == pytest.approx(rise + fall)


def test_a_smaller_share_of_decay_leaves_a_plateau_before_it():
    plateau = replace(SETTINGS, decay_share=0.5)
    rates = [plateau.learning_rate_at(update) for update in range(20)]
    assert rates[:9] == pytest.approx([0.1, 0.2, 0.3, 0.4, *[0.5] * 5])
    assert rates[9:] == pytest.approx([0.1 + 0.4 * (1 + math.cos(math.pi * t / 10)) / 2 for t in range(11)])
    never = replace(SETTINGS, decay_share=0.0)
    assert [never.learning_rate_at(update) for update in (4, 12, 19)] == [0.5] * 3


def test_warmup_may_take_the_whole_run_or_none_of_it():
    assert replace(SETTINGS, warmup=20).learning_rate_at(19) == 0.5
    assert replace(SETTINGS, warmup=0, decay_share=0).learning_rate_at(0) == 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"updates": 0}, r"updates must be at least 1, got 0"),
        ({"batch_size": 0}, r"batch_size must be at least 1, got 0"),
        ({"accumulation": 0}, r"accumulation must be at least 1, got 0"),
        ({"learning_rate": -1.0}, r"learning_rate must not be negative, got -1"),
        ({"min_learning_rate": 0.6}, r"min_learning_rate must be at most learning_rate, got 0\.6 and 0\.5; lower"),
        ({"weight_decay": -0.1}, r"weight_decay must not be negative"),
        ({"max_grad_norm": -1.0}, r"max_grad_norm must not be negative"),
        ({"workers": -1}, r"workers must not be negative"),
        ({"warmup": 21}, r"warmup must lie in 0\.\.20, the number of updates, got 21"),
        ({"decay_share": 1.5}, r"decay_share must lie in 0\.\.1, got 1\.5"),
        ({"ema_decay": 1.0}, r"ema_decay must be at least 0 and below 1, got 1\.0"),
        ({"precision": "float16"}, r"precision must be 'float32' or 'bfloat16', got 'float16'"),
    ],
)
def test_impossible_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SETTINGS, **change)


def test_the_ema_follows_the_weights():
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    ema = WeightEMA(model, 0.5)
    torch.nn.init.ones_(model.weight)
    ema.update(model, 0)
    assert ema.tensors["weight"].item() == pytest.approx(0.9)
    ema.update(model, 100)
    assert ema.tensors["weight"].item() == pytest.approx(0.95)
    ema.copy_to(model)
    assert model.weight.item() == pytest.approx(0.95)
    with pytest.raises(ValueError, match=r"decay must be at least 0 and below 1, got 1"):
        WeightEMA(model, 1)


def test_the_ema_copies_what_is_no_floating_point_number():
    norm = torch.nn.BatchNorm1d(2)
    ema = WeightEMA(norm, 0.9)
    norm(torch.randn(4, 2))
    ema.update(norm, 0)
    state = ema.state_dict(norm)
    assert state.keys() == norm.state_dict().keys()
    assert state["num_batches_tracked"] == 1
    assert not torch.equal(state["running_mean"], norm.running_mean)


def test_each_epoch_shows_every_image_once_in_an_order_of_its_own():
    epochs = [[shuffled_index(place, 7, seed=3) for place in range(7 * e, 7 * e + 7)] for e in range(3)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert epochs[0] != [shuffled_index(place, 7, seed=4) for place in range(7)]


def test_a_shuffled_data_set_has_a_sample_at_every_place():
    letters = Shuffled("abcdefg", seed=3)
    assert [letters[place] for place in range(7, 14)] == ["abcdefg"[shuffled_index(p, 7, 3)] for p in range(7, 14)]
    with pytest.raises(ValueError, match=r"dataset must hold at least one sample, got none"):
        Shuffled([], seed=0)


def test_processes_and_passes_divide_an_update_among_them():
    parts = [list(ResumableBatchSampler(1, 3, 12, 2, rank, 3)) for rank in range(3)]
    assert all(len(part) == 4 for part in parts)
    update = sorted(place for part in parts for places in part[:2] for place in places)
    assert update == list(range(12, 24))
    with pytest.raises(ValueError, match=r"multiple of processes times accumulation, 3 x 2; got 10"):
        ResumableBatchSampler(0, 3, 10, 2, 0, 3)
