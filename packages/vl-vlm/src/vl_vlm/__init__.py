"""Train, curate for and evaluate vision-language models."""

from vl_vlm.__about__ import __version__

__all__ = ["__version__"]
