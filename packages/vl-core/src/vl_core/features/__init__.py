"""How good are frozen features? Extract them once, then ask neighbors and a linear classifier."""

from vl_core.features._extract import extract
from vl_core.features._knn import knn_accuracy
from vl_core.features._probe import ProbeResult, linear_probe

__all__ = ["ProbeResult", "extract", "knn_accuracy", "linear_probe"]
