"""The loss and its gradients equal a dense formula, for every option and implementation."""

from __future__ import annotations

import math

import pytest
import torch
from vl_core.kernels import attention_distillation

BOUNDS = {torch.float64: 1e-10, torch.float32: 1e-5}


@pytest.mark.parametrize("dtype", BOUNDS, ids=str)
@pytest.mark.parametrize("impl", ["reference", "sdpa"])
@pytest.mark.parametrize("tokens", [1, 7, 63])
def test_loss_and_gradients_equal_the_dense_formula(dense, every_option, tokens, impl, dtype):
    if impl == "sdpa" and every_option in dense.SDPA_CANNOT:
        tensors, options = dense.problem(every_option, tokens, dtype)
        with pytest.raises(ValueError, match="impl='sdpa' cannot compute this"):
            attention_distillation(*tensors, **options, impl=impl)
        return
    tensors, options = dense.problem(every_option, tokens, dtype)
    found = attention_distillation(*tensors, **options, impl=impl)
    exact_tensors, exact_options = dense.double(tensors, options)
    exact = dense.loss(*exact_tensors, **exact_options)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), exact, rtol=BOUNDS[dtype], atol=BOUNDS[dtype])

    # An upstream gradient that differs from head to head, and from one.
    upstream = torch.linspace(-2, 3, exact.numel(), dtype=torch.float64).view(exact.shape)
    gradients = torch.autograd.grad(found, dense.learned(tensors, options), upstream.to(dtype))
    wanted = torch.autograd.grad(exact, dense.learned(exact_tensors, exact_options), upstream)
    for gradient, expected in zip(gradients, wanted, strict=True):
        assert gradient.dtype == dtype
        torch.testing.assert_close(gradient.double(), expected, rtol=BOUNDS[dtype], atol=BOUNDS[dtype])


@pytest.mark.parametrize("cut", ["images", "heads", "rows"])
def test_tiles_do_not_change_the_reference(dense, monkeypatch, cut):
    from vl_core.kernels.attention_distillation import reference

    tokens = 21
    area = {"images": dense.HEADS * tokens**2, "heads": tokens**2, "rows": 4 * tokens}[cut]
    monkeypatch.setattr(reference, "_CPU_TILE", area)
    for option in ("bias", "bias_by_image", "head_average_kl", "key_mask", "learned_scale_by_head"):
        tensors, options = dense.problem(option, tokens, torch.float64)
        exact = dense.loss(*tensors, **options)
        found = attention_distillation(*tensors, **options, impl="reference")
        learned, upstream = dense.learned(tensors, options), torch.full_like(exact, 0.7)
        torch.testing.assert_close(found, exact)
        for pair in zip(*(torch.autograd.grad(x, learned, upstream) for x in (found, exact)), strict=True):
            torch.testing.assert_close(*pair)


@pytest.mark.parametrize("impl", ["reference", "sdpa"])
def test_gradients_pass_gradcheck(dense, impl):
    tensors, _ = dense.problem("plain", 5, torch.float64)
    assert torch.autograd.gradcheck(
        lambda q, k: attention_distillation(q, k, *tensors[2:], reduction="none", impl=impl), tensors[:2]
    )


@pytest.mark.parametrize("impl", ["reference", "sdpa"])
def test_divergence_from_itself_is_zero_and_so_is_its_gradient(impl):
    q, k = torch.randn(2, 2, 4, 40, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    divergence = attention_distillation(q, k, q, k, divergence="kl", impl=impl)
    assert divergence.abs() < 1e-6
    assert all(gradient.abs().max() < 1e-8 for gradient in torch.autograd.grad(divergence, (q, k)))


def test_uniform_maps_have_the_entropy_of_a_uniform_distribution():
    zeros = torch.zeros(1, 2, 9, 4)
    assert attention_distillation(zeros, zeros, zeros, zeros).item() == pytest.approx(math.log(9))


def test_teacher_receives_no_gradient(dense):
    tensors, _ = dense.problem("plain", 5, torch.float32)
    for tensor in tensors[2:]:
        tensor.requires_grad_()
    for impl in ("reference", "sdpa"):
        attention_distillation(*tensors, impl=impl).backward()
    assert tensors[2].grad is None
    assert tensors[3].grad is None


def test_an_image_without_any_key_weighs_nothing(dense):
    tensors, _ = dense.problem("plain", 6, torch.float64)
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[1] = False
    alone = attention_distillation(*(tensor[:1] for tensor in tensors))
    for impl in ("reference", "sdpa"):
        found = attention_distillation(*tensors, key_mask=mask, impl=impl)
        torch.testing.assert_close(found, alone)
        assert torch.autograd.grad(found, tensors[0])[0][1].abs().max() == 0


@pytest.mark.parametrize("impl", ["reference", "sdpa"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_an_empty_batch_has_no_loss(impl, reduction):
    empty = torch.empty(0, 3, 5, 8, requires_grad=True)
    loss = attention_distillation(empty, empty, empty, empty, reduction=reduction, impl=impl)
    assert loss.shape == ((0, 3) if reduction == "none" else ())
    assert loss.sum() == 0
    assert torch.autograd.grad(loss.sum(), empty)[0].shape == empty.shape


def test_rows_without_weight_give_no_loss(dense):
    tensors, _ = dense.problem("plain", 6, torch.float32)
    loss = attention_distillation(*tensors, row_weight=torch.zeros(6))
    assert loss == 0
    assert torch.autograd.grad(loss, tensors[0])[0].abs().max() == 0


def test_biases_may_close_keys_in_both_maps(dense):
    tensors, _ = dense.problem("plain", 6, torch.float64)
    mask = torch.tensor([True, False, True, True, False, True])
    bias = torch.zeros(6, 6, dtype=torch.float64).masked_fill(~mask, -math.inf)
    found = attention_distillation(*tensors, bias_student=bias, bias_teacher=bias)
    torch.testing.assert_close(found, attention_distillation(*tensors, key_mask=mask.expand(2, 6)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_on_a_cpu_errs_less_than_a_dense_formula_in_it(dense, dtype):
    tensors, options = dense.problem("plain", 63, dtype, width=16)
    exact = dense.double(tensors, options)[0]
    wanted = torch.autograd.grad(dense.loss(*exact), exact[:2])
    eager = torch.autograd.grad(dense.loss(*tensors), tensors[:2])
    found = torch.autograd.grad(attention_distillation(*tensors, impl="reference"), tensors[:2])
    for gradient, plain, expected in zip(found, eager, wanted, strict=True):
        assert (gradient - expected).abs().max() <= (plain - expected).abs().max()


def test_difference_of_the_maps_is_formed_before_it_is_rounded():
    # A student a hair from its teacher: in bfloat16 the maps are equal, and their difference would be zero.
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 1, 64, 16, generator=generator).bfloat16()
    near = (q.float() * 1.01).bfloat16().requires_grad_()
    gradient = torch.autograd.grad(attention_distillation(near, k, q, k), near)[0].double()
    exact = near.detach().double().requires_grad_()
    wanted = torch.autograd.grad(attention_distillation(exact, k.double(), q.double(), k.double()), exact)[0]
    assert torch.linalg.norm(gradient - wanted) <= 2e-2 * torch.linalg.norm(wanted)
