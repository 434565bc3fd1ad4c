"""Densities that ship with the package, and any that `save_pretrained` wrote."""

from __future__ import annotations

import io
import os
from contextlib import redirect_stdout
from inspect import signature

from vl_core.files import read_json

from vl_density.models.density import AutoregressiveDensity
from vl_density.models.folders import density_folder
from vl_density.models.pixel_cnn import PixelCNN
from vl_density.models.pixel_cnn_pp import PixelCNNPP
from vl_density.models.transformer import ImageTransformer

KINDS: tuple[type[AutoregressiveDensity], ...] = (PixelCNN, PixelCNNPP, ImageTransformer)
"""Classes of densities."""


def load_density(source: str | os.PathLike[str]) -> AutoregressiveDensity:
    """Load a density in float32, in evaluation mode.

    Args:
        source: Name of a built-in one, such as `"fashion-0"`, or a folder that `save_pretrained` wrote.

    Raises:
        ValueError: If the folder holds no density.
        FileNotFoundError: If there is no such density.

    Example:
        >>> load_density("fashion-0").image_size
        (28, 28)
    """
    folder = density_folder(source)
    config = read_json(folder / "config.json", dict)
    # Every kind saves all of its arguments, and each has some of its own.
    kinds = [kind for kind in KINDS if config.keys() == signature(kind).parameters.keys()]
    if not kinds:
        raise ValueError(
            f"{folder / 'config.json'} must hold the arguments of {', '.join(kind.__name__ for kind in KINDS)}, got "
            f"{', '.join(sorted(config))[:300]}"
        )
    try:
        with redirect_stdout(io.StringIO()):  # the hub mixin prints what it does
            model = kinds[0].from_pretrained(folder, strict=True)
    except (TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"the weights in {folder} do not fit config.json beside them: {reason}") from error
    return model.float().eval()
