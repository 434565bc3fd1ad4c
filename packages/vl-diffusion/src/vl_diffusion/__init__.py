"""A diffusion model as a zero-shot image classifier."""

import importlib
from typing import TYPE_CHECKING

from vl_diffusion.__about__ import __version__

if TYPE_CHECKING:
    from vl_diffusion.adaptation.adapter import TestTimeAdapter
    from vl_diffusion.adaptation.evidence import ClassEvidence
    from vl_diffusion.adaptation.gates import EvidenceGate, Gate, PairedGate
    from vl_diffusion.adaptation.losses import DUSA, DiffusionTTA, Entropy, NoAdaptation
    from vl_diffusion.adaptation.models import Preprocessing, ZeroShotCLIP
    from vl_diffusion.adaptation.result import Adaptation
    from vl_diffusion.adaptation.selection import LoRA
    from vl_diffusion.adaptation.tasks import ClassificationTask, DepthTask, SegmentationTask
    from vl_diffusion.classification.calibration import (
        ReliabilityCurve,
        TemperatureFit,
        apply_temperature,
        expected_calibration_error,
        fit_temperature,
        reliability_curve,
    )
    from vl_diffusion.classification.classifier import DiffusionClassifier
    from vl_diffusion.classification.error_table import DrawErrors, draw_errors
    from vl_diffusion.classification.learned_weighting import LearnedWeighting, fit_weighting
    from vl_diffusion.classification.maps import error_maps, evidence_map, upsample_maps
    from vl_diffusion.classification.matching import (
        Accuracy,
        MatchResult,
        WinogroundScores,
        match,
        match_groups,
        retrieval_scores,
        winoground_scores,
    )
    from vl_diffusion.classification.result import Classification
    from vl_diffusion.classification.templates import PROMPT_TEMPLATES, prompt_templates
    from vl_diffusion.models.denoiser import Denoiser
    from vl_diffusion.models.families.callable import CallableDenoiser
    from vl_diffusion.models.families.flux import FluxDenoiser
    from vl_diffusion.models.families.map_conditional import MapConditionalDenoiser
    from vl_diffusion.models.schedule import NoiseSchedule
    from vl_diffusion.models.small_cnn import SmallCNN
    from vl_diffusion.search import (
        Exhaustive,
        Halving,
        LabelTree,
        Racing,
        Search,
        SearchInput,
        Shortlist,
        Staged,
        wordnet_tree,
    )
else:
    # Importing torch takes seconds. A name's module is imported when the name is asked for, so that the command, which
    # lies in this package too, can begin at once and answer an interruption meanwhile.
    _MODULES = {
        "Adaptation": "adaptation.result",
        "CallableDenoiser": "models.families.callable",
        "ClassEvidence": "adaptation.evidence",
        "Classification": "classification.result",
        "ClassificationTask": "adaptation.tasks",
        "DUSA": "adaptation.losses",
        "Denoiser": "models.denoiser",
        "DepthTask": "adaptation.tasks",
        "DiffusionClassifier": "classification.classifier",
        "DiffusionTTA": "adaptation.losses",
        "DrawErrors": "classification.error_table",
        "Entropy": "adaptation.losses",
        "EvidenceGate": "adaptation.gates",
        "Exhaustive": "search",
        "FluxDenoiser": "models.families.flux",
        "Gate": "adaptation.gates",
        "Halving": "search",
        "LabelTree": "search",
        "LearnedWeighting": "classification.learned_weighting",
        "LoRA": "adaptation.selection",
        "MapConditionalDenoiser": "models.families.map_conditional",
        "MatchResult": "classification.matching",
        "NoAdaptation": "adaptation.losses",
        "NoiseSchedule": "models.schedule",
        "PROMPT_TEMPLATES": "classification.templates",
        "PairedGate": "adaptation.gates",
        "Preprocessing": "adaptation.models",
        "SearchInput": "search",
        "Racing": "search",
        "ReliabilityCurve": "classification.calibration",
        "Search": "search",
        "SegmentationTask": "adaptation.tasks",
        "Accuracy": "classification.matching",
        "Shortlist": "search",
        "SmallCNN": "models.small_cnn",
        "Staged": "search",
        "TemperatureFit": "classification.calibration",
        "TestTimeAdapter": "adaptation.adapter",
        "WinogroundScores": "classification.matching",
        "ZeroShotCLIP": "adaptation.models",
        "draw_errors": "classification.error_table",
        "error_maps": "classification.maps",
        "evidence_map": "classification.maps",
        "expected_calibration_error": "classification.calibration",
        "fit_temperature": "classification.calibration",
        "fit_weighting": "classification.learned_weighting",
        "match": "classification.matching",
        "match_groups": "classification.matching",
        "upsample_maps": "classification.maps",
        "prompt_templates": "classification.templates",
        "reliability_curve": "classification.calibration",
        "retrieval_scores": "classification.matching",
        "winoground_scores": "classification.matching",
        "apply_temperature": "classification.calibration",
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
    "Accuracy",
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
    "MatchResult",
    "NoAdaptation",
    "NoiseSchedule",
    "PairedGate",
    "Preprocessing",
    "Racing",
    "ReliabilityCurve",
    "Search",
    "SearchInput",
    "SegmentationTask",
    "Shortlist",
    "SmallCNN",
    "Staged",
    "TemperatureFit",
    "TestTimeAdapter",
    "WinogroundScores",
    "ZeroShotCLIP",
    "__version__",
    "apply_temperature",
    "draw_errors",
    "error_maps",
    "evidence_map",
    "expected_calibration_error",
    "fit_temperature",
    "fit_weighting",
    "match",
    "match_groups",
    "prompt_templates",
    "reliability_curve",
    "retrieval_scores",
    "upsample_maps",
    "winoground_scores",
    "wordnet_tree",
]
