"""How well a classifier stands shifts of its images: noise, blur, turning, hiding and others, in five severities.

The kinds follow ImageNet-C (Hendrycks and Dietterich, 2019); the strengths are our own, so figures are to be compared
with each other and not with that benchmark's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F
from vl_core.results import wilson_interval

from vl_attention.models.calling import check_images, evaluating, logits_of

Shift: TypeAlias = Callable[[Tensor, int, torch.Generator], Tensor]
"""From an image ``(C, H, W)`` in 0..1, a severity from 1 to 5 and a generator on the CPU to such an image."""


@dataclass(frozen=True)
class ShiftAccuracy:
    """A classifier's accuracy under one shift."""

    shift: str
    severity: int
    """0 for the images as they are."""
    correct: int
    total: int
    accuracy: float
    """Share, 0 to 1."""
    low: float
    """Lower end of the 95 % interval of Wilson."""
    high: float
    """Its upper end."""


def apply_shift(
    images: Tensor, shift: str | Shift, severity: int, *, seed: int = 0, first_index: int = 0, name: str | None = None
) -> Tensor:
    """Shift images; what happens to one depends on the seed, the shift's name and its index, not on its batch.

    Severities of one shift draw the same numbers, so that an image is turned the same way, only further.

    Args:
        images: ``(B, C, H, W)``, floats in 0..1.
        shift: A name in `SHIFTS`, or a function like those there.
        severity: 0, which changes nothing, to 5.
        seed: Of the run.
        first_index: Index of the first image in its data set.
        name: The name that numbers are drawn for; default: the shift's.

    Returns:
        Such images, in 0..1.

    Raises:
        ValueError: If the shift or the severity does not exist, or a function changes an image's shape.
    """
    check_images(images)
    if isinstance(severity, bool) or severity not in range(6):
        raise ValueError(f"severity must be a whole number from 0 (unchanged) to 5, got {severity!r}")
    if isinstance(shift, str):
        if shift not in SHIFTS:
            raise ValueError(f"shift must be one of {', '.join(SHIFTS)}, or a function; got {shift!r}")
        name, shift = name or shift, SHIFTS[shift]
    if severity == 0 or not len(images):
        return images.clone()
    named = name or str(getattr(shift, "__name__", type(shift).__name__))
    shifted = [
        shift(image, severity, _generator(seed, first_index + index, named)).clamp(0, 1)
        for index, image in enumerate(images)
    ]
    if any(result.shape != images.shape[1:] for result in shifted):
        raise ValueError(f"shift {named!r} must keep the shape {tuple(images.shape[1:])} of an image")
    return torch.stack(shifted)


def evaluate_shifts(
    predict: Callable[[Tensor], Any],
    images: Tensor,
    labels: Tensor,
    shifts: Sequence[str] | Mapping[str, Shift] | None = None,
    severities: Sequence[int] = (0, 1, 2, 3, 4, 5),
    seed: int = 0,
    *,
    batch_size: int = 64,
) -> list[ShiftAccuracy]:
    """A classifier's accuracy under each shift and severity.

    Args:
        predict: From images ``(B, C, H, W)`` in 0..1 to logits ``(B, classes)``, or to something that holds
            ``logits``: an `AttentionTransfer`, an `Ensemble`, ``lambda x: model(normalization(x))``. A module is put
            into evaluation mode meanwhile.
        images: ``(N, C, H, W)``, floats in 0..1.
        labels: int64 ``(N,)``.
        shifts: Names in `SHIFTS`, or functions by name; default: all of `SHIFTS`. Yours beside ours:
            ``{**SHIFTS, "fog": fog}``.
        severities: Whole numbers from 0 to 5. Images of severity 0 are asked about once.
        seed: Of the shifts.
        batch_size: Images asked about at once; it does not change a shift.

    Raises:
        ValueError: If images and labels differ in number or are none, or a shift or severity does not exist.
    """
    check_images(images)
    if len(images) != len(labels) or not len(images):
        raise ValueError(f"images and labels must be equally many, one or more, got {len(images)} and {len(labels)}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if isinstance(shifts, str):
        raise ValueError(f"shifts must be a list of names, got {shifts!r}; write [{shifts!r}]")
    if shifts is not None and not isinstance(shifts, Mapping) and (unknown := [n for n in shifts if n not in SHIFTS]):
        raise ValueError(f"shifts must be among {', '.join(SHIFTS)}, or a mapping to functions; got {unknown}")
    wrong = [severity for severity in severities if isinstance(severity, bool) or severity not in range(6)]
    if wrong:
        raise ValueError(f"severities must be whole numbers from 0 (unchanged) to 5, got {wrong}")
    chosen = SHIFTS if shifts is None else shifts if isinstance(shifts, Mapping) else {n: SHIFTS[n] for n in shifts}
    rows: list[ShiftAccuracy] = []
    unchanged: int | None = None
    with torch.no_grad(), evaluating(predict) if isinstance(predict, nn.Module) else nullcontext():
        for name, shift in chosen.items():
            for severity in severities:
                if severity == 0 and unchanged is not None:
                    correct = unchanged
                else:
                    correct = 0
                    for start in range(0, len(images), batch_size):
                        part = slice(start, start + batch_size)
                        changed = apply_shift(images[part], shift, severity, seed=seed, first_index=start, name=name)
                        guesses = _logits(predict(changed)).argmax(-1)
                        correct += int((guesses.cpu() == labels[part].cpu()).sum())
                    unchanged = correct if severity == 0 else unchanged
                total = len(images)
                interval = wilson_interval(correct, total)
                rows.append(ShiftAccuracy(name, severity, correct, total, correct / total, *interval))
    return rows


def _logits(output: Any) -> Tensor:
    # A TransferOutput is a tuple of tensors too, which are not all logits.
    return logits_of(getattr(output, "logits", output))


def _generator(seed: int, index: int, name: str) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}/{index}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def _uniform(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * torch.rand((), generator=generator, dtype=torch.float64).item()


def _sign(generator: torch.Generator) -> int:
    return 1 if _uniform(generator, 0, 1) < 0.5 else -1


def _gaussian_noise(image: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Standard deviation 0.04 to 0.3 of the range."""
    noise = torch.randn(image.shape, generator=generator).to(image)
    shifted: Tensor = image + (0.04, 0.08, 0.13, 0.2, 0.3)[severity - 1] * noise
    return shifted


def _gaussian_blur(image: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Standard deviation 0.5 % to 4 % of the shorter side, so that images of any size are blurred alike."""
    sigma = (0.005, 0.01, 0.015, 0.025, 0.04)[severity - 1] * min(image.shape[-2:])
    sigma = max(sigma, 0.2 * severity)
    # Reflection at the border needs a kernel that reaches less far than the image.
    reach = min(int(3 * sigma + 1), min(image.shape[-2:]) - 1)
    shifted: Tensor = F.gaussian_blur(image, [2 * reach + 1] * 2, [sigma, sigma])
    return shifted


def _contrast(image: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Differences from the mean shrink to 0.7 to 0.1 of what they were."""
    shifted: Tensor = F.adjust_contrast(image, (0.7, 0.5, 0.35, 0.2, 0.1)[severity - 1])
    return shifted


def _brightness(image: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Values multiplied by 1.2 to 2.5, or divided by it."""
    shifted: Tensor = F.adjust_brightness(image, (1.2, 1.4, 1.7, 2.0, 2.5)[severity - 1] ** _sign(generator))
    return shifted


def _rotation(image: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """By 8 to 60 degrees, to either side."""
    angle = (8, 15, 25, 40, 60)[severity - 1] * _sign(generator)
    shifted: Tensor = F.rotate(image, angle, interpolation=InterpolationMode.BILINEAR, fill=0.5)
    return shifted


def _translation(image: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """By 4 % to 30 % of each side, along both."""
    share = (0.04, 0.08, 0.14, 0.2, 0.3)[severity - 1]
    moves = [_sign(generator) * round(share * side) for side in (image.shape[-1], image.shape[-2])]
    shifted: Tensor = F.affine(image, angle=0.0, translate=moves, scale=1.0, shear=[0.0, 0.0], fill=0.5)
    return shifted


def _posterize(image: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """5 bits to 1 bit a channel."""
    shifted: Tensor = F.posterize(image, 6 - severity)
    return shifted


def _pixelate(image: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Down to 0.75 to 0.2 of the sides, and back."""
    height, width = image.shape[-2:]
    share = (0.75, 0.6, 0.45, 0.3, 0.2)[severity - 1]
    small = F.resize(image, [max(1, round(share * side)) for side in (height, width)], antialias=True)
    shifted: Tensor = F.resize(small, [height, width], interpolation=InterpolationMode.NEAREST)
    return shifted


def _occlusion(image: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """A gray rectangle over 5 % to 50 % of the image, anywhere within it."""
    height, width = image.shape[-2:]
    share = (0.05, 0.12, 0.22, 0.35, 0.5)[severity - 1] ** 0.5
    high, wide = max(1, round(share * height)), max(1, round(share * width))
    top = round(_uniform(generator, 0, 1) * (height - high))
    left = round(_uniform(generator, 0, 1) * (width - wide))
    shifted: Tensor = F.erase(image, top, left, high, wide, image.new_full((image.shape[0], 1, 1), 0.5))
    return shifted


SHIFTS: Mapping[str, Shift] = MappingProxyType(
    {
        "gaussian noise": _gaussian_noise,
        "gaussian blur": _gaussian_blur,
        "contrast": _contrast,
        "brightness": _brightness,
        "rotation": _rotation,
        "translation": _translation,
        "posterize": _posterize,
        "pixelate": _pixelate,
        "occlusion": _occlusion,
    }
)
"""The shifts that come with this package, by name."""
