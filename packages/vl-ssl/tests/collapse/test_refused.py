"""Input that no meter takes, with what the message says; a refusal changes nothing."""

from __future__ import annotations

import pytest
import torch
from vl_ssl import CollapseMeter, collapse_report, lidar

NAN, INFINITE = float("nan"), float("inf")


def rows(value=0.0):
    """Rows of which the third holds a value."""
    x = torch.ones(5, 3)
    x[2, 1] = value
    return x


@pytest.mark.parametrize(
    ("features", "kind", "words"),
    [
        (rows(NAN), ValueError, "finite .* in 1 of 5 rows, the first in row 2"),
        (rows(-INFINITE), ValueError, "finite"),
        (rows().double() * 1e200, ValueError, "below 1e"),
        (torch.ones(5), ValueError, r"shape \(B, d\) .* got \(5,\)"),
        (torch.ones(5, 3, 1, 1), ValueError, r"got \(5, 3, 1, 1\)"),
        (torch.ones(5, 0), ValueError, r"d of at least 1"),
        (torch.ones(5, 4), ValueError, "d = 3 like those before, got 4"),
        (torch.ones(5, 3, dtype=torch.long), TypeError, "floating-point numbers, got torch.int64"),
        (torch.ones(5, 3, dtype=torch.complex64), TypeError, "floating-point"),
        ([[1.0, 2.0, 3.0]], TypeError, "must be a tensor, got list"),
    ],
)
def test_features_that_are_none_are_refused_and_change_nothing(features, kind, words):
    meter = CollapseMeter()
    meter.update(torch.eye(3))
    before = meter.compute()
    with pytest.raises(kind, match=words):
        meter.update(features)
    with pytest.raises(kind):
        meter.update_views(features)
    assert meter.compute() == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dimensions": 0}, "dimensions must be a whole number"),
        ({"window": 2.5}, "window must be a whole number"),
        ({"sketch": -1}, "sketch must be a whole number"),
        ({"forgetting": 0}, "forgetting must be a half-life above 0"),
        ({"forgetting": NAN}, "forgetting must be"),
        ({"window": 5, "forgetting": 5.0}, "must not both"),
        ({"sketch": 5, "accurate": True}, "must not both"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        CollapseMeter(**options)


def test_a_report_needs_a_sample():
    for meter in (CollapseMeter(), CollapseMeter(3), CollapseMeter(window=4)):
        meter.update(torch.ones(0, 3))
        with pytest.raises(ValueError, match="at least one sample"):
            meter.compute()
    with pytest.raises(ValueError, match="at least one sample"):
        collapse_report(torch.ones(0, 3))


def test_meters_of_another_kind_neither_merge_nor_load():
    meter, x = CollapseMeter(), torch.eye(4)
    meter.update(x)
    kinds = [("window", 3, None), ("window", 3, 4), ("forgetting", 3.0, None), ("forgetting", 3.0, 2.5)]
    for name, value, here in [*kinds, ("sketch", 2, None), ("sketch", 2, 3), ("accurate", True, False)]:
        other = CollapseMeter(**{name: value})
        with pytest.raises(ValueError, match=f"other must have {name} = "):
            other.merge(meter)
        other.update(x)
        with pytest.raises(ValueError, match=f"is of a meter with {name} {value}, here {here}; make this one with"):
            CollapseMeter(**{name: here}).load_state_dict(other.state_dict())
    wide = CollapseMeter()
    wide.update(torch.eye(5))
    with pytest.raises(ValueError, match="d = 4 like this meter, got 5"):
        meter.merge(wide)
    for options in ({}, {"window": 9}):
        wide = CollapseMeter(**options)
        wide.update(torch.eye(5))
        with pytest.raises(ValueError, match="features with d = 4 like here, got 5"):
            CollapseMeter(4, **options).load_state_dict(wide.state_dict())
    with pytest.raises(ValueError, match=r"what CollapseMeter\.state_dict gave, got weight"):
        meter.load_state_dict({"weight": x})
    with pytest.raises(ValueError, match="another meter"):
        meter.merge(meter)
    with pytest.raises(ValueError, match="use synchronized"):
        CollapseMeter(window=4).all_reduce()
    assert meter.samples == 4


def test_views_need_two_of_each_image_and_the_whole_scatter():
    with pytest.raises(ValueError, match="at least 2 views"):
        lidar(torch.ones(5, 1, 3))
    with pytest.raises(ValueError, match="delta must be above 0"):
        lidar(torch.ones(5, 2, 3), delta=0)
    with pytest.raises(ValueError, match="keeps a sketch"):
        CollapseMeter(sketch=2).update_views(torch.ones(5, 2, 3))
