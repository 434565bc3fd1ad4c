"""timm's augmentation, in which every random choice is a function of the seed and the position in the run."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, Mixup, create_transform
from timm.data.random_erasing import RandomErasing
from timm.data.transforms import MaybeToTensor
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import Compose
from vl_core.data import image_to_tensor
from vl_core.training import shuffled_index

from vl_attention.training.settings import TrainSettings


class Images(Protocol):
    """A labeled image data set, such as `vl_core.data.open_dataset` returns."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Any, int]: ...


class AugmentedImages(Dataset[tuple[Tensor, int]]):
    """Augmented image and label for each position of a run.

    Args:
        images: PIL images and labels.
        settings: Augmentation settings.
        size: Height and width of the output.
        channels: 1 or 3.
        fill: Value by channel, in 0..1, for pixels from outside an image that the automatic augmentation shifts or
            rotates: the mean that the model is normalized with. Default: ImageNet's.
    """

    def __init__(
        self,
        images: Images,
        settings: TrainSettings,
        size: tuple[int, int],
        channels: int,
        fill: Sequence[float] | None = None,
    ):
        self._images, self._seed, self._channels = images, settings.seed, channels
        if fill is None:
            fill = IMAGENET_DEFAULT_MEAN if channels == 3 else (sum(IMAGENET_DEFAULT_MEAN) / 3,) * channels
        geometry, automatic, _ = create_transform(
            input_size=(channels, *size),
            is_training=True,
            scale=settings.crop_scale,
            ratio=settings.crop_ratio,
            hflip=0.5 if settings.flip else 0.0,
            color_jitter=None,
            auto_augment=settings.random_augment or None,
            interpolation="bicubic",
            mean=tuple(fill),  # timm uses it only as the fill value here; nothing is normalized
            separate=True,
        )
        # The third part would normalize, which each model does itself.
        self._transform = Compose([geometry, automatic, MaybeToTensor()])
        self._erase = RandomErasing(settings.erasing, mode="pixel", device="cpu") if settings.erasing else None

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        image, label = self._images[shuffled_index(position, len(self._images), self._seed)]
        with seeded(self._seed, position):
            tensor = self._transform(image.convert("L" if self._channels == 1 else "RGB"))
            if self._erase is not None:
                tensor = self._erase(tensor * 4 - 2) / 4 + 0.5  # its noise has unit standard deviation
        return tensor, label


class PlainImages(Dataset[tuple[Tensor, int]]):
    """Images without augmentation, resized to one size, with their labels."""

    def __init__(self, images: Images, size: tuple[int, int], channels: int):
        self._images, self._size, self._mode = images, size, "L" if channels == 1 else "RGB"

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, label = self._images[index]
        image = image.convert(self._mode)
        if image.size != self._size[::-1]:
            image = image.resize(self._size[::-1], resample=3)
        return image_to_tensor(image), label


class Mixing:
    """Mixup and CutMix, and the soft targets ``(B, num_classes)``.

    Args:
        settings: Strength of mixup, CutMix and label smoothing.
        num_classes: Number of classes.
    """

    def __init__(self, settings: TrainSettings, num_classes: int):
        self._seed, self._num_classes, self._smoothing = settings.seed, num_classes, settings.label_smoothing
        self._mix = None
        if settings.mixup or settings.cutmix:
            self._mix = Mixup(settings.mixup, settings.cutmix, label_smoothing=settings.label_smoothing,
                              num_classes=num_classes)  # fmt: skip

    def __call__(self, images: Tensor, labels: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """Mix images and compute their targets.

        Args:
            images: ``(B, C, H, W)``, an even number of them if images are mixed; changed in place.
            labels: ``(B,)``.
            number: Index of this micro-batch in the run, counted over all processes; it seeds the mixing.
        """
        if self._mix is None:
            off = self._smoothing / self._num_classes
            targets = torch.full((len(labels), self._num_classes), off, device=images.device)
            return images, targets.scatter_(1, labels[:, None], 1 - self._smoothing + off)
        with seeded(self._seed, number, salt=1):
            return self._mix(images, labels)  # type: ignore[no-any-return]


@contextmanager
def seeded(seed: int, position: int, salt: int = 0) -> Iterator[None]:
    """Seed the generators of Python, NumPy and PyTorch from seed and position, and restore them afterwards."""
    numbers = np.random.SeedSequence([seed % 2**63, position, salt]).generate_state(3)
    before = random.getstate(), np.random.get_state()  # noqa: NPY002 - timm draws from it
    with torch.random.fork_rng(devices=[]):
        try:
            random.seed(int(numbers[0]))
            np.random.seed(int(numbers[1]))  # noqa: NPY002
            # torch.manual_seed would also queue a seed for the GPU, with a stack trace, for each image.
            torch.default_generator.manual_seed(int(numbers[2]))
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])  # noqa: NPY002
