"""Siamese self-supervised learning that sees collapse before it costs you."""

from vl_ssl.__about__ import __version__

__all__ = ["__version__"]
