"""Autoregressive image densities, and how far they can be trusted."""

from vl_density.__about__ import __version__

__all__ = ["__version__"]
