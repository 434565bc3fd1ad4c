"""A diffusion model as a zero-shot image classifier."""

from vl_diffusion.__about__ import __version__

__all__ = ["__version__"]
