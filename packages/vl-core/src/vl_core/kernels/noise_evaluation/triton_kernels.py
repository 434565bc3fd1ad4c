"""Triton kernels that generate noise in registers: noisy images, errors of predictions, and their gradient.

A program takes one tile of an image's values and a run of rows, one after the other. What the next row shares with this
one, the clean image or the noise of a key, it keeps. No tile of one program is written by another, and a row's sums are
taken in an order that depends on the size of an image alone: rows depend neither on the launch nor on one another.

Common arguments::

    keys    int64 [n, 2]
    image   int64 [n], or None where row i is of image i
    images  how many there are; a row that names another one is NaN
    size    values of an image
    run     rows that a program takes
"""

from __future__ import annotations

import triton
import triton.language as tl

from vl_core.kernels.noise_evaluation.triton_gaussian import normals


@triton.jit
def _place(size, rows, run, TILE: tl.constexpr):
    """Tile index and offsets, first row (64 bits) and number of rows."""
    tiles = tl.cdiv(size, TILE)
    tile = tl.program_id(0) % tiles
    first = (tl.program_id(0) // tiles).to(tl.int64) * run
    return tile, tile * TILE + tl.arange(0, TILE), first, tl.minimum(first + run, rows) - first


@triton.jit
def _image_of(image, row):
    if image is None:
        return row
    else:
        return tl.load(image + row)


@triton.jit
def _of_image(pointer, number, images, values, size):
    """Tile of an image in float32; NaN for a missing image."""
    exists = (number >= 0) & (number < images)
    found = tl.load(pointer + tl.where(exists, number, 0) * size + values, mask=values < size, other=0.0)
    return tl.where(exists, found.to(tl.float32), float("nan"))


@triton.jit
def diffuse(
    x0,  # [B, size]
    keys, image,
    alpha, sigma,  # float32 [n]
    noisy,  # [n, size]
    images, size, rows, run,
    TILE: tl.constexpr,
):  # fmt: skip
    """``noisy = alpha * x0 + sigma * noise``."""
    tile, values, first, count = _place(size, rows, run, TILE)
    number = tl.full((), 0, tl.int64)
    clean = tl.zeros((TILE,), tl.float32)
    for step in range(0, count):
        row = first + step
        row_number = _image_of(image, row)
        if (step == 0) | (row_number != number):
            number = row_number
            clean = _of_image(x0, number, images, values, size)
        noise = normals(tl.load(keys + 2 * row), tl.load(keys + 2 * row + 1), tile * (TILE // 4), TILE // 4)
        mixed = tl.load(alpha + row) * clean + tl.load(sigma + row) * noise
        tl.store(noisy + row * size + values, mixed.to(noisy.dtype.element_ty), mask=values < size)


@triton.jit
def _difference(
    prediction, prediction_stride, noise, clean, alpha, sigma, scale, row, values, size, TARGET: tl.constexpr
):
    """A tile of ``scale * (prediction - target)``; zeros beyond the image's edge."""
    inside = values < size
    found = tl.load(prediction + row * prediction_stride + values, mask=inside, other=0.0).to(tl.float32)
    if TARGET == "epsilon":
        found -= noise
    elif TARGET == "v_prediction":
        found -= tl.load(alpha + row) * noise - tl.load(sigma + row) * clean
    elif TARGET == "flow_prediction":
        found -= noise - clean
    else:
        found -= clean
    if scale is not None:
        found *= tl.load(scale + row)
    return tl.where(inside, found, 0.0)


@triton.jit
def noise_error(
    prediction,  # [n, size], rows `prediction_stride` apart
    keys, x0, image,
    alpha, sigma, scale,  # float32 [n], or None
    weight,  # float32 [B or 1, size], or None
    upstream,  # float32 [n] gradient by each error; None for the errors themselves
    found,  # float32 [tiles, n] parts of each row's error; or the gradient [n, size]
    prediction_stride, images, weighted_images, size, rows, run, delta,
    TARGET: tl.constexpr, LOSS: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """A tile's part of each row's error, ``sum weight * rho(difference)``; or the gradient by the prediction."""
    tile, values, first, count = _place(size, rows, run, TILE)
    key_low_high = tl.full((), 0, tl.int64)
    row_counter = tl.full((), 0, tl.int64)
    number = tl.full((), 0, tl.int64)
    noise = tl.zeros((TILE,), tl.float32)
    clean = tl.zeros((TILE,), tl.float32)
    share = tl.full((TILE,), 1.0, tl.float32) / size
    for step in range(0, count):
        row = first + step
        if TARGET != "sample":
            next_key, next_counter = tl.load(keys + 2 * row), tl.load(keys + 2 * row + 1)
            if (step == 0) | (next_key != key_low_high) | (next_counter != row_counter):
                key_low_high = next_key
                row_counter = next_counter
                noise = normals(key_low_high, row_counter, tile * (TILE // 4), TILE // 4)
        if x0 is not None or weight is not None:
            row_number = _image_of(image, row)
            if (step == 0) | (row_number != number):
                number = row_number
                if x0 is not None:
                    clean = _of_image(x0, number, images, values, size)
                if weight is not None:
                    if weighted_images == 1:
                        share = _of_image(weight, number * 0, 1, values, size)
                    else:
                        share = _of_image(weight, number, weighted_images, values, size)
        difference = _difference(
            prediction, prediction_stride, noise, clean, alpha, sigma, scale, row, values, size, TARGET
        )
        if upstream is None:
            if LOSS == "l2":
                cost = difference * difference
            elif LOSS == "l1":
                cost = tl.abs(difference)
            else:
                far = tl.abs(difference)
                cost = tl.where(far <= delta, 0.5 * far * far, delta * (far - 0.5 * delta))
            tl.store(found + tile.to(tl.int64) * rows + row, tl.sum(cost * share, 0))
        else:
            if LOSS == "l2":
                slope = 2.0 * difference
            elif LOSS == "l1":
                slope = tl.where(difference > 0, 1.0, tl.where(difference < 0, -1.0, difference))
            else:
                slope = tl.where(difference > delta, delta, tl.where(difference < -delta, -delta, difference))
            factor = tl.load(upstream + row)
            if scale is not None:
                factor *= tl.load(scale + row)
            gradient = (slope * share * factor).to(found.dtype.element_ty)
            tl.store(found + row * size + values, gradient, mask=values < size)


@triton.jit
def add_tiles(
    parts,  # float32 [tiles, n]
    errors,  # float32 [n]
    tiles, rows,
    ROWS: tl.constexpr,
):  # fmt: skip
    """Each row's sum over tiles, in their order."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    total = tl.zeros((ROWS,), tl.float32)
    for _ in range(0, tiles):
        total += tl.load(parts + row, mask=row < rows, other=0.0)
        parts += rows
    tl.store(errors + row, total, mask=row < rows)
