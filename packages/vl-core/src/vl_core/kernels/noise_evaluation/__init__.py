"""Diffusion noise generated on the fly and never stored; see `diffuse` and `noise_error`."""

from vl_core.kernels.noise_evaluation.api import diffuse, noise_error

__all__ = ["diffuse", "noise_error"]
