"""Both functions as registered PyTorch operators: schema, fake, device registration and autograd.

The implementation is an argument, so that a compiled graph keeps the choice.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vl_core.kernels.noise_evaluation.inputs import NoiseErrorInputs, NoisyImageInputs, compute_dtype

_COMPARISON = (
    "Tensor prediction, Tensor keys, Tensor? x0, Tensor? image, Tensor? alpha, Tensor? sigma, Tensor? scale, "
    "Tensor? weight, str target, str loss, float delta, str impl"
)
_TENSORS = 8
_DIFFUSE, _ERROR, _GRADIENT = (f"vl_core::{name}" for name in ("diffuse", "noise_error", "noise_error_gradient"))
torch.library.define(
    _DIFFUSE,
    "(Tensor x0, Tensor keys, Tensor alpha, Tensor sigma, Tensor? image, ScalarType dtype, str impl) -> Tensor",
)
torch.library.define(_ERROR, f"({_COMPARISON}) -> Tensor")
torch.library.define(_GRADIENT, f"(Tensor upstream, {_COMPARISON}) -> Tensor")


def diffuse(inputs: NoisyImageInputs, impl: str) -> Tensor:
    """Noisy images ``(n, size)``; differentiable by ``x0``."""
    levels = inputs.alpha, inputs.sigma
    noisy: Tensor = torch.ops.vl_core.diffuse(inputs.x0, inputs.keys, *levels, inputs.image, inputs.dtype, impl)
    return noisy


def noise_error(inputs: NoiseErrorInputs, impl: str) -> Tensor:
    """Errors ``(n,)``; differentiable by the prediction."""
    c = inputs
    tensors = c.prediction, c.keys, c.x0, c.image, c.alpha, c.sigma, c.scale, c.weight
    errors: Tensor = torch.ops.vl_core.noise_error(*tensors, c.target, c.loss, c.delta, impl)
    return errors


def _implementation(impl: str) -> Any:
    # Imported when first used: the Triton module needs Triton.
    if impl == "reference":
        from vl_core.kernels.noise_evaluation import reference

        return reference
    if impl == "triton":
        from vl_core.kernels.noise_evaluation import triton

        return triton
    raise ValueError(f"impl must be 'reference' or 'triton', got {impl!r}")


def _diffuse(*flat: Any) -> Tensor:
    *inputs, impl = flat
    with torch.autocast(inputs[0].device.type, enabled=False):
        noisy: Tensor = _implementation(impl).diffuse(NoisyImageInputs(*inputs))
    return noisy


def _noise_error(*flat: Any) -> Tensor:
    *inputs, impl = flat
    with torch.autocast(inputs[0].device.type, enabled=False):
        errors: Tensor = _implementation(impl).noise_error(NoiseErrorInputs(*inputs))
    return errors


def _noise_error_gradient(upstream: Tensor, *flat: Any) -> Tensor:
    *inputs, impl = flat
    with torch.autocast(inputs[0].device.type, enabled=False):
        gradient: Tensor = _implementation(impl).noise_error_gradient(NoiseErrorInputs(*inputs), upstream.contiguous())
    return gradient


def _fake_diffuse(
    x0: Tensor, keys: Tensor, alpha: Tensor, sigma: Tensor, image: Tensor | None, dtype: torch.dtype, impl: str
) -> Tensor:
    return x0.new_empty(keys.shape[0], x0.shape[1], dtype=dtype)


def _fake_noise_error(prediction: Tensor, *_: Any) -> Tensor:
    return prediction.new_empty(prediction.shape[0], dtype=compute_dtype(prediction))


def _fake_noise_error_gradient(upstream: Tensor, prediction: Tensor, *_: Any) -> Tensor:
    return prediction.new_empty(prediction.shape)


def _save_diffuse(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x0, _, alpha, _, image, _, _ = inputs
    ctx.images, ctx.dtype = x0.shape[0], x0.dtype
    ctx.save_for_backward(alpha, image)


def _diffuse_backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
    """``alpha * upstream`` summed over the rows of an image; linear, hence differentiable itself."""
    alpha, image = ctx.saved_tensors
    gradient = upstream.to(alpha.dtype) * alpha[:, None]
    if image is not None:
        # On a GPU a row may be of no image: what comes of it goes to one more, which is dropped.
        owner = torch.where((image >= 0) & (image < ctx.images), image, ctx.images)
        gradient = gradient.new_zeros(ctx.images + 1, gradient.shape[1]).index_add(0, owner, gradient)[:-1]
    return gradient.to(ctx.dtype), *((None,) * 6)


def _save_noise_error(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:_TENSORS])
    ctx.options = inputs[_TENSORS:]


def _noise_error_backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
    if torch.is_grad_enabled():
        raise RuntimeError(
            "noise_error has no second derivative; call backward() or autograd.grad() without create_graph=True, or "
            "compare the prediction with vl_core.noise.gaussian's noise"
        )
    gradient = torch.ops.vl_core.noise_error_gradient(upstream, *ctx.saved_tensors, *ctx.options)
    return gradient, *((None,) * (_TENSORS - 1 + len(ctx.options)))


# "default" is for every device: the implementations ask for what they need.
torch.library.impl(_DIFFUSE, "default", _diffuse)
torch.library.impl(_ERROR, "default", _noise_error)
torch.library.impl(_GRADIENT, "default", _noise_error_gradient)
torch.library.register_fake(_DIFFUSE, _fake_diffuse)
torch.library.register_fake(_ERROR, _fake_noise_error)
torch.library.register_fake(_GRADIENT, _fake_noise_error_gradient)
torch.library.register_autograd(_DIFFUSE, _diffuse_backward, setup_context=_save_diffuse)
torch.library.register_autograd(_ERROR, _noise_error_backward, setup_context=_save_noise_error)
