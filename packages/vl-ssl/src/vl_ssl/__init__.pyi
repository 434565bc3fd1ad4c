"""The public names of vl_ssl: the one list, which `__init__.py` imports lazily and type checkers read."""

from .__about__ import __version__ as __version__
