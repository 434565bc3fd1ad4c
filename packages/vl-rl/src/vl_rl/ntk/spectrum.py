"""The order in which a kernel learns: decay of its residuals, and its spectrum over frequencies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from vl_core.charts import COLORS, MARKERS, PAGE_WIDTH, new_figure, save_figure, style_axes


def residual_decay(kernel: Tensor, *, learning_rate: float, steps: int) -> Tensor:
    """Share of the residual that is left along each eigenvector after gradient descent on the mean squared error.

    In the linear regime, ``(1 - 2 learning_rate λ / N)^steps``, from the largest eigenvalue ``λ`` to the smallest.

    Args:
        kernel: Neural tangent kernel ``(N, N)`` of the training inputs.
        learning_rate: Step size.
        steps: Number of steps.

    Returns:
        Shares ``(N,)``, float64.

    Raises:
        ValueError: If the kernel is not square.
    """
    shares: Tensor = 1 - 2 * learning_rate * _eigenvalues(kernel) / len(kernel)
    return shares.pow(steps)


def frequency_spectrum(kernel: Tensor) -> Tensor:
    """Strength of a kernel at each frequency, for inputs at even distances on a circle.

    Such a kernel is circulant, and its eigenvalues are the discrete Fourier transform of a row. Rows are averaged along
    their diagonals first, so that a kernel of finite width may be given.

    Args:
        kernel: The kernel ``(N, N)``.

    Returns:
        Strengths ``(N // 2 + 1,)`` from frequency 0 on, divided by their sum.

    Raises:
        ValueError: If the kernel is not square.
    """
    _check_square(kernel)
    count = len(kernel)
    shifts = (torch.arange(count)[:, None] + torch.arange(count)) % count
    row = kernel.double().gather(1, shifts.to(kernel.device)).mean(dim=0)
    strengths = torch.fft.rfft(row).abs()
    shares: Tensor = strengths / strengths.sum()
    return shares


def draw_spectra(kernels: Mapping[str, Tensor], path: str | Path) -> None:
    """Draw the eigenvalues of kernels, each divided by its largest, and write a PNG.

    Args:
        kernels: Kernels ``(N, N)`` by name.
        path: The file.

    Raises:
        ValueError: If a kernel is not square.
    """
    figure = new_figure(PAGE_WIDTH, 3.2)
    axes = figure.subplots()
    for index, (name, kernel) in enumerate(kernels.items()):
        values = _eigenvalues(kernel).clamp_min(0)
        color, marker = COLORS[index % len(COLORS)], MARKERS[index % len(MARKERS)]
        ranks, sizes = range(1, len(values) + 1), (values / values[0]).tolist()
        axes.plot(ranks, sizes, label=name, color=color, marker=marker, markersize=3)
    axes.set(xlabel="eigenvalue, by size", ylabel="size, relative to the largest", yscale="log", ylim=(1e-8, 2))
    style_axes(axes)
    axes.legend(frameon=False)
    save_figure(figure, path)


def _eigenvalues(kernel: Tensor) -> Tensor:
    _check_square(kernel)
    symmetric = (kernel + kernel.T).double() / 2
    values: Tensor = torch.linalg.eigvalsh(symmetric)
    return values.flip(0)


def _check_square(kernel: Tensor) -> None:
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1] or not len(kernel):
        raise ValueError(f"kernel must have shape (N, N), got {tuple(kernel.shape)}; give it both inputs alike")
