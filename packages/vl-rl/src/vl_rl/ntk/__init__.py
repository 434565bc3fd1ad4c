"""Neural tangent kernels: of any network at its present weights, and of infinitely wide ones with Fourier features."""

from vl_rl.ntk.analytic import fourier_kernel, fourier_ntk
from vl_rl.ntk.empirical import empirical_ntk
from vl_rl.ntk.spectrum import draw_spectra, frequency_spectrum, residual_decay

__all__ = [
    "draw_spectra",
    "empirical_ntk",
    "fourier_kernel",
    "fourier_ntk",
    "frequency_spectrum",
    "residual_decay",
]
