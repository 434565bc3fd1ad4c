"""Pack seed, image id and draw number into the two columns of a noise key."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence

import torch
from torch import Tensor

Integers = int | Sequence[int] | Tensor

_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def make_keys(seed: Integers, image_ids: Integers, draws: Integers) -> Tensor:
    """Keys for ``gaussian`` that make noise a pure function of (seed, image, draw).

    Distinct triples give distinct keys. The arguments broadcast against each other, so ``image_ids[:, None]`` with
    ``draws[None, :]`` makes a table; ``gaussian`` takes it as ``keys.flatten(0, -2)``.

    Args:
        seed: Of the run; ``0 <= seed < 2**31``.
        image_ids: One number an image, any int64: its place in the data set or a hash of its content.
        draws: Number of the draw; ``0 <= draw < 2**32``.

    Returns:
        int64 ``(..., 2)`` on the device of the tensors given: the image id, and ``seed * 2**32 + draw``.

    Raises:
        TypeError: If an argument is not of integers.
        ValueError: If a seed or draw is out of range, or the shapes do not broadcast.

    Example:
        >>> make_keys(0, torch.arange(100)[:, None], torch.arange(5)).shape
        torch.Size([100, 5, 2])
    """
    device = next((value.device for value in (seed, image_ids, draws) if isinstance(value, Tensor)), None)
    seeds = _integers("seed", seed, device)
    images = _integers("image_ids", image_ids, device)
    numbers = _integers("draws", draws, device)
    _check_range("seed", seeds, 31)
    _check_range("draws", numbers, 32)
    try:
        shape = torch.broadcast_shapes(seeds.shape, images.shape, numbers.shape)  # type: ignore[no-untyped-call]
    except RuntimeError:
        shapes = ", ".join(str(tuple(value.shape)) for value in (seeds, images, numbers))
        raise ValueError(f"seed, image_ids and draws must broadcast to one shape, got {shapes}") from None
    return torch.stack((images.expand(shape), ((seeds << 32) | numbers).expand(shape)), dim=-1)


def _integers(name: str, value: Integers, device: torch.device | None) -> Tensor:
    try:
        tensor = torch.as_tensor(value, device=device)
    except (OverflowError, RuntimeError, ValueError):  # which one depends on the version of torch
        raise ValueError(f"{name} must be integers of 64 signed bits, got {reprlib.repr(value)}") from None
    if tensor.numel() and tensor.dtype not in _INTEGERS:
        raise TypeError(f"{name} must be integers, got {tensor.dtype}")
    return tensor.to(torch.int64)


def _check_range(name: str, values: Tensor, bits: int) -> None:
    if values.numel() and not (values.min() >= 0 and values.max() < 1 << bits):
        raise ValueError(f"{name} must lie in [0, 2**{bits}), got {int(values.min())} to {int(values.max())}")
