"""Attention transfer: a student ViT learns from a teacher's attention alone."""

from vl_attention.__about__ import __version__

__all__ = ["__version__"]
