"""The forms of the denoising error, by name; their arithmetic is in `losses`, which needs torch."""

from typing import Literal

Objective = Literal["l2", "l1", "huber", "vlb", "l2+vlb"]
"""Mean square, mean absolute value, or mean Huber loss with threshold 1, see `vl_core.kernels.noise_error`. For models
that learn a variance also the mean Kullback-Leibler term of the variational bound, in nats; or the mean square plus
that term in bits, the "L2 + VLB" score of DiT in table 9 of Li et al. (2023)."""
