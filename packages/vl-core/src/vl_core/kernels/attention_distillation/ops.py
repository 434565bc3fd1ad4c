"""The loss as registered PyTorch operators: schema, fake, device registration and autograd.

``vl_core::attention_distillation`` computes the gradients together with the loss, since a head's upstream gradient is
one number: its derivative only multiplies. A bias that several heads share is the exception; its gradient takes a
second operator in the backward pass. The implementation is an argument, so that a compiled graph keeps the choice.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vl_core.kernels.attention_distillation.inputs import DistillationInputs, Result, Side

_INPUTS = (
    "Tensor q_student, Tensor k_student, Tensor q_teacher, Tensor k_teacher, "
    "Tensor? head_scale_student, Tensor? head_scale_teacher, Tensor? bias_student, Tensor? bias_teacher, "
    "Tensor? key_mask, Tensor? row_weight, int[]? teacher_heads, float scale_student, float scale_teacher, "
    "bool entropy, str impl"
)
_INPUT_COUNT = _INPUTS.count(",") + 1

_LOSS, _BIAS_GRADIENT = "vl_core::attention_distillation", "vl_core::attention_distillation_bias_gradient"
torch.library.define(_LOSS, f"({_INPUTS}, bool gradient) -> (Tensor, Tensor, Tensor, Tensor)")
torch.library.define(_BIAS_GRADIENT, f"(Tensor upstream, {_INPUTS}) -> Tensor")


def attention_distillation(inputs: DistillationInputs, impl: str, gradient: bool) -> Tensor:
    """Weighted sum over rows of the loss, ``(B, H)``; differentiable by the student's tensors if `gradient`."""
    outputs = torch.ops.vl_core.attention_distillation(*_flatten(inputs, impl), gradient)
    loss: Tensor = outputs[0]
    return loss


def _flatten(inputs: DistillationInputs, impl: str) -> tuple[Any, ...]:
    student, teacher = inputs.student, inputs.teacher
    return (
        *(student.q, student.k, teacher.q, teacher.k),
        *(student.head_scale, teacher.head_scale, student.bias, teacher.bias),
        *(inputs.key_mask, inputs.row_weight, inputs.teacher_heads, student.scale, teacher.scale),
        *(inputs.entropy, impl),
    )


def _unflatten(flat: tuple[Any, ...]) -> tuple[DistillationInputs, str]:
    q_s, k_s, q_t, k_t, head_s, head_t, bias_s, bias_t, mask, weight, heads, scale_s, scale_t, entropy, impl = flat
    student, teacher = Side(q_s, k_s, scale_s, head_s, bias_s), Side(q_t, k_t, scale_t, head_t, bias_t)
    return DistillationInputs(student, teacher, heads, mask, weight, entropy), impl


def _implementation(impl: str) -> Any:
    # Imported when first used: the Triton module needs Triton.
    if impl == "reference":
        from vl_core.kernels.attention_distillation import reference

        return reference
    if impl == "triton":
        from vl_core.kernels.attention_distillation import triton

        return triton
    raise ValueError(f"impl must be 'reference' or 'triton', got {impl!r}")


def _forward(*flat: Any) -> tuple[Tensor, ...]:
    *rest, gradient = flat
    inputs, impl = _unflatten(tuple(rest))
    with torch.autocast(inputs.student.q.device.type, enabled=False):
        return tuple(_implementation(impl).attention_distillation(inputs, gradient))


def _bias_gradient(upstream: Tensor, *flat: Any) -> Tensor:
    inputs, impl = _unflatten(flat)
    with torch.autocast(inputs.student.q.device.type, enabled=False):
        gradient: Tensor = _implementation(impl).bias_gradient(inputs, upstream)
    return gradient


def _fake_forward(*inputs: Any) -> tuple[Tensor, ...]:
    q, k, head_scale, gradient = inputs[0], inputs[1], inputs[4], inputs[-1]
    loss = q.new_empty(q.shape[:2], dtype=torch.promote_types(q.dtype, torch.float32))
    if not gradient:
        return Result(loss, *(loss.new_empty(0) for _ in range(3)))
    dscale = loss.new_empty(loss.shape if head_scale is not None else 0)
    return Result(loss, q.new_empty(q.shape), k.new_empty(k.shape), dscale)


def _fake_bias_gradient(upstream: Tensor, *inputs: Any) -> Tensor:
    bias: Tensor = inputs[6]
    return bias.new_empty(bias.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.mark_non_differentiable(*output[1:])
    ctx.gradient = inputs[-1]
    ctx.needs_bias = ctx.needs_input_grad[6]
    kept = inputs[:10] if ctx.needs_bias else (None,) * 10
    ctx.options = inputs[10:_INPUT_COUNT]
    ctx.save_for_backward(*output[1:], *kept)


def _backward(ctx: Any, upstream: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    if torch.is_grad_enabled():
        raise RuntimeError(
            "attention_distillation has no second derivative; call backward() or autograd.grad() without "
            "create_graph=True, or differentiate a dense formula"
        )
    if not ctx.gradient:
        raise RuntimeError("vl_core::attention_distillation was called with gradient=False; pass True to differentiate")
    dq, dk, dscale, *kept = ctx.saved_tensors
    found: list[Tensor | None] = [None] * (_INPUT_COUNT + 1)
    by_head = upstream[..., None, None]
    found[0], found[1] = (dq * by_head).to(dq.dtype), (dk * by_head).to(dk.dtype)
    if ctx.needs_input_grad[4]:
        found[4] = (dscale * upstream).sum(0)
    if ctx.needs_bias:
        found[6] = torch.ops.vl_core.attention_distillation_bias_gradient(upstream, *kept, *ctx.options)
    return tuple(found)


# "default" is for every device: the implementations ask for what they need.
torch.library.impl(_LOSS, "default", _forward)
torch.library.impl(_BIAS_GRADIENT, "default", _bias_gradient)
torch.library.register_fake(_LOSS, _fake_forward)
torch.library.register_fake(_BIAS_GRADIENT, _fake_bias_gradient)
torch.library.register_autograd(_LOSS, _backward, setup_context=_save)
