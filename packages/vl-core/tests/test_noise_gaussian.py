"""Keyed noise follows the documented stream, is normal and independent, and does not depend on its batch."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from vl_core.noise import _gaussian as implementation
from vl_core.noise import gaussian, make_keys, philox


def stream(key: tuple[int, int], size: int) -> np.ndarray:
    """The first ``size`` normals of a key, written from the documented definition with float64 transcendentals."""
    low_high = [key[0] % 2**64 % 2**32, key[0] % 2**64 >> 32, key[1] % 2**64 % 2**32, key[1] % 2**64 >> 32]
    normals: list[float] = []
    for block in range(math.ceil(size / 4)):
        counter = torch.tensor([block % 2**32, block >> 32, *low_high[2:]])
        x = philox(counter, torch.tensor(low_high[:2])).tolist()
        for x_radius, x_angle in ((x[0], x[1]), (x[2], x[3])):
            uniform = float(np.float32(x_radius + 1)) * 2.0**-32
            signed = x_angle - 2**32 if x_angle >= 2**31 else x_angle
            angle = float(np.float32(signed) * np.float32(math.pi * 2.0**-31))
            radius = math.sqrt(-2 * math.log(uniform))
            normals += [radius * math.cos(angle), radius * math.sin(angle)]
    return np.array(normals[:size])


@pytest.mark.parametrize("key", [(0, 0), (7, 5 * 2**32 + 3), (-1, -1), (2**63 - 1, -(2**63)), (2**40 + 9, 2**33)])
def test_row_is_the_documented_stream(key):
    row = gaussian(torch.tensor([key]), (37,))[0].double().numpy()
    expected = stream(key, 37)
    assert np.all(np.abs(row - expected) <= 1e-6 * np.maximum(1, np.abs(expected)))


def test_first_numbers_stay_what_they_are():
    # Recorded from the first version of this module: changing them changes every result drawn from them.
    row = gaussian(torch.tensor([0]), (4,))[0]
    assert row.tolist() == pytest.approx(stream((0, 0), 4).tolist(), abs=1e-6)
    assert row.tolist() == pytest.approx([0.991138, -0.924663, -0.617609, -0.482069], abs=2e-6)


def test_one_column_means_a_second_column_of_zeros():
    keys = torch.tensor([3, -4, 2**50])
    assert torch.equal(gaussian(keys, (5,)), gaussian(torch.stack((keys, torch.zeros_like(keys)), 1), (5,)))


def test_moments_are_those_of_a_standard_normal():
    draws = gaussian(make_keys(0, torch.arange(4000), 0), (1000,)).double().flatten()
    count = draws.numel()
    # Standard errors under normality; five of them leave a false alarm of one in a million.
    assert abs(draws.mean()) < 5 / math.sqrt(count)
    assert abs(draws.var() - 1) < 5 * math.sqrt(2 / count)
    assert abs((draws**3).mean()) < 5 * math.sqrt(15 / count)
    assert abs((draws**4).mean() - 3) < 5 * math.sqrt(96 / count)


def test_tail_has_its_share():
    draws = gaussian(torch.arange(4000), (1000,)).abs()
    for threshold in (3.0, 4.0, 4.5):
        expected = draws.numel() * 2 * stats.norm.sf(threshold)
        assert abs(int((draws > threshold).sum()) - expected) < 5 * math.sqrt(expected)


@pytest.mark.parametrize("place", range(4))
def test_each_place_in_a_block_passes_kolmogorov_smirnov(place):
    draws = gaussian(make_keys(1, torch.arange(500), 2), (400,))[:, place::4]
    assert stats.kstest(draws.flatten().numpy(), "norm").pvalue > 1e-4


@pytest.mark.parametrize("vary", ["image", "draw", "seed", "first column of one"])
def test_neighboring_keys_are_uncorrelated(vary):
    count, size = 48, 20_000
    near = torch.arange(count)
    keys = {
        "image": make_keys(0, near, 0),
        "draw": make_keys(0, 0, near),
        "seed": make_keys(near, 0, 0),
        "first column of one": near - count // 2,
    }[vary]
    rows = gaussian(keys, (size,))
    # 1128 pairs, each with standard error 1/sqrt(size): six of them are exceeded once in half a million runs.
    for values in (rows, rows**2):
        correlation = torch.corrcoef(values) - torch.eye(count)
        assert correlation.abs().max() < 6 / math.sqrt(size)


def test_places_of_a_row_are_uncorrelated():
    rows = gaussian(torch.arange(20_000), (32,))
    for values in (rows, rows**2):
        correlation = torch.corrcoef(values.T) - torch.eye(32)
        assert correlation.abs().max() < 6 / math.sqrt(len(rows))


def test_a_column_over_consecutive_keys_is_normal():
    first = gaussian(torch.arange(200_000), ())
    assert first.shape == (200_000,)
    assert stats.kstest(first.numpy(), "norm").pvalue > 1e-4


@pytest.mark.parametrize("tile", [1, 4, 1 << 15])
@pytest.mark.parametrize("split", [1, 7, 12])
def test_bits_do_not_depend_on_the_batch(monkeypatch, tile, split):
    keys = make_keys(3, torch.arange(-6, 6), 7)
    whole = gaussian(keys, (3, 5, 7))
    monkeypatch.setattr(implementation, "_CPU_TILE", tile)
    assert torch.equal(torch.cat([gaussian(part, (3, 5, 7)) for part in keys.split(split)]), whole)


def test_bits_do_not_depend_on_order_or_row_length():
    keys = make_keys(3, torch.arange(100), 7)
    whole = gaussian(keys, (231,))
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    assert torch.equal(gaussian(keys[order], (3, 77)), whole[order].view(100, 3, 77))
    for size in range(231):
        assert torch.equal(gaussian(keys, (size,)), whole[:, :size])


def test_bits_do_not_depend_on_the_number_of_threads():
    keys = make_keys(3, torch.arange(3), 7)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(gaussian(keys, (300_001,)))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_are_casts_of_the_same_numbers(dtype):
    keys = torch.arange(6)
    for shape in ((8,), (3, 3)):
        assert torch.equal(gaussian(keys, shape, dtype=dtype), gaussian(keys, shape).to(dtype))


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), [2, 3], torch.Size([4])])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_empty_and_scalar_shapes(shape, count):
    for keys in (torch.arange(count), make_keys(0, torch.arange(count), 1)):
        assert gaussian(keys, shape).shape == (count, *shape)


@pytest.mark.parametrize("integer", [np.int64, np.uint8, torch.tensor])
def test_sizes_may_be_any_kind_of_integer(integer):
    keys = torch.arange(2)
    assert torch.equal(gaussian(keys, (integer(3), integer(2))), gaussian(keys, (3, 2)))


def test_keys_may_be_a_strided_view_and_are_left_as_they_were():
    table = torch.arange(20).view(10, 2)
    before = table.clone()
    assert torch.equal(gaussian(table[::3], (5,)), gaussian(table[::3].clone(), (5,)))
    assert torch.equal(gaussian(table[:, 1], (5,)), gaussian(table[:, 1].clone(), (5,)))
    assert torch.equal(table, before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_agrees_with_cpu():
    keys = make_keys(1, torch.arange(200), 3)
    expected = gaussian(keys, (4001,))
    got = gaussian(keys, (4001,), device="cuda")
    assert got.device.type == "cuda"
    assert torch.all((got.cpu() - expected).abs() <= 1e-6 * expected.abs().clamp(min=1))


@pytest.mark.parametrize(
    ("keys", "shape", "options", "error", "message"),
    [
        (torch.zeros(3), (2,), {}, TypeError, "keys must be an int64 tensor, got torch.float32"),
        (torch.zeros(3, dtype=torch.int32), (2,), {}, TypeError, "got torch.int32"),
        ([1, 2], (2,), {}, TypeError, "got list; build them with"),
        (torch.tensor(1), (2,), {}, ValueError, r"keys must have shape \(n,\) or \(n, 2\), got \(\)"),
        (torch.zeros(3, 3, dtype=torch.int64), (2,), {}, ValueError, r"got \(3, 3\)"),
        (torch.zeros(3, 2, 2, dtype=torch.int64), (2,), {}, ValueError, r"got \(3, 2, 2\); flatten"),
        (torch.arange(3), (2, -1), {}, ValueError, r"negative sizes, got \(2, -1\)"),
        (torch.arange(3), 5, {}, TypeError, "shape must be a sequence of integers"),
        (torch.arange(3), (2.0,), {}, TypeError, "shape must be a sequence of integers"),
        (torch.arange(3), (np.float64(2),), {}, TypeError, "shape must be a sequence of integers"),
        (torch.arange(3), "32", {}, TypeError, "shape must be a sequence of integers .* got '32'"),
        (torch.arange(3), (2,), {"dtype": torch.int64}, TypeError, "dtype must be a floating type"),
        (torch.arange(3), (2,), {"dtype": "float32"}, TypeError, "dtype must be a floating type .* got 'float32'"),
        (torch.arange(3), (2,), {"dtype": np.float32}, TypeError, "dtype must be .* got <class 'numpy.float32'>"),
    ],
)
def test_bad_arguments_are_named(keys, shape, options, error, message):
    with pytest.raises(error, match=message):
        gaussian(keys, shape, **options)
