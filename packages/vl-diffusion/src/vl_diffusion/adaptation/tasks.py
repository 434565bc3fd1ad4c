"""Tasks turn a model's outputs into conditions of a diffusion model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from vl_core.devices import input_weight

from vl_diffusion.checks import checked_classes
from vl_diffusion.models.denoiser import Condition, Denoiser, mix_conditions, network_of, takes_prompts


class Task(Protocol):
    """From a model's outputs to conditions of the denoiser, differentiably."""

    def check(self, output: Tensor, images: int) -> None:
        """Raise ValueError if outputs for this number of images do not fit the denoiser."""
        ...

    def condition(self, output: Tensor) -> Condition:
        """B rows of a condition for outputs ``(B, ...)``."""
        ...


class ClassificationTask:
    """Logits of K classes; the condition mixes the classes in proportion to their probabilities.

    Args:
        denoiser: A class- or text-conditional model; None for objectives without one.
        classes: The names of the logits, in their order; by default the denoiser's classes.
        prompt_template: For models that take prompts, a prompt with ``{}`` in place of the name.

    Raises:
        ValueError: If the denoiser does not know a class, or if there are no names.
    """

    def __init__(
        self,
        denoiser: Denoiser | None,
        classes: Sequence[str] | None = None,
        prompt_template: str = "a photo of a {}.",
    ) -> None:
        self.denoiser = denoiser
        self.classes = checked_classes(denoiser.class_names if classes is None and denoiser is not None else classes)
        self.texts = self.classes
        if denoiser is not None and takes_prompts(denoiser):
            if prompt_template.count("{}") != 1:
                raise ValueError(f"prompt_template must hold {{}} once, got {prompt_template!r}")
            self.texts = tuple(prompt_template.replace("{}", name) for name in self.classes)
        self._encoded_at: tuple[torch.device, torch.dtype | None] | None = None
        self._conditions: Condition | None = None
        if denoiser is not None:
            self._encode(denoiser)

    @property
    def conditions(self) -> Condition:
        """The condition of each class, K rows, on the denoiser's device and in its precision of this moment.

        Raises:
            ValueError: If there is no denoiser.
        """
        if self.denoiser is None:
            raise ValueError("a condition needs a denoiser, and the task has none; pass one")
        return self._encode(self.denoiser)

    def _encode(self, denoiser: Denoiser) -> Condition:
        """Encode the classes, again if the denoiser was moved or converted since."""
        network = network_of(denoiser)
        weight = None if network is None else input_weight(network)
        place = denoiser.device, None if weight is None else weight.dtype
        if self._conditions is None or place != self._encoded_at:
            # Differentiable, even if the caller is in inference mode.
            with torch.inference_mode(False):
                self._conditions = denoiser.encode_classes(self.texts)
            self._encoded_at = place
        return self._conditions

    def check(self, output: Tensor, images: int) -> None:
        if output.shape != (images, len(self.classes)):
            raise ValueError(
                f"the model must return logits ({images}, {len(self.classes)}), one for each of the classes "
                f"{', '.join(self.classes[:3])} ..., got {tuple(output.shape)}"
            )

    def condition(self, output: Tensor) -> Condition:
        return self.mix(output.softmax(1))

    def mix(self, probabilities: Tensor) -> Condition:
        """Conditions of mixtures of the classes with probabilities ``(B, K)``."""
        conditions = self.conditions
        assert self.denoiser is not None
        return mix_conditions(self.denoiser, conditions, probabilities)


class SegmentationTask:
    """Logits ``(B, K, H, W)`` of K classes for each pixel; the condition is probabilities ``(B, K, size, size)``.

    Args:
        denoiser: A :class:`~vl_diffusion.MapConditionalDenoiser` of K channels.
    """

    def __init__(self, denoiser: Denoiser) -> None:
        self.denoiser = denoiser
        self.channels, self.size = _map_shape(denoiser)

    def check(self, output: Tensor, images: int) -> None:
        if output.ndim != 4 or output.shape[:2] != (images, self.channels):
            raise ValueError(
                f"the model must return logits ({images}, {self.channels}, height, width), got {tuple(output.shape)}"
            )

    def condition(self, output: Tensor) -> Condition:
        return resize(output.softmax(1), self.size)


class DepthTask:
    """Depths ``(B, 1, H, W)``; the condition is depths scaled to [-1, 1], ``(B, 1, size, size)``.

    Args:
        denoiser: A :class:`~vl_diffusion.MapConditionalDenoiser` of one channel.
        nearest: The depth that is scaled to -1.
        farthest: The depth that is scaled to 1.
    """

    def __init__(self, denoiser: Denoiser, nearest: float = 0.0, farthest: float = 1.0) -> None:
        if not nearest < farthest:
            raise ValueError(f"nearest must be less than farthest, got {nearest} and {farthest}")
        self.denoiser, self.nearest, self.farthest = denoiser, nearest, farthest
        self.channels, self.size = _map_shape(denoiser)
        if self.channels != 1:
            raise ValueError(f"depth is one channel, and the denoiser is conditioned on {self.channels}")

    def check(self, output: Tensor, images: int) -> None:
        if output.ndim != 4 or output.shape[:2] != (images, 1):
            raise ValueError(f"the model must return depths ({images}, 1, height, width), got {tuple(output.shape)}")
        # A model may overshoot a little; one that predicts in another unit overshoots more.
        slack = self.farthest - self.nearest
        low, high = float(output.detach().min()), float(output.detach().max())
        if low < self.nearest - slack or high > self.farthest + slack:
            raise ValueError(
                f"depths must lie between nearest={self.nearest} and farthest={self.farthest}, got {low:.4g} to "
                f"{high:.4g}; are they in the same unit?"
            )

    def condition(self, output: Tensor) -> Condition:
        scaled = 2 * (output - self.nearest) / (self.farthest - self.nearest) - 1
        return resize(scaled.clamp(-1, 1), self.size)


def resize(maps: Tensor, size: int) -> Tensor:
    """Resize maps ``(B, C, H, W)`` to ``(B, C, size, size)``, antialiased and differentiable."""
    if maps.shape[2:] == (size, size):
        return maps
    return torch.nn.functional.interpolate(maps, (size, size), mode="bilinear", antialias=True, align_corners=False)


def _map_shape(denoiser: Denoiser) -> tuple[int, int]:
    channels, size = (getattr(denoiser, name, None) for name in ("condition_channels", "condition_size"))
    if channels is None or size is None:
        raise ValueError(
            f"{type(denoiser).__name__} is not conditioned on maps; use a MapConditionalDenoiser, or give it "
            "condition_channels and condition_size"
        )
    return int(channels), int(size)
