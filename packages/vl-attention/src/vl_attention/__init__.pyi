"""The public names of vl_attention: the one list, which `__init__.py` imports lazily and type checkers read."""

from .__about__ import __version__ as __version__
from .analysis.maps import attention_maps as attention_maps
from .analysis.maps import class_attention as class_attention
from .analysis.shift_accuracy import ShiftAccuracy as ShiftAccuracy
from .analysis.shift_accuracy import evaluate_shifts as evaluate_shifts
from .analysis.similarity import MapSimilarity as MapSimilarity
from .analysis.similarity import layer_means as layer_means
from .analysis.similarity import map_similarity as map_similarity
from .attention.inputs import AttentionInputs as AttentionInputs
from .attention.inputs import AttentionRecorder as AttentionRecorder
from .attention.pairing import pair_heads as pair_heads
from .attention.pairing import pair_layers as pair_layers
from .classifiers.classifier import Classifier as Classifier
from .classifiers.ensemble import Ensemble as Ensemble
from .classifiers.ensemble import fit_weight as fit_weight
from .models.layout import ViTLayout as ViTLayout
from .models.masked_autoencoder import MaskedAutoencoder as MaskedAutoencoder
from .models.normalization import Normalization as Normalization
from .models.students import ArchitectureMismatchWarning as ArchitectureMismatchWarning
from .models.students import random_student as random_student
from .models.students import set_drop_path as set_drop_path
from .transfer.attention_transfer import AttentionTransfer as AttentionTransfer
from .transfer.attention_transfer import TransferOutput as TransferOutput
