"""A diffusion model as a zero-shot image classifier."""

import importlib
from typing import TYPE_CHECKING

from vl_diffusion.__about__ import __version__

if TYPE_CHECKING:
    from vl_diffusion.calibration import (
        Reliability,
        Temperature,
        expected_calibration_error,
        fit_temperature,
        reliability_curve,
        with_temperature,
    )
    from vl_diffusion.classifier import DiffusionClassifier
    from vl_diffusion.denoiser import Denoiser
    from vl_diffusion.error_table import DrawErrors, draw_errors
    from vl_diffusion.families.callable import CallableDenoiser
    from vl_diffusion.families.flux import FluxDenoiser
    from vl_diffusion.learned_weighting import LearnedWeighting, fit_weighting
    from vl_diffusion.maps import error_maps, evidence_map, over_picture
    from vl_diffusion.matching import (
        Matching,
        Share,
        WinogroundScores,
        match,
        match_groups,
        retrieval_scores,
        winoground_scores,
    )
    from vl_diffusion.result import Classification
    from vl_diffusion.schedule import NoiseSchedule
    from vl_diffusion.search import (
        Exhaustive,
        Halving,
        LabelTree,
        Problem,
        Racing,
        Search,
        Shortlist,
        Staged,
        wordnet_tree,
    )
    from vl_diffusion.templates import PROMPT_TEMPLATES, prompt_templates
else:
    # Importing torch takes seconds. A name's module is imported when the name is asked for, so that the command, which
    # lies in this package too, can begin at once and answer an interruption meanwhile.
    _MODULES = {
        "CallableDenoiser": "families.callable",
        "Classification": "result",
        "Denoiser": "denoiser",
        "DiffusionClassifier": "classifier",
        "DrawErrors": "error_table",
        "Exhaustive": "search",
        "FluxDenoiser": "families.flux",
        "Halving": "search",
        "LabelTree": "search",
        "LearnedWeighting": "learned_weighting",
        "Matching": "matching",
        "NoiseSchedule": "schedule",
        "PROMPT_TEMPLATES": "templates",
        "Problem": "search",
        "Racing": "search",
        "Reliability": "calibration",
        "Search": "search",
        "Share": "matching",
        "Shortlist": "search",
        "Staged": "search",
        "Temperature": "calibration",
        "WinogroundScores": "matching",
        "draw_errors": "error_table",
        "error_maps": "maps",
        "evidence_map": "maps",
        "expected_calibration_error": "calibration",
        "fit_temperature": "calibration",
        "fit_weighting": "learned_weighting",
        "match": "matching",
        "match_groups": "matching",
        "over_picture": "maps",
        "prompt_templates": "templates",
        "reliability_curve": "calibration",
        "retrieval_scores": "matching",
        "winoground_scores": "matching",
        "with_temperature": "calibration",
        "wordnet_tree": "search",
    }

    def __getattr__(name):
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)

    def __dir__():
        return sorted({*globals(), *_MODULES})


__all__ = [
    "PROMPT_TEMPLATES",
    "CallableDenoiser",
    "Classification",
    "Denoiser",
    "DiffusionClassifier",
    "DrawErrors",
    "Exhaustive",
    "FluxDenoiser",
    "Halving",
    "LabelTree",
    "LearnedWeighting",
    "Matching",
    "NoiseSchedule",
    "Problem",
    "Racing",
    "Reliability",
    "Search",
    "Share",
    "Shortlist",
    "Staged",
    "Temperature",
    "WinogroundScores",
    "__version__",
    "draw_errors",
    "error_maps",
    "evidence_map",
    "expected_calibration_error",
    "fit_temperature",
    "fit_weighting",
    "match",
    "match_groups",
    "over_picture",
    "prompt_templates",
    "reliability_curve",
    "retrieval_scores",
    "winoground_scores",
    "with_temperature",
    "wordnet_tree",
]
