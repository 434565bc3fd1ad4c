"""Internet Explorer: grow a training set from an image search engine, guided by the task."""

from vl_explorer.__about__ import __version__

__all__ = ["__version__"]
