"""Shared by the vl packages: kernels, noise, image data, training, frozen-feature evaluation and run records."""

from vl_core.__about__ import __version__

__all__ = ["__version__"]
