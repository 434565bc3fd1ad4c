"""Attention transfer: a student ViT learns from a teacher's attention alone."""

import importlib
from typing import TYPE_CHECKING

from vl_attention.__about__ import __version__

if TYPE_CHECKING:
    from vl_attention.anatomy import Anatomy
    from vl_attention.classifier import Classifier
    from vl_attention.ensemble import Ensemble, fit_weight
    from vl_attention.maps import attention_maps, class_attention
    from vl_attention.masked_autoencoder import MaskedAutoencoder
    from vl_attention.normalization import Normalization
    from vl_attention.pairing import pair_heads, pair_layers
    from vl_attention.shifts import SHIFTS, ShiftAccuracy, apply_shift, evaluate_shifts
    from vl_attention.similarity import MapSimilarity, layer_means, map_similarity
    from vl_attention.students import ArchitectureMismatchWarning, random_student, set_drop_path
    from vl_attention.taps import AttentionTaps, Tap
    from vl_attention.transfer import AttentionTransfer, TransferOutput
else:
    # Importing torch takes seconds. A name's module is imported when the name is asked for, so that the command, which
    # lies in this package too, can begin at once and answer an interruption meanwhile.
    _MODULES = {
        "Anatomy": "anatomy",
        "ArchitectureMismatchWarning": "students",
        "AttentionTaps": "taps",
        "AttentionTransfer": "transfer",
        "Classifier": "classifier",
        "Ensemble": "ensemble",
        "MapSimilarity": "similarity",
        "MaskedAutoencoder": "masked_autoencoder",
        "Normalization": "normalization",
        "SHIFTS": "shifts",
        "ShiftAccuracy": "shifts",
        "Tap": "taps",
        "TransferOutput": "transfer",
        "apply_shift": "shifts",
        "attention_maps": "maps",
        "class_attention": "maps",
        "evaluate_shifts": "shifts",
        "fit_weight": "ensemble",
        "layer_means": "similarity",
        "map_similarity": "similarity",
        "pair_heads": "pairing",
        "pair_layers": "pairing",
        "random_student": "students",
        "set_drop_path": "students",
    }

    def __getattr__(name):
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)

    def __dir__():
        return sorted({*globals(), *_MODULES})


__all__ = [
    "SHIFTS",
    "Anatomy",
    "ArchitectureMismatchWarning",
    "AttentionTaps",
    "AttentionTransfer",
    "Classifier",
    "Ensemble",
    "MapSimilarity",
    "MaskedAutoencoder",
    "Normalization",
    "ShiftAccuracy",
    "Tap",
    "TransferOutput",
    "__version__",
    "apply_shift",
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
