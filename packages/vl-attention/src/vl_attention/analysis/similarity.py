"""Similarity of two models' attention: the Jensen-Shannon divergence between their attention maps.

For two distributions over keys, ``p`` and ``q``, with ``m = (p + q) / 2``, it is ``(KL(p‖m) + KL(q‖m)) / 2`` (Lin,
1991). It is symmetric, 0 for equal maps and at most ``ln 2 = 0.693`` nats, if no key is attended by both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vl_attention.analysis.maps import plain_model, record_attention, row_chunks
from vl_attention.attention.inputs import AttentionInputs
from vl_attention.attention.pairing import Layers, pair_layers
from vl_attention.attention.tokens import CommonTokens, Tokens
from vl_attention.models.layout import ViTLayout
from vl_attention.models.normalization import Normalization


@dataclass(frozen=True)
class MapSimilarity:
    """Divergence between two models in one head of one layer, or in a whole layer."""

    first: str
    """Name of the first model."""
    second: str
    """Name of the second model."""
    first_layer: int
    second_layer: int
    head: int | None
    """None if the models have different numbers of heads: then the maps averaged over heads are compared. Averages are
    more uniform than single maps, so such a divergence is lower and not comparable with that of single heads."""
    divergence: float
    """Jensen-Shannon divergence in nats, 0 to ln 2; the mean over images and queries."""
    images: int
    """Number of images in the mean."""


def map_similarity(
    models: Mapping[str, nn.Module],
    images: Tensor | Mapping[str, Tensor] | Iterable[Any],
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    layers: Layers | None = None,
    normalizations: Mapping[str, Normalization] | None = None,
    batch_size: int = 32,
    rows_at_once: int | None = None,
) -> list[MapSimilarity]:
    """Compute the Jensen-Shannon divergence in nats between the attention maps of models, by layer and head.

    Maps are computed for a few queries at a time, so memory stays bounded. Prefix tokens that only one of two models
    has are left out, as queries and as keys; the rest of each row is renormalized to sum to one.

    Args:
        models: Models by name: timm or transformers ViTs, or `AttentionTransfer` or `Classifier`, whose student is
            used; all on one device.
        images: ``(B, C, H, W)``, floats in 0..1, or batches of these; the first entry of a batch that is a tuple or
            list is used, so a loader of images and labels works. For models with different image sizes or channels, a
            mapping from each name to the same images in the form for that model.
        pairs: Pairs of models to compare; default: all pairs.
        layers: Pairs of layers of the first and the second model, see `pair_layers`. Default: layer by layer for equal
            depths, otherwise ``"spread"``.
        normalizations: Normalization of images in 0..1 by name; default: the model's own.
        batch_size: Batch size for a tensor of images.
        rows_at_once: Number of queries to compute at once; default: about four million map elements.

    Returns:
        A row for each pair, layer and head, in this order.

    Raises:
        ValueError: If there is no pair or no image, a name is unknown, two models divide images into different
            numbers of patches, or a mapping lacks a model or has different numbers of images.
    """
    pairs = list(combinations(models, 2)) if pairs is None else list(dict.fromkeys(pairs))
    unknown = sorted({name for pair in pairs for name in pair} - set(models))
    if not pairs or unknown:
        raise ValueError(
            f"pairs must hold at least one pair of names among {sorted(models)}, got {pairs}"
            + (f"; unknown: {unknown}" if unknown else "")
        )
    if batch_size < 1 or (rows_at_once is not None and rows_at_once < 1):
        raise ValueError(f"batch_size and rows_at_once must be at least 1, got {batch_size} and {rows_at_once}")
    layouts = {name: ViTLayout.of(plain_model(model, None)[0]) for name, model in models.items()}
    plan: list[tuple[str, str, int, int]] = []
    for first, second in pairs:
        depths = layouts[first].depth, layouts[second].depth
        spec = ("all" if depths[0] == depths[1] else "spread") if layers is None else layers
        plan += [(first, second, *numbers) for numbers in pair_layers(spec, *depths)]
    needed: dict[str, list[int]] = {}
    for first, second, a, b in plan:
        needed.setdefault(first, []).append(a)
        needed.setdefault(second, []).append(b)
    if isinstance(images, Mapping):
        counts = {name: len(images[name]) if name in images else None for name in needed}
        if len(set(counts.values())) != 1 or None in counts.values():
            raise ValueError(f"images must hold the same number of images for each model compared, got {counts}")
    sums: dict[tuple[str, str, int, int], Tensor] = {}
    per_head: dict[tuple[str, str, int, int], bool] = {}
    total = 0
    for batch in _batches(images, batch_size, list(needed)):
        total += len(next(iter(batch.values())))
        recorded = {
            name: record_attention(models[name], batch[name], chosen, (normalizations or {}).get(name))
            for name, chosen in needed.items()
        }
        for key in plan:
            first, second, a, b = key
            ours, theirs = recorded[first][a], recorded[second][b]
            tokens = CommonTokens(layouts[first].prefix, layouts[second].prefix).choose(ours.q, theirs.q, dim=2)
            ours, theirs = _select_tokens(ours, tokens[0]), _select_tokens(theirs, tokens[1])
            found = map_divergence(ours, theirs, rows_at_once=rows_at_once).sum(0)
            per_head[key] = ours.q.shape[1] == theirs.q.shape[1]
            sums[key] = sums[key] + found if key in sums else found
    if not total:
        raise ValueError("images must hold at least one image, got none; an iterator yields its batches only once")
    return [
        MapSimilarity(*key, head if per_head[key] else None, value / total, total)
        for key, values in sums.items()
        for head, value in enumerate(values.tolist())
    ]


def layer_means(rows: Sequence[MapSimilarity]) -> tuple[list[tuple[str, str]], np.ndarray]:
    """Average over heads, as a matrix of model pairs and layers.

    Args:
        rows: Rows of `map_similarity`.

    Returns:
        The pairs of names, and float64 ``(pairs, layers)`` in nats, by layer of the first model; NaN where a pair lacks
        a layer.
    """
    by_pair: dict[tuple[str, str], dict[int, list[float]]] = {}
    for row in rows:
        by_pair.setdefault((row.first, row.second), {}).setdefault(row.first_layer, []).append(row.divergence)
    size = 1 + max((layer for layers in by_pair.values() for layer in layers), default=-1)
    matrix = np.full((len(by_pair), size), np.nan)
    for index, layers in enumerate(by_pair.values()):
        for layer, values in layers.items():
            matrix[index, layer] = np.mean(values)
    return list(by_pair), matrix


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """Jensen-Shannon divergence in nats over the last dimension of two distributions ``(..., K)``.

    Example:
        >>> print(f"{jensen_shannon(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])).item():.4f}")
        0.6931
    """
    # 0 · ln 0 counts as 0 where both are zero.
    mean = ((p + q) / 2).clamp_min(torch.finfo(p.dtype).tiny)
    return ((torch.xlogy(p, p / mean) + torch.xlogy(q, q / mean)).sum(-1) / 2).clamp_min(0)


def map_divergence(first: AttentionInputs, second: AttentionInputs, *, rows_at_once: int | None = None) -> Tensor:
    """Divergence between two attention maps, averaged over queries: float64 ``(B, heads)`` on the CPU.

    If the numbers of heads differ, the maps averaged over heads are compared, and there is one column.
    """
    same = first.q.shape[1] == second.q.shape[1]
    sums = torch.zeros(first.q.shape[0], first.q.shape[1] if same else 1, dtype=torch.float64)
    for rows in row_chunks(first if first.q.shape[1] > second.q.shape[1] else second, rows_at_once):
        maps = [inputs.map(rows) if same else inputs.map(rows).mean(1, keepdim=True) for inputs in (first, second)]
        precision = torch.promote_types(maps[0].dtype, maps[1].dtype)
        divergence = jensen_shannon(maps[0].to(precision), maps[1].to(precision))
        sums = sums + divergence.sum(-1).cpu().double()
    return sums / first.q.shape[2]


def _select_tokens(inputs: AttentionInputs, tokens: Tokens) -> AttentionInputs:
    """Restrict attention inputs to some tokens, as queries and as keys."""
    if tokens is None:
        return inputs
    q, k, v = (part.index_select(2, tokens) for part in inputs[:3])
    bias = inputs.bias
    if bias is not None:
        for dim in (-1, -2):
            bias = bias if bias.shape[dim] == 1 else bias.index_select(dim, tokens)
    return AttentionInputs(q, k, v, bias, inputs.scale)


def _batches(images: Any, batch_size: int, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Batches by model; models share one tensor unless each has its own."""
    if isinstance(images, Mapping):
        for start in range(0, len(images[names[0]]), batch_size):
            yield {name: images[name][start : start + batch_size] for name in names}
        return
    parts = (torch.split(images, batch_size) if len(images) else ()) if isinstance(images, Tensor) else images
    for part in parts:
        yield dict.fromkeys(names, part[0] if isinstance(part, tuple | list) else part)
