"""A denoiser from an arbitrary function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from vl_diffusion.models import _latents as latents
from vl_diffusion.models.denoiser import Condition
from vl_diffusion.models.families.class_conditional import label_indices
from vl_diffusion.models.schedule import NoiseSchedule


class CallableDenoiser:
    """Wrap a prediction function and its schedule as a denoiser.

    ``B`` is the batch size, ``K`` the number of classes or prompts, ``(c, h, w)`` the shape that is denoised.

    Args:
        predict: ``predict(x_t, time, condition)`` for noisy images ``(B, c, h, w)``, times ``(B,)`` and B rows of the
            output of `encode_classes`; returns the prediction ``(B, c, h, w)`` of the type given by `schedule`.
        schedule: A :class:`~vl_diffusion.NoiseSchedule`, or a diffusers scheduler, whose configuration is read.
        image_size: Height and width of the images, in pixels.
        image_channels: 1 for gray images, 3 for color.
        classes: Names of the training classes, if known.
        encode_classes: Maps K names (prompts, if `takes_prompts`) to a tensor ``(K, ...)`` or several by name. By
            default the condition is the index in `classes`, int64 ``(K,)``.
        encode_images: Maps images ``(B, channels, size, size)`` in [0, 1] to ``(B, c, h, w)``. By default they are
            scaled to [-1, 1].
        takes_prompts: Call `encode_classes` with filled-in prompts instead of class names.
        learns_variance: `predict` returns ``(B, 2c, h, w)``, see :class:`~vl_diffusion.Denoiser`.
        device: Device of `predict`.

    Raises:
        ValueError: If both `classes` and `encode_classes` are missing, or `takes_prompts` is set without the latter.

    Example:
        >>> from vl_diffusion import NoiseSchedule
        >>> schedule = NoiseSchedule.from_config({"beta_schedule": "linear"})
        >>> denoiser = CallableDenoiser(
        ...     lambda x_t, time, label: x_t, schedule, image_size=8, image_channels=1, classes=("a", "b")
        ... )
        >>> denoiser.encode_classes(["b"])
        tensor([1])
    """

    def __init__(
        self,
        predict: Callable[[Tensor, Tensor, Any], Tensor],
        schedule: NoiseSchedule | Any,
        *,
        image_size: int,
        image_channels: int = 3,
        classes: Sequence[str] | None = None,
        encode_classes: Callable[[Sequence[str]], Condition] | None = None,
        encode_images: Callable[[Tensor], Tensor] | None = None,
        takes_prompts: bool = False,
        learns_variance: bool = False,
        device: str | torch.device = "cpu",
    ) -> None:
        if encode_classes is None and takes_prompts:
            raise ValueError("encode_classes must be passed with takes_prompts=True, to encode the prompts")
        if encode_classes is None and classes is None:
            raise ValueError("classes and encode_classes are both missing; pass one of them")
        self.schedule = schedule if isinstance(schedule, NoiseSchedule) else NoiseSchedule.from_scheduler(schedule)
        self.image_size, self.image_channels = image_size, image_channels
        self.class_names = None if classes is None else tuple(classes)
        self.takes_prompts, self.learns_variance = takes_prompts, learns_variance
        self.device = torch.device(device)
        self._predict, self._encode_classes, self._encode_images = predict, encode_classes, encode_images

    @property
    def network(self) -> torch.nn.Module | None:
        """`predict`, if it is a module."""
        return self._predict if isinstance(self._predict, torch.nn.Module) else None

    def to(self, device: str | torch.device) -> None:
        """Set the device, and move `predict` there if it is a module."""
        self.device = torch.device(device)
        if isinstance(self._predict, torch.nn.Module):
            self._predict.to(device)

    def encode_images(self, images: Tensor) -> Tensor:
        images = images.to(self.device)
        return latents.encode(images, None) if self._encode_images is None else self._encode_images(images)

    @torch.no_grad()
    def encode_classes(self, classes: Sequence[str]) -> Condition:
        if self._encode_classes is not None:
            return self._encode_classes(classes)
        assert self.class_names is not None
        return label_indices(classes, self.class_names).to(self.device)

    def predict(self, x_t: Tensor, time: Tensor, condition: Condition) -> Tensor:
        return self._predict(x_t, time, condition)
