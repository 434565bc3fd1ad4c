"""What the vl packages share: counter-based noise, image data, frozen-feature evaluation and run records."""

from vl_core.__about__ import __version__

__all__ = ["__version__"]
