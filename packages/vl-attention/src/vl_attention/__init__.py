"""Attention transfer: a student ViT learns from a teacher's attention alone."""

import importlib
from typing import TYPE_CHECKING

from vl_attention.__about__ import __version__

if TYPE_CHECKING:
    from vl_attention.analysis.maps import attention_maps, class_attention
    from vl_attention.analysis.shift_accuracy import ShiftAccuracy, evaluate_shifts
    from vl_attention.analysis.similarity import MapSimilarity, layer_means, map_similarity
    from vl_attention.attention.inputs import AttentionInputs, AttentionRecorder
    from vl_attention.attention.pairing import pair_heads, pair_layers
    from vl_attention.classifiers.classifier import Classifier
    from vl_attention.classifiers.ensemble import Ensemble, fit_weight
    from vl_attention.models.layout import ViTLayout
    from vl_attention.models.masked_autoencoder import MaskedAutoencoder
    from vl_attention.models.normalization import Normalization
    from vl_attention.models.students import ArchitectureMismatchWarning, random_student, set_drop_path
    from vl_attention.transfer.attention_transfer import AttentionTransfer, TransferOutput
else:
    # Importing torch takes seconds. A name's module is imported when the name is asked for, so that the command, which
    # lies in this package too, can begin at once and answer an interruption meanwhile.
    _MODULES = {
        "ViTLayout": "models.layout",
        "ArchitectureMismatchWarning": "models.students",
        "AttentionRecorder": "attention.inputs",
        "AttentionTransfer": "transfer.attention_transfer",
        "Classifier": "classifiers.classifier",
        "Ensemble": "classifiers.ensemble",
        "MapSimilarity": "analysis.similarity",
        "MaskedAutoencoder": "models.masked_autoencoder",
        "Normalization": "models.normalization",
        "ShiftAccuracy": "analysis.shift_accuracy",
        "AttentionInputs": "attention.inputs",
        "TransferOutput": "transfer.attention_transfer",
        "attention_maps": "analysis.maps",
        "class_attention": "analysis.maps",
        "evaluate_shifts": "analysis.shift_accuracy",
        "fit_weight": "classifiers.ensemble",
        "layer_means": "analysis.similarity",
        "map_similarity": "analysis.similarity",
        "pair_heads": "attention.pairing",
        "pair_layers": "attention.pairing",
        "random_student": "models.students",
        "set_drop_path": "models.students",
    }

    def __getattr__(name):
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)

    def __dir__():
        return sorted({*globals(), *_MODULES})


__all__ = [
    "ArchitectureMismatchWarning",
    "AttentionInputs",
    "AttentionRecorder",
    "AttentionTransfer",
    "Classifier",
    "Ensemble",
    "MapSimilarity",
    "MaskedAutoencoder",
    "Normalization",
    "ShiftAccuracy",
    "TransferOutput",
    "ViTLayout",
    "__version__",
    "attention_maps",
    "class_attention",
    "evaluate_shifts",
    "fit_weight",
    "layer_means",
    "map_similarity",
    "pair_heads",
    "pair_layers",
    "random_student",
    "set_drop_path",
]
