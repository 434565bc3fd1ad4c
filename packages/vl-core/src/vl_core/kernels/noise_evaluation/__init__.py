"""Diffusion noise that is made where it is needed and never stored; see `diffuse` and `noise_error`."""

from vl_core.kernels.noise_evaluation.api import diffuse, noise_error

__all__ = ["diffuse", "noise_error"]
