"""Queries, keys and values as they enter a model's softmax, with fused attention left on.

The vision transformers of timm and of transformers that are supported end each attention in one call of
`torch.nn.functional.scaled_dot_product_attention`, after queries and keys were normalized, rotated or repeated, and
with relative-position biases as its mask. A `torch.overrides.TorchFunctionMode`, which is active only inside of `with`,
reads the arguments of that call. So what is tapped is what the softmax sees, whatever the family, no map is ever made,
and nothing global is changed. Hooks on the attention modules say which layer a call belongs to.
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

_SDPA = F.scaled_dot_product_attention


class AttentionInputs(NamedTuple):
    """What one attention's softmax receives. ``B`` images, ``H`` heads, ``N`` tokens, ``d`` dimensions of a head."""

    q: Tensor
    """Queries ``(B, H, N, d)``, after normalization and rotation."""
    k: Tensor
    """Keys, of the same shape."""
    v: Tensor
    """Values ``(B, H, N, d)``."""
    bias: Tensor | None
    """What is added to the logits, broadcast to ``(B, H, N, N)``; None for nothing."""
    scale: float
    """What the products of queries and keys are multiplied by."""

    def detach(self) -> AttentionInputs:
        """The same tensors as constants."""
        bias = None if self.bias is None else self.bias.detach()
        return AttentionInputs(self.q.detach(), self.k.detach(), self.v.detach(), bias, self.scale)

    def map(self, rows: slice = slice(None)) -> Tensor:
        """The attention map of some queries, ``(B, H, rows, N)``, in float32 at least."""
        precision = torch.promote_types(self.q.dtype, torch.float32)
        logits = self.scale * (self.q[:, :, rows].to(precision) @ self.k.to(precision).mT)
        if self.bias is not None:
            bias = self.bias.to(precision)
            logits = logits + (bias if bias.shape[-2] == 1 else bias[..., rows, :])
        return logits.softmax(-1)


class LastLayerReached(Exception):
    """Ends a teacher's forward pass where nothing more is wanted of it."""


class Interception(TorchFunctionMode):
    """While active, shows every call of scaled dot-product attention to a function.

    Args:
        on_call: Is given what the call attends with and its dropout; returns the call's result, or None to have the
            call go on as it was.
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
    """The arguments of scaled dot-product attention as a tap, and the dropout."""
    if is_causal:
        raise ValueError("this attention is causal; attention transfer is for models that see all of an image at once")
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = torch.zeros_like(attn_mask, dtype=query.dtype).masked_fill(~attn_mask, -torch.inf)
    if enable_gqa:
        repeats = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
    return AttentionInputs(query, key, value, attn_mask, query.shape[-1] ** -0.5 if scale is None else scale), dropout_p


def attend(tap: AttentionInputs, dropout: float = 0.0) -> Tensor:
    """The attention's output ``(B, H, N, d of the values)``, fused where queries and values differ in width too."""
    width, value_width = tap.q.shape[-1], tap.v.shape[-1]
    # The fused operators want one head dimension; zeros change no logit, and what they add to the output is cut off.
    q, k, v = (F.pad(tensor, (0, max(width, value_width) - tensor.shape[-1])) for tensor in tap[:3])
    return _SDPA(q, k, v, tap.bias, dropout, scale=tap.scale)[..., :value_width]


class _Layer:
    """One layer's hooks, and what they found.

    Every layer of a model has them, tapped or not, and nothing here depends on the layer's number, so that blocks which
    are compiled share one code.
    """

    def __init__(self, recording: _Recording):
        self.recording = recording
        self.stop_at: Literal["", "call", "output"] = ""
        self.tap: AttentionInputs | None = None
        self.has_gradient = True
        self.output: Tensor | None = None

    def enter(self, module: nn.Module, args: Any) -> None:
        """Hook before the attention."""
        self.recording.current = self

    def leave(self, module: nn.Module, args: Any, output: Any) -> None:
        """Hook after it."""
        self.recording.current = None
        if self.recording.with_outputs:
            self.output = output[0] if isinstance(output, tuple) else output
        if self.stop_at == "output":
            raise LastLayerReached


class _Recording(Interception):
    """Writes each call down at the layer that it belongs to."""

    def __init__(self) -> None:
        super().__init__(self._record)
        self.with_outputs = False
        self.current: _Layer | None = None

    def _record(self, tap: AttentionInputs, dropout: float) -> None:
        layer = self.current
        if layer is None:
            return
        if layer.tap is not None:
            raise ValueError("an attention computes more than one map, which no mode here transfers")
        layer.tap, layer.has_gradient = tap, torch.is_grad_enabled()
        if layer.stop_at == "call":
            raise LastLayerReached


class Taps(NamedTuple):
    """What a forward pass gave."""

    result: Any
    """What the model returned; None if it was stopped."""
    by_layer: dict[int, AttentionInputs]
    outputs: dict[int, Tensor]
    """Of the attention modules ``(B, N, D)``, where they were asked for."""
    without_gradient: list[int]
    """Layers that ran without gradients although the model was called with them: reentrant checkpointing does that."""


class AttentionRecorder:
    """Taps the attention modules of one model; get it with `AttentionRecorder.of`, so that each model has one.

    Code that is compiled from a block takes for granted whose hooks it calls, so two sets on one model would not do.
    The hooks go when the last owner of this object does.
    """

    _of_model: ClassVar[weakref.WeakValueDictionary[int, AttentionRecorder]] = weakref.WeakValueDictionary()

    def __init__(self, model: nn.Module, attentions: Sequence[nn.Module]):
        self.model = model  # held, so that its id stays its own
        self._modules = list(attentions)
        self._recording = _Recording()
        self._layers = [_Layer(self._recording) for _ in attentions]
        self._handles: list[RemovableHandle] = []
        live = {id(taps._recording) for taps in self._of_model.values()}
        _take_off(model, live)  # a copied model has hooks of nobody
        self._attach()
        weakref.finalize(self, _remove, self._handles)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy, made with its model, is that model's taps."""
        self.__dict__.update(state)
        self._of_model[id(self.model)] = self
        weakref.finalize(self, _remove, self._handles)

    @classmethod
    def of(cls, model: nn.Module, attentions: Sequence[nn.Module]) -> AttentionRecorder:
        """The taps of a model, made if there are none.

        Args:
            model: The model.
            attentions: All its attention modules, by layer; each must call scaled dot-product attention once.
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
    ) -> Taps:
        """Call the model.

        Args:
            forward: Calls it.
            layers: Which layers' taps are wanted.
            with_outputs: Whether the modules' outputs are wanted too.
            stop: Whether the forward pass ends once the last of ``layers`` is tapped.

        Raises:
            ValueError: If a module did not call scaled dot-product attention, or did so more than once.
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
            taps = {layer: self._layers[layer].tap for layer in layers}
            outputs = {layer: self._layers[layer].output for layer in layers if with_outputs}
            without = [layer for layer in layers if torch.is_grad_enabled() and not self._layers[layer].has_gradient]
        finally:
            self._recording.with_outputs = False
            self._clear()
        for layer, tap in taps.items():
            if tap is None:
                raise ValueError(
                    f"attention of layer {layer}, {type(self._modules[layer]).__name__}, did not call torch's "
                    "scaled_dot_product_attention, so its queries and keys cannot be read; turn fused attention on: "
                    "timm.layers.set_fused_attn(True) before the model is made, or attn_implementation='sdpa' in "
                    "transformers"
                )
        return Taps(result, taps, outputs, without)  # type: ignore[arg-type]

    def _attach(self) -> None:
        for layer, module in zip(self._layers, self._modules, strict=True):
            self._handles.append(module.register_forward_pre_hook(layer.enter))
            self._handles.append(module.register_forward_hook(layer.leave))

    def _clear(self) -> None:
        self._recording.current = None
        for layer in self._layers:
            layer.tap = layer.output = None
            layer.has_gradient = True
            layer.stop_at = ""


def copy_without_taps(model: nn.Module) -> nn.Module:
    """A deep copy of a model without hooks of ours; its own go with it."""
    copied = copy.deepcopy(model)
    _take_off(copied)
    return copied


def _take_off(model: nn.Module, spared: Collection[int] = ()) -> None:
    """Remove hooks of ours, but for those of some recordings, by their ids.

    A copy of a model has copies of its hooks, which nothing else would remove.
    """
    for module in model.modules():
        for hooks in (module._forward_pre_hooks, module._forward_hooks):
            for key, hook in list(hooks.items()):
                layer = getattr(hook, "__self__", None)
                if isinstance(layer, _Layer) and id(layer.recording) not in spared:
                    del hooks[key]


def _remove(handles: list[RemovableHandle]) -> None:
    for handle in handles:
        handle.remove()
    handles.clear()
