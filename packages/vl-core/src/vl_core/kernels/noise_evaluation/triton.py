"""Launch the Triton kernels: tile sizes and rows per program."""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from vl_core.kernels.launching import backend, on_device_of
from vl_core.kernels.noise_evaluation import triton_kernels as kernels
from vl_core.kernels.noise_evaluation.inputs import NoiseErrorInputs, NoisyImageInputs

_TILE = 1024  # values of an image that a program takes
_WARPS = 4
_LONGEST_RUN = 32
_PROGRAMS_A_PROCESSOR = 8  # as many as are in work at once; longer runs would leave processors idle
_ROWS = 128


def diffuse(inputs: NoisyImageInputs) -> Tensor:
    """``(n, size)``; see `NoisyImageInputs`."""
    x0 = inputs.x0.contiguous()
    (images, size), rows = x0.shape, len(inputs.keys)
    noisy = x0.new_empty(rows, size, dtype=inputs.dtype)
    if noisy.numel():
        tile, run, grid = _launch(noisy)
        with on_device_of(x0):
            kernels.diffuse[(grid,)](
                x0, inputs.keys, inputs.image, inputs.alpha, inputs.sigma, noisy, images, size, rows, run,
                TILE=tile, num_warps=_WARPS,
            )  # fmt: skip
    return noisy


def noise_error(inputs: NoiseErrorInputs) -> Tensor:
    """``(n,)``; see `NoiseErrorInputs`."""
    prediction = inputs.prediction
    rows, size = prediction.shape
    errors = prediction.new_empty(rows, dtype=torch.float32)
    if not prediction.numel():
        return errors.fill_(float("nan"))  # the mean of nothing
    tiles = triton.cdiv(size, _tile(size))
    parts = errors.new_empty(tiles, rows)
    with on_device_of(prediction):
        _compare(inputs, None, parts)
        if tiles == 1:
            return parts[0]
        kernels.add_tiles[(triton.cdiv(rows, _ROWS),)](parts, errors, tiles, rows, ROWS=_ROWS, num_warps=_WARPS)
    return errors


def noise_error_gradient(inputs: NoiseErrorInputs, upstream: Tensor) -> Tensor:
    """Gradient by the prediction, ``(n, size)``, for the errors' upstream gradient ``(n,)``."""
    prediction = inputs.prediction
    gradient = prediction.new_empty(prediction.shape)
    if gradient.numel():
        with on_device_of(prediction):
            _compare(inputs, upstream, gradient)
    return gradient


def _compare(inputs: NoiseErrorInputs, upstream: Tensor | None, found: Tensor) -> None:
    """Launch the kernel for errors, or for gradients where an upstream gradient is given."""
    c = inputs
    prediction = c.prediction if c.prediction.stride(1) == 1 else c.prediction.contiguous()
    rows, size = prediction.shape
    x0 = None if c.x0 is None else c.x0.contiguous()
    tile, run, grid = _launch(prediction)
    kernels.noise_error[(grid,)](
        prediction, c.keys, x0, c.image, c.alpha, c.sigma, c.scale, c.weight, upstream, found,
        prediction.stride(0), 0 if x0 is None else len(x0), 0 if c.weight is None else len(c.weight), size, rows, run,
        c.delta, TARGET=c.target, LOSS=c.loss, TILE=tile, num_warps=_WARPS,
    )  # fmt: skip


def _tile(size: int) -> int:
    return min(_TILE, max(128, 1 << (size - 1).bit_length()))


def _launch(matrix: Tensor) -> tuple[int, int, int]:
    """Tile, rows of a run, and number of programs for a matrix ``(n, size)``."""
    rows, size = matrix.shape
    tile = _tile(size)
    tiles = triton.cdiv(size, tile)
    run = min(_LONGEST_RUN, max(1, rows * tiles // (_PROGRAMS_A_PROCESSOR * _processors(matrix))))
    return tile, run, tiles * triton.cdiv(rows, run)


def _processors(tensor: Tensor) -> int:
    if backend(tensor) == "interpreter" or not tensor.is_cuda:
        return 1
    return torch.cuda.get_device_properties(tensor.device).multi_processor_count
