"""The matrix of logits as a sequence of tiles, one of which exists at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from vl_vlm.losses.inputs import are_positives


class Tile(NamedTuple):
    """One rectangle of the matrix; what it holds is overwritten by the next."""

    row: slice
    column: slice
    images: Tensor
    """Its images times the scale, ``(r, D)``."""
    columns: Tensor
    """Its texts or negatives, ``(c, D)``."""
    logits: Tensor
    """Their products ``(r, c)``, without bias."""
    positive: Tensor | None
    """True where image and text are positives, ``(r, c)``; None if the ids show that no pair here is one."""


def spans(length: int, tile: int) -> list[slice]:
    """Consecutive slices of at most ``tile`` that cover ``range(length)``."""
    return [slice(start, min(start + tile, length)) for start in range(0, length, tile)]


def visit_tiles(
    images: Tensor, row_ids: Tensor, columns: Tensor, column_ids: Tensor, scale: Tensor, tile: int, dtype: torch.dtype
) -> Iterator[Tile]:
    """Compute each tile of ``scale * images @ columns.T``, row by row of tiles.

    Args:
        images: ``(B, D)``.
        row_ids: Ids ``(B,)`` or ``(B, K)``.
        columns: ``(C, D)``.
        column_ids: Ids ``(C,)``.
        scale: One number of ``dtype``.
        tile: Rows and columns of a tile; those at the ends may be smaller.
        dtype: Type of the logits.
    """
    rows, sides = spans(len(images), tile), spans(len(columns), tile)
    row_ranges, side_ranges = _id_ranges(row_ids, rows), _id_ranges(column_ids, sides)
    # One piece of memory for all tiles: a fresh one each time would be returned to the system and cleared again.
    memory = images.new_empty(min(tile, len(images)) * min(tile, len(columns)), dtype=dtype)
    for row, (low, high) in zip(rows, row_ranges, strict=True):
        x = images[row].to(dtype) * scale
        for side, (side_low, side_high) in zip(sides, side_ranges, strict=True):
            t = columns[side].to(dtype)
            logits = memory[: len(x) * len(t)].view(len(x), len(t))
            torch.mm(x, t.T, out=logits)
            meet = low <= side_high and side_low <= high
            positive = are_positives(row_ids[row], column_ids[side]) if meet else None
            yield Tile(row, side, x, t, logits, positive)


def _id_ranges(ids: Tensor, parts: list[slice]) -> list[tuple[int, int]]:
    """Smallest and largest id of each part; tiles whose ranges do not meet hold no positives."""
    ends = torch.stack([torch.stack(torch.aminmax(ids[part])) for part in parts]).tolist()
    return [(int(low), int(high)) for low, high in ends]


def wide_type(device: torch.device) -> torch.dtype:
    """The type of sums over many tiles: float64 where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64
