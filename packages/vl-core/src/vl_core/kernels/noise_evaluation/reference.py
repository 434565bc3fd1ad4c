"""Plain PyTorch: a bounded number of rows at a time, noise made once for the rows that share a key."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from vl_core.kernels.noise_evaluation.problem import Comparison, Mixture, compute_dtype
from vl_core.noise import gaussian

_CPU_VALUES = 1 << 18  # in work at once: a few tensors of 1 MiB stay in the cache
_DEVICE_VALUES = 1 << 24


def diffuse(mixture: Mixture) -> Tensor:
    """``(n, size)``; see `Mixture`."""
    x0, image = mixture.x0, mixture.image
    _check_images(image, len(x0))
    size, dtype = x0.shape[1], mixture.alpha.dtype
    noisy = torch.empty(len(mixture.keys), size, dtype=mixture.dtype, device=x0.device)
    for rows in _blocks(noisy):
        noise = gaussian(mixture.keys[rows], (size,), dtype=dtype)
        signal = _of_image(x0, rows if image is None else image[rows]).to(dtype) * mixture.alpha[rows, None]
        noisy[rows] = signal.addcmul_(noise, mixture.sigma[rows, None])
    return noisy


def noise_error(comparison: Comparison) -> Tensor:
    """``(n,)``; see `Comparison`."""
    prediction = comparison.prediction
    errors = torch.empty(len(prediction), dtype=compute_dtype(prediction), device=prediction.device)
    for rows, difference, weight in _differences(comparison):
        by_value = _loss(comparison, difference)
        errors[rows] = by_value.mean(1) if weight is None else by_value.mul_(weight).sum(1)
    return errors


def noise_error_gradient(comparison: Comparison, upstream: Tensor) -> Tensor:
    """Gradient by the prediction, ``(n, size)``, for the errors' upstream gradient ``(n,)``."""
    prediction = comparison.prediction
    gradient = torch.empty(prediction.shape, dtype=prediction.dtype, device=prediction.device)
    factor = upstream if comparison.scale is None else upstream * comparison.scale
    for rows, difference, weight in _differences(comparison):
        slope = _slope(comparison, difference) * factor[rows, None]
        gradient[rows] = slope.div_(prediction.shape[1]) if weight is None else slope.mul_(weight)
    return gradient


def _differences(comparison: Comparison) -> Iterator[tuple[slice, Tensor, Tensor | None]]:
    """Blocks of rows, their scaled differences ``(rows, size)``, and their weights."""
    prediction, x0, image, weight = comparison.prediction, comparison.x0, comparison.image, comparison.weight
    dtype = compute_dtype(prediction)
    for images in (x0, weight):
        if images is not None and len(images) > 1:
            _check_images(image, len(images))
    for rows in _blocks(prediction):
        of = rows if image is None else image[rows]
        clean = None if x0 is None else _of_image(x0, of).to(dtype)
        difference = prediction[rows].to(dtype) - _target(comparison, rows, clean)
        if comparison.scale is not None:
            difference *= comparison.scale[rows, None]
        yield rows, difference, weight if weight is None or len(weight) == 1 else _of_image(weight, of)


def _of_image(images: Tensor, number: slice | Tensor) -> Tensor:
    """Each row's image. Where looking would make a device wait, NaN for an image that there is not."""
    if isinstance(number, slice) or number.device.type == "cpu":
        return images[number]
    exists = (number >= 0) & (number < len(images))
    return torch.where(exists[:, None], images[torch.where(exists, number, 0)], torch.nan)


def _target(comparison: Comparison, rows: slice, clean: Tensor | None) -> Tensor:
    """What the rows should have predicted; `clean` are their images."""
    if comparison.target == "sample":
        assert clean is not None
        return clean
    noise = _noise(comparison.keys[rows], comparison.prediction.shape[1], compute_dtype(comparison.prediction))
    if comparison.target == "epsilon":
        return noise
    assert clean is not None
    if comparison.target == "flow_prediction":
        return noise - clean
    assert comparison.alpha is not None
    assert comparison.sigma is not None
    return noise * comparison.alpha[rows, None] - clean * comparison.sigma[rows, None]


def _noise(keys: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """Noise of each row, made once for neighbors that share a key."""
    first = torch.ones(len(keys), dtype=torch.bool, device=keys.device)
    first[1:] = (keys[1:] != keys[:-1]).any(1)
    noise = gaussian(keys[first], (size,), dtype=dtype)
    return noise if len(noise) == len(keys) else noise[first.cumsum(0) - 1]


def _loss(comparison: Comparison, difference: Tensor) -> Tensor:
    """Of each value; overwrites the difference where it can."""
    if comparison.loss == "l2":
        return difference.square_()
    if comparison.loss == "l1":
        return difference.abs_()
    return torch.nn.functional.huber_loss(
        difference, torch.zeros_like(difference), reduction="none", delta=comparison.delta
    )


def _slope(comparison: Comparison, difference: Tensor) -> Tensor:
    """Derivative of the loss of each value."""
    if comparison.loss == "l2":
        return 2 * difference
    if comparison.loss == "l1":
        return torch.where(difference.isnan(), difference, difference.sign())  # the sign of NaN is zero
    return difference.clamp(-comparison.delta, comparison.delta)


def _blocks(matrix: Tensor) -> Iterator[slice]:
    values = _CPU_VALUES if matrix.device.type == "cpu" else _DEVICE_VALUES
    height = max(1, values // max(1, matrix.shape[1]))
    for start in range(0, len(matrix), height):
        yield slice(start, min(start + height, len(matrix)))


def _check_images(image: Tensor | None, images: int) -> None:
    if image is None or image.device.type != "cpu" or not len(image):
        return
    low, high = int(image.min()), int(image.max())
    if low < 0 or high >= images:
        raise ValueError(f"image must hold numbers of the {images} images, 0 ... {images - 1}, got {low} to {high}")
