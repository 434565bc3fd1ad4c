"""A diffusion model as a zero-shot image classifier."""

import importlib
from typing import TYPE_CHECKING

from vl_diffusion.__about__ import __version__

if TYPE_CHECKING:
    from vl_diffusion.adaptation.adapter import TestTimeAdapter
    from vl_diffusion.adaptation.evidence import ClassEvidence
    from vl_diffusion.adaptation.gates import EvidenceGate, Gate, PairedGate
    from vl_diffusion.adaptation.models import Preprocessing, ZeroShotCLIP
    from vl_diffusion.adaptation.objectives import DUSA, DiffusionTTA, Entropy, NoAdaptation
    from vl_diffusion.adaptation.parameters import LoRA
    from vl_diffusion.adaptation.result import Adaptation
    from vl_diffusion.adaptation.tasks import ClassificationTask, DepthTask, SegmentationTask
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
    from vl_diffusion.families.map_conditional import MapConditionalDenoiser
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
    from vl_diffusion.small_cnn import SmallCNN
    from vl_diffusion.templates import PROMPT_TEMPLATES, prompt_templates
else:
    # Importing torch takes seconds. A name's module is imported when the name is asked for, so that the command, which
    # lies in this package too, can begin at once and answer an interruption meanwhile.
    _MODULES = {
        "Adaptation": "adaptation.result",
        "CallableDenoiser": "families.callable",
        "ClassEvidence": "adaptation.evidence",
        "Classification": "result",
        "ClassificationTask": "adaptation.tasks",
        "DUSA": "adaptation.objectives",
        "Denoiser": "denoiser",
        "DepthTask": "adaptation.tasks",
        "DiffusionClassifier": "classifier",
        "DiffusionTTA": "adaptation.objectives",
        "DrawErrors": "error_table",
        "Entropy": "adaptation.objectives",
        "EvidenceGate": "adaptation.gates",
        "Exhaustive": "search",
        "FluxDenoiser": "families.flux",
        "Gate": "adaptation.gates",
        "Halving": "search",
        "LabelTree": "search",
        "LearnedWeighting": "learned_weighting",
        "LoRA": "adaptation.parameters",
        "MapConditionalDenoiser": "families.map_conditional",
        "Matching": "matching",
        "NoAdaptation": "adaptation.objectives",
        "NoiseSchedule": "schedule",
        "PROMPT_TEMPLATES": "templates",
        "PairedGate": "adaptation.gates",
        "Preprocessing": "adaptation.models",
        "Problem": "search",
        "Racing": "search",
        "Reliability": "calibration",
        "Search": "search",
        "SegmentationTask": "adaptation.tasks",
        "Share": "matching",
        "Shortlist": "search",
        "SmallCNN": "small_cnn",
        "Staged": "search",
        "Temperature": "calibration",
        "TestTimeAdapter": "adaptation.adapter",
        "WinogroundScores": "matching",
        "ZeroShotCLIP": "adaptation.models",
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
    "DUSA",
    "PROMPT_TEMPLATES",
    "Adaptation",
    "CallableDenoiser",
    "ClassEvidence",
    "Classification",
    "ClassificationTask",
    "Denoiser",
    "DepthTask",
    "DiffusionClassifier",
    "DiffusionTTA",
    "DrawErrors",
    "Entropy",
    "EvidenceGate",
    "Exhaustive",
    "FluxDenoiser",
    "Gate",
    "Halving",
    "LabelTree",
    "LearnedWeighting",
    "LoRA",
    "MapConditionalDenoiser",
    "Matching",
    "NoAdaptation",
    "NoiseSchedule",
    "PairedGate",
    "Preprocessing",
    "Problem",
    "Racing",
    "Reliability",
    "Search",
    "SegmentationTask",
    "Share",
    "Shortlist",
    "SmallCNN",
    "Staged",
    "Temperature",
    "TestTimeAdapter",
    "WinogroundScores",
    "ZeroShotCLIP",
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
