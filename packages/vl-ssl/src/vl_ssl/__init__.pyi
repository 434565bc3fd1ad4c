"""The public names of vl_ssl: the one list, which `__init__.py` imports lazily and type checkers read."""

from .__about__ import __version__ as __version__
from .augmentation.recipes import Augmentation as Augmentation
from .augmentation.recipes import TwoViews as TwoViews
from .augmentation.recipes import byol_recipe as byol_recipe
from .augmentation.recipes import mocov2_recipe as mocov2_recipe
from .augmentation.recipes import small_recipe as small_recipe
from .augmentation.view import View as View
from .backbones.backbone import Backbone as Backbone
from .backbones.backbone import BackboneConfig as BackboneConfig
from .backbones.backbone import export_backbone as export_backbone
from .backbones.building import build_backbone as build_backbone
from .backbones.building import small_resnet as small_resnet
from .backbones.checking import check_backbone as check_backbone
from .backbones.saving import load_backbone as load_backbone
from .backbones.saving import save_backbone as save_backbone
from .methods.batch_norm import synchronize_batch_norm as synchronize_batch_norm
from .methods.method import SiameseMethod as SiameseMethod
from .methods.method import SiameseOutput as SiameseOutput
from .methods.simsiam import SimSiam as SimSiam
from .schedules.chunks import Accumulate as Accumulate
from .schedules.chunks import Continual as Continual
from .schedules.chunks import LastK as LastK
from .schedules.chunks import MultiEpoch as MultiEpoch
from .schedules.hybrid import Hybrid as Hybrid
from .schedules.schedule import Schedule as Schedule
from .schedules.schedule import Scheduled as Scheduled
