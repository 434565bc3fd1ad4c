"""Reference implementation in plain PyTorch: bounded blocks of rows, noise generated once for rows that share a key."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from vl_core.kernels.noise_evaluation.inputs import NoiseErrorInputs, NoisyImageInputs, compute_dtype
from vl_core.noise import gaussian

_CPU_VALUES = 1 << 18  # in work at once: a few tensors of 1 MiB stay in the cache
_DEVICE_VALUES = 1 << 24


def diffuse(inputs: NoisyImageInputs) -> Tensor:
    """``(n, size)``; see `NoisyImageInputs`."""
    x0, image = inputs.x0, inputs.image
    _check_images(image, len(x0))
    size, dtype = x0.shape[1], inputs.alpha.dtype
    noisy = torch.empty(len(inputs.keys), size, dtype=inputs.dtype, device=x0.device)
    for rows in _blocks(noisy):
        noise = gaussian(inputs.keys[rows], (size,), dtype=dtype)
        signal = _of_image(x0, rows if image is None else image[rows]).to(dtype) * inputs.alpha[rows, None]
        noisy[rows] = signal.addcmul_(noise, inputs.sigma[rows, None])
    return noisy


def noise_error(inputs: NoiseErrorInputs) -> Tensor:
    """``(n,)``; see `NoiseErrorInputs`."""
    prediction = inputs.prediction
    errors = torch.empty(len(prediction), dtype=compute_dtype(prediction), device=prediction.device)
    for rows, difference, weight in _differences(inputs):
        by_value = _loss(inputs, difference)
        errors[rows] = by_value.mean(1) if weight is None else by_value.mul_(weight).sum(1)
    return errors


def noise_error_gradient(inputs: NoiseErrorInputs, upstream: Tensor) -> Tensor:
    """Gradient by the prediction, ``(n, size)``, for the errors' upstream gradient ``(n,)``."""
    prediction = inputs.prediction
    gradient = torch.empty(prediction.shape, dtype=prediction.dtype, device=prediction.device)
    factor = upstream if inputs.scale is None else upstream * inputs.scale
    for rows, difference, weight in _differences(inputs):
        slope = _slope(inputs, difference) * factor[rows, None]
        gradient[rows] = slope.div_(prediction.shape[1]) if weight is None else slope.mul_(weight)
    return gradient


def _differences(inputs: NoiseErrorInputs) -> Iterator[tuple[slice, Tensor, Tensor | None]]:
    """Blocks of rows, their scaled differences ``(rows, size)``, and their weights."""
    prediction, x0, image, weight = inputs.prediction, inputs.x0, inputs.image, inputs.weight
    dtype = compute_dtype(prediction)
    for images in (x0, weight):
        if images is not None and len(images) > 1:
            _check_images(image, len(images))
    for rows in _blocks(prediction):
        of = rows if image is None else image[rows]
        clean = None if x0 is None else _of_image(x0, of).to(dtype)
        difference = prediction[rows].to(dtype) - _target(inputs, rows, clean)
        if inputs.scale is not None:
            difference *= inputs.scale[rows, None]
        yield rows, difference, weight if weight is None or len(weight) == 1 else _of_image(weight, of)


def _of_image(images: Tensor, number: slice | Tensor) -> Tensor:
    """Each row's image. If checking would synchronize the device, a missing image gives NaN."""
    if isinstance(number, slice) or number.device.type == "cpu":
        return images[number]
    exists = (number >= 0) & (number < len(images))
    return torch.where(exists[:, None], images[torch.where(exists, number, 0)], torch.nan)


def _target(inputs: NoiseErrorInputs, rows: slice, clean: Tensor | None) -> Tensor:
    """Target of each row; `clean` are the clean images."""
    if inputs.target == "sample":
        assert clean is not None
        return clean
    noise = _noise(inputs.keys[rows], inputs.prediction.shape[1], compute_dtype(inputs.prediction))
    if inputs.target == "epsilon":
        return noise
    assert clean is not None
    if inputs.target == "flow_prediction":
        return noise - clean
    assert inputs.alpha is not None
    assert inputs.sigma is not None
    return noise * inputs.alpha[rows, None] - clean * inputs.sigma[rows, None]


def _noise(keys: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """Noise of each row, generated once for neighbors that share a key."""
    first = torch.ones(len(keys), dtype=torch.bool, device=keys.device)
    first[1:] = (keys[1:] != keys[:-1]).any(1)
    noise = gaussian(keys[first], (size,), dtype=dtype)
    return noise if len(noise) == len(keys) else noise[first.cumsum(0) - 1]


def _loss(inputs: NoiseErrorInputs, difference: Tensor) -> Tensor:
    """Loss of each value, in place where possible."""
    if inputs.loss == "l2":
        return difference.square_()
    if inputs.loss == "l1":
        return difference.abs_()
    return torch.nn.functional.huber_loss(
        difference, torch.zeros_like(difference), reduction="none", delta=inputs.delta
    )


def _slope(inputs: NoiseErrorInputs, difference: Tensor) -> Tensor:
    """Derivative of the loss of each value."""
    if inputs.loss == "l2":
        return 2 * difference
    if inputs.loss == "l1":
        return torch.where(difference.isnan(), difference, difference.sign())  # the sign of NaN is zero
    return difference.clamp(-inputs.delta, inputs.delta)


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
