"""Internet Explorer: grow a training set from an image search engine, guided by the task.

The public names are listed in `__init__.pyi`. A name's module is imported on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
