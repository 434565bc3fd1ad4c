"""Attention transfer: a student ViT learns from a teacher's attention alone."""

import importlib
from typing import TYPE_CHECKING

from vl_attention.__about__ import __version__

if TYPE_CHECKING:
    from vl_attention.anatomy import Anatomy
    from vl_attention.normalization import Normalization
    from vl_attention.pairing import pair_heads, pair_layers
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
        "Normalization": "normalization",
        "Tap": "taps",
        "TransferOutput": "transfer",
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
    "Anatomy",
    "ArchitectureMismatchWarning",
    "AttentionTaps",
    "AttentionTransfer",
    "Normalization",
    "Tap",
    "TransferOutput",
    "__version__",
    "pair_heads",
    "pair_layers",
    "random_student",
    "set_drop_path",
]
