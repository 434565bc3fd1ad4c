"""Reconstructions of a masked autoencoder."""

from __future__ import annotations

import os

from torch import Tensor
from vl_core.charts import PAGE_WIDTH, TEXT, new_figure, save_figure, show_image


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
    width = min(PAGE_WIDTH, 1.1 * len(images) + 0.9)
    figure = new_figure(width, 3 * (width - 0.4) / len(images) * images.shape[-2] / images.shape[-1] + 0.3)
    cells = figure.subplots(3, len(images), squeeze=False)
    for row, batch, name in zip(cells, (images, masked, filled), ("image", "masked", "predicted"), strict=True):
        pixels = batch.detach().float().cpu().clamp(0, 1).permute(0, 2, 3, 1).numpy()
        for axes, image in zip(row, pixels, strict=True):
            show_image(axes, image)
        row[0].set_ylabel(name, fontsize=TEXT)
    save_figure(figure, path)
