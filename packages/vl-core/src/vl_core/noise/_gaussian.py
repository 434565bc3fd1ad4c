"""Standard normal numbers addressed by key: Philox 4x32-10 words through the Box-Muller transform.

The stream is fixed; a faster implementation has to reproduce it, as `vl_core.kernels` does in Triton. For row ``i``
with key ``(a, b)``, ``b = 0`` where keys have one column, both read as 64 unsigned bits:

- key words: ``low(a), high(a)``
- counter words of block ``t``: ``low(t), high(t), low(b), high(b)``
- words ``x0, x1, x2, x3 = philox(counter, key)`` give the normals ``4t .. 4t+3``:
  ``r(x0) cos(x1), r(x0) sin(x1), r(x2) cos(x3), r(x2) sin(x3)``

with, in float32 from the integer on,

- ``r(x) = sqrt(-2 ln(u))``, ``u = float(x + 1) * 2**-32``, where ``x + 1`` is formed as an integer;
- ``cos(x)`` and ``sin(x)`` of the angle ``float(x read as a signed 32-bit integer) * float(pi * 2**-31)``.

Why this form. ``u`` in ``(0, 1]`` needs no guard against ``ln 0``. Small ``u`` are exact multiples of 2**-32, so the
tail follows the normal distribution, ever more coarsely, to its end at ``sqrt(64 ln 2) = 6.66``; 2.7e-11 of the mass is
missing. Near one, ``u`` is rounded to multiples of 2**-24: radii below about 1e-3, five pairs in ten million, lie on a
coarse grid, and one pair in 2**25 is exactly zero. Rounding to nearest leaves the mean of ``r**2`` unmoved, so nothing
measurable follows. A signed angle in ``[-pi, pi]`` is finest around zero and stays clear of the range reduction that
makes sines and cosines of large arguments slow or wrong.

Every step is exact (the scalings by a power of two) or rounded once, so two devices with a logarithm, sine and cosine
good to an ulp or two agree within 1e-6, relative above one. That holds near ``u = 1`` only if the logarithm is accurate
relative to its result: a fast ``lg2.approx`` with its absolute error of 2**-22 would move small radii by 1e-4.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from vl_core.noise._philox import WORD, philox_rounds

_CPU_TILE = 1 << 15  # blocks a thread works on at once: few calls, and scratch of six int64 a block stays in cache
_DEVICE_TILE = 1 << 22  # on an accelerator: enough to fill it, some 250 MB of scratch
_ANGLE = math.pi * 2.0**-31


def gaussian(
    keys: Tensor,
    shape: Sequence[int],
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Tensor:
    """Standard normal noise in which row ``i`` depends on ``keys[i]`` alone.

    Philox 4x32-10 (Salmon et al., 2011) and Box-Muller; the module's text defines the stream word by word. A row does
    not depend on the other rows, on how many there are, or on their order, and a longer row begins with the shorter
    one. On one machine the bits repeat; between devices numbers agree within 1e-6 (relative above one).

    Args:
        keys: int64 ``(n,)`` or ``(n, 2)``, any values; ``make_keys`` packs seed, image and draw. ``(n,)`` means
            a second column of zeros.
        shape: Shape of one row; may be empty or contain zero.
        dtype: A floating type. Others are casts of the same float32 numbers.
        device: Where to compute and return; by default where ``keys`` are.

    Returns:
        Noise ``(n, *shape)``. Beyond it, memory stays bounded whatever ``n`` and ``shape`` are.

    Raises:
        TypeError: If ``keys`` is not an int64 tensor, ``shape`` not a sequence of integers, or ``dtype`` not floating.
        ValueError: If ``keys`` has another shape or a size is negative.

    Example:
        >>> batch = gaussian(torch.arange(8), (3, 32, 32))
        >>> torch.equal(batch[5:], gaussian(torch.tensor([5, 6, 7]), (3, 32, 32)))
        True
    """
    shape = _check(keys, shape, dtype)
    keys = keys.detach().to(device=keys.device if device is None else device)
    size = math.prod(shape)
    out = torch.empty((len(keys), size), dtype=dtype, device=keys.device)
    key, counter = keys.unbind(1) if keys.ndim == 2 else (keys, torch.zeros_like(keys))
    words = [word[:, None] for half in (key, counter) for word in (half & WORD, (half >> 32) & WORD)]
    for rows, blocks in _tiles(len(keys), -(-size // 4), keys.device):
        target = out[rows, 4 * blocks.start : 4 * blocks.stop]
        key_low, key_high, counter_low, counter_high = (word[rows] for word in words)
        # No tile crosses a multiple of 2**32 blocks: its width divides that or spans the row.
        block_low = torch.arange(blocks.start & WORD, (blocks.stop - 1 & WORD) + 1, device=keys.device)
        block_high = blocks.start >> 32
        x = philox_rounds((block_low, block_high, counter_low, counter_high), key_low, key_high)
        _box_muller(*x, target)
    return out.view(len(keys), *shape)


def _box_muller(x0: Tensor, x1: Tensor, x2: Tensor, x3: Tensor, out: Tensor) -> None:
    """Write the normals of words ``(rows, blocks)`` into ``out`` ``(rows, <= 4 * blocks)``."""
    whole = out.dtype == torch.float32 and out.shape[1] == 4 * x0.shape[1]
    normals = out.view(*x0.shape, 4) if whole else torch.empty((*x0.shape, 4), device=out.device)
    for pair, (x_radius, x_angle) in enumerate(((x0, x1), (x2, x3))):
        uniform = x_radius.add_(1).to(torch.float32).mul_(2.0**-32)
        radius = uniform.log_().mul_(-2.0).sqrt_()
        angle = x_angle.to(torch.int32).to(torch.float32).mul_(_ANGLE)
        torch.mul(radius, angle.cos(), out=normals[..., 2 * pair])
        torch.mul(radius, angle.sin_(), out=normals[..., 2 * pair + 1])
    if not whole:
        out.copy_(normals.view(len(out), 4 * x0.shape[1])[:, : out.shape[1]])


def _tiles(rows: int, blocks: int, device: torch.device) -> Iterator[tuple[slice, slice]]:
    """Cut ``(rows, blocks)`` into tiles of bounded area, as wide as a row where that fits."""
    if rows == 0 or blocks == 0:
        return
    area = _CPU_TILE * _power_of_two(torch.get_num_threads()) if device.type == "cpu" else _DEVICE_TILE
    width = min(blocks, area)
    height = area // width
    for row in range(0, rows, height):
        for block in range(0, blocks, width):
            yield slice(row, min(row + height, rows)), slice(block, min(block + width, blocks))


def _power_of_two(count: int) -> int:
    return 1 << (count - 1).bit_length()


def _check(keys: Tensor, shape: Sequence[int], dtype: torch.dtype) -> tuple[int, ...]:
    """``shape`` in Python integers, or an error that names the argument at fault."""
    if not isinstance(keys, Tensor) or keys.dtype != torch.int64:
        got = keys.dtype if isinstance(keys, Tensor) else type(keys).__name__
        raise TypeError(f"keys must be an int64 tensor, got {got}; build them with vl_core.noise.make_keys")
    if keys.ndim not in (1, 2) or (keys.ndim == 2 and keys.shape[1] != 2):
        raise ValueError(
            f"keys must have shape (n,) or (n, 2), got {tuple(keys.shape)}; flatten leading dimensions first"
        )
    try:
        if not isinstance(shape, Sequence):
            raise TypeError
        sizes = tuple(operator.index(size) for size in shape)
    except TypeError:
        raise TypeError(f"shape must be a sequence of integers such as (3, 32, 32), got {shape!r}") from None
    if any(size < 0 for size in sizes):
        raise ValueError(f"shape must not hold negative sizes, got {sizes}")
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise TypeError(f"dtype must be a floating type such as torch.float32, got {dtype!r}")
    return sizes
