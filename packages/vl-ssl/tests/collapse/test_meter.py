"""A stream of features gives what the whole matrix gives, whatever its chunks, order and ranks."""

from __future__ import annotations

import math

import pytest
import torch
from vl_ssl import CollapseMeter, collapse_report

KINDS = [{}, {"accurate": True}, {"sketch": 12}]
kinds = pytest.mark.parametrize("options", KINDS, ids=["gram", "factor", "sketch"])


def features(n=400, d=12, *, seed=0, dtype=torch.float64, rank=None):
    """Features with decaying directions and a mean."""
    generator = torch.Generator().manual_seed(seed)
    rank = d if rank is None else rank
    base = torch.randn(n, rank, generator=generator, dtype=torch.float64)
    scales = torch.arange(1, rank + 1, dtype=torch.float64) ** -1.0
    mixed = (base * scales) @ torch.randn(rank, d, generator=generator, dtype=torch.float64)
    return (mixed + torch.randn(d, generator=generator, dtype=torch.float64)).to(dtype)


def assert_same(found, expected, tolerance=1e-9):
    largest = expected.singular_values[0]
    torch.testing.assert_close(
        torch.tensor(found.singular_values), torch.tensor(expected.singular_values), rtol=0, atol=tolerance * largest
    )
    one, other = found.as_dict(), expected.as_dict()
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert value == pytest.approx(other[name], rel=tolerance, abs=tolerance), name


@pytest.mark.parametrize("options", KINDS[:2], ids=["gram", "factor"])
def test_a_report_is_that_of_a_singular_value_decomposition(options):
    x = features()
    report = collapse_report(x, **options)
    centered = torch.linalg.svdvals(x - x.mean(0))
    torch.testing.assert_close(torch.tensor(report.singular_values, dtype=torch.float64), centered, rtol=1e-9, atol=0)
    raw = torch.linalg.svdvals(x)
    assert report.stable_rank == pytest.approx(float(x.square().sum() / raw[0] ** 2), rel=1e-9)
    p = raw / raw.sum() + 1e-7
    assert report.rankme == pytest.approx(float((-p * p.log()).sum().exp()), rel=1e-9)
    unit = torch.nn.functional.normalize(x, dim=1)
    assert report.std == pytest.approx(float(unit.std(0, correction=0).mean()), rel=1e-9)
    assert report.std_scaled == pytest.approx(report.std * math.sqrt(12))
    assert (report.samples, report.dimensions, report.ratio) == (400, 12, 400 / 12)
    assert report.lidar is None


@kinds
@pytest.mark.parametrize("sizes", [[1] * 40, [7, 0, 33], [39, 1], [13, 14, 13]])
def test_chunks_and_order_do_not_matter(options, sizes):
    x = features(40)
    whole, parts = CollapseMeter(**options), CollapseMeter(**options)
    whole.update(x)
    for part in x[torch.randperm(40, generator=torch.Generator().manual_seed(1))].split(sizes):
        parts.update(part)
    assert_same(parts.compute(), whole.compute())


@kinds
def test_meters_merge_in_any_order(options):
    x = features(90)
    whole, merged = CollapseMeter(**options), CollapseMeter(**options)
    whole.update(x)
    for part in (x[60:], x[:1], x[1:60]):
        other = CollapseMeter(**options)
        other.update(part)
        merged.merge(other)
    merged.merge(CollapseMeter(**options))
    assert_same(merged.compute(), whole.compute())
