"""The device that a command computes on, and the device and precision that a model computes in."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor, nn

from vl_core.runs.processes import current_process

__all__ = ["checked_device", "default_device", "find_device", "input_weight"]


def default_device() -> str:
    """Return the device of this process where none was chosen: its share of the accelerators, or ``"cpu"``.

    Processes of one launch on one machine take its accelerators in turn. ``accelerate launch --cpu`` is respected.
    """
    # Set by `accelerate launch --cpu`.
    on_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("true", "yes", "1")
    accelerator = None if on_cpu else torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return "cpu"
    process = current_process()
    if process.count == 1:
        return accelerator.type
    return f"{accelerator.type}:{process.local_index % torch.accelerator.device_count()}"


def find_device(name: str, option: str = "--device") -> str:
    """Resolve a ``--device`` option, and check that the device works.

    Args:
        name: ``"auto"`` for `default_device`, or the name of a device, such as ``"cpu"`` or ``"cuda:1"``; that one is
            tried with one number.
        option: Name of the option in errors.

    Raises:
        ValueError: If there is no such device.
    """
    if name == "auto":
        return default_device()
    _try(f"{option} must be auto or", name)
    return name


def checked_device(device: str | int | torch.device | None) -> torch.device | None:
    """Resolve a `device` argument, and check that the device works; None stays None.

    Args:
        device: The device, its name, or the index of an accelerator; it is tried with one number.

    Raises:
        ValueError: If there is no such device; the message says what to do.
    """
    if device is None:
        return None
    _try("device must be", device)
    return torch.device(device)


def input_weight(model: nn.Module) -> Tensor | None:
    """Find the weight that a model's images meet first, whose device and floating-point type they must have.

    Returns:
        The weight of the first convolution; without one, the first parameter in floating point; None if there is none.
    """
    convolutions = (module for module in model.modules() if isinstance(module, nn.modules.conv._ConvNd))
    first = next(convolutions, None)
    if first is not None:
        return first.weight
    return next((parameter for parameter in model.parameters() if parameter.is_floating_point()), None)


def _try(expected: str, device: str | int | torch.device) -> None:
    """Compute on a device, or raise ValueError."""
    try:
        torch.zeros(1, device=device).item()
    # torch raises any of these where a device is unknown, absent, or without memory ("meta").
    except (RuntimeError, AssertionError, ImportError, TypeError) as error:
        given = str(device) if isinstance(device, torch.device) else device
        raise ValueError(
            f"{expected} a device of this machine ({', '.join(_devices())}), got {given!r}; {_advice(device, error)}"
        ) from error


def _devices() -> list[str]:
    """Names of the devices of this machine that this build of torch computes on."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return ["cpu"]
    return ["cpu", *(f"{accelerator.type}:{index}" for index in range(torch.accelerator.device_count()))]


def _advice(device: str | int | torch.device, error: Exception) -> str:
    """Say why a device failed, and what to do."""
    devices = _devices()
    take = "take cpu" if devices == ["cpu"] else "take one of these"
    reason = str(error).splitlines()[0].partition(". ")[0]
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        return f"torch knows no device of that name; {take}"
    # Without an index it is the current one of its kind.
    if str(found) in devices or f"{found}:0" in devices:
        return f"it fails ({reason}); free it, or take another"
    if f"{found.type}:0" in devices:
        return f"the last {found.type} is {devices[-1]}; {take}"
    if found.type == "meta":
        return f"it holds no numbers; {take}"
    if found.type == "mps":
        return f"only macOS on Apple silicon has it; {take}"
    backends: Any = torch.backends
    if found.type == "cuda" and backends.cuda.is_built():
        return f"torch finds no GPU ({reason}); {take}, or see to the driver and to CUDA_VISIBLE_DEVICES"
    return f"this build of torch computes on no {found.type}; {take}, or install a build that does"
