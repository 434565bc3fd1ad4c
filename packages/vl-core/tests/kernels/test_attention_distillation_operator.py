"""The loss as a PyTorch operator: registration, compilation, autocast, what it keeps for the backward pass."""

from __future__ import annotations

import pytest
import torch
from vl_core.kernels import attention_distillation

IMPLS = ["reference", "sdpa"]
# Every kind of argument: plain; biases, mask, weights and learned scales; averages of heads.
CASES = ["plain", "bias_by_image", "learned_scale_by_head", "row_weight_by_head", "head_average_kl", "key_mask"]


def flat_arguments(problem, impl="reference"):
    """Arguments that the public function hands to the operator."""
    from vl_core.kernels.attention_distillation import ops

    captured = []
    original = ops.attention_distillation

    def record(*arguments):
        captured.append(ops._flatten(*arguments[:2]))
        return original(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ops, "attention_distillation", record)
        attention_distillation(*problem[0], **problem[1], impl=impl)
    leaves = (a.detach().requires_grad_(a.requires_grad) if isinstance(a, torch.Tensor) else a for a in captured[0])
    return tuple(leaves)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck's, of its own copies
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("gradient", [True, False])
def test_operator_is_registered_in_full(dense, case, gradient):
    arguments = flat_arguments(dense.problem(case, 9, torch.float32))
    if not gradient:
        arguments = tuple(a.detach() if isinstance(a, torch.Tensor) else a for a in arguments)
    results = torch.library.opcheck(torch.ops.vl_core.attention_distillation.default, (*arguments, gradient))
    assert set(results.values()) == {"SUCCESS"}
    assert len(results) == 4


def test_bias_gradient_operator_is_registered_in_full(dense):
    arguments = flat_arguments(dense.problem("bias_by_image", 9, torch.float32))
    arguments = (torch.ones(2, 3), *(a.detach() if isinstance(a, torch.Tensor) else a for a in arguments))
    results = torch.library.opcheck(torch.ops.vl_core.attention_distillation_bias_gradient.default, arguments)
    assert set(results.values()) == {"SUCCESS"}


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiles_as_one_graph(dense, impl, backend):
    tensors, _ = dense.problem("plain", 9, torch.float32)
    mask = torch.ones(2, 9, dtype=torch.bool)

    def loss(q, k):
        return attention_distillation(q * 2, k, *tensors[2:], key_mask=mask, impl=impl) * 3

    eager = torch.autograd.grad(loss(*tensors[:2]), tensors[:2])
    compiled = torch.compile(loss, fullgraph=True, backend=backend)
    found = torch.autograd.grad(compiled(*tensors[:2]), tensors[:2])
    for pair in zip(eager, found, strict=True):
        torch.testing.assert_close(*pair)


def test_compiles_for_any_number_of_tokens(dense):
    torch._dynamo.reset()
    compiled = torch.compile(attention_distillation, fullgraph=True, dynamic=True, backend="aot_eager")
    for tokens in (9, 14, 33):
        tensors, _ = dense.problem("plain", tokens, torch.float32)
        loss, eager = compiled(*tensors), attention_distillation(*tensors)
        torch.testing.assert_close(loss, eager)
        for pair in zip(*(torch.autograd.grad(x, tensors[:2]) for x in (loss, eager)), strict=True):
            torch.testing.assert_close(*pair)


def test_temperature_may_change_between_compiled_calls(dense):
    torch._dynamo.reset()
    tensors, _ = dense.problem("plain", 9, torch.float32)
    compiled = torch.compile(attention_distillation, fullgraph=True, backend="aot_eager")
    for scale in (0.1, 0.2, 0.4):
        loss, eager = (way(*tensors, scale_student=scale) for way in (compiled, attention_distillation))
        torch.testing.assert_close(loss, eager)


@pytest.mark.parametrize("impl", IMPLS)
def test_second_derivative_is_refused(dense, impl):
    tensors, _ = dense.problem("plain", 5, torch.float32)
    loss = attention_distillation(*tensors, impl=impl)
    with pytest.raises(RuntimeError):
        torch.autograd.grad(torch.autograd.grad(loss, tensors[0], create_graph=True)[0].sum(), tensors[0])


def test_refusal_of_a_second_derivative_says_why(dense):
    tensors, _ = dense.problem("plain", 5, torch.float32)
    with pytest.raises(RuntimeError, match="attention_distillation has no second derivative"):
        torch.autograd.grad(attention_distillation(*tensors), tensors[0], create_graph=True)


@pytest.mark.parametrize("impl", IMPLS)
def test_autocast_changes_nothing(dense, impl):
    tensors, _ = dense.problem("plain", 33, torch.float32)
    plain = attention_distillation(*tensors, impl=impl)
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = attention_distillation(*tensors, impl=impl)
        gradients = torch.autograd.grad(under_autocast, tensors[:2])
    assert torch.equal(plain, under_autocast)
    for pair in zip(gradients, torch.autograd.grad(plain, tensors[:2]), strict=True):
        assert torch.equal(*pair)


def test_without_gradients_nothing_is_kept(dense):
    tensors, _ = dense.problem("plain", 9, torch.float32)
    kept = []
    with torch.no_grad(), torch.autograd.graph.saved_tensors_hooks(kept.append, lambda saved: saved):
        loss = attention_distillation(*tensors)
    assert not loss.requires_grad
    assert not kept


@pytest.mark.parametrize("impl", IMPLS)
def test_no_map_is_saved_for_the_backward_pass(dense, every_option, impl):
    if impl == "sdpa" and every_option in dense.SDPA_CANNOT:
        return
    tokens = 29
    tensors, options = dense.problem(every_option, tokens, torch.float32)
    saved = []

    def record(tensor):
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(record, lambda tensor: tensor):
        attention_distillation(*tensors, **options, impl=impl)
    assert saved
    maps = {t.untyped_storage().data_ptr(): t for t in saved if list(t.shape).count(tokens) >= 2}
    # A bias that was given is such a tensor itself; it may be kept, whole or cut to the tokens chosen.
    biases = sum(bias.numel() for name, bias in options.items() if name.startswith("bias"))
    assert sum(t.numel() for t in maps.values()) <= biases, [tuple(t.shape) for t in maps.values()]
