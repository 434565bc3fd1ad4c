"""A diffusion model as a zero-shot image classifier."""

import importlib
from typing import TYPE_CHECKING

from vl_diffusion.__about__ import __version__

if TYPE_CHECKING:
    from vl_diffusion.classifier import DiffusionClassifier
    from vl_diffusion.denoiser import Denoiser
    from vl_diffusion.families.callable import CallableDenoiser
    from vl_diffusion.result import Classification
    from vl_diffusion.schedule import NoiseSchedule
    from vl_diffusion.search import Exhaustive, Problem, Search, Staged
else:
    # Importing torch takes seconds. A name's module is imported when the name is asked for, so that the command, which
    # lies in this package too, can begin at once and answer an interruption meanwhile.
    _MODULES = {
        "CallableDenoiser": "families.callable",
        "Classification": "result",
        "Denoiser": "denoiser",
        "DiffusionClassifier": "classifier",
        "Exhaustive": "search",
        "NoiseSchedule": "schedule",
        "Problem": "search",
        "Search": "search",
        "Staged": "search",
    }

    def __getattr__(name):
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)

    def __dir__():
        return sorted({*globals(), *_MODULES})


__all__ = [
    "CallableDenoiser",
    "Classification",
    "Denoiser",
    "DiffusionClassifier",
    "Exhaustive",
    "NoiseSchedule",
    "Problem",
    "Search",
    "Staged",
    "__version__",
]
