"""Evaluate frozen features: extract them once, then measure k-NN and linear-probe accuracy."""

from vl_core.features._extract import extract
from vl_core.features._knn import knn_accuracy
from vl_core.features._probe import ProbeResult, linear_probe

__all__ = ["ProbeResult", "extract", "knn_accuracy", "linear_probe"]
