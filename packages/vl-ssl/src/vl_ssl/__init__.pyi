"""The public names of vl_ssl: the one list, which `__init__.py` imports lazily and type checkers read."""

from .__about__ import __version__ as __version__
from .backbones.backbone import Backbone as Backbone
from .backbones.backbone import BackboneConfig as BackboneConfig
from .backbones.backbone import export_backbone as export_backbone
from .backbones.building import build_backbone as build_backbone
from .backbones.building import small_resnet as small_resnet
from .backbones.checking import check_backbone as check_backbone
from .backbones.saving import load_backbone as load_backbone
from .backbones.saving import save_backbone as save_backbone
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
from .schedules.chunks import Accumulate as Accumulate
from .schedules.chunks import Continual as Continual
from .schedules.chunks import LastK as LastK
from .schedules.chunks import MultiEpoch as MultiEpoch
from .schedules.hybrid import Hybrid as Hybrid
from .schedules.schedule import Schedule as Schedule
from .schedules.schedule import Scheduled as Scheduled
