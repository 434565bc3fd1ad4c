"""Pairs of views, and the published recipes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from vl_ssl.augmentation.batched import batch_view, float_images
from vl_ssl.augmentation.draws import uniforms
from vl_ssl.augmentation.view import View

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image


@dataclass(frozen=True)
class Augmentation:
    """Two views of each image, whose random numbers are a pure function of (seed, position, view).

    The position is the image's place in the run, so an image that comes again gets new views. Views are in [0, 1] and
    not normalized: that belongs to the backbone.

    Example:
        >>> augmentation = small_recipe(28)
        >>> view_1, view_2 = augmentation.batched(torch.rand(8, 1, 28, 28), torch.arange(8), seed=0)
        >>> view_1.shape
        torch.Size([8, 1, 28, 28])
    """

    first: View
    """Settings of the first view."""
    second: View | None = None
    """Settings of the second view, where they differ."""

    def __post_init__(self) -> None:
        if self.second is not None and self.second.size != self.first.size:
            raise ValueError(
                f"second must have size {self.first.size} like first, got {self.second.size}; views share a backbone"
            )

    @property
    def size(self) -> int:
        """Height and width of the views in pixels."""
        return self.first.size

    def batched(self, images: Tensor, positions: Tensor | Sequence[int], *, seed: int) -> tuple[Tensor, Tensor]:
        """Both views of a batch, computed on the device of the images with parameters drawn for each.

        A view does not depend on the batch that its image comes in.

        Args:
            images: ``(B, C, H, W)``, uint8 or floating in [0, 1].
            positions: Position of each image in the run, ``(B,)`` integers.
            seed: Of the run, ``0 <= seed < 2**31``.

        Returns:
            Two tensors ``(B, C, size, size)``, float32 in [0, 1].

        Raises:
            TypeError: If images or positions are of another type.
            ValueError: If a shape or the seed is not as above.
        """
        first, second = self.views(images, positions, seed=seed)
        return first, second

    def views(self, images: Tensor, positions: Tensor | Sequence[int], *, seed: int, count: int = 2) -> list[Tensor]:
        """Any number of views of a batch, as LiDAR needs them; the first two are those of `batched`.

        Settings of the first and of the second view alternate. Arguments and errors are those of `batched`.
        """
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        pixels = float_images(images)
        if pixels.ndim != 4 or 0 in pixels.shape[1:]:
            raise ValueError(f"images must have shape (B, C, H, W), got {tuple(pixels.shape)}")
        places = torch.as_tensor(positions, device=pixels.device)
        if places.shape != pixels.shape[:1]:
            raise ValueError(
                f"positions must have shape ({len(pixels)},), one for each image, got {tuple(places.shape)}"
            )
        drawn = uniforms(places, seed=seed, count=count)
        return [batch_view(self._view(number), pixels, drawn[number]) for number in range(count)]

    def per_image(self, seed: int) -> PerImage:
        """The same views by torchvision's v2 functions, an image at a time, for the workers of a data loader."""
        return PerImage(self, seed)

    def _view(self, number: int) -> View:
        return self.second if number % 2 and self.second is not None else self.first


@dataclass(frozen=True)
class PerImage:
    """Both views of one image, by torchvision's v2 functions.

    They are those of `Augmentation.batched` at the same position up to rounding. Images of a data set may differ in
    size, and need not be tensors.

    Example:
        >>> from PIL import Image
        >>> view_1, view_2 = mocov2_recipe(32).per_image(seed=0)(Image.new("RGB", (40, 50)), 7)
        >>> view_1.shape
        torch.Size([3, 32, 32])
    """

    augmentation: Augmentation
    seed: int

    def __call__(self, image: Image.Image | np.ndarray[Any, Any] | Tensor, position: int) -> tuple[Tensor, Tensor]:
        """Views ``(C, size, size)`` of a PIL image, an array ``(H, W, C)``, or a tensor ``(C, H, W)``.

        Raises:
            TypeError: If the image is none of these.
            ValueError: If its shape or the seed is out of range.
        """
        # Imported here, since torchvision takes seconds and batches do without.
        from vl_ssl.augmentation.per_image import image_view, view_tensor

        pixels = view_tensor(image)
        drawn = uniforms(torch.tensor([position]), seed=self.seed, count=2)[:, 0]
        first, second = (image_view(self.augmentation._view(n), pixels, drawn[n]) for n in (0, 1))
        return first, second


class Positions(Protocol):
    """A data set that answers for every position of a run, such as `vl_core.training.Shuffled`."""

    def __getitem__(self, position: int, /) -> Any: ...


class TwoViews(Dataset[tuple[Tensor, Tensor]]):
    """Both views of the image at each position of a run, made where the data set is read: in a data loader's workers.

    Args:
        dataset: From a position to an image, or to a tuple that begins with one.
        augmentation: The views.
        seed: Of the run.
    """

    def __init__(self, dataset: Positions, augmentation: Augmentation, *, seed: int):
        self._dataset, self._views = dataset, augmentation.per_image(seed)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        item = self._dataset[position]
        return self._views(item[0] if isinstance(item, tuple | list) else item, position)


def mocov2_recipe(size: int = 224) -> Augmentation:
    """Views of MoCo v2 and SimSiam: Chen, Fan, Girshick and He, 2020; Chen and He, 2021, appendix A.

    The blur's deviation is in pixels of the view, 0.1 to 2, published for 224 pixels.
    """
    return Augmentation(View(size))


def byol_recipe(size: int = 224) -> Augmentation:
    """Views of BYOL and MoCo v3: Grill et al., 2020, appendix B.

    The first view is always blurred, the second rarely, and solarized at times.
    """
    first = View(size, crop_scale=(0.08, 1.0), saturation=0.2, blur=1.0)
    return Augmentation(first, replace(first, blur=0.1, solarize=0.2))


def small_recipe(size: int = 32, *, flip: float = 0.5, blur: float = 0.0) -> Augmentation:
    """Views for images of up to 32 pixels: MoCo v2's without the blur, as SimSiam trains on CIFAR (appendix D).

    Args:
        size: Height and width of the views.
        flip: Probability of a flip; 0 for letters and digits, which a flip makes others of.
        blur: Probability of a blur of 0.1 to 1 pixels.
    """
    return Augmentation(View(size, flip=flip, blur=blur, blur_sigma=(0.1, 1.0)))


RECIPES = {"mocov2": mocov2_recipe, "byol": byol_recipe, "small": small_recipe}
"""Recipes by name, each from the size of the views."""
