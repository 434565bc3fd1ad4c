"""The public names of vl_ssl: the one list, which `__init__.py` imports lazily and type checkers read."""

from .__about__ import __version__ as __version__
from .methods.batch_norm import synchronize_batch_norm as synchronize_batch_norm
from .methods.method import SiameseMethod as SiameseMethod
from .methods.method import SiameseOutput as SiameseOutput
from .methods.simsiam import SimSiam as SimSiam
