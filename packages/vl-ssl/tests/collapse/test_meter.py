"""A stream of features gives what the whole matrix gives, whatever its chunks, order and ranks."""

from __future__ import annotations

import math

import pytest
import torch
from vl_ssl import CollapseMeter, collapse_report, nesum, spectrum_auc
from vl_ssl.collapse.recent import Recent

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


def test_a_window_is_the_report_of_its_last_rows():
    x = features(90)
    meter = CollapseMeter(window=50)
    for part in x.split([20, 1, 9, 35, 25]):
        meter.update(part)
    assert meter.samples == 50
    assert_same(meter.compute(), collapse_report(x[-50:]))
    meter.update(x)
    assert_same(meter.compute(), collapse_report(x[-50:]))


@kinds
def test_forgetting_weights_rows_by_their_age(options):
    x, half_life = features(150), 20.0
    weights = 0.5 ** (torch.arange(149, -1, -1, dtype=torch.float64) / half_life)
    meter = CollapseMeter(forgetting=half_life, **options)
    for part in x.split([100, 0, 7, 43]):
        meter.update(part)
    report = meter.compute()
    mean = weights @ x / weights.sum()
    expected = torch.linalg.svdvals((x - mean) * weights.sqrt()[:, None])
    assert report.singular_values == pytest.approx(expected.tolist(), rel=1e-8)
    assert report.effective_samples == pytest.approx(float(weights.sum() ** 2 / weights.square().sum()))
    assert (report.samples, report.ratio) == (150, report.effective_samples / 12)
    unit = torch.nn.functional.normalize(x, dim=1)
    deviations = (weights @ (unit - weights @ unit / weights.sum()).square() / weights.sum()).sqrt()
    assert report.std == pytest.approx(float(deviations.mean()), rel=1e-9)


def test_accurate_keeps_singular_values_that_squaring_loses():
    generator = torch.Generator().manual_seed(0)
    left = torch.linalg.qr(torch.randn(200, 9, generator=generator, dtype=torch.float64)).Q
    left = torch.linalg.qr(left - left.mean(0)).Q
    right = torch.linalg.qr(torch.randn(9, 9, generator=generator, dtype=torch.float64)).Q
    values = 10.0 ** -torch.arange(9, dtype=torch.float64) * 1.5
    x = left * values @ right
    found = collapse_report(x, accurate=True).singular_values
    assert found == pytest.approx(values.tolist(), rel=1e-6)
    assert collapse_report(x).singular_values[-1] == 0


def test_rank_one_features_have_an_exact_report():
    direction = torch.randn(64, generator=torch.Generator().manual_seed(0))
    x = torch.linspace(-1, 1, 500)[:, None] * direction
    for options in ({}, {"accurate": True}):
        report = collapse_report(x, **options)
        # Rounding of the float32 features is a spectrum too, of 1e-8 of the largest.
        assert report.auc == pytest.approx(1, abs=1e-6)
        assert report.nesum == report.stable_rank == pytest.approx(1, abs=1e-6)
        assert report.effective_rank == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("options", [{}, {"accurate": True}, {"sketch": 8}], ids=["gram", "factor", "sketch"])
@pytest.mark.parametrize("r", [1, 3, 8])
def test_features_of_some_rank_with_equal_values_have_analytic_metrics(options, r):
    d, n = 20, 8 * 16
    # Columns of a Hadamard matrix are orthogonal, and all but the first have mean zero.
    signs = torch.ones(1, 1, dtype=torch.float64)
    while len(signs) < n:
        signs = torch.cat([torch.cat([signs, signs], 1), torch.cat([signs, -signs], 1)])
    right = torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).Q
    meter = CollapseMeter(**options)
    meter.update(signs[:, 1 : r + 1] @ right[:r])
    report = meter.compute()
    assert report.auc == pytest.approx(((r + 1) / 2 + d - r) / d, abs=1e-6)
    for name in ("effective_rank", "nesum", "stable_rank", "participation_ratio"):
        assert report.as_dict()[name] == pytest.approx(r, abs=1e-6), name
    share = 1 / r + 1e-7
    rankme = math.exp(-r * share * math.log(share) - (d - r) * 1e-7 * math.log(1e-7))
    assert report.rankme == pytest.approx(rankme, abs=1e-6)
    assert report.dimensions_90 == math.ceil(0.9 * r - 1e-9)
    assert report.alpha_req == pytest.approx(0 if r > 1 else math.inf, abs=1e-6)


J = torch.arange(1, 601, dtype=torch.float64)


@pytest.mark.parametrize(
    ("values", "tolerance"),
    [
        (torch.ones(600), 0.01),
        (J**-0.25, 0.01),
        (J**-0.5, 0.015),
        (J**-1.0, 0.02),
        (J**-1.5, 0.015),
        (torch.where(J <= 20, 1.0, 0.05), 0.03),
        (torch.where(J <= 150, 1.0, 0.0), 0.02),
        ((-J / 30).exp(), 0.02),
        ((-J / 120).exp(), 0.02),
    ],
    ids=["flat", "power 1/4", "power 1/2", "power 1", "power 3/2", "step", "step to zero", "steep", "exponential"],
)
def test_a_sketch_continues_a_long_spectrum_in_its_shape(values, tolerance):
    rows = torch.diag(values.double())
    meter = CollapseMeter(sketch=64)
    meter.update(torch.cat([rows, -rows]))
    report = meter.compute()
    found = torch.tensor(report.singular_values, dtype=torch.float64)
    assert report.auc == pytest.approx(spectrum_auc(values), abs=tolerance)
    assert float(found.square().sum()) == pytest.approx(float(2 * values.double().square().sum()), rel=1e-9)
    assert report.nesum == pytest.approx(nesum(values), rel=0.2)
    assert 0 < report.unresolved <= 1
    assert f"did not resolve {report.unresolved:.2g} of the variance" in report.warning


def test_a_sketch_of_few_directions_is_exact_and_says_nothing():
    meter = CollapseMeter(sketch=64)
    meter.update(features(1500, 300, rank=20))
    assert meter.compute().unresolved == 0
    assert "sketch" not in meter.compute().warning


@pytest.mark.parametrize(
    "options",
    [*KINDS, {"window": 25}, {"forgetting": 9.0}, {"window": 25, "accurate": True}],
    ids=["gram", "factor", "sketch", "window", "forgetting", "factor of a window"],
)
@pytest.mark.parametrize("views", [False, True])
def test_a_meter_resumes_where_its_state_was_saved(options, views, tmp_path):
    if views and "sketch" in options:
        pytest.skip("a sketch has no LiDAR")
    x = features(80).reshape(40, 2, 12)

    def feed(meter, part):
        (meter.update_views if views else meter.update)(part if views else part.flatten(0, 1))

    whole, first, second = (CollapseMeter(**options) for _ in range(3))
    for part in (x[:17], x[17:]):
        feed(whole, part)
    feed(first, x[:17])
    torch.save(first.state_dict(), tmp_path / "meter.pt")
    second.load_state_dict(torch.load(tmp_path / "meter.pt", weights_only=True))
    assert second.compute() == first.compute()
    feed(first, x[17:])
    feed(second, x[17:])
    assert second.compute() == first.compute()
    assert_same(second.compute(), whole.compute())
    assert (second.compute().lidar is not None) == views


@pytest.mark.parametrize("views", [0, 3])
def test_sums_over_a_window_have_the_same_bits_after_a_resume(views):
    x = features(400, 12).reshape(-1, 4, 12)
    whole, parts = CollapseMeter(window=100), CollapseMeter(window=100)
    for part in x.split(9):
        for meter in (whole, parts):
            if views:
                meter.update_views(part[:, :views])
            meter.update(part[:, views:].flatten(0, 1))
        resumed = CollapseMeter(window=100)
        resumed.load_state_dict(parts.state_dict())
        parts = resumed
        assert parts.compute() == whole.compute()


def test_a_window_is_on_the_device_of_its_latest_rows():
    recent = Recent(9)
    recent.add(torch.ones(4, 3))  # of a checkpoint, for example
    recent.add(torch.ones(2, 3, device="meta"))
    assert recent.state_dict()["rows"].device.type == "meta"


@pytest.mark.parametrize("scale", [2.0**-460, 2.0**-50, 2.0**455])
def test_metrics_do_not_see_the_scale_of_the_features(scale):
    assert collapse_report(features() * scale).as_dict() == pytest.approx(collapse_report(features()).as_dict())


def test_an_empty_state_is_that_of_a_new_meter():
    meter = CollapseMeter()
    meter.update(features())
    meter.load_state_dict(CollapseMeter().state_dict())
    assert (meter.samples, meter.dimensions, list(meter.state_dict())) == (0, None, ["options"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_any_floating_dtype_is_summed_in_float64(dtype):
    x = features(60).to(dtype)
    assert_same(collapse_report(x), collapse_report(x.double()))


def test_features_and_their_gradients_stay_as_they_are():
    x = features(30).requires_grad_()
    before = x.detach().clone()
    meter = CollapseMeter()
    meter.update(x)
    with torch.inference_mode():
        meter.update(features(30, seed=1))
    meter.update(x.mul(2))
    (x.sum()).backward()
    assert torch.equal(x.detach(), before)
    assert torch.equal(x.grad, torch.ones_like(x))
    assert meter.samples == 90
    assert not any(value.requires_grad for value in meter.state_dict().values())
    window = CollapseMeter(window=30)
    mine = features(30)
    window.update(mine)
    mine.zero_()
    assert window.compute().singular_values[0] > 1


def test_reset_forgets_and_windows_merge_as_what_came_last():
    x = features(60)
    one, other = CollapseMeter(window=40), CollapseMeter(window=40)
    one.update(x[:35])
    other.update(x[35:])
    one.merge(other)
    assert_same(one.compute(), collapse_report(x[-40:]))
    one.reset()
    assert (one.samples, one.dimensions, CollapseMeter(5).dimensions) == (0, None, 5)


@pytest.mark.parametrize("value", [0.0, 0.1, -7e5, 1e-30])
@pytest.mark.parametrize("n", [1, 100])
@pytest.mark.parametrize("options", [*KINDS, {"forgetting": 3.0}], ids=["gram", "factor", "sketch", "forgetting"])
def test_constant_features_have_defined_values(options, n, value):
    meter = CollapseMeter(**options)
    for _ in range(3):
        meter.update(torch.full((n, 13), value))
    report = meter.compute()
    expected = {"auc": 1, "alpha_req": math.inf, "effective_rank": 0, "nesum": 0, "participation_ratio": 0}
    expected |= {"dimensions_90": 0, "std": 0, "std_scaled": 0, "stable_rank": 1 if value else 0}
    numbers = report.as_dict()
    assert {name: numbers[name] for name in expected} == pytest.approx(expected, abs=1e-9)
    assert report.rankme == pytest.approx(1 if value else 0, abs=1e-4)
    assert report.singular_values == (0.0,) * 13


@pytest.mark.parametrize("options", [{}, {"accurate": True}])
@pytest.mark.parametrize("n", [1, 2, 5, 11])
def test_fewer_samples_than_dimensions_have_a_report_with_a_warning(options, n):
    report = collapse_report(features(n, 12), **options)
    assert not any(map(math.isnan, report.as_dict().values()))
    assert sum(value > 0 for value in report.singular_values) == n - 1
    assert f"({n} for d = 12)" in report.warning
    assert "take 120 samples" in report.warning
    assert not collapse_report(features(120, 12)).warning
