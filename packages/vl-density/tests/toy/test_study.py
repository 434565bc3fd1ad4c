"""Ascent: it finds maxima of a known density, and leaves the data where a model that fits is climbed from outside."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from vl_density.toy.ascent import ascend
from vl_density.toy.study import KINDS, study_ascent
from vl_density.toy.templates import TemplateDensity


def test_ascent_on_the_true_density_arrives_at_templates():
    truth = TemplateDensity(dimensions=8, templates=3)
    starts = torch.randn(20, 8, generator=torch.Generator().manual_seed(0))
    before = starts.clone()
    ends = ascend(truth.log_prob, starts, steps=300, step_size=0.05)
    assert torch.cdist(ends, truth.templates).amin(1).max() < 0.05
    assert torch.equal(starts, before)


@pytest.mark.parametrize(
    ("starts", "options", "message"),
    [
        (torch.zeros(2, 2), {"steps": 0}, "steps must be at least 1 and step_size positive, got 0"),
        (torch.zeros(2, 2), {"step_size": -1.0}, "got 500 and -1.0"),
        (torch.full((2, 2), torch.inf), {}, "starts must be finite"),
        (torch.zeros(2, 2, dtype=torch.long), {}, "starts must be finite floating-point"),
    ],
)
def test_wrong_ascents_are_named(starts, options, message):
    with pytest.raises(ValueError, match=message):
        ascend(lambda points: -points.square().sum(1), starts, **options)


def test_a_good_fit_is_left_from_outside_and_the_truth_is_not():
    found = study_ascent(
        dimensions=16, templates=4, examples=20_000, width=16, updates=300, starts=40, steps=200, seeds=[0, 1],
        noise=0.3, progress=False,
    )  # fmt: skip
    assert [one.kind for one in found] == list(KINDS)
    held_out, samples, near, outside, truth = found
    assert abs(held_out.excess().estimate) < 0.1
    assert held_out.share_left().estimate == pytest.approx(0.001, abs=1e-3)
    assert samples.share_left().estimate < 0.1
    assert near.share_left().estimate == 0
    assert outside.share_left().low > 0.3
    assert truth.share_left().estimate == 0
    assert outside.flips[outside.left].min() >= 1
    assert outside.values.shape == (40, 16)
    assert np.array_equal(np.unique(outside.seeds), [0, 1])


def test_one_seed_gives_the_same_points_again():
    options = {"dimensions": 4, "examples": 100, "width": 4, "updates": 5, "starts": 3, "steps": 5, "progress": False}
    alone, *_ = study_ascent(seeds=[1], **options)
    _, *others = study_ascent(seeds=[0, 1], **options)
    again = study_ascent(seeds=[1], **options)
    assert np.array_equal(alone.log_prob, again[0].log_prob)
    for one, other in zip(others, again[1:], strict=True):
        assert np.array_equal(one.log_prob[one.seeds == 1], other.log_prob)


def test_no_seeds_are_refused():
    with pytest.raises(ValueError, match="seeds and starts must be at least 1, got 0 and 200"):
        study_ascent(seeds=[])
