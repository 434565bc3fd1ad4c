"""Views of batches: what torchvision makes of each image, whatever the batch, and random numbers by position."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from PIL import Image
from torch import Tensor
from vl_ssl.augmentation.blur import gaussian_blur
from vl_ssl.augmentation.draws import draw, uniforms
from vl_ssl.augmentation.per_image import view_tensor
from vl_ssl.augmentation.recipes import Augmentation, TwoViews, byol_recipe, mocov2_recipe, small_recipe
from vl_ssl.augmentation.view import View

Recipe = Callable[[int], Augmentation]


def blur_by_loops(image: Tensor, sigma: float, radius: int) -> Tensor:
    """Convolve ``(H, W)`` with a normalized Gaussian, pixel by pixel in float64, reflecting indices at the border."""
    height, width = image.shape
    kernel = {
        (dy, dx): math.exp(-(dy**2 + dx**2) / (2 * sigma**2))
        for dy in range(-radius, radius + 1)
        for dx in range(-radius, radius + 1)
    }
    total = sum(kernel.values())
    values = image.double().tolist()

    def reflected(index: int, size: int) -> int:
        return -index if index < 0 else 2 * (size - 1) - index if index >= size else index

    rows = [
        [
            sum(
                weight * values[reflected(y + dy, height)][reflected(x + dx, width)]
                for (dy, dx), weight in kernel.items()
            )
            / total
            for x in range(width)
        ]
        for y in range(height)
    ]
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("sigma", [0.1, 0.7, 1.3])
def test_blur_at_32_pixels_equals_a_convolution_by_loops_in_both_paths(sigma: float) -> None:
    view = View(32, crop_scale=(1, 1), crop_ratio=(1, 1), flip=0, jitter=0, gray=0, blur=1, blur_sigma=(sigma, sigma))
    image = torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = blur_by_loops(image[0], sigma, view.blur_radius)
    batch, _ = Augmentation(view).batched(image[None], [0], seed=0)
    single, _ = Augmentation(view).per_image(0)(image, 0)
    for found in (batch[0, 0], single[0]):
        assert torch.allclose(found.double(), expected, atol=2e-6)


def test_blur_has_a_deviation_for_each_image_and_any_sides() -> None:
    images = torch.rand(2, 1, 5, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    blurred = gaussian_blur(images, torch.tensor([0.5, 2.0]), radius=4)
    for image, sigma, found in zip(images, (0.5, 2.0), blurred, strict=True):
        assert torch.allclose(found[0], blur_by_loops(image[0], sigma, 4))
    assert torch.allclose(
        blurred.new_ones(1, 1, 5, 8), gaussian_blur(blurred.new_ones(1, 1, 5, 8), torch.ones(1), radius=3)
    )


@pytest.mark.parametrize("channels", [1, 3, 13])
@pytest.mark.parametrize(("recipe", "size"), [(mocov2_recipe, 28), (byol_recipe, 36), (small_recipe, 20)])
def test_a_batch_gives_what_torchvision_makes_of_each_image(recipe: Recipe, size: int, channels: int) -> None:
    images = torch.rand(24, channels, 28, 33, generator=torch.Generator().manual_seed(2))
    augmentation = recipe(size)
    both = augmentation.batched(images, torch.arange(100, 124), seed=5)
    one_by_one = augmentation.per_image(5)
    for place, image in enumerate(images):
        for views, view in zip(both, one_by_one(image, 100 + place), strict=True):
            assert views.shape[1:] == view.shape == (channels, size, size)
            assert torch.allclose(views[place], view, atol=1e-5)
    assert min(views.min() for views in both) >= 0
    assert max(views.max() for views in both) <= 1


@pytest.mark.parametrize("channels", [1, 3])
def test_a_view_does_not_depend_on_the_batch_that_its_image_comes_in(channels: int) -> None:
    images = torch.rand(40, channels, 28, 28, generator=torch.Generator().manual_seed(3))
    positions = torch.arange(40) * 7
    augmentation = byol_recipe(28)
    whole = augmentation.batched(images, positions, seed=1)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(4))
    for rows in (order[:1], order[:7], order):
        part = augmentation.batched(images[rows], positions[rows], seed=1)
        for views, all_views in zip(part, whole, strict=True):
            assert torch.equal(views, all_views[rows])


def test_seed_position_and_view_each_give_other_numbers_and_the_same_give_the_same() -> None:
    images = torch.rand(1, 1, 16, 16).expand(3, 1, 16, 16)
    augmentation = mocov2_recipe(16)
    first, second = augmentation.batched(images, [0, 1, 0], seed=0)
    other, _ = augmentation.batched(images, [0, 1, 0], seed=1)
    assert torch.equal(first[0], first[2])
    for different in (first[1], second[0], other[0]):
        assert not torch.equal(first[0], different)
    views = augmentation.views(images, [0, 1, 0], seed=0, count=4)
    assert torch.equal(views[1], second)
    assert not torch.equal(views[2], first)


def test_bytes_are_the_same_as_their_values_in_0_to_1() -> None:
    pixels = torch.randint(256, (2, 3, 16, 16), dtype=torch.uint8)
    augmentation = small_recipe(16)
    as_bytes, _ = augmentation.batched(pixels, [0, 1], seed=0)
    as_values, _ = augmentation.batched(pixels / 255, [0, 1], seed=0)
    assert torch.equal(as_bytes, as_values)


def test_two_views_follow_the_positions_of_a_data_set_of_pil_images() -> None:
    images = [Image.new("RGB", (20 + i, 30), (10 * i, 0, 0)) for i in range(4)]
    augmentation = mocov2_recipe(16)
    views = TwoViews([(image, 0) for image in images], augmentation, seed=3)
    expected, _ = augmentation.batched(view_tensor(images[2])[None], [2], seed=3)
    assert torch.allclose(views[2][0], expected[0], atol=1e-5)


def test_probabilities_and_ranges_are_those_of_the_settings() -> None:
    view = byol_recipe(28).second
    assert view is not None
    drawn = draw(view, uniforms(torch.arange(4000), seed=0, count=2)[1], height=40, width=60)
    for found, probability in (
        (drawn.flip, 0.5),
        (drawn.jitter, 0.8),
        (drawn.gray, 0.2),
        (drawn.blur, 0.1),
        (drawn.solarize, 0.2),
    ):
        assert abs(found.double().mean().item() - probability) < 4 * math.sqrt(0.25 / 4000)
    area = drawn.height * drawn.width / 2400
    ratio = drawn.width / drawn.height
    assert 0.07 < area.min() < 0.1
    # An image of 40 x 60 is wider than any crop.
    assert 0.85 < area.max() < 8 / 9 + 0.02
    assert ratio.min() > 0.7
    assert ratio.max() < 1.42
    assert ((drawn.top >= 0) & (drawn.top + drawn.height <= 40) & (drawn.left + drawn.width <= 60)).all()
    assert (drawn.left + drawn.width == 60).any()
    low, high = drawn.factors.amin(0), drawn.factors.amax(0)
    assert torch.allclose(low, torch.tensor([0.6, 0.6, 0.8, -0.1]), atol=2e-3)
    assert torch.allclose(high, torch.tensor([1.4, 1.4, 1.2, 0.1]), atol=2e-3)
    assert len(set(map(tuple, drawn.order.tolist()))) == 24


@pytest.mark.parametrize("shape", [(4, 400), (400, 4)])
def test_a_strip_without_a_fitting_crop_is_cut_to_the_ratio(shape: tuple[int, int]) -> None:
    uniform = uniforms(torch.arange(3), seed=0, count=1)[0]
    drawn = draw(View(8, crop_scale=(1, 1)), uniform, height=shape[0], width=shape[1])
    assert {*drawn.height.tolist(), *drawn.width.tolist()} == {4, 5}


@pytest.mark.parametrize(
    ("images", "positions", "seed", "error", "message"),
    [
        (torch.zeros(2, 1, 8), [0, 1], 0, ValueError, r"shape \(B, C, H, W\), got \(2, 1, 8\)"),
        (torch.zeros(2, 1, 8, 0), [0, 1], 0, ValueError, "images must have shape"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.int64), [0, 1], 0, TypeError, "uint8 or floating"),
        ([[0]], [0], 0, TypeError, "images must be a tensor"),
        (torch.zeros(2, 1, 8, 8), [0], 0, ValueError, r"positions must have shape \(2,\)"),
        (torch.zeros(2, 1, 8, 8), [0.5, 1], 0, TypeError, "must be integers"),
        (torch.zeros(2, 1, 8, 8), [0, 1], -1, ValueError, "seed must lie"),
    ],
)
def test_batches_that_make_no_sense_are_refused(
    images: Tensor, positions: list[int], seed: int, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        small_recipe(8).batched(images, positions, seed=seed)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 1}, "size must be at least 2"),
        ({"flip": 1.5}, "flip must lie in 0..1"),
        ({"blur": float("nan")}, "blur must lie in 0..1"),
        ({"brightness": -0.1}, "brightness must be at least 0"),
        ({"hue": 0.6}, "hue must lie in 0..0.5"),
        ({"crop_scale": (0.0, 1.0)}, "crop_scale must be two numbers above 0 in ascending order up to 1"),
        ({"crop_scale": (0.5, 1.5)}, "crop_scale"),
        ({"blur_sigma": (2.0, 1.0)}, "blur_sigma must be two numbers above 0 in ascending order, got"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        View(**{"size": 8, **settings})  # type: ignore[arg-type]


def test_views_of_two_sizes_no_views_and_a_kernel_over_the_image_are_refused() -> None:
    with pytest.raises(ValueError, match="second must have size 8 like first, got 9"):
        Augmentation(View(8), View(9))
    with pytest.raises(ValueError, match="count must be at least 1"):
        small_recipe(8).views(torch.zeros(1, 1, 8, 8), [0], seed=0, count=0)
    with pytest.raises(ValueError, match="radius must be at least 0 and below the 3 pixels"):
        gaussian_blur(torch.zeros(1, 1, 3, 5), torch.ones(1), radius=3)
    with pytest.raises(ValueError, match=r"shape \(C, H, W\)"):
        view_tensor(torch.zeros(8, 8))
