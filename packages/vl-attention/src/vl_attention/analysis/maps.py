"""Attention maps of a trained model, to look at or to measure.

Training never stores a map; here they are asked for, so mind their size: ``B × H × N × N`` floats a layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vl_attention.attention.inputs import AttentionInputs, AttentionRecorder
from vl_attention.classifiers.classifier import Classifier
from vl_attention.models.calling import call, check_images, evaluating, vision_config
from vl_attention.models.layout import ViTLayout
from vl_attention.models.normalization import Normalization
from vl_attention.transfer.attention_transfer import AttentionTransfer

_ELEMENTS = 1 << 22
"""About how many numbers of a map are made at once."""


def attention_maps(
    model: nn.Module,
    images: Tensor,
    *,
    layers: Literal["all"] | Sequence[int] = "all",
    rows: slice | None = None,
    normalization: Normalization | None = None,
) -> dict[int, Tensor]:
    """What a model's softmax gives, by layer.

    The model runs in evaluation mode and without gradients; afterwards each of its modules is in the mode that it was.

    Args:
        model: A ViT of timm or transformers, or an `AttentionTransfer` or a `Classifier`, for its student.
        images: ``(B, C, H, W)``, floats in 0..1, on the model's device.
        layers: Numbers of layers, negative ones from the end, or ``"all"``.
        rows: Which queries; default: all.
        normalization: How images enter the model; default: as the model says.

    Returns:
        Layer to map ``(B, heads, rows, N)``, float32 at least. Tokens stand as in the model, prefix tokens first. Each
        row sums to one.

    Raises:
        ValueError: If a layer does not exist, the images are no floats ``(B, C, H, W)``, or the model copies its
            attention from a teacher.

    Example:
        >>> import timm
        >>> model = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=48, depth=2)
        >>> attention_maps(model, torch.rand(1, 3, 32, 32), layers=[-1])[1].shape
        torch.Size([1, 3, 17, 17])
    """
    taps = tap_layers(model, images, layers, normalization)
    return {layer: tap.map(slice(None) if rows is None else rows) for layer, tap in taps.items()}


def class_attention(
    model: nn.Module, images: Tensor, layer: int = -1, *, normalization: Normalization | None = None
) -> Tensor:
    """Attention from the class token to each patch, as a grid over the image.

    A model without a class token is shown by the mean over all its queries.

    Args:
        model: A ViT of timm or transformers, or an `AttentionTransfer` or a `Classifier`, for its student.
        images: ``(B, C, H, W)``, floats in 0..1.
        layer: Its number; negative ones count from the end.
        normalization: How images enter the model; default: as the model says.

    Returns:
        ``(B, heads, rows, columns)``. What goes to the prefix tokens is left out, so a head's grid sums to one at most.

    Raises:
        ValueError: As `attention_maps` does, or if the patches form no grid.
    """
    plain, _ = plain_model(model, normalization)
    prefix = ViTLayout.of(plain).prefix
    (tap,) = tap_layers(model, images, [layer], normalization).values()
    if "class" in prefix:
        place = prefix.index("class")
        attention = tap.map(slice(place, place + 1))[:, :, 0]
    else:
        chunks = [tap.map(rows).sum(2) for rows in row_chunks(tap)]
        attention = torch.stack(chunks).sum(0) / tap.q.shape[2]
    patches = attention[..., len(prefix) :]
    height, width = _grid(plain, images, patches.shape[-1])
    return patches.reshape(*patches.shape[:-1], height, width)


def tap_layers(
    model: nn.Module,
    images: Tensor,
    layers: Literal["all"] | Sequence[int],
    normalization: Normalization | None = None,
) -> dict[int, AttentionInputs]:
    """The taps of some layers, in ascending order; arguments as of `attention_maps`."""
    check_images(images)
    model, normalization = plain_model(model, normalization)
    layout = ViTLayout.of(model)
    chosen = sorted({_layer(n, layout.depth) for n in (range(layout.depth) if layers == "all" else layers)})
    if not chosen:
        raise ValueError(f"layers must be 'all' or name at least one layer, got {layers!r}")
    taps = AttentionRecorder.of(model, [model.get_submodule(name) for name in layout.attentions])
    with torch.no_grad(), evaluating(model):
        return taps.run(lambda: call(model, normalization(images)), chosen, stop=True).by_layer


def plain_model(model: nn.Module, normalization: Normalization | None) -> tuple[nn.Module, Normalization]:
    """The model whose attention is meant, and how images enter it.

    Raises:
        ValueError: If it is a student that attends with its teacher's maps.
    """
    if isinstance(model, AttentionTransfer) and model.needs_teacher:
        raise ValueError(
            f"a student of mode={model.mode!r} has no whole attention of its own; give its teacher instead, "
            "transfer.teacher"
        )
    if isinstance(model, AttentionTransfer | Classifier):
        return model.student, normalization or model.student_normalization
    return model, normalization or Normalization.of(model)


def row_chunks(tap: AttentionInputs, at_once: int | None = None) -> list[slice]:
    """Slices of queries whose maps stay small, however many tokens there are."""
    images, heads, queries, _ = tap.q.shape
    step = max(1, at_once or _ELEMENTS // (images * heads * tap.k.shape[2]))
    return [slice(start, min(start + step, queries)) for start in range(0, queries, step)]


def _layer(number: Any, depth: int) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or not -depth <= number < depth:
        raise ValueError(f"layers must be whole numbers from {-depth} to {depth - 1}, got {number!r}")
    return number % depth


def _grid(model: nn.Module, images: Tensor, patches: int) -> tuple[int, int]:
    """Rows and columns of patches, by the patch size, or of square images the square root."""
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
            f"{patches} patches of images {tuple(images.shape[-2:])} form no grid that {type(model).__name__} tells "
            "of; use attention_maps, and give the tokens their shape yourself"
        )
    return side, side
