"""Siamese self-supervised learning that sees collapse before it costs you.

The public names are listed in `__init__.pyi`. A name's module is imported on first use, because importing torch takes
seconds and the command should start at once.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
