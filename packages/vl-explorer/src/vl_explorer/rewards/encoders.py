"""Encoders of images: a frozen network, and raw pixels."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from vl_core.data import ImageError, fit_image, image_to_tensor
from vl_ssl.backbones.backbone import Backbone, export_backbone
from vl_ssl.backbones.checking import check_backbone, evaluating


class NetworkEncoder:
    """Features of a network as it is now: a copy is made, so that later training changes nothing; an `ImageEncoder`.

    The network is in evaluation mode, keeps its buffers, and draws no random numbers, so the features of an image are
    the same in each call, and depend on the rest of the batch by rounding alone. An image whose features are all zero
    gets ``-1 / sqrt(d)`` in each place: a row of unit length that is like no image of a network that ends in a ReLU.

    Args:
        backbone: From images ``(B, C, H, W)`` in [0, 1] to features ``(B, d)``: a `vl_ssl.Backbone`, or any module,
            which is then given three channels unless it takes one alone. The copy stays on its device.
        image_size: Height and width in pixels; the shorter side is resized to it, and the center cropped.
        batch_size: Images a forward pass.
        name: Name of the encoder, as the run's settings keep it.

    Raises:
        TypeError: If the backbone is no module.
        ValueError: If it refuses images of that size, its features are not ``(B, d)``, or a number is below 1.

    Example:
        >>> encoder = NetworkEncoder(nn.Flatten(), image_size=2, name="flat")
        >>> encoder([Image.new("L", (8, 6), 255)]).shape
        (1, 12)
    """

    def __init__(self, backbone: nn.Module, *, image_size: int, batch_size: int = 64, name: str):
        if not isinstance(backbone, nn.Module):
            raise TypeError(
                f"backbone must be a torch.nn.Module, got {type(backbone).__name__}; see vl_ssl's backbones"
            )
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self._network = _frozen(backbone)
        self._channels, self._width = _channels_and_width(self._network, image_size)
        self._name, self._batch_size = name, batch_size
        self.image_size = image_size

    @property
    def name(self) -> str:
        """Name of the encoder, as the run's settings keep it."""
        return self._name

    def __call__(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Features ``(n, d)`` of images of any size and mode, each of unit length.

        Raises:
            TypeError: If one is no image.
            ValueError: If one cannot be decoded, or its features are not finite; it is named by its place.
        """
        found = np.empty((len(images), self._width), np.float32)
        tensors = _tensors(images, self.image_size, self._channels)
        with evaluating(self._network):
            first = next(self._network.parameters(), torch.zeros(()))
            for begin in range(0, len(images), self._batch_size):
                end = min(begin + self._batch_size, len(images))
                batch = torch.stack([next(tensors) for _ in range(begin, end)])
                rows = self._network(batch.to(first.device, first.dtype)).to("cpu", torch.float64).numpy()
                found[begin:end] = unit_features(rows, self._name, begin)
        return found


class PixelEncoder:
    """Raw pixels without the image's mean, an `ImageEncoder`: a baseline, which tells hardly anything of the content.

    An image of one color gets ``-1 / sqrt(d)`` in each place, at a right angle to all others.

    Args:
        side: Height and width in pixels to which images are resized.

    Raises:
        ValueError: If it is below 1.

    Example:
        >>> PixelEncoder(4)([Image.linear_gradient("L")]).shape
        (1, 48)
    """

    def __init__(self, side: int = 16):
        if side < 1:
            raise ValueError(f"side must be at least 1, got {side}")
        self.side = side

    @property
    def name(self) -> str:
        """Name of the encoder, with the side of its images."""
        return f"pixels-{self.side}"

    def __call__(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Features ``(n, 3 * side**2)`` of images of any size and mode, each of unit length.

        Raises:
            TypeError: If one is no image.
            ValueError: If one cannot be decoded; it is named by its place.
        """
        rows = [image.flatten() for image in _tensors(images, self.side, 3)]
        pixels = torch.stack(rows).double().numpy() if rows else np.empty((0, 3 * self.side**2))
        # Rounded, so that an image of one color is exactly zero.
        centered = np.round(pixels - pixels.mean(axis=1, keepdims=True), 6)
        return unit_features(centered, self.name, 0)


def unit_features(rows: NDArray[np.float64], name: str, begin: int) -> NDArray[np.float32]:
    """Rows ``(n, d)`` of unit length; ``-1 / sqrt(d)`` in each place for a row of zeros.

    Raises:
        ValueError: If one is not finite; it is named by its number, counted from ``begin``.
    """
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(lengths).all():
        place = begin + int(np.flatnonzero(~np.isfinite(lengths[:, 0]))[0])
        raise ValueError(f"encoder {name} must give finite features, got others for image {place}; check its weights")
    filled = np.where(lengths > 0, rows / np.where(lengths > 0, lengths, 1), -(rows.shape[1] ** -0.5))
    return filled.astype(np.float32)


def _frozen(backbone: nn.Module) -> nn.Module:
    """A copy in evaluation mode on the same device, without gradients and without hooks of who watches a training."""
    first = next(backbone.parameters(), torch.zeros(()))
    copied = export_backbone(backbone)
    if isinstance(backbone, Backbone):
        copied = Backbone(copied, backbone.num_features, backbone.normalization, copy.deepcopy(backbone.config))
    return copied.to(first.device, first.dtype).eval().requires_grad_(False)


def _channels_and_width(network: nn.Module, image_size: int) -> tuple[int, int]:
    if isinstance(network, Backbone):
        channels = len(network.normalization.mean)
        if channels not in (1, 3):
            raise ValueError(f"backbone must take images of 1 or 3 channels, got one for {channels}")
        return channels, check_backbone(network, channels, image_size)
    try:
        return 3, check_backbone(network, 3, image_size)
    except ValueError as error:
        try:
            return 1, check_backbone(network, 1, image_size)
        except ValueError:
            raise error from None


def _tensors(images: Sequence[Image.Image], size: int, channels: int) -> Iterator[Tensor]:
    """Images ``(channels, size, size)`` in [0, 1]."""
    if isinstance(images, Image.Image | str | bytes):
        raise TypeError(f"images must be a sequence of images, got one {type(images).__name__}; put it into a list")
    return (_tensor(image, place, size, channels) for place, image in enumerate(images))


def _tensor(image: Image.Image, place: int, size: int, channels: int) -> Tensor:
    try:
        return fit_image(image_to_tensor(image), size, channels)
    except TypeError as error:
        raise TypeError(f"image {place} cannot be encoded: {error}") from error
    except ValueError as error:
        raise ImageError(f"image {place} cannot be encoded: {error}") from error
