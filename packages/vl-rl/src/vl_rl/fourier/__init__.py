"""Learned Fourier features: policies whose networks first map their inputs to sines and cosines of trained frequencies.

Li and Pathak, "Functional Regularization for Reinforcement Learning via Learned Fourier Features", NeurIPS 2021.
"""

from vl_rl.fourier.algorithms import FourierA2C, FourierDDPG, FourierDQN, FourierPPO, FourierSAC, FourierTD3
from vl_rl.fourier.extractors import FourierCnnExtractor
from vl_rl.fourier.features import FourierFeatures

__all__ = [
    "FourierA2C",
    "FourierCnnExtractor",
    "FourierDDPG",
    "FourierDQN",
    "FourierFeatures",
    "FourierPPO",
    "FourierSAC",
    "FourierTD3",
]
