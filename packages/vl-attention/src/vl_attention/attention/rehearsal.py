"""Rehearsals of a forward pass without weights, so that what cannot work is refused when it is put together.

Models are copied to torch's meta device, where only shapes are computed. A model that cannot run there is checked with
its first images instead.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

from vl_attention.attention.inputs import (
    AttentionError,
    AttentionInputs,
    AttentionInterceptor,
    AttentionRecorder,
    LastLayerReached,
)
from vl_attention.models.grids import Size, image_size
from vl_attention.models.inference import call_model
from vl_attention.models.weightless import weightless_copy

logger = logging.getLogger(__name__)

_IMAGES = 2
_rehearsing = ContextVar("rehearsing", default=False)


class _CannotRehearse(Exception):
    """A model cannot run without its weights."""


def is_rehearsal() -> bool:
    """True inside of `rehearse`."""
    return _rehearsing.get()


def run_model(model: nn.Module, images: Tensor) -> Any:
    """Call a model as `call_model` does; in a rehearsal, errors of the model's own are set apart from those of ours."""
    if not is_rehearsal():
        return call_model(model, images)
    try:
        return call_model(model, images)
    except (AttentionError, LastLayerReached):
        raise
    except Exception as error:
        raise _CannotRehearse from error


def rehearse(run: Callable[..., object], *models: nn.Module) -> None:
    """Call a function with copies of models without weights; its errors are raised, unless they are a model's own.

    Args:
        run: Takes the copies, on the meta device, and calls them with `run_model`.
        models: The models, which are not touched.
    """
    try:
        with _quiet():
            run(*(_without_weights(model) for model in models))
    except _CannotRehearse as error:
        logger.debug("a model cannot be rehearsed: %r", error.__cause__)


def blank_images(channels: int, size: Size) -> Tensor:
    """Images ``(B, channels, H, W)`` for a rehearsal."""
    return torch.empty(_IMAGES, channels, *size, device="meta")


def check_attention(model: nn.Module, attentions: Sequence[str], channels: int) -> None:
    """Check that a model's attention can be read, without running the model itself.

    Args:
        model: A timm or transformers ViT.
        attentions: Names of its attention modules, by layer.
        channels: Number of image channels.

    Raises:
        AttentionError: If a module calls scaled dot-product attention not once, for parts of an image, or not between
            all tokens; with a remedy only if it would help.
    """
    size = image_size(model)
    if size is not None:
        rehearse(lambda copied: _check_attention(copied, attentions, blank_images(channels, size)), model)


def _check_attention(model: nn.Module, attentions: Sequence[str], images: Tensor) -> None:
    # A compiled model is copied without its wrapper.
    modules = [model.get_submodule(name.removeprefix("_orig_mod.")) for name in attentions]
    unfused = [module for module in modules if getattr(module, "fused_attn", None) is False]
    try:
        _read(model, modules, images)
    except AttentionError:
        # Fused attention is no remedy for a module that attends to something else than tokens.
        for module in unfused:
            module.fused_attn = True  # type: ignore[assignment]
        if unfused:
            _read(model, modules, images)
        raise


def _read(model: nn.Module, modules: Sequence[nn.Module], images: Tensor) -> None:
    tokens: dict[int, int] = {}

    def count(module: nn.Module, args: Any, kwargs: Any) -> None:
        entering = next((value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), None)
        if entering is not None and entering.ndim == 3:
            tokens[id(module)] = entering.shape[1]

    for module in modules:
        module.register_forward_pre_hook(count, with_kwargs=True)
    recorder = AttentionRecorder(model.eval(), modules)
    with torch.no_grad():
        recorded = recorder.run(lambda: run_model(model, images), range(len(modules)), stop=True).by_layer
    for layer, module in enumerate(modules):
        q, k = recorded[layer].q, recorded[layer].k
        if len(q) != len(images) or not q.shape[2] == k.shape[2] == tokens.get(id(module), q.shape[2]):
            raise AttentionError(
                f"attention of layer {layer}, {type(module).__name__} in {type(model).__name__}, is within windows, "
                "between channels, or to pooled tokens; pass a model in which every token attends to all others"
            )


def _without_weights(model: nn.Module) -> nn.Module:
    try:
        return weightless_copy(getattr(model, "_orig_mod", model))
    except Exception as error:
        raise _CannotRehearse from error


def _blank_output(inputs: AttentionInputs, dropout: float) -> Tensor:
    """An output of the right shape: attention itself takes long on the meta device."""
    return inputs.v.new_empty(*inputs.q.shape[:-1], inputs.v.shape[-1])


@contextmanager
def _quiet() -> Iterator[None]:
    """Without compilation, the caller's gradient mode and generator, and warnings that the models themselves give."""
    token = _rehearsing.set(True)
    try:
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.random.fork_rng(devices=[]),
            torch.compiler.set_stance("force_eager"),
            AttentionInterceptor(_blank_output),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        _rehearsing.reset(token)
