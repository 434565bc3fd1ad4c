"""Common corruptions of images, to test how a model bears a shift: fifteen of them, at five severities.

`CORRUPTIONS` names them: ``gaussian_noise``, ``shot_noise``, ``impulse_noise``; ``defocus_blur``, ``glass_blur``,
``motion_blur``, ``zoom_blur``; ``snow``, ``frost``, ``fog``, ``brightness``; ``contrast``, ``elastic_transform``,
``pixelate``, ``jpeg_compression``. `SEVERITIES` are 1 to 5.
"""

from vl_diffusion.corruptions.registry import CORRUPTIONS, SEVERITIES, corrupt

__all__ = ["CORRUPTIONS", "SEVERITIES", "corrupt"]
