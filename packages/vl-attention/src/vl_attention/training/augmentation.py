"""timm's augmentation, with every random choice a function of the seed and the image's place in the run."""

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
    """Images with their labels, such as `vl_core.data.open_dataset` gives."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Any, int]: ...


class AugmentedImages(Dataset[tuple[Tensor, int]]):
    """Image and label at each place of a run, augmented.

    Args:
        images: PIL images and labels.
        settings: Which augmentation.
        size: Height and width of what comes out.
        channels: 1 or 3.
        fill: What stands in for pixels from outside of an image that the automatic augmentation moves, by channel and
            in 0..1: the mean of what the model was made for. Default: ImageNet's.
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
            mean=tuple(fill),  # which is all that timm fills with; images are not normalized by it
            separate=True,
        )
        # The third part would normalize, which each model does by itself.
        self._transform = Compose([geometry, automatic, MaybeToTensor()])
        self._erase = RandomErasing(settings.erasing, mode="pixel", device="cpu") if settings.erasing else None

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        image, label = self._images[shuffled_index(place, len(self._images), self._seed)]
        with seeded(self._seed, place):
            tensor = self._transform(image.convert("L" if self._channels == 1 else "RGB"))
            if self._erase is not None:
                tensor = self._erase(tensor * 4 - 2) / 4 + 0.5  # its noise is for images of about unit deviation
        return tensor, label


class PlainImages(Dataset[tuple[Tensor, int]]):
    """Images as they are, brought to one size, with their labels."""

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
    """Mixup and CutMix, and the targets ``(B, classes)`` that go with them.

    Args:
        settings: How strong.
        classes: How many there are.
    """

    def __init__(self, settings: TrainSettings, classes: int):
        self._seed, self._classes, self._smoothing = settings.seed, classes, settings.label_smoothing
        self._mix = None
        if settings.mixup or settings.cutmix:
            self._mix = Mixup(settings.mixup, settings.cutmix, label_smoothing=settings.label_smoothing,
                              num_classes=classes)  # fmt: skip

    def __call__(self, images: Tensor, labels: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """Mixed images and their targets.

        Args:
            images: ``(B, C, H, W)``, even in number where images are mixed; changed in place.
            labels: ``(B,)``.
            number: Of this pass in the run, counted over all processes, from which the mixing is drawn.
        """
        if self._mix is None:
            off = self._smoothing / self._classes
            targets = torch.full((len(labels), self._classes), off, device=images.device)
            return images, targets.scatter_(1, labels[:, None], 1 - self._smoothing + off)
        with seeded(self._seed, number, salt=1):
            return self._mix(images, labels)  # type: ignore[no-any-return]


@contextmanager
def seeded(seed: int, place: int, salt: int = 0) -> Iterator[None]:
    """Within, the generators of Python, NumPy and PyTorch start from seed and place; after it they go on as before."""
    numbers = np.random.SeedSequence([seed % 2**63, place, salt]).generate_state(3)
    before = random.getstate(), np.random.get_state()  # noqa: NPY002 - timm draws from it
    with torch.random.fork_rng(devices=[]):
        try:
            random.seed(int(numbers[0]))
            np.random.seed(int(numbers[1]))  # noqa: NPY002
            # torch.manual_seed would note for a GPU to come, with a trace of the stack, at each image.
            torch.default_generator.manual_seed(int(numbers[2]))
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])  # noqa: NPY002
