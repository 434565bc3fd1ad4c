"""Metrics of spectra: published values, closed forms, and independent formulas."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from vl_ssl.collapse.spectra import (
    alpha_req,
    cumulative_share,
    effective_rank,
    explained_dimensions,
    nesum,
    participation_ratio,
    rankme,
    spectrum_auc,
    stable_rank,
)

PUBLISHED = Path(__file__).parents[5] / "shared/data/collapse_spectra/spectra.npz"
METRICS = (
    *(spectrum_auc, rankme, effective_rank, alpha_req, nesum, stable_rank, participation_ratio),
    explained_dimensions,
)


@pytest.mark.parametrize(
    ("name", "auc", "rank", "participation", "alpha", "dimensions"),
    [
        ("resnet18_1percent", 0.6098, 465.2, 160.5, 0.71, 430),
        ("resnet18_20percent", 0.8787, 140.0, 5.2, 2.00, 189),
        ("resnet18_100percent", 0.8578, 165.6, 4.2, 1.92, 221),
    ],
)
def test_published_encoders_have_their_published_values(name, auc, rank, participation, alpha, dimensions):
    if not PUBLISHED.exists():
        pytest.skip(f"{PUBLISHED} is absent: spectra of published encoders")
    values = np.load(PUBLISHED)[name]
    assert spectrum_auc(values) == pytest.approx(auc, abs=1e-4)
    assert effective_rank(values) == pytest.approx(rank, abs=0.1)
    assert participation_ratio(values) == pytest.approx(participation, abs=0.05)
    assert alpha_req(values) == pytest.approx(alpha, abs=0.005)
    assert explained_dimensions(values) == dimensions


@pytest.mark.parametrize("d", [1, 2, 7, 512])
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_a_flat_spectrum_uses_all_dimensions(d, scale):
    values = torch.full((d,), scale)
    assert spectrum_auc(values) == pytest.approx((d + 1) / (2 * d), abs=1e-12)
    assert effective_rank(values) == pytest.approx(d, rel=1e-12)
    assert nesum(values) == stable_rank(values) == pytest.approx(d)
    assert participation_ratio(values) == pytest.approx(d)
    assert explained_dimensions(values) == math.ceil(0.9 * d - 1e-9)
    assert alpha_req(values) == pytest.approx(0.0 if d > 1 else math.inf, abs=1e-12)


@pytest.mark.parametrize(("r", "d"), [(1, 6), (3, 6), (25, 100), (100, 512)])
def test_equal_values_of_some_rank_have_analytic_metrics(r, d):
    values = [2.0] * r + [0.0] * (d - r)
    # E_j is j / r up to r, and 1 from there.
    assert spectrum_auc(values) == pytest.approx(((r + 1) / 2 + d - r) / d, abs=1e-12)
    share, epsilon = 1 / r + 1e-7, 1e-7
    entropy = -r * share * math.log(share) - (d - r) * epsilon * math.log(epsilon)
    assert rankme(values) == pytest.approx(math.exp(entropy), rel=1e-12)
    for metric in (effective_rank, nesum, stable_rank, participation_ratio):
        assert metric(values) == pytest.approx(r, rel=1e-12)
    assert explained_dimensions(values) == math.ceil(0.9 * r - 1e-9)
    assert alpha_req(values) == pytest.approx(0.0 if r > 1 else math.inf, abs=1e-12)


@pytest.mark.parametrize("alpha", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("d", [5, 40, 300])
def test_alpha_is_the_exponent_of_a_power_law(alpha, d):
    values = torch.arange(1, d + 1, dtype=torch.float64) ** (-alpha / 2)
    assert alpha_req(values) == pytest.approx(alpha, rel=1e-10)
    padded = torch.cat([values, torch.zeros(50, dtype=torch.float64)])
    assert alpha_req(padded) == pytest.approx(alpha, rel=1e-10)


def test_metrics_are_their_formulas_of_an_arbitrary_spectrum():
    values = np.random.default_rng(0).gamma(0.5, size=60)
    ordered = np.sort(values)[::-1]
    cumulative = [ordered[: j + 1].sum() / ordered.sum() for j in range(60)]
    assert spectrum_auc(values) == pytest.approx(np.mean(cumulative), rel=1e-12)
    assert explained_dimensions(values, share=0.5) == 1 + sum(e < 0.5 for e in cumulative)
    p = ordered / ordered.sum() + 1e-7
    assert rankme(values) == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-12)
    assert nesum(values) == pytest.approx((ordered**2).sum() / ordered[0] ** 2, rel=1e-12)
    assert participation_ratio(values) == pytest.approx((ordered**2).sum() ** 2 / (ordered**4).sum(), rel=1e-12)
    slope = np.polyfit(np.log(np.arange(11, 61)), np.log(ordered[10:60] ** 2), 1)[0]
    assert alpha_req(values) == pytest.approx(-slope, rel=1e-9)


@pytest.mark.parametrize("metric", METRICS)
def test_metrics_see_neither_order_nor_scale(metric):
    values = torch.rand(80, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert metric(values.flip(0) * 1e6) == pytest.approx(metric(values), rel=1e-9)
    assert metric(values.tolist()) == metric(values.numpy()) == metric(values)


@pytest.mark.parametrize("d", [1, 5])
def test_a_point_is_complete_collapse_in_every_metric(d):
    values = [0.0] * d
    assert spectrum_auc(values) == 1
    assert alpha_req(values) == math.inf
    assert all(metric(values) == 0 for metric in METRICS if metric not in (spectrum_auc, alpha_req))
    assert cumulative_share(values).tolist() == [1.0] * d


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], r"shape \(d,\)"),
        ([[1.0, 2.0]], r"shape \(d,\)"),
        ([1.0, float("nan")], "finite"),
        ([1.0, float("inf")], "finite"),
        ([1.0, -1.0], "at least 0"),
    ],
)
@pytest.mark.parametrize("metric", METRICS)
def test_what_is_no_spectrum_is_refused(metric, values, words):
    with pytest.raises(ValueError, match=words):
        metric(values)


def test_arguments_out_of_range_are_refused():
    with pytest.raises(ValueError, match="share must be above 0"):
        explained_dimensions([1.0], share=90)
    with pytest.raises(ValueError, match="fit_range must be two indices"):
        alpha_req([1.0, 0.5], fit_range=(5, 5))
