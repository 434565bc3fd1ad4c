"""Digital corruptions: contrast, elastic transform, pixelate and JPEG compression."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from vl_core._extras import import_extra
from vl_core.corruptions._fields import FloatImage
from vl_core.corruptions._strengths import Strengths, Table

CONTRAST: Table = {
    32: (0.75, 0.5, 0.4, 0.3, 0.15),
    64: (0.4, 0.3, 0.2, 0.1, 0.05),
    224: (0.4, 0.3, 0.2, 0.1, 0.05),
}
"""Remaining share of the distance to the mean."""

PIXELATE: Table = {
    32: (0.95, 0.9, 0.85, 0.75, 0.65),
    64: (0.9, 0.8, 0.7, 0.6, 0.5),
    224: (0.6, 0.5, 0.4, 0.3, 0.25),
}
"""Number of tiles in a row, as a share of the pixels."""

QUALITY: Table = {
    32: (80, 65, 58, 50, 40),
    64: (65, 58, 50, 40, 25),
    224: (25, 18, 15, 10, 7),
}
"""JPEG quality of the Independent JPEG Group, 1 to 100; rounded."""

# Ours, as shares of the side. The published rows exchange one kind of distortion for another on their way (an image of
# 224 px shifts by up to 49 px at severity 2 and by 5 px at severity 3), so that a higher severity may change less.
ELASTIC_SHIFT = (0.02, 0.03, 0.04, 0.05, 0.06)
"""Largest displacement of a triangle's corners, in each direction."""
ELASTIC_WAVE = (0.005, 0.008, 0.011, 0.014, 0.017)
"""Standard deviation of the local displacement, in each direction."""
ELASTIC_SCALE = 0.03
"""Standard deviation of the Gaussian that makes the local displacement smooth."""


def contrast(image: FloatImage, at: Strengths, rng: np.random.Generator) -> FloatImage:
    """``m + c (x - m)``, where ``m`` is the channel's mean."""
    mean: FloatImage = image.mean((1, 2), keepdims=True)
    return mean + at.value(CONTRAST) * (image - mean)


def elastic_transform(image: FloatImage, at: Strengths, rng: np.random.Generator) -> FloatImage:
    """The image is pulled at three points and stretched in between, locally as well (Simard et al., 2003).

    Three points in the middle move by independent uniform amounts, which fixes an affine map; on top of it every pixel
    moves by a smooth random field.
    """
    ndimage = import_extra("scipy.ndimage", "corruptions")
    size = np.array(image.shape[1:])
    anchors = size / 2 + at.side / 3 * np.array([[1, 1], [1, -1], [-1, -1]])
    pulled = anchors + ELASTIC_SHIFT[at.severity - 1] * at.side * rng.uniform(-1, 1, (3, 2))
    # Rows (y, x, 1) times this matrix give the affine map's y and x.
    affine = np.linalg.solve(np.c_[anchors, np.ones(3)], pulled)
    y, x = np.indices(image.shape[1:])
    where = np.stack([y, x, np.ones_like(y)], -1) @ affine
    scale = ELASTIC_SCALE * at.side
    waves = ndimage.gaussian_filter(rng.uniform(-1, 1, (2, *image.shape[1:])), (0, scale, scale))
    waves *= ELASTIC_WAVE[at.severity - 1] * at.side / waves.std()
    places = np.moveaxis(where, -1, 0) + waves
    return np.stack([ndimage.map_coordinates(channel, places, order=1, mode="mirror") for channel in image])


def pixelate(image: FloatImage, at: Strengths, rng: np.random.Generator) -> FloatImage:
    """A mosaic: every tile shows the mean of its pixels, and tiles differ by a pixel where they do not divide the side.

    With almost as many tiles as pixels, few pixels share one, and always the same: what they show counts for more than
    how many they are, so on images that are all laid out alike one severity more may change a little less.
    """
    share = at.value(PIXELATE)
    rows, columns = (_mosaic(size, max(1, round(size * share))) for size in image.shape[1:])
    mosaic: FloatImage = rows @ image @ columns.T
    return mosaic


def _mosaic(size: int, tiles: int) -> FloatImage:
    """``(size, size)``: what each of `size` pixels in a row takes from each, to be the mean of its tile."""
    tile = ((np.arange(size) + 0.5) * tiles / size).astype(int)
    together = tile[:, None] == tile
    shares: FloatImage = together / together.sum(1)
    return shares


def jpeg_compression(image: FloatImage, at: Strengths, rng: np.random.Generator) -> FloatImage:
    """Written as a JPEG file of 8 bits, colors at half the resolution, and read again."""
    levels = np.rint(255 * image).astype(np.uint8)
    pil = Image.fromarray(levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0))
    file = io.BytesIO()
    pil.save(file, "JPEG", quality=round(at.value(QUALITY)))
    read = np.asarray(Image.open(file), np.float64) / 255
    return read[None] if read.ndim == 2 else read.transpose(2, 0, 1)
