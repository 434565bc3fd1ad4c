"""The fifteen corruptions: each against its definition, all of them against what a benchmark relies on."""

from __future__ import annotations

import colorsys
import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F
from vl_core.corruptions import CORRUPTIONS, PUBLISHED_SIZES, SEVERITIES, corrupt
from vl_core.corruptions import _blur as blur
from vl_core.corruptions import _digital as digital
from vl_core.corruptions import _noise as noise
from vl_core.corruptions import _weather as weather
from vl_core.corruptions._fields import plasma
from vl_core.corruptions._frost_pattern import frost_pattern
from vl_core.corruptions._strengths import Strengths
from vl_core.data import open_dataset

# Those without a random number.
FIXED = {"defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression"}


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def colorful(count: int, size: int = 64, seed: int = 0) -> torch.Tensor:
    """Images ``(count, 3, size, size)``: bright patches with edges and fine texture, no two alike."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 6, 6, generator=random)
    patches = F.interpolate(coarse, size=(size, size), mode="nearest")
    shades = F.interpolate(coarse.flip(-1), size=(size, size), mode="bilinear")
    texture = torch.rand(count, 3, size, size, generator=random)
    return (0.55 * patches + 0.35 * shades + 0.1 * texture).clamp(0, 1)


@pytest.fixture(scope="module")
def clothes() -> torch.Tensor:
    """Fashion-MNIST test images ``(50, 1, 28, 28)``."""
    data = open_dataset("fashion", split="test")
    images = np.stack([np.asarray(data[i][0], np.float32) / 255 for i in range(0, 2000, 40)])
    return torch.from_numpy(images)[:, None]


def test_the_names_are_those_of_the_paper_in_its_order():
    assert (
        *("gaussian_noise", "shot_noise", "impulse_noise"),
        *("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
        *("snow", "frost", "fog", "brightness"),
        *("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
    ) == CORRUPTIONS
    assert SEVERITIES == (1, 2, 3, 4, 5)
    assert PUBLISHED_SIZES == (32, 64, 224)


# ---- What holds for all of them ----


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_higher_severity_changes_more(name, clothes):
    for images in (clothes, colorful(16)):
        changes = [float(((corrupt(images, name, s) - images) ** 2).mean()) for s in SEVERITIES]
        assert changes[0] > 0
        assert sorted(set(changes)) == changes


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_an_image_is_corrupted_alike_in_every_batch_and_order(name):
    images = colorful(4, size=20)
    whole = corrupt(images, name, 3, seed=5)
    order = [2, 0, 3, 1]
    shuffled = corrupt(images[order], name, 3, seed=5, image_ids=order)
    alone = [corrupt(images[i : i + 1], name, 3, seed=5, image_ids=[i]) for i in range(4)]
    assert torch.equal(shuffled, whole[order])
    assert torch.equal(torch.cat(alone), whole)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_randomness_follows_seed_and_id(name):
    same = colorful(1, size=20).expand(2, -1, -1, -1)
    first, second = corrupt(same, name, 5, image_ids=[-3, 2**62])
    assert torch.equal(first, second) == (name in FIXED)
    assert torch.equal(corrupt(same, name, 5), corrupt(same, name, 5, seed=1)) == (name in FIXED)


@pytest.mark.parametrize("name", ["gaussian_noise", "motion_blur", "fog", "elastic_transform"])
def test_the_key_of_an_image_is_its_id_and_the_seed_with_the_place_of_the_name(name):
    image = colorful(1, size=20)
    module = {"gaussian_noise": noise, "motion_blur": blur, "fog": weather, "elastic_transform": digital}[name]
    rng = np.random.Generator(np.random.Philox(key=[7, (3 << 32) + CORRUPTIONS.index(name)]))
    expected = getattr(module, name)(image[0].double().numpy(), Strengths(2, 20), rng).clip(0, 1)
    torch.testing.assert_close(corrupt(image, name, 2, seed=3, image_ids=[7])[0].double(), torch.from_numpy(expected))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_images_of_any_shape_keep_shape_and_range(name, channels):
    images = colorful(2, size=48)[:, :channels, :33, 1:]
    before = images.clone()
    for severity in SEVERITIES:
        found = corrupt(images, name, severity)
        assert found.shape == images.shape
        assert found.dtype == images.dtype
        assert 0 <= float(found.min()) <= float(found.max()) <= 1
    assert torch.equal(images, before)
    black, white = torch.zeros(1, channels, 28, 28), torch.ones(1, channels, 28, 28)
    for image in (images[:1, :, :8, :8], black, white):
        assert torch.isfinite(corrupt(image, name, 5)).all()


@pytest.mark.parametrize("name", sorted(set(CORRUPTIONS) - {"gaussian_noise", "shot_noise", "impulse_noise", "frost"}))
def test_a_gray_image_in_three_channels_stays_as_gray_as_in_one(name):
    gray = colorful(2, size=32).mean(1, keepdim=True)
    # A JPEG file of colors rounds on its way to luminance and back.
    tolerance = 2.1 / 255 if name == "jpeg_compression" else 1e-6
    expected = corrupt(gray, name, 4).expand(-1, 3, -1, -1)
    found = corrupt(gray.expand(-1, 3, -1, -1), name, 4)
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_dtype_stays(dtype):
    images = colorful(2, size=16).to(dtype).requires_grad_()
    for name in CORRUPTIONS:
        found = corrupt(images, name, 2)
        assert found.dtype == dtype
        assert not found.requires_grad
        assert 0 <= float(found.min()) <= float(found.max()) <= 1


def test_images_come_in_every_form_that_the_package_takes():
    levels = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    tensor = torch.from_numpy(levels.transpose(0, 3, 1, 2).copy()).float() / 255
    expected = corrupt(tensor, "fog", 3)
    assert torch.equal(corrupt(list(levels), "fog", 3), expected)
    assert torch.equal(corrupt([Image.fromarray(each) for each in levels], "fog", 3), expected)
    assert torch.equal(corrupt(Image.fromarray(levels[0]), "fog", 3), expected[:1])
    assert torch.equal(corrupt(tensor[1], "fog", 3, image_ids=[1]), expected[1:])
    clothes = open_dataset("fashion", split="test")
    assert corrupt(clothes.subset([3, 1]), "snow", 1).shape == (2, 1, 28, 28)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"name": "rain"}, ValueError, r"name must be one of gaussian_noise, .*, jpeg_compression, got 'rain'"),
        ({"severity": 0}, ValueError, r"severity must be one of 1, 2, 3, 4, 5, got 0"),
        ({"severity": 6}, ValueError, r"severity must be one of 1, 2, 3, 4, 5, got 6"),
        ({"severity": 2.5}, TypeError, r"severity must be an integer, got 2.5 of type float"),
        ({"seed": -1}, ValueError, r"seed must lie in \[0, 2\*\*31\), got -1"),
        ({"image_ids": [1]}, ValueError, r"image_ids needs one entry for each of the 2 images, got 1"),
        ({"image_ids": [0.5, 1]}, TypeError, r"image_ids must be integers, got 0.5"),
        ({"tuned_for": 28}, ValueError, r"tuned_for must lie in 32 ... 224, .*, got 28"),
        ({"images": torch.full((2, 1, 9, 9), math.nan)}, ValueError, r"image 0: image must be finite, got NaN"),
        ({"images": torch.full((2, 1, 9, 9), 1.5)}, ValueError, r"image 0: .* must lie in \[0, 1\], got 1.5 to 1.5"),
        ({"images": torch.zeros(2, 2, 9, 9)}, ValueError, r"shape \(1, H, W\) or \(3, H, W\), got \(2, 9, 9\)"),
        ({"images": torch.zeros(2, 1, 9, 9, dtype=torch.uint8)}, ValueError, r"must be floating point"),
        ({"images": torch.zeros(2, 1, 7, 99)}, ValueError, r"images must be at least 8 pixels a side, got 7x99"),
        ({"images": torch.zeros(0, 1, 9, 9)}, ValueError, r"images is empty"),
        ({"images": [torch.zeros(1, 9, 9), torch.zeros(1, 9, 8)]}, ValueError, r"images must have one size, got .* 1 "),
        ({"images": 3}, TypeError, r"images must be a tensor, an image or a sequence of images, got int"),
    ],
)
def test_errors_say_what_was_expected_and_what_came(change, error, message):
    arguments = {"images": torch.zeros(2, 1, 9, 9), "name": "fog", "severity": 1, **change}
    images, name, severity = (arguments.pop(key) for key in ("images", "name", "severity"))
    with pytest.raises(error, match=message):
        corrupt(images, name, severity, **arguments)


# ---- Strengths ----


def test_strengths_are_the_published_ones_at_published_sizes_and_between_them_geometric():
    table = noise.DEVIATION
    for size in PUBLISHED_SIZES:
        for severity in SEVERITIES:
            assert Strengths(severity, size).value(table) == pytest.approx(table[size][severity - 1])
    weight = math.log(50 / 32) / math.log(2)
    assert Strengths(5, 50).value(table) == pytest.approx(0.10 ** (1 - weight) * 0.18**weight)
    assert Strengths(5, 28).value(table) == pytest.approx(0.10)
    assert Strengths(5, 999).value(table) == pytest.approx(0.38)
    assert Strengths(5, 28, 224).value(table) == pytest.approx(0.38)


def test_lengths_follow_the_size_of_the_image():
    radius = blur.DISC_RADIUS
    assert Strengths(5, 448).length(radius) == pytest.approx(20)
    assert Strengths(5, 64, 224).length(radius) == pytest.approx(10 * 64 / 224)
    assert Strengths(5, 16).length(radius) == pytest.approx(0.75)
    assert Strengths(5, 16).neighborhood(radius) == pytest.approx(1.5)


# ---- Noise ----


def test_gaussian_noise_has_mean_zero_and_its_deviation():
    image = np.full((3, 224, 224), 0.5)
    for severity, sigma in zip(SEVERITIES, (0.08, 0.12, 0.18, 0.26, 0.38), strict=True):
        added = noise.gaussian_noise(image, Strengths(severity, 224), generator()) - image
        assert abs(added.mean()) < 4 * sigma / math.sqrt(added.size)
        assert added.std() == pytest.approx(sigma, rel=0.01)


def test_shot_noise_keeps_the_mean_and_its_variance_grows_with_the_light():
    light = np.array([0.1, 0.4, 0.9])
    image = np.broadcast_to(light[:, None, None], (3, 224, 224))
    found = noise.shot_noise(image, Strengths(3, 224), generator())
    np.testing.assert_allclose(found.mean((1, 2)), light, rtol=0.02)
    np.testing.assert_allclose(found.var((1, 2)), light / 12, rtol=0.03)
    np.testing.assert_allclose(found * 12, np.rint(found * 12), atol=1e-9)
    assert (noise.shot_noise(np.zeros((1, 32, 32)), Strengths(5, 32), generator()) == 0).all()


def test_impulse_noise_replaces_its_share_by_black_and_white():
    found = noise.impulse_noise(np.full((3, 224, 224), 0.5), Strengths(5, 224), generator())
    assert set(np.unique(found)) == {0, 0.5, 1}
    assert (found == 0).mean() == pytest.approx(0.27 / 2, rel=0.03)
    assert (found == 1).mean() == pytest.approx(0.27 / 2, rel=0.03)


# ---- Blur ----


@pytest.mark.parametrize("radius", [0.6, 1, 2.5, 10])
def test_defocus_spreads_a_point_into_a_disc(radius):
    kernel = blur.disc(radius)
    middle = len(kernel) // 2
    distance = np.hypot(*np.indices(kernel.shape) - middle)
    assert kernel.sum() == pytest.approx(1)
    assert np.ptp(kernel[distance <= radius - 0.5]) == pytest.approx(0)
    assert (kernel[distance >= radius + 0.5] == 0).all()
    np.testing.assert_allclose(kernel, kernel.T)
    np.testing.assert_allclose(kernel, kernel[::-1])


def test_defocus_of_a_point_is_the_kernel():
    image = np.zeros((1, 65, 65))
    image[0, 32, 32] = 1
    at = Strengths(5, 64)
    kernel = blur.disc(3)
    reach = len(kernel) // 2
    found = blur.defocus_blur(image, at, generator())
    np.testing.assert_allclose(found[0, 32 - reach : 33 + reach, 32 - reach : 33 + reach], kernel)
    assert found.sum() == pytest.approx(1)


@pytest.mark.parametrize("seed", range(5))
def test_motion_spreads_a_point_along_a_line_at_most_45_degrees_from_the_horizontal(seed):
    image = np.zeros((1, 65, 65))
    image[0, 32, 32] = 1
    found = blur.motion_blur(image, Strengths(5, 224), generator(seed))[0]
    assert found.sum() == pytest.approx(1)
    offsets = np.indices(found.shape) - 32
    mean = (offsets * found).sum((1, 2))
    centered = offsets - mean[:, None, None]
    covariance = np.einsum("ahw,bhw,hw->ab", centered, centered, found)
    (across, along), directions = np.linalg.eigh(covariance)
    # Interpolation between pixels spreads each point by a quarter of a square pixel at most.
    assert across < 0.25 < 20 < along
    assert abs(directions[0, 1]) <= abs(directions[1, 1]) + 1e-6
    assert found[32, 32] == pytest.approx(found.max())


def test_zoom_blur_keeps_the_center_and_moves_the_rest_outwards():
    images = colorful(3, size=65)
    found = corrupt(images, "zoom_blur", 5)
    torch.testing.assert_close(found[:, :, 32, 32], images[:, :, 32, 32])
    ring = torch.zeros(1, 1, 65, 65)
    ring[0, 0, 32, 12] = 1
    row = corrupt(ring, "zoom_blur", 5)[0, 0, 32]
    assert row[:12].sum() > 0.5 * row.sum()
    assert float(row[13:].sum()) == 0


def test_zoom_blur_is_the_mean_of_enlarged_images():
    ramp = np.broadcast_to(np.arange(33.0), (1, 33, 33)) / 64
    found = blur.zoom_blur(ramp, Strengths(1, 32), generator())
    factors = [1, 1.01, 1.02, 1.03, 1.04, 1.05]
    expected = (16 + (np.arange(33) - 16) * np.mean([1 / f for f in factors])) / 64
    np.testing.assert_allclose(found[0, 5], expected, atol=1e-12)


def test_glass_exchanges_whole_pixels_with_near_ones():
    at = Strengths(1, 32)
    y, x = np.indices((32, 32))
    places = np.stack([y, x, np.zeros_like(x)]).astype(float)
    found = blur.glass_blur(places, at, generator())
    moved = np.abs(found - places).max(0)
    # What is carried on by several exchanges goes further, and the blur of 0.2 px hardly moves anything.
    assert 0.2 < (moved > 0.5).mean() < 0.5
    assert np.quantile(moved, 0.99) < 3.5
    assert found.mean((1, 2)) == pytest.approx(places.mean((1, 2)), abs=0.02)
    assert blur.glass_blur(np.full((1, 32, 32), 0.3), at, generator()) == pytest.approx(0.3)


# ---- Weather ----


def test_snow_whitens_the_image_and_adds_flakes_that_look_alike_upside_down():
    image = colorful(1)[0].double().numpy()
    found = weather.snow(image, Strengths(3, 64), generator())
    luminance = 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]
    whitened = 0.7 * image + 0.3 * np.maximum(image, 1.5 * luminance + 0.5)
    flakes = found - whitened
    assert flakes.min() > -1e-12
    assert flakes.max() > 0.3
    np.testing.assert_allclose(flakes, np.broadcast_to(flakes[0][::-1, ::-1], flakes.shape), atol=1e-12)


def test_frost_is_a_weighted_sum_of_the_image_and_ice():
    image = colorful(1)[0].double().numpy()
    ice = frost_pattern(3, 64, 64, generator())
    found = weather.frost(image, Strengths(5, 64), generator())
    np.testing.assert_allclose(found, 0.8 * image + 0.7 * ice)
    assert 0 <= ice.min() < 0.1
    assert 0.7 < ice.max() <= 1
    assert (ice[0] <= ice[2]).all()


def test_fog_adds_a_cloud_and_keeps_the_largest_value():
    image = 0.6 * colorful(1)[0].double().numpy()
    cloud = plasma(64, 64, 1.75**2, generator())
    found = weather.fog(image, Strengths(5, 64), generator())
    most = image.max()
    np.testing.assert_allclose(found, (image + 2 * cloud) * most / (most + 2))
    assert found.max() <= most


def test_a_cloud_fills_the_range_and_a_larger_decay_makes_it_smoother():
    rough, smooth = (plasma(50, 64, decay, generator()) for decay in (1.5, 9))
    whole = plasma(64, 64, 1.5, generator())
    assert (whole.min(), whole.max()) == (0, 1)
    np.testing.assert_array_equal(rough, whole[:50])
    assert np.abs(np.diff(smooth)).mean() < 0.5 * np.abs(np.diff(rough)).mean()
    # A torus: the step over the edge is none.
    assert np.abs(whole[0] - whole[-1]).mean() < 2 * np.abs(np.diff(whole, axis=0)).mean()


def test_brightness_raises_the_value_of_hue_saturation_and_value():
    image = colorful(1, size=32)
    image[0, :, 0, 0] = 0
    found = corrupt(image, "brightness", 5)[0]
    for y, x in ((0, 0), (3, 4), (20, 9), (31, 31)):
        hue, saturation, value = colorsys.rgb_to_hsv(*image[0, :, y, x].tolist())
        expected = colorsys.hsv_to_rgb(hue, saturation, min(value + 0.3, 1))
        assert found[:, y, x].tolist() == pytest.approx(expected, abs=1e-6)
    gray = torch.linspace(0, 1, 1024).view(1, 1, 32, 32)
    torch.testing.assert_close(corrupt(gray, "brightness", 2), (gray + 0.1).clamp(max=1))


# ---- Digital ----


def test_contrast_shrinks_the_distance_to_the_mean():
    images = colorful(2, size=32)
    mean = images.mean((2, 3), keepdim=True)
    torch.testing.assert_close(corrupt(images, "contrast", 5), mean + 0.15 * (images - mean))


def test_pixelate_shows_means_of_tiles():
    images = colorful(2, size=32)
    expected = F.avg_pool2d(images, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    torch.testing.assert_close(corrupt(images, "pixelate", 5, tuned_for=224), expected)
    uneven = corrupt(images, "pixelate", 5)
    assert len(uneven[0, 0, :, 0].unique()) <= round(0.65 * 32)
    torch.testing.assert_close(corrupt(uneven, "pixelate", 5), uneven)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_compression_is_a_round_trip_through_a_file(channels):
    images = colorful(1)[:, :channels]
    levels = (255 * images[0]).round().byte().numpy()
    file = io.BytesIO()
    Image.fromarray(levels[0] if channels == 1 else levels.transpose(1, 2, 0)).save(file, "JPEG", quality=40)
    read = np.asarray(Image.open(file), np.float32).reshape(64, 64, channels) / 255
    torch.testing.assert_close(corrupt(images, "jpeg_compression", 4)[0], torch.from_numpy(read).permute(2, 0, 1))


def test_elastic_transform_moves_what_is_there_by_bounded_smooth_steps():
    at = Strengths(5, 64)
    y, x = np.indices((64, 64)).astype(float)
    found = digital.elastic_transform(np.stack([y, x, np.full_like(x, 0.3)]), at, generator(3))
    assert found[2] == pytest.approx(0.3)
    inside = (slice(None), slice(14, 50), slice(14, 50))
    moved = (found[:2] - np.stack([y, x]))[inside]
    # Between the anchors an affine map moves nothing further than an anchor, and the waves add about 3 deviations.
    assert np.abs(moved).max() < 64 * (3 * 0.06 + 4 * 0.017)
    assert moved.std() > 0.5
    assert max(np.abs(np.diff(moved, axis=1)).max(), np.abs(np.diff(moved, axis=2)).max()) < 2
