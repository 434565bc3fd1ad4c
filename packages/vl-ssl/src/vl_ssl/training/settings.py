"""Settings of pre-training, and recipes: functions that return the settings of a paper."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

from vl_core.training import Precision, TrainingSettings

from vl_ssl.optimizers.building import OptimizerName

AugmentOn: TypeAlias = Literal["auto", "workers", "device"]
"""Place where views are made."""


@dataclass(frozen=True)
class PretrainSettings:
    """Settings of `pretrain`.

    Raises:
        ValueError: If a value is out of range.
    """

    epochs: int = 100
    """Epochs, each of as many positions as the data set has images; a schedule that is given must have as many."""
    batch_size: int = 256
    """Images an update, over all processes and accumulated passes."""
    accumulation: int = 1
    """Passes in which a process computes its share of an update. Batch statistics and negatives are those of a pass."""
    optimizer: OptimizerName = "sgd"
    """Optimizer: ``"sgd"`` and ``"lars"`` with momentum, or ``"adamw"``."""
    base_learning_rate: float = 0.05
    """Peak learning rate for a batch of 256; the peak is this times ``batch_size / 256``."""
    momentum: float = 0.9
    """Momentum of SGD and LARS."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Betas of AdamW."""
    weight_decay: float = 1e-4
    """Weight decay of the parameters that the method decays."""
    warmup_epochs: float = 0.0
    """Epochs over which the learning rate rises linearly from zero."""
    decay_share: float = 1.0
    """Share of the run over which the learning rate falls along half a cosine, at the end; all after the warm-up by
    default, 0 for no decay."""
    max_grad_norm: float = 0.0
    """Norm to which gradients are clipped; 0 for no clipping."""
    precision: Precision = "float32"
    """Precision of the forward pass: ``"bfloat16"`` is autocast; weights and augmentation are float32 either way."""
    augment_on: AugmentOn = "auto"
    """Make views image by image in the workers, or batch by batch on the device: there for images in memory, in the
    workers otherwise, by default. The random numbers of the two differ."""
    workers: int = 0
    """Processes that prepare images, for each process that trains; they change no number."""
    seed: int = 0
    """Seed of order, augmentation, and what is random in the network."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulation"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.batch_size < 2:
            raise ValueError(f"batch_size must be at least 2, got {self.batch_size}; batch statistics need two images")
        if self.optimizer not in get_args(OptimizerName):
            raise ValueError(f"optimizer must be one of {', '.join(get_args(OptimizerName))}, got {self.optimizer!r}")
        if self.augment_on not in get_args(AugmentOn):
            raise ValueError(f"augment_on must be one of {', '.join(get_args(AugmentOn))}, got {self.augment_on!r}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1, got {self.momentum}")
        if not 0 <= self.warmup_epochs <= self.epochs:
            raise ValueError(f"warmup_epochs must lie in 0..{self.epochs}, the epochs, got {self.warmup_epochs}")
        for name in ("base_learning_rate", "weight_decay", "max_grad_norm"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be at least 0 and finite, got {getattr(self, name)}")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must be two numbers at least 0 and below 1, got {self.betas}")
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed must be at least 0 and below 2**31, got {self.seed}; views are drawn from it")
        self.loop(self.epochs * self.batch_size)

    @property
    def learning_rate(self) -> float:
        """Peak learning rate, scaled by the batch size (linear scaling rule)."""
        return self.base_learning_rate * self.batch_size / 256

    def loop(self, size: int) -> TrainingSettings:
        """The settings of the loop for so many positions an epoch, by default as many as images.

        Raises:
            ValueError: If the run is shorter than an update.
        """
        updates = self.epochs * size // self.batch_size
        if updates < 1:
            raise ValueError(
                f"batch_size must be at most the run's {self.epochs * size} positions ({self.epochs} epochs of {size} "
                f"images), got {self.batch_size}"
            )
        same = ("batch_size", "accumulation", "learning_rate", "decay_share", "max_grad_norm", "precision", "workers")
        return TrainingSettings(
            updates=updates,
            warmup=min(updates, round(self.warmup_epochs * size / self.batch_size)),
            seed=self.seed,
            **{name: getattr(self, name) for name in same},
        )


def simsiam_pretraining(**changes: Any) -> PretrainSettings:
    """SimSiam's training: SGD, learning rate 0.05 for 256 images, weight decay 1e-4, no warm-up, 100 epochs.

    Chen and He (2021, section 3), whose batch size is 512; Li, Efros and Pathak (2022) train with 256, as here. Not run
    at that size here.

    Args:
        changes: Fields with other values.

    Example:
        >>> simsiam_pretraining(batch_size=512).learning_rate
        0.1
    """
    return replace(PretrainSettings(), **changes)


def byol_pretraining(**changes: Any) -> PretrainSettings:
    """BYOL's training: LARS, learning rate 0.2 for 256 images, weight decay 1.5e-6, ten epochs of warm-up.

    Grill et al. (2020, section 3.3) with batch size 4096 and 1000 epochs. Not run at that size here.

    Args:
        changes: Fields with other values.

    Example:
        >>> byol_pretraining().learning_rate
        3.2
    """
    lars = PretrainSettings(epochs=1000, batch_size=4096, optimizer="lars", base_learning_rate=0.2, weight_decay=1.5e-6)
    return replace(lars, **{"warmup_epochs": 10.0, **changes})


def moco_v3_pretraining(*, vit: bool = False, **changes: Any) -> PretrainSettings:
    """MoCo-v3's training: LARS with learning rate 0.6 for a ResNet, AdamW with 1.5e-4 for a ViT, both for 256 images.

    Chen, Xie and He (2021, section 5 and appendix), batch size 4096: weight decay 1e-6 with ten epochs of warm-up, or
    0.1 with forty; 100 and 300 epochs. Not run at that size here.

    Args:
        vit: Whether the backbone is a vision transformer.
        changes: Fields with other values.

    Example:
        >>> moco_v3_pretraining(vit=True).optimizer
        'adamw'
    """
    resnet: dict[str, Any] = {"epochs": 100, "base_learning_rate": 0.6, "weight_decay": 1e-6}
    transformer = {"epochs": 300, "optimizer": "adamw", "base_learning_rate": 1.5e-4, "weight_decay": 0.1}
    return byol_pretraining(**{**(transformer | {"warmup_epochs": 40.0} if vit else resnet), **changes})


def small_pretraining(**changes: Any) -> PretrainSettings:
    """Settings for a small network and a few thousand small images on a CPU.

    Args:
        changes: Fields with other values.

    Example:
        >>> small_pretraining(epochs=5).batch_size
        128
    """
    small = PretrainSettings(epochs=20, batch_size=128, base_learning_rate=0.1, weight_decay=5e-4)
    return replace(small, **{"warmup_epochs": 1.0, **changes})
