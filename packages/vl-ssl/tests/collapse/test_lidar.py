"""LiDAR: closed forms, an explicit loop, and the same value from a stream."""

from __future__ import annotations

import pytest
import torch
from vl_ssl import CollapseMeter, lidar


def views(n=60, q=3, d=5, seed=0):
    """Views of images, with noise of another size in each dimension."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(n, 1, d, generator=generator, dtype=torch.float64)
    noise = torch.randn(n, q, d, generator=generator, dtype=torch.float64)
    return images + noise * torch.tensor([0.01, 0.1, 0.3, 1.0, 3.0], dtype=torch.float64)[:d] + 2


def weighted_lidar(x, weights):
    """LiDAR of images with a weight each."""
    weights = weights / weights.sum()
    means = x.mean(1)
    around = means - weights @ means
    between = (weights[:, None] * around).T @ around
    rest = x - means[:, None]
    within = torch.einsum("n,nqi,nqj->ij", weights, rest, rest) / x.shape[1]
    values = torch.linalg.eigvals(torch.linalg.solve(within + 1e-4 * torch.eye(5, dtype=torch.float64), between)).real
    p = values / values.sum() + 1e-7
    return float((-p * p.log()).sum().exp())


def test_lidar_is_its_definition_in_an_explicit_loop():
    x, delta = views(), 1e-4
    overall = x.mean((0, 1))
    between, within = torch.zeros(5, 5, dtype=torch.float64), torch.zeros(5, 5, dtype=torch.float64)
    for image in x:
        mean = image.mean(0)
        between += torch.outer(mean - overall, mean - overall) / len(x)
        for view in image:
            within += torch.outer(view - mean, view - mean) / (len(x) * len(image))
    values = torch.linalg.eigvals(torch.linalg.solve(within + delta * torch.eye(5, dtype=torch.float64), between)).real
    p = values / values.sum() + 1e-7
    assert lidar(x) == pytest.approx(float((-p * p.log()).sum().exp()), rel=1e-9)


@pytest.mark.parametrize("r", [1, 2, 4])
def test_views_without_noise_count_the_directions_of_images(r):
    corners = torch.cat([torch.eye(r, 6), -torch.eye(r, 6)]).double()
    assert lidar(corners[:, None].repeat(1, 2, 1)) == pytest.approx(r, rel=1e-4)


def test_equal_images_have_no_discriminant():
    assert lidar(torch.ones(5, 2, 3)) == 0


@pytest.mark.parametrize("options", [{}, {"accurate": True}, {"window": 90}])
def test_a_stream_gives_the_same_value_and_counts_views_as_rows(options):
    x = views(n=30)
    meter = CollapseMeter(**options)
    for part in x.split([7, 0, 22, 1]):
        meter.update_views(part)
    report = meter.compute()
    assert report.lidar == pytest.approx(lidar(x), rel=1e-9)
    assert report.samples == 90
    meter.update_views(views(n=30, seed=1))
    expected = views(n=30, seed=1) if options.get("window") else torch.cat([x, views(n=30, seed=1)])
    assert meter.compute().lidar == pytest.approx(lidar(expected), rel=1e-9)


def test_lidar_ends_with_the_window_and_takes_views_in_any_number():
    meter, x = CollapseMeter(window=100), views(n=30)
    meter.update_views(x)
    meter.update(x.flatten(0, 1)[:40])  # 60 rows of views are left, or 20 images
    assert meter.compute().lidar == pytest.approx(lidar(x[-20:]), rel=1e-9)
    meter.update(x.flatten(0, 1)[:1])
    assert meter.compute().lidar == pytest.approx(lidar(x[-19:]), rel=1e-9)
    meter.update_views(x[:10, :2])
    meter.load_state_dict(meter.state_dict())
    every = CollapseMeter()
    every.update_views(x[-13:])
    every.update_views(x[:10, :2])
    assert meter.compute().lidar == pytest.approx(every.compute().lidar, rel=1e-9)
    meter.update(x.flatten(0, 1)[:80])
    meter.update(x.flatten(0, 1)[:19])
    assert meter.compute().lidar is None


def test_images_age_with_all_rows_and_are_forgotten():
    x, half_life = views(n=40), 60.0
    mixed, aged = CollapseMeter(forgetting=half_life), CollapseMeter(forgetting=half_life)
    mixed.update_views(x[:20])
    mixed.update(torch.zeros(30, 5, dtype=torch.float64))
    mixed.update_views(x[20:])
    weights = 0.5 ** (torch.cat([torch.arange(39, 19, -1) * 3 + 30, torch.arange(19, -1, -1) * 3]) / half_life)
    aged.update_views(x)
    expected = weighted_lidar(x, weights.double())
    assert mixed.compute().lidar == pytest.approx(expected, rel=1e-8)
    assert aged.compute().lidar != pytest.approx(expected, rel=1e-4)
    mixed.update(torch.zeros(1000, 5, dtype=torch.float64))
    assert mixed.compute().lidar is None


def test_forgetting_weights_images_by_their_age():
    x, half_life = views(), 60.0
    meter = CollapseMeter(forgetting=half_life)
    for part in x.split(13):
        meter.update_views(part)
    weights = 0.5 ** (3 * torch.arange(59, -1, -1, dtype=torch.float64) / half_life)
    assert meter.compute().lidar == pytest.approx(weighted_lidar(x, weights), rel=1e-8)


@pytest.mark.parametrize("window", [None, 1000])
def test_one_process_synchronized_is_a_copy_views_included(window):
    generator = torch.Generator().manual_seed(0)
    meter = CollapseMeter(window=window)
    noise = torch.randn(100, 4, 16, generator=generator) * torch.linspace(0.1, 9, 16)
    meter.update_views(torch.randn(100, 1, 16, generator=generator) + noise)
    assert meter.synchronized().compute().lidar == pytest.approx(meter.compute().lidar, rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_means_have_no_dimension_whatever_the_rounding(dtype):
    generator = torch.Generator().manual_seed(0)
    center = torch.randn(1, 1, 16, generator=generator, dtype=dtype)
    around = torch.randn(100, 1, 16, generator=generator, dtype=dtype)
    assert lidar(torch.cat([center + around, center - around], dim=1)) == 0
    assert lidar(center.expand(100, 3, 16)) == 0
