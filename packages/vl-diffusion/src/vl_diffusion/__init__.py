"""A diffusion model as a zero-shot image classifier."""

from vl_diffusion.__about__ import __version__
from vl_diffusion.classifier import DiffusionClassifier
from vl_diffusion.denoiser import Denoiser
from vl_diffusion.result import Classification
from vl_diffusion.schedule import NoiseSchedule
from vl_diffusion.search import Exhaustive, Search, Staged

__all__ = [
    "Classification",
    "Denoiser",
    "DiffusionClassifier",
    "Exhaustive",
    "NoiseSchedule",
    "Search",
    "Staged",
    "__version__",
]
