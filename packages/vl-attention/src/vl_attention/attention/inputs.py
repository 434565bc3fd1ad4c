"""Queries, keys and values as they enter a model's softmax, with fused attention left on.

Every supported vision transformer of timm and transformers computes each attention with one call of
`torch.nn.functional.scaled_dot_product_attention`, after queries and keys were normalized, rotated or repeated, and
with relative-position biases as its mask. A `torch.overrides.TorchFunctionMode`, active only inside `with`, reads the
arguments of that call. So the recorded tensors are exactly those that the softmax sees in every model family, no map is
materialized, and nothing global changes. Hooks on the attention modules tell which layer a call belongs to.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from vl_attention.models.inference import is_transformers_model

_SDPA = F.scaled_dot_product_attention


class AttentionError(ValueError):
    """Attention that cannot be read, copied or compared."""


_WINDOWS = "it attends within windows or parts of the image; pass a model in which every token attends to all others"


class AttentionInputs(NamedTuple):
    """The inputs of one attention layer's softmax. ``B`` images, ``H`` heads, ``N`` tokens, ``d`` head dimensions."""

    q: Tensor
    """Queries ``(B, H, N, d)``, after normalization and rotation."""
    k: Tensor
    """Keys ``(B, H, N, d)``, likewise."""
    v: Tensor
    """Values ``(B, H, N, d)``."""
    bias: Tensor | None
    """Added to the logits, broadcast to ``(B, H, N, N)``; None for no bias."""
    scale: float
    """Factor on the products of queries and keys."""

    def detach(self) -> AttentionInputs:
        """Detach all tensors from the graph."""
        bias = None if self.bias is None else self.bias.detach()
        return AttentionInputs(self.q.detach(), self.k.detach(), self.v.detach(), bias, self.scale)

    def map(self, rows: slice = slice(None)) -> Tensor:
        """Attention map of the chosen queries, ``(B, H, rows, N)``, in at least float32."""
        precision = torch.promote_types(self.q.dtype, torch.float32)
        logits = self.scale * (self.q[:, :, rows].to(precision) @ self.k.to(precision).mT)
        if self.bias is not None:
            bias = self.bias.to(precision)
            logits = logits + (bias if bias.shape[-2] == 1 else bias[..., rows, :])
        return logits.softmax(-1)


class LastLayerReached(Exception):
    """Stops a forward pass after the last recorded layer."""


class AttentionInterceptor(TorchFunctionMode):
    """Pass every call of scaled dot-product attention to a function while active.

    Args:
        on_call: Receives the inputs of the call and its dropout; returns the result of the call, or None to let the
            original call proceed.
    """

    def __init__(self, on_call: Callable[[AttentionInputs, float], Tensor | None]):
        super().__init__()
        self._on_call = on_call

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = self._on_call(*_read_call(*args, **kwargs)) if func is _SDPA else None
        return func(*args, **kwargs) if result is None else result


def _read_call(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> tuple[AttentionInputs, float]:
    """The arguments of scaled dot-product attention as `AttentionInputs`, and the dropout."""
    if is_causal:
        raise AttentionError(
            "this attention is causal; attention transfer needs a model in which every token attends to all others"
        )
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = torch.zeros_like(attn_mask, dtype=query.dtype).masked_fill(~attn_mask, -torch.inf)
    if enable_gqa:
        repeats = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
    return AttentionInputs(query, key, value, attn_mask, query.shape[-1] ** -0.5 if scale is None else scale), dropout_p


def attend(inputs: AttentionInputs, dropout: float = 0.0) -> Tensor:
    """Compute attention ``(B, H, N, value dimensions)``, fused even if queries and values differ in width."""
    width, value_width = inputs.q.shape[-1], inputs.v.shape[-1]
    # Fused operators need one head dimension; zero padding changes no logit, and the padded output is cut off.
    q, k, v = (F.pad(tensor, (0, max(width, value_width) - tensor.shape[-1])) for tensor in inputs[:3])
    return _SDPA(q, k, v, inputs.bias, dropout, scale=inputs.scale)[..., :value_width]


class _Layer:
    """The hooks of one layer and what they recorded.

    Every layer of a model has them, recorded or not, and nothing here depends on the layer number, so compiled blocks
    share their code.
    """

    def __init__(self, recording: _Recording, kind: str):
        self.recording = recording
        self.kind = kind
        self.stop_at: Literal["", "call", "output"] = ""
        self.inputs: AttentionInputs | None = None
        self.has_gradient = True
        self.output: Tensor | None = None

    def enter(self, module: nn.Module, args: Any) -> None:
        """Forward pre-hook of the attention module."""
        self.recording.current = self

    def leave(self, module: nn.Module, args: Any, output: Any) -> None:
        """Forward hook of the attention module."""
        self.recording.current = None
        if self.recording.with_outputs:
            self.output = output[0] if isinstance(output, tuple) else output
        if self.stop_at == "output":
            raise LastLayerReached


class _Recording(AttentionInterceptor):
    """Stores the inputs of each call at the layer that it belongs to."""

    def __init__(self) -> None:
        super().__init__(self._record)
        self.with_outputs = False
        self.current: _Layer | None = None

    def _record(self, inputs: AttentionInputs, dropout: float) -> None:
        layer = self.current
        if layer is None:
            return
        if layer.inputs is not None:
            raise AttentionError(
                f"{layer.kind} calls scaled_dot_product_attention more than once, which no mode supports; pass a model "
                "whose attention modules call it once"
            )
        layer.inputs, layer.has_gradient = inputs, torch.is_grad_enabled()
        if layer.stop_at == "call":
            raise LastLayerReached


class RecordedAttention(NamedTuple):
    """The result of a forward pass and the attention inputs recorded during it."""

    result: Any
    """Output of the model; None if the pass was stopped early."""
    by_layer: dict[int, AttentionInputs]
    outputs: dict[int, Tensor]
    """Outputs of the attention modules ``(B, N, D)`` by layer, if requested."""
    without_gradient: list[int]
    """Layers that ran without gradients although they were enabled, as with reentrant checkpointing."""


class AttentionRecorder:
    """Records the inputs of a model's attention modules; use `AttentionRecorder.of`, so that each model has only one.

    Compiled blocks are specialized to the hooks that they call, so two sets of hooks on one model would not work. The
    hooks are removed with the last reference to this object.
    """

    _of_model: ClassVar[weakref.WeakValueDictionary[int, AttentionRecorder]] = weakref.WeakValueDictionary()

    def __init__(self, model: nn.Module, attentions: Sequence[nn.Module]):
        self.model = model  # keeps the id from being reused
        self._modules = list(attentions)
        self._recording = _Recording()
        self._layers = [_Layer(self._recording, _kind(module)) for module in attentions]
        self._handles: list[RemovableHandle] = []
        live = {id(recorder._recording) for recorder in self._of_model.values()}
        _remove_hooks(model, live)  # a copied model has hooks that belong to no recorder
        self._attach()
        weakref.finalize(self, _remove_handles, self._handles)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Register a copied recorder for the model that was copied with it."""
        self.__dict__.update(state)
        self._of_model[id(self.model)] = self
        weakref.finalize(self, _remove_handles, self._handles)

    @classmethod
    def of(cls, model: nn.Module, attentions: Sequence[nn.Module]) -> AttentionRecorder:
        """The recorder of a model, created if there is none.

        Args:
            model: The model.
            attentions: All its attention modules, by layer; each must call scaled dot-product attention exactly once.
        """
        found = cls._of_model.get(id(model))
        if found is None or found._modules != list(attentions):
            found = cls._of_model[id(model)] = cls(model, attentions)
        return found

    def run(
        self,
        forward: Callable[[], Any],
        layers: Sequence[int],
        *,
        with_outputs: bool = False,
        stop: bool = False,
    ) -> RecordedAttention:
        """Call the model and record the attention inputs of some layers.

        Args:
            forward: Calls the model.
            layers: Layers to record.
            with_outputs: Also record the outputs of the attention modules.
            stop: Stop the forward pass after the last of ``layers``.

        Raises:
            AttentionError: If a module did not call scaled dot-product attention, called it more than once, or called
                it for parts of an image.
        """
        last = self._layers[max(layers)]
        self._clear()
        self._recording.with_outputs = with_outputs
        if stop:
            last.stop_at = "output" if with_outputs else "call"
        result = None
        try:
            with suppress(LastLayerReached), self._recording:
                result = forward()
            recorded = {layer: self._layers[layer].inputs for layer in layers}
            outputs = {layer: self._layers[layer].output for layer in layers if with_outputs}
            without = [layer for layer in layers if torch.is_grad_enabled() and not self._layers[layer].has_gradient]
        finally:
            self._recording.with_outputs = False
            self._clear()
        for layer, inputs in recorded.items():
            if inputs is None:
                raise AttentionError(_why_unread(self.model, layer, self._modules[layer]))
            if inputs.q.ndim != 4:
                raise AttentionError(
                    f"attention of layer {layer}, {_kind(self._modules[layer])}, has queries "
                    f"{tuple(inputs.q.shape)} and not (images, heads, tokens, dimensions): {_WINDOWS}"
                )
        return RecordedAttention(result, recorded, outputs, without)  # type: ignore[arg-type]

    def _attach(self) -> None:
        for layer, module in zip(self._layers, self._modules, strict=True):
            self._handles.append(module.register_forward_pre_hook(layer.enter))
            self._handles.append(module.register_forward_hook(layer.leave))

    def _clear(self) -> None:
        self._recording.current = None
        for layer in self._layers:
            layer.inputs = layer.output = None
            layer.has_gradient = True
            layer.stop_at = ""


def _why_unread(model: nn.Module, layer: int, attention: nn.Module) -> str:
    """Why a module's queries and keys cannot be read, and a remedy if it has one."""
    if is_transformers_model(model) and getattr(model, "_supports_sdpa", False):
        remedy = "turn fused attention on: load the model with attn_implementation='sdpa'"
    elif getattr(attention, "fused_attn", None) is False:
        # Some models of timm take their fused form for experimental.
        remedy = (
            "turn fused attention on: timm.layers.set_fused_attn(True, experimental=True) before the model is created"
        )
    else:
        remedy = (
            "it computes its attention in another way and has no option for that one; pass a model whose blocks are "
            "plain self-attention"
        )
    return (
        f"attention of layer {layer}, {_kind(attention)} in {type(model).__name__}, did not call torch's "
        f"scaled_dot_product_attention, so its queries and keys cannot be read; {remedy}"
    )


def _kind(module: nn.Module) -> str:
    return type(module).__name__


def copy_without_hooks(model: nn.Module) -> nn.Module:
    """Deep-copy a model without this package's hooks; its other hooks are copied too."""
    copied = copy.deepcopy(model)
    _remove_hooks(copied)
    return copied


def _remove_hooks(model: nn.Module, keep: Collection[int] = ()) -> None:
    """Remove this package's hooks, except those of the recordings with the given ids.

    A copied model has copies of the hooks, which nothing else would remove.
    """
    for module in model.modules():
        for hooks in (module._forward_pre_hooks, module._forward_hooks):
            for key, hook in list(hooks.items()):
                layer = getattr(hook, "__self__", None)
                if isinstance(layer, _Layer) and id(layer.recording) not in keep:
                    del hooks[key]


def _remove_handles(handles: list[RemovableHandle]) -> None:
    for handle in handles:
        handle.remove()
    handles.clear()
