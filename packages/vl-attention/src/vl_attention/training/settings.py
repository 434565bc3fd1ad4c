"""Settings of a training run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import inf
from typing import Any

from vl_core.training import Precision, TrainingSettings

# Of timm, which raises an AssertionError at others.
_POLICIES = ("", "rand", "augmix", "original", "originalr", "v0", "v0r", "3a")

# Settings that do not change the result; a resumed run may change them.
_FREE = ("workers", "compile")


@dataclass(frozen=True)
class TrainSettings:
    """Training settings of a student or plain classifier; the defaults are those of attention distillation of ViT-L."""

    epochs: int = 200
    """Passes over the data set."""
    warmup_epochs: float = 20
    """Epochs over which the learning rate rises linearly from zero."""
    batch_size: int = 2048
    """Images per update, over all processes and accumulation steps."""
    accumulation: int = 1
    """Forward and backward passes per update in each process."""
    base_learning_rate: float = 1e-4
    """Peak learning rate for a batch size of 256; the learning rate is this times ``batch_size / 256``."""
    min_learning_rate: float = 1e-6
    """Final learning rate of the cosine schedule; not scaled, and at most the peak."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Betas of AdamW."""
    weight_decay: float = 0.3
    """Weight decay of AdamW; biases, norms and other vectors have none."""
    layer_decay: float = 1.0
    """Learning rate of a block as a fraction of that of the block above; 1 for the same everywhere."""
    transfer_weight: float | None = None
    """Weight of the transfer loss, which is a sum over layers; default: that of the mode's paper, such as 3 for
    "distill". Without effect where there is none, as for a masked autoencoder."""
    label_smoothing: float = 0.1
    """Probability mass of the target that is spread over all classes."""
    mixup: float = 0.8
    """Alpha of mixup; 0 turns it off."""
    cutmix: float = 1.0
    """Alpha of CutMix; 0 turns it off."""
    random_augment: str = "rand-m9-mstd0.5-inc1"
    """Automatic augmentation, as a configuration string of timm; empty for none."""
    crop_scale: tuple[float, float] = (0.08, 1.0)
    """Range of the fraction of an image's area that a random crop keeps."""
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Range of the aspect ratio of a random crop."""
    flip: bool = True
    """Flip images horizontally at random."""
    erasing: float = 0.25
    """Probability of random erasing."""
    ema_decay: float = 0.9999
    """Decay of the EMA of the weights, which is the model that is evaluated; 0 for none."""
    precision: Precision = "bfloat16"
    """``"bfloat16"`` computes under autocast; the weights are float32 either way."""
    math_attention: bool = False
    """Store attention maps instead of using fused attention; faster on a CPU with few tokens."""
    compile: bool = False
    """Compile the blocks; a resumed run may change this, and may then differ in the last bits."""
    workers: int = 0
    """Data loading processes per training process; they do not change the result."""
    seed: int = 0
    """Seed of everything random except the model's initial weights."""

    def __post_init__(self) -> None:
        positive = {"epochs": self.epochs, "batch_size": self.batch_size, "accumulation": self.accumulation}
        for name, count in positive.items():
            if count < 1:
                raise ValueError(f"{name} must be at least 1, got {count}")
        shares = {"label_smoothing": self.label_smoothing, "erasing": self.erasing, "ema_decay": self.ema_decay}
        for name, value in shares.items():
            if not 0 <= value < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, got {value}")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay must be above 0 and at most 1, got {self.layer_decay}")
        if not 0 <= self.warmup_epochs <= self.epochs:
            raise ValueError(f"warmup_epochs must lie in 0..{self.epochs}, got {self.warmup_epochs}")
        not_negative = {"base_learning_rate": self.base_learning_rate, "min_learning_rate": self.min_learning_rate}
        not_negative |= {"weight_decay": self.weight_decay, "mixup": self.mixup, "cutmix": self.cutmix}
        not_negative |= {"seed": self.seed, "transfer_weight": self.transfer_weight or 0}
        for name, number in not_negative.items():
            if not 0 <= number < inf:
                raise ValueError(f"{name} must be at least 0 and finite, got {number}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must be at least 0 and below 1, got {self.betas[0]} and {self.betas[1]}")
        for name, (low, high), most in (("crop_scale", self.crop_scale, 1), ("crop_ratio", self.crop_ratio, inf)):
            if not 0 < low <= high <= most or high == inf:
                bound = ", at most 1" if most == 1 else ""
                raise ValueError(f"{name} must be two numbers above 0, the smaller first{bound}, got {low} and {high}")
        policy = self.random_augment.partition("-")[0]
        if policy not in _POLICIES:
            known = ", ".join(_POLICIES[1:])
            raise ValueError(f"random_augment must be empty or begin with one of {known}, got {self.random_augment!r}")
        if self.min_learning_rate > self.learning_rate:
            raise ValueError(
                "min_learning_rate must be at most the peak rate, base_learning_rate * batch_size / 256, got "
                f"{self.min_learning_rate:g} and {self.base_learning_rate:g} * {self.batch_size} / 256 = "
                f"{self.learning_rate:g}; lower min_learning_rate along with them, in the same call, or raise the peak"
            )
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision must be 'float32' or 'bfloat16', got {self.precision!r}")

    @property
    def learning_rate(self) -> float:
        """Peak learning rate."""
        return self.base_learning_rate * self.batch_size / 256

    def loop(self, images: int) -> TrainingSettings:
        """Return the settings of the training loop for a data set of this many images."""
        updates = max(1, self.epochs * images // self.batch_size)
        return TrainingSettings(
            updates=updates,
            batch_size=self.batch_size,
            accumulation=self.accumulation,
            learning_rate=self.learning_rate,
            min_learning_rate=self.min_learning_rate,
            warmup=round(updates * self.warmup_epochs / self.epochs),
            betas=self.betas,
            weight_decay=self.weight_decay,
            ema_decay=self.ema_decay,
            precision=self.precision,
            math_attention=self.math_attention,
            workers=self.workers,
            seed=self.seed,
        )

    def config(self) -> dict[str, Any]:
        """Return the settings that determine the result: all except ``workers`` and ``compile``."""
        return {name: value for name, value in asdict(self).items() if name not in _FREE}
