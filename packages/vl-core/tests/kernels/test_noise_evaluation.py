"""`diffuse` and `noise_error` in plain PyTorch, against noise that is stored."""

from __future__ import annotations

import pytest
import torch
from vl_core.kernels import diffuse, noise_error
from vl_core.kernels.noise_evaluation import reference
from vl_core.noise import make_keys

SHAPE = (3, 7, 5)
# An error is near 1; float32 is good to 1e-5, float64 to 1e-10, as promised.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_every_error_equals_the_stored_one(dense_noise, every_comparison, dtype):
    prediction, options = dense_noise.comparison(every_comparison, SHAPE, dtype)
    found = noise_error(prediction, **options)
    right = dense_noise.noise_error(prediction, **options)
    upstream = torch.linspace(-2, 3, len(prediction), dtype=dtype)
    gradients = (torch.autograd.grad(errors, prediction, upstream)[0] for errors in (found, right))
    assert found.dtype == dtype
    torch.testing.assert_close(found, right, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    torch.testing.assert_close(*gradients, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("image", [None, torch.tensor([2, 2, 0, 1])])
def test_noisy_images_equal_those_of_stored_noise(dense_noise, dtype, image):
    x0 = torch.randn(3 if image is not None else 4, *SHAPE, dtype=dtype, requires_grad=True)
    keys = make_keys(1, torch.tensor([5, 5, 9, 8]), torch.arange(4))
    alpha, sigma = torch.rand(4), torch.rand(4)
    found = diffuse(x0, keys, alpha, sigma, image=image)
    right = dense_noise.diffuse(x0, keys, alpha, sigma, image=image)
    upstream = torch.randn_like(found)
    gradients = (torch.autograd.grad(noisy, x0, upstream)[0] for noisy in (found, right))
    torch.testing.assert_close(found, right, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    torch.testing.assert_close(*gradients, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_noisy_image_and_error_share_their_noise():
    """The prediction of a perfect model has no error, whatever it predicts."""
    x0 = torch.rand(2, *SHAPE)
    keys, image = torch.arange(6), torch.tensor([0, 0, 0, 1, 1, 1])
    alpha = torch.linspace(0.9, 0.1, 6)
    sigma = (1 - alpha.square()).sqrt()
    x_t = diffuse(x0, keys, alpha, sigma, image=image)
    column = alpha.view(-1, 1, 1, 1)
    epsilon = (x_t - column * x0[image]) / sigma.view(-1, 1, 1, 1)
    velocity = column * epsilon - sigma.view(-1, 1, 1, 1) * x0[image]
    levels = {"x0": x0, "image": image, "alpha": alpha, "sigma": sigma}
    assert noise_error(epsilon, keys).max() < 1e-10
    assert noise_error(velocity, keys, target="v_prediction", **levels).max() < 1e-10
    assert noise_error(epsilon - x0[image], keys, target="flow_prediction", **levels).max() < 1e-10
    assert noise_error(x0[image], keys, target="sample", **levels).max() == 0


def test_scale_takes_an_error_to_where_noise_is_predicted():
    """A velocity off by d is, as noise, off by alpha d; a clean image off by d, by alpha / sigma d."""
    x0, keys = torch.rand(1, *SHAPE), torch.tensor([3])
    alpha, sigma = 0.8, 0.6
    x_t = diffuse(x0, keys, alpha, sigma)
    off = torch.randn(1, *SHAPE)
    velocity = alpha * (x_t - alpha * x0) / sigma - sigma * x0 + off
    clean = x0 + off
    wanted = [
        noise_error(alpha * velocity + sigma * x_t, keys),
        noise_error((x_t - alpha * clean) / sigma, keys),
    ]
    levels = {"x0": x0, "alpha": alpha, "sigma": sigma}
    found = [
        noise_error(velocity, keys, target="v_prediction", scale=alpha, **levels),
        noise_error(clean, keys, target="sample", scale=alpha / sigma, **levels),
    ]
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=0)


@pytest.mark.parametrize("values", [1, 100, 1 << 18])
def test_rows_do_not_depend_on_the_batch(dense_noise, every_comparison, monkeypatch, values):
    prediction, options = dense_noise.comparison(every_comparison, SHAPE, torch.float32)
    whole = noise_error(prediction, **options)
    gradient = torch.autograd.grad(whole.sum(), prediction)[0]
    monkeypatch.setattr(reference, "_CPU_VALUES", values)
    again = noise_error(prediction, **options)
    assert torch.equal(whole, again)
    assert torch.equal(gradient, torch.autograd.grad(again.sum(), prediction)[0])


def test_half_precision_is_compared_in_float32(dense_noise):
    """Predictions are rounded, and nothing after them is."""
    for dtype in (torch.float16, torch.bfloat16):
        prediction, options = dense_noise.comparison("v_prediction", SHAPE, dtype)
        found = noise_error(prediction, **options)
        right = dense_noise.noise_error(prediction.double(), **dense_noise.double(options))
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, right.float(), rtol=1e-6, atol=0)
        assert torch.autograd.grad(found.sum(), prediction)[0].dtype == dtype


def test_dtype_of_noisy_images_may_be_chosen():
    x0, keys = torch.rand(2, *SHAPE), torch.arange(2)
    exact = diffuse(x0, keys, 0.5, 0.5)
    assert torch.equal(diffuse(x0, keys, 0.5, 0.5, dtype=torch.bfloat16), exact.bfloat16())
    assert diffuse(x0.half(), keys, 0.5, 0.5).dtype == torch.float16


def test_channels_of_an_output_are_compared_in_place():
    """Diffusion transformers predict variances too, in channels beyond the noise."""
    output = torch.randn(3, 8, 4, 4, requires_grad=True)
    keys = torch.arange(3)
    found = noise_error(output[:, :4], keys)
    assert torch.equal(found, noise_error(output[:, :4].contiguous(), keys))
    gradient = torch.autograd.grad(found.sum(), output)[0]
    assert gradient[:, :4].abs().min() > 0
    assert not gradient[:, 4:].any()


@pytest.mark.parametrize("permuted", [torch.channels_last, torch.contiguous_format])
def test_memory_format_does_not_matter(permuted):
    prediction, keys = torch.randn(3, 4, 5, 6), torch.arange(3)
    expected = noise_error(prediction, keys)
    assert torch.equal(noise_error(prediction.to(memory_format=permuted), keys), expected)


def test_empty_batches_and_single_values():
    none = torch.empty(0, *SHAPE, requires_grad=True)
    keys = torch.empty(0, dtype=torch.int64)
    assert diffuse(none, keys, 0.5, 0.5).shape == (0, *SHAPE)
    errors = noise_error(none, keys)
    assert errors.shape == (0,)
    assert torch.autograd.grad(errors.sum(), none)[0].shape == none.shape
    assert noise_error(torch.zeros(2), torch.arange(2)).shape == (2,)


def test_a_row_without_weight_has_no_error():
    weight = torch.zeros(2, *SHAPE)
    weight[1, 0] = 1
    prediction = torch.randn(2, *SHAPE, requires_grad=True)
    errors = noise_error(prediction, torch.arange(2), weight=weight)
    assert errors[0] == 0
    assert errors[1] > 0
    assert not torch.autograd.grad(errors.sum(), prediction)[0][0].any()


@pytest.mark.parametrize("loss", ["l2", "l1", "huber"])
def test_a_nan_in_a_prediction_is_a_nan_in_its_error_and_gradient(loss):
    prediction = torch.zeros(2, *SHAPE)
    prediction[1, 0, 0, 0] = torch.nan
    prediction.requires_grad_()
    errors = noise_error(prediction, torch.arange(2), loss=loss)
    assert errors.isnan().tolist() == [False, True]
    assert torch.autograd.grad(errors.sum(), prediction)[0].isnan().sum() == 1


def test_no_noise_is_saved_for_the_backward_pass():
    prediction = torch.randn(4, *SHAPE, requires_grad=True)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor) or tensor, lambda saved: saved):
        noise_error(prediction, torch.arange(4))
    assert sum(tensor.numel() for tensor in saved) <= prediction.numel() + 2 * 4
