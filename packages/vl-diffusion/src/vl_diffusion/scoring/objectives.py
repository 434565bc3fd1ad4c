"""The forms of the denoising error and the sharing of noise, by name; their arithmetic needs torch."""

from typing import Literal

Objective = Literal["l2", "l1", "huber", "vlb", "l2+vlb"]
"""Mean square, mean absolute value, or mean Huber loss with threshold 1, see `vl_core.kernels.noise_error`. For models
that learn a variance also the mean Kullback-Leibler term of the variational bound, in nats; or the mean square plus
that term in bits, the "L2 + VLB" score of DiT in table 9 of Li et al. (2023)."""

NoiseSharing = Literal["independent", "timesteps", "images"]
"""Noise of the draws of an image: one for each, one for all time steps (and one per trial), or independent draws that
are the same for all images."""
