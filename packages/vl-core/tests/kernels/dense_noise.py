"""Noisy images and errors written out with stored noise, and problems for each kind of argument.

It shares no code with `vl_core.kernels`: the tests hold every implementation to it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from vl_core.noise import gaussian

Options = dict[str, Any]

IMAGES, ROWS = 3, 7
LOSSES = {"l2": F.mse_loss, "l1": F.l1_loss, "huber": F.huber_loss}


def diffuse(x0: Tensor, keys: Tensor, alpha: Any, sigma: Any, *, image: Tensor | None = None) -> Tensor:
    """In the precision of the images."""
    alpha, sigma = (_column(level, x0) for level in (alpha, sigma))
    return alpha * (x0 if image is None else x0[image]) + sigma * gaussian(keys, x0.shape[1:], dtype=x0.dtype)


def noise_error(
    prediction: Tensor,
    keys: Tensor,
    *,
    target: str = "epsilon",
    x0: Tensor | None = None,
    image: Tensor | None = None,
    alpha: Any = None,
    sigma: Any = None,
    scale: Any = None,
    weight: Tensor | None = None,
    loss: str = "l2",
    delta: float = 1.0,
) -> Tensor:
    """In the precision of the predictions."""
    noise = gaussian(keys, prediction.shape[1:], dtype=prediction.dtype)
    clean = x0 if x0 is None or image is None else x0[image]
    if target == "epsilon":
        wanted = noise
    elif target == "v_prediction":
        wanted = _column(alpha, prediction) * noise - _column(sigma, prediction) * clean
    else:
        wanted = noise - clean if target == "flow_prediction" else clean
    difference = (prediction - wanted) * (1.0 if scale is None else _column(scale, prediction))
    more = {"delta": delta} if loss == "huber" else {}
    by_value = LOSSES[loss](difference, torch.zeros_like(difference), reduction="none", **more)
    if weight is None:
        return by_value.flatten(1).mean(1)
    full = weight if weight.ndim == prediction.ndim else weight[None]
    full = full if image is None or len(full) == 1 else full[image]
    full = full.expand(prediction.shape).to(prediction.dtype)
    return (by_value * full).flatten(1).sum(1) / full.flatten(1).sum(1)


def _column(level: Any, like: Tensor) -> Any:
    return level.to(like.dtype).view(-1, *[1] * (like.ndim - 1)) if isinstance(level, Tensor) else level


def comparison(name: str, shape: tuple[int, ...], dtype: torch.dtype, device: str = "cpu") -> tuple[Tensor, Options]:
    """A prediction that requires a gradient, and the arguments that try something of `noise_error`."""
    generator = torch.Generator().manual_seed(len(name))

    def normal(*size: int, dtype: torch.dtype = dtype) -> Tensor:
        return torch.randn(size, generator=generator, dtype=torch.float64).to(dtype).to(device)

    number = torch.randint(-(2**62), 2**62, (ROWS, 2), generator=generator)
    keys = number[[0, 0, 0, 1, 2, 2, 0]]  # a draw's classes lie side by side
    levels = {name: normal(ROWS, dtype=torch.float32) for name in ("alpha", "sigma")}
    image = torch.tensor([0, 0, 0, 2, 2, 1, 1])
    clean = {"x0": normal(IMAGES, *shape), "image": image.to(device)}
    scale = {"scale": normal(ROWS, dtype=torch.float32)}
    options: dict[str, Options] = {
        "epsilon": {},
        "v_prediction": {"target": "v_prediction", **clean, **levels},
        "v_with_numbers": {"target": "v_prediction", **clean, "alpha": 0.8, "sigma": 0.6, "scale": 0.8},
        "flow_prediction": {"target": "flow_prediction", "x0": normal(ROWS, *shape), **scale},
        "sample": {"target": "sample", **clean, **scale, "loss": "huber", "delta": 0.3},
        "l1": {"loss": "l1", **scale},
        "huber": {"loss": "huber", "delta": 0.7},
        "weight": {"weight": normal(*shape).abs(), "loss": "l1"},
        "weight_by_image": {"weight": normal(IMAGES, 1, *shape[1:]).abs(), "image": image.to(device)},
        "weight_by_row": {"weight": normal(ROWS, *shape).abs(), **scale, "loss": "huber"},
        "weight_and_x0": {"target": "v_prediction", **clean, **levels, "weight": normal(IMAGES, *shape).abs()},
    }
    prediction = normal(ROWS, *shape).requires_grad_()
    return prediction, {"keys": keys.to(device), **options[name]}


COMPARISONS = [
    *("epsilon", "v_prediction", "v_with_numbers", "flow_prediction", "sample", "l1", "huber"),
    *("weight", "weight_by_image", "weight_by_row", "weight_and_x0"),
]


def double(options: Options) -> Options:
    """The same numbers in float64."""
    return {
        name: value.double() if isinstance(value, Tensor) and value.dtype.is_floating_point else value
        for name, value in options.items()
    }
