"""Reconstructions of a masked autoencoder."""

from __future__ import annotations

import os

from torch import Tensor
from vl_core.charts import new_figure, save_figure


def draw_reconstructions(path: str | os.PathLike[str], images: Tensor, masked: Tensor, filled: Tensor) -> None:
    """Draw a PNG with a column per image: the original, the masked and the reconstructed image.

    Args:
        path: The file to write.
        images: ``(B, C, H, W)``, floats in 0..1, of one channel or three.
        masked: The same images with masked patches gray.
        filled: The same images with predicted patches.

    Raises:
        ValueError: If there is no image, or the shapes differ.
    """
    if not len(images) or not images.shape == masked.shape == filled.shape:
        raise ValueError(
            "images, masked and filled must have the same shape and hold at least one image; got "
            f"{tuple(images.shape)}, {tuple(masked.shape)} and {tuple(filled.shape)}"
        )
    figure = new_figure(1.1 * len(images) + 0.9, 3.6)
    cells = figure.subplots(3, len(images), squeeze=False)
    for row, batch, name in zip(cells, (images, masked, filled), ("image", "masked", "predicted"), strict=True):
        pixels = batch.detach().float().cpu().clamp(0, 1).permute(0, 2, 3, 1).numpy()
        for axes, image in zip(row, pixels, strict=True):
            axes.imshow(image if image.shape[-1] == 3 else image[..., 0], cmap="gray", vmin=0, vmax=1)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
        row[0].set_ylabel(name, fontsize=9)
    save_figure(figure, path)
