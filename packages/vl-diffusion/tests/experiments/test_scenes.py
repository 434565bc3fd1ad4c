"""Scenes against rays computed by hand, and the scores of maps against their definitions."""

from __future__ import annotations

import dataclasses
import math

import dense_scores
import numpy as np
import pytest
import scenes
import torch
from scenes import CLASSES, FARTHEST, NEAREST, Scenes, Solids, draw_scenes, make_views, render
from scipy.ndimage import gaussian_filter

SIZE = 25  # odd, so that the middle pixel's ray is the camera's axis


def one_solid(kind: str, *, z: float = 4.0, x: float = 0.0, turn: float = 0.0, tilt: float = 0.0) -> Scenes:
    """A solid of radius 0.5, as high as the camera's 1.5 (a sphere: 1), before a wall at 8."""
    value = {"x": x, "z": z, "radius": 0.5, "height": 1.5, "turn": turn}
    solids = Solids(torch.tensor([[CLASSES.index(kind)]]), **{name: torch.tensor([[v]]) for name, v in value.items()})
    return Scenes(
        solids=solids,
        wall=torch.tensor([8.0]),
        camera=torch.tensor([1.5]),
        tilt=torch.tensor([tilt]),
        light=torch.tensor([[0.0, 1.0, 0.0]]),
        ambient=torch.tensor([0.25]),
        colors=torch.tensor([[[0.2, 0.2, 0.2], [0.4, 0.4, 0.4], [0.8, 0.6, 0.4]]]),
        contrast=torch.zeros(1, 3),
        haze=torch.zeros(1),
        air=torch.zeros(1, 3),
    )


def ray(row: int, column: int) -> tuple[float, float]:
    """Distance right and up that a pixel's ray goes over a depth of one, for a level camera."""
    right, down = (((place + 0.5) / SIZE * 2 - 1) * 0.6 for place in (column, row))
    return right, -down


def seen(scene: Scenes, row: int, column: int) -> tuple[str, float]:
    views = render(scene, size=SIZE)
    return CLASSES[int(views.masks[0, row, column])], float(views.depths[0, 0, row, column])


def test_a_ray_meets_a_sphere_where_its_equation_says() -> None:
    row, column = 16, 12
    right, up = ray(row, column)
    # (0, 1.5 + t up, t) lies 0.5 from (0, 0.5, 4): a t^2 + b t + c = 0.
    a, b, c = 1 + up**2, 2 * (up * 1.0 - 4), 1.0 + 16 - 0.25
    assert right == 0
    assert seen(one_solid("sphere"), row, column) == (
        "sphere",
        pytest.approx((-b - math.sqrt(b * b - 4 * a * c)) / 2 / a),
    )


def test_a_box_shows_its_front_and_hides_the_ground_behind() -> None:
    scene = one_solid("box")
    assert seen(scene, 14, 12) == ("box", pytest.approx(3.5))
    # Above it is the wall, and far to its side and below the horizon the ground.
    assert seen(scene, 10, 12) == ("wall", pytest.approx(8.0))
    _, up = ray(20, 1)
    assert seen(scene, 20, 1) == ("ground", pytest.approx(1.5 / -up))
    turned = seen(one_solid("box", turn=math.pi / 4), 14, 12)
    assert turned == ("box", pytest.approx(4 - math.sqrt(0.5), abs=1e-4))


def test_a_cylinder_is_round_and_has_a_top() -> None:
    right, _ = ray(14, 13)
    # (t right, t) lies 0.5 from (0, 4).
    a, b, c = 1 + right**2, -8, 16 - 0.25
    expected = pytest.approx((-b - math.sqrt(b * b - 4 * a * c)) / 2 / a, rel=1e-5)
    assert seen(one_solid("cylinder"), 14, 13) == ("cylinder", expected)
    low = dataclasses.replace(one_solid("cylinder").solids, height=torch.tensor([[0.5]]))
    # The top is one below the camera; this ray meets its plane within the rim, 3.5 to 4.5 off.
    _, up = ray(17, 12)
    scene = dataclasses.replace(one_solid("cylinder"), solids=low)
    assert seen(scene, 17, 12) == ("cylinder", pytest.approx(1 / -up))
    assert 3.5 < 1 / -up < 4.5


def test_depth_is_along_the_axis_of_a_camera_that_looks_down() -> None:
    kind, depth = seen(one_solid("box", x=30.0, tilt=0.3), 12, 12)
    assert (kind, depth) == ("ground", pytest.approx(1.5 / math.sin(0.3)))


def test_light_from_above_lights_the_ground_and_not_the_front() -> None:
    views = render(one_solid("box"), size=SIZE)
    torch.testing.assert_close(views.images[0, :, 20, 1], torch.tensor([0.4, 0.4, 0.4]))
    torch.testing.assert_close(views.images[0, :, 14, 12], 0.25 * torch.tensor([0.8, 0.6, 0.4]))


def test_haze_takes_color_by_distance() -> None:
    hazy = dataclasses.replace(one_solid("box"), haze=torch.tensor([0.1]), air=torch.ones(1, 3))
    clear = math.exp(-0.35)
    expected = clear * 0.25 * torch.tensor([0.8, 0.6, 0.4]) + 1 - clear
    torch.testing.assert_close(render(hazy, size=SIZE).images[0, :, 14, 12], expected)


def test_a_scene_depends_on_its_seed_and_number_alone() -> None:
    several = make_views(5, [3, 1, 2], size=16, at_once=2)
    alone = make_views(5, [1], size=16)
    for name in ("images", "masks", "depths"):
        torch.testing.assert_close(getattr(several, name)[1:2], getattr(alone, name), rtol=1e-5, atol=1e-5)
    assert not torch.equal(make_views(6, [1], size=16).images, alone.images)


def test_scenes_are_in_range_and_show_every_class() -> None:
    views = make_views(0, range(40), size=16)
    assert len(views) == 40
    assert NEAREST < views.depths.min() < 2
    assert 8 < views.depths.max() < FARTHEST
    assert 0 <= views.images.min() < views.images.max() <= 1
    assert views.masks.flatten().bincount(minlength=len(CLASSES)).min() > 100
    count = (draw_scenes(0, range(40)).solids.kind >= 0).sum(1)
    assert set(count.tolist()) == {2, 3, 4}
    assert scenes.MOST_SOLIDS == 4


def test_mean_iou_skips_absent_classes() -> None:
    truth = torch.tensor([[[0, 0], [1, 1]]])
    predicted = torch.tensor([[[0, 1], [1, 1]]])
    counts = dense_scores.confusion(predicted, truth, 4)
    assert counts.tolist() == [[[1, 1, 0, 0], [0, 2, 0, 0], [0] * 4, [0] * 4]]
    assert dense_scores.mean_iou(counts).tolist() == [pytest.approx((1 / 2 + 2 / 3) / 2)]


def test_ssim_agrees_with_scipy_s_gaussian_window() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, 1, 20, 20, generator=generator, dtype=torch.float64)
    y = (x + 0.3 * torch.rand(1, 1, 20, 20, generator=generator, dtype=torch.float64)) / 1.3
    a, b = x[0, 0].numpy(), y[0, 0].numpy()

    def blurred(maps: np.ndarray) -> np.ndarray:
        return gaussian_filter(maps, 1.5, radius=5)[5:-5, 5:-5]

    mean_a, mean_b = blurred(a), blurred(b)
    variance_a, variance_b = blurred(a * a) - mean_a**2, blurred(b * b) - mean_b**2
    covariance = blurred(a * b) - mean_a * mean_b
    expected = (2 * mean_a * mean_b + 1e-4) * (2 * covariance + 9e-4)
    expected /= (mean_a**2 + mean_b**2 + 1e-4) * (variance_a + variance_b + 9e-4)
    assert dense_scores.ssim(x, y, extent=1.0).tolist() == [pytest.approx(expected.mean())]
    assert dense_scores.ssim(7 * x, 7 * x, extent=7.0).tolist() == [pytest.approx(1.0)]
    assert dense_scores.rmse(x + 2, x).tolist() == [pytest.approx(2.0)]


def test_the_interval_of_a_gain_has_its_nominal_coverage() -> None:
    generator = torch.Generator().manual_seed(0)
    covered = 0
    for trial in range(200):
        image = 5 * torch.randn(60, generator=generator)
        before = image + torch.randn(60, generator=generator)
        after = image + 0.5 + torch.randn(60, generator=generator)
        low, high = dense_scores.paired_interval(before, after, lambda mean: mean, draws=500, seed=trial)
        assert 0.3 < high - low < 1.2, "what images have in common widens the interval"
        covered += low <= 0.5 <= high
    assert 180 <= covered <= 198
