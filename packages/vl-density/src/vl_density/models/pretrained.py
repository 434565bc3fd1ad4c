"""Densities that ship with the package, and any that `save_pretrained` wrote."""

from __future__ import annotations

import io
import os
from contextlib import redirect_stdout

from vl_core.files import read_json

from vl_density.models.density import AutoregressiveDensity
from vl_density.models.folders import density_folder
from vl_density.models.pixel_cnn import PixelCNN
from vl_density.models.pixel_cnn_pp import PixelCNNPP
from vl_density.models.transformer import ImageTransformer

KINDS: dict[str, type[AutoregressiveDensity]] = {
    kind.__name__: kind for kind in (PixelCNN, PixelCNNPP, ImageTransformer)
}
"""Classes of densities by name."""


def load_density(source: str | os.PathLike[str], *, kind: str = "PixelCNN") -> AutoregressiveDensity:
    """Load a density in float32, in evaluation mode.

    Args:
        source: Name of a built-in one, such as `"fashion-0"`, or a folder that `save_pretrained` wrote.
        kind: Class of the density, one of `KINDS`.

    Raises:
        ValueError: If the kind is unknown, or the folder holds another one.
        FileNotFoundError: If there is no such density.

    Example:
        >>> load_density("fashion-0").image_size
        (28, 28)
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    folder = density_folder(source)
    read_json(folder / "config.json", dict)
    try:
        with redirect_stdout(io.StringIO()):  # the hub mixin prints what it does
            model = KINDS[kind].from_pretrained(folder, strict=True)
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"{folder} holds no {kind}: {' '.join(str(error).split())[:300]}") from error
    return model.float().eval()
