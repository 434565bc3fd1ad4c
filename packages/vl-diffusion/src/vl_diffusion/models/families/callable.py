"""Any function that denoises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from vl_diffusion.models import latents
from vl_diffusion.models.denoiser import Condition
from vl_diffusion.models.families.class_conditional import label_indices
from vl_diffusion.models.schedule import NoiseSchedule


class CallableDenoiser:
    """A function, its schedule and the size of its images, as `DiffusionClassifier` wants them.

    ``B`` is a batch, ``K`` the number of classes or prompts, ``(c, h, w)`` the shape that is denoised.

    Args:
        predict: ``predict(x_t, time, condition)`` of noisy images ``(B, c, h, w)``, times ``(B,)`` and B rows of what
            `encode_classes` returned, giving what `schedule` says that it predicts, ``(B, c, h, w)``.
        schedule: A :class:`~vl_diffusion.NoiseSchedule`, or a diffusers scheduler, whose configuration is read.
        image_size: Height and width of the images, in pixels.
        image_channels: 1 for gray images, 3 for color.
        classes: Names of the classes that the model knows, if it does.
        encode_classes: From K names (prompts, if `takes_prompts`) to a tensor ``(K, ...)`` or several by name. By
            default the condition is the class's place in `classes`, int64 ``(K,)``.
        encode_images: From images ``(B, channels, size, size)`` in [0, 1] to ``(B, c, h, w)``. By default they are
            scaled to [-1, 1].
        takes_prompts: Give `encode_classes` filled-in prompts instead of names.
        learns_variance: `predict` returns ``(B, 2c, h, w)``, see :class:`~vl_diffusion.Denoiser`.
        device: Where `predict` computes.

    Raises:
        ValueError: If there are neither `classes` nor `encode_classes`, or `takes_prompts` comes without the latter.

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
            raise ValueError("takes_prompts=True needs encode_classes, the function that encodes prompts")
        if encode_classes is None and classes is None:
            raise ValueError("classes and encode_classes are both missing; name the model's classes or encode them")
        self.schedule = schedule if isinstance(schedule, NoiseSchedule) else NoiseSchedule.from_scheduler(schedule)
        self.image_size, self.image_channels = image_size, image_channels
        self.class_names = None if classes is None else tuple(classes)
        self.takes_prompts, self.learns_variance = takes_prompts, learns_variance
        self.device = torch.device(device)
        self._predict, self._encode_classes, self._encode_images = predict, encode_classes, encode_images

    @property
    def network(self) -> torch.nn.Module | None:
        """`predict` itself, if it is a module."""
        return self._predict if isinstance(self._predict, torch.nn.Module) else None

    def to(self, device: str | torch.device) -> None:
        """Compute there; `predict` is moved if it is a module."""
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
