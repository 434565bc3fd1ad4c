"""Which diffusers classes can be classified with, and what wraps each."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from vl_diffusion.models.denoiser import Denoiser
from vl_diffusion.models.families.flux import FluxDenoiser
from vl_diffusion.models.families.pixart import PixArtDenoiser
from vl_diffusion.models.families.sd3 import StableDiffusion3Denoiser
from vl_diffusion.models.families.sdxl import StableDiffusionXLDenoiser
from vl_diffusion.models.families.stable_diffusion import StableDiffusionDenoiser

NETWORKS = ("DiTTransformer2DModel", "UNet2DModel")
"""Bare networks, which come with a scheduler; `ClassConditionalDenoiser` wraps them, and the DiT pipeline."""

PROMPTED: dict[str, Callable[..., Denoiser]] = {
    "StableDiffusionPipeline": StableDiffusionDenoiser,
    "StableDiffusionXLPipeline": StableDiffusionXLDenoiser,
    "StableDiffusion3Pipeline": StableDiffusion3Denoiser,
    "FluxPipeline": FluxDenoiser,
    "PixArtAlphaPipeline": PixArtDenoiser,
    "PixArtSigmaPipeline": PixArtDenoiser,
}
"""Text-conditional pipelines."""

PIPELINES = (*PROMPTED, "DiTPipeline")
"""All pipelines by name."""


def family(class_name: str) -> str | None:
    """Which of `PIPELINES` this one is; None if it is none.

    The variants that begin with an image have the parts of the one that begins with noise.
    """
    name = re.sub("(Img2Img|Inpaint)(?=Pipeline$)", "", class_name)
    return name if name in PIPELINES else None


def family_of(pipeline: Any) -> str | None:
    """The same for an object, whose class may be derived from one of them."""
    found = (family(kind.__name__) for kind in type(pipeline).__mro__)
    return next((name for name in found if name is not None), None)
