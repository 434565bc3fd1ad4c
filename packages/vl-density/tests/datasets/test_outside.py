"""Sets of images outside: sizes, levels, and what they have in common with those inside."""

from __future__ import annotations

import pytest
import torch
from vl_core.data import open_dataset
from vl_density.datasets.outside import HELD_OUT, OUTSIDE, open_fashion, open_outside
from vl_density.quantization import to_levels


@pytest.mark.parametrize("name", OUTSIDE)
def test_sets_are_gray_images_of_eight_bits(name):
    found = open_outside(name)
    assert found.shape[1:] == (1, 28, 28)
    assert len(found) >= 200
    assert to_levels(found, 256).unique().numel() > 15
    assert torch.equal(found, open_outside(name))


def test_the_class_that_was_held_out_is_in_one_set_and_not_in_the_other():
    dataset = open_dataset("fashion", split="test")
    shirts = sum(label == dataset.classes.index(HELD_OUT) for label in dataset.labels)
    assert (len(open_outside("shirts")), len(open_fashion("test"))) == (shirts, len(dataset) - shirts)
    assert torch.equal(open_outside("flips").flip(-1), open_fashion("test"))


def test_digits_lie_in_a_margin():
    digits = open_outside("digits")
    assert len(digits) == 1797
    assert digits[..., :4, :].sum() == digits[..., -4:].sum() == 0


def test_an_unknown_set_is_named():
    with pytest.raises(ValueError, match=r"^name must be one of digits, strokes, flips, shirts, got 'noise'"):
        open_outside("noise")
