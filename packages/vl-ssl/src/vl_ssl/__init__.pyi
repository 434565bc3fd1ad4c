"""The public names of vl_ssl: the one list, which `__init__.py` imports lazily and type checkers read."""

from .__about__ import __version__ as __version__
from .methods.batch_norm import synchronize_batch_norm as synchronize_batch_norm
from .methods.build import build_method as build_method
from .methods.byol import BYOL as BYOL
from .methods.method import SiameseMethod as SiameseMethod
from .methods.method import SiameseOutput as SiameseOutput
from .methods.moco_v3 import MoCoV3 as MoCoV3
from .methods.nnsiam import NNSiam as NNSiam
from .methods.simclr import SimCLR as SimCLR
from .methods.simsiam import SimSiam as SimSiam
from .methods.vicreg import VICReg as VICReg
