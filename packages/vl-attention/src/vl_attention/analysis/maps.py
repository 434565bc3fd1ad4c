"""Attention maps of a trained model, for display or analysis.

Training never stores a map, but these functions do, so mind their size: ``B × H × N × N`` floats per layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vl_attention.attention.inputs import AttentionInputs, AttentionRecorder
from vl_attention.attention.rehearsal import check_attention
from vl_attention.classifiers.classifier import Classifier
from vl_attention.models.inference import call_model, check_images, eval_mode, vision_config
from vl_attention.models.layout import ViTLayout
from vl_attention.models.normalization import Normalization
from vl_attention.models.whole_numbers import whole_number
from vl_attention.transfer.attention_transfer import AttentionTransfer

_ELEMENTS = 1 << 22
"""Approximate number of map elements to compute at once."""


def attention_maps(
    model: nn.Module,
    images: Tensor,
    *,
    layers: Literal["all"] | Sequence[int] = "all",
    rows: slice | None = None,
    normalization: Normalization | None = None,
) -> dict[int, Tensor]:
    """Compute the attention maps of a model, by layer.

    The model runs in evaluation mode and without gradients; afterwards each module is back in its previous mode.

    Args:
        model: A timm or transformers ViT, or an `AttentionTransfer` or `Classifier`, whose student is used.
        images: ``(B, C, H, W)``, floats in 0..1, on the model's device.
        layers: Layer numbers, negative ones from the end, or ``"all"``.
        rows: Queries to include; default: all.
        normalization: Normalization of images in 0..1; default: the model's own.

    Returns:
        Map ``(B, heads, rows, N)`` by layer, at least float32. Tokens are in the order of the model, prefix tokens
        first. Each row sums to one.

    Raises:
        ValueError: If a layer does not exist, the images are not floats ``(B, C, H, W)``, or the model copies its
            attention from a teacher.

    Example:
        >>> import timm
        >>> model = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=48, depth=2)
        >>> attention_maps(model, torch.rand(1, 3, 32, 32), layers=[-1])[1].shape
        torch.Size([1, 3, 17, 17])
    """
    recorded = record_attention(model, images, layers, normalization)
    return {layer: inputs.map(slice(None) if rows is None else rows) for layer, inputs in recorded.items()}


def class_attention(
    model: nn.Module, images: Tensor, layer: int = -1, *, normalization: Normalization | None = None
) -> Tensor:
    """Compute the attention from the class token to each patch, as a grid over the image.

    For a model without a class token, the mean over all queries is used.

    Args:
        model: A timm or transformers ViT, or an `AttentionTransfer` or `Classifier`, whose student is used.
        images: ``(B, C, H, W)``, floats in 0..1.
        layer: Layer number; negative ones count from the end.
        normalization: Normalization of images in 0..1; default: the model's own.

    Returns:
        ``(B, heads, rows, columns)``. Attention to prefix tokens is left out, so the grid of a head sums to at most
        one.

    Raises:
        ValueError: As `attention_maps` does, or if the patches form no grid.
    """
    plain, _ = plain_model(model, normalization)
    prefix = ViTLayout.of(plain).prefix
    (inputs,) = record_attention(model, images, [layer], normalization).values()
    if "class" in prefix:
        index = prefix.index("class")
        attention = inputs.map(slice(index, index + 1))[:, :, 0]
    else:
        chunks = [inputs.map(rows).sum(2) for rows in row_chunks(inputs)]
        attention = torch.stack(chunks).sum(0) / inputs.q.shape[2]
    patches = attention[..., len(prefix) :]
    height, width = _grid(plain, images, patches.shape[-1])
    return patches.reshape(*patches.shape[:-1], height, width)


def record_attention(
    model: nn.Module,
    images: Tensor,
    layers: Literal["all"] | Sequence[int],
    normalization: Normalization | None = None,
) -> dict[int, AttentionInputs]:
    """Record the attention inputs of some layers, in ascending order; arguments as in `attention_maps`."""
    check_images(images)
    model, normalization = plain_model(model, normalization)
    layout = ViTLayout.of(model)
    chosen = sorted({_layer(n, layout.depth) for n in (range(layout.depth) if layers == "all" else layers)})
    if not chosen:
        raise ValueError(f"layers must be 'all' or name at least one layer, got {layers!r}")
    check_attention(model, layout.attentions, len(normalization.mean))
    recorder = AttentionRecorder.of(model, [model.get_submodule(name) for name in layout.attentions])
    with torch.no_grad(), eval_mode(model):
        return recorder.run(lambda: call_model(model, normalization(images)), chosen, stop=True).by_layer


def plain_model(model: nn.Module, normalization: Normalization | None) -> tuple[nn.Module, Normalization]:
    """The model whose attention is analyzed, and its normalization.

    Raises:
        ValueError: If it is a student that copies attention from its teacher.
    """
    if isinstance(model, AttentionTransfer) and model.needs_teacher:
        raise ValueError(
            f"a student of mode={model.mode!r} has no complete attention of its own; pass its teacher instead, "
            "transfer.teacher"
        )
    if isinstance(model, AttentionTransfer | Classifier):
        return model.student, normalization or model.student_normalization
    return model, normalization or Normalization.of(model)


def row_chunks(inputs: AttentionInputs, at_once: int | None = None) -> list[slice]:
    """Slices of queries whose maps stay small, however many tokens there are."""
    images, heads, queries, _ = inputs.q.shape
    step = max(1, at_once or _ELEMENTS // (images * heads * inputs.k.shape[2]))
    return [slice(start, min(start + step, queries)) for start in range(0, queries, step)]


def _layer(number: Any, depth: int) -> int:
    found = whole_number(number)
    if found is None or not -depth <= found < depth:
        raise ValueError(f"layers must be whole numbers from {-depth} to {depth - 1}, got {number!r}")
    return found % depth


def _grid(model: nn.Module, images: Tensor, patches: int) -> tuple[int, int]:
    """Rows and columns of patches, from the patch size or, for square images, the square root."""
    size: Any = getattr(getattr(model, "patch_embed", None), "patch_size", None)
    if size is None:
        size = getattr(vision_config(model), "patch_size", None)
    if size is not None:
        high, wide = (size, size) if isinstance(size, int) else tuple(size)
        grid = images.shape[-2] // high, images.shape[-1] // wide
        if grid[0] * grid[1] == patches:
            return grid
    side = round(patches**0.5)
    if side * side != patches or images.shape[-2] != images.shape[-1]:
        raise ValueError(
            f"{patches} patches of images {tuple(images.shape[-2:])} do not form a grid that {type(model).__name__} "
            "defines; use attention_maps, and reshape the tokens yourself"
        )
    return side, side
