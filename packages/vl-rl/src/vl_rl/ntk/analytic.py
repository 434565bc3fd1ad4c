"""Kernels of infinitely wide networks behind Fourier features."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vl_rl.fourier.features import Sigma, check_settings


def fourier_kernel(x: Tensor, other: Tensor, *, sigma: Sigma) -> Tensor:
    """Mean product of the Fourier features of two inputs, over F/2: ``exp(-2π²‖sigma(x-x')‖²)``.

    The characteristic function of the normal distribution of the frequencies, at the difference of the inputs. Computed
    in float64, and returned in the type of ``x``.

    Args:
        x: Inputs ``(N, d)``.
        other: Inputs ``(M, d)``.
        sigma: Standard deviation of the frequencies; one for all inputs, or one for each.

    Returns:
        The kernel ``(N, M)``.

    Raises:
        ValueError: If sigma is not positive, or of another length.
    """
    return torch.exp(-_exponent(x, other, sigma)).to(x.dtype)


def fourier_ntk(
    x: Tensor, other: Tensor | None = None, *, sigma: Sigma, depth: int = 2, trainable: bool = True
) -> Tensor:
    """Neural tangent kernel of an infinitely wide ReLU network behind Fourier features.

    Weights are standard normal, and layers are scaled by ``sqrt(2 / width)``, without biases: ``Σ`` of the features is
    `fourier_kernel`, training of the frequencies adds ``4π² (x·x') Σ``, and each hidden layer maps ``Σ`` to
    ``sqrt(qq') (sin θ + (π-θ) cos θ) / π`` and the tangent kernel ``Θ`` to ``Σ + Θ (π-θ) / π`` (Cho and Saul, NeurIPS
    2009; Jacot et al., NeurIPS 2018), where ``θ`` is the angle in ``Σ`` and ``q`` its diagonal.

    Near points differ in the last digits of ``Σ`` alone, so ``1 - Σ`` is computed from their distance, and the angle
    from it, in float64; the result has the type of ``x``.

    Args:
        x: Inputs ``(N, d)``.
        other: Inputs ``(M, d)``; ``x`` itself if it is None.
        sigma: Standard deviation of the frequencies.
        depth: Number of hidden layers behind the features.
        trainable: Include the training of the frequencies.

    Returns:
        The kernel ``(N, M)``.

    Raises:
        ValueError: If sigma is not positive, or the depth is below 1.
    """
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    y = x if other is None else other
    missing = -torch.expm1(-_exponent(x, y, sigma))
    tangent = 1 - missing
    if trainable:
        tangent = tangent * (1 + 4 * math.pi**2 * (x.double() @ y.double().T))
    # The diagonal is 1 for the features, and stays 1 in every layer.
    for _ in range(depth):
        angle = 2 * torch.arcsin((missing / 2).sqrt())
        missing = missing - (torch.sin(angle) - angle * (1 - missing)) / math.pi
        tangent = (1 - missing) + tangent * (math.pi - angle) / math.pi
    return tangent.to(x.dtype)


def _exponent(x: Tensor, other: Tensor, sigma: Sigma) -> Tensor:
    """``2π²‖sigma(x-x')‖²``, float64."""
    deviations = check_settings(x.shape[1], 2, sigma).to(x.device, torch.float64)
    distances = torch.cdist(
        x.double() * deviations, other.double() * deviations, compute_mode="donot_use_mm_for_euclid_dist"
    )
    return 2 * math.pi**2 * distances**2
