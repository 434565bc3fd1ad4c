"""Learned Fourier features, generalized hindsight and HiPPO on stable-baselines3."""

from vl_rl.__about__ import __version__

__all__ = ["__version__"]
