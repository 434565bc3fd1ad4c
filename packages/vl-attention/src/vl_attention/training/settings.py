"""What a run of training is made of."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from vl_core.training import Precision, TrainingSettings

# How the work is done and not what is done: a resumed run may change it.
_FREE = ("workers", "compile")


@dataclass(frozen=True)
class TrainSettings:
    """How a student, or a plain classifier, is trained. The defaults are those of attention distillation for ViT-L."""

    epochs: int = 200
    """How often each image is seen, on average."""
    warmup_epochs: float = 20
    """Epochs over which the learning rate rises linearly from zero."""
    batch_size: int = 2048
    """Images an update: over all processes and accumulated passes."""
    accumulation: int = 1
    """In how many passes a process computes its share of an update."""
    base_learning_rate: float = 1e-4
    """For 256 images an update; the rate is this times batch size / 256."""
    min_learning_rate: float = 1e-6
    """Where the half cosine ends; not scaled, and at most the peak rate."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Of AdamW."""
    weight_decay: float = 0.3
    """Of AdamW; biases, norms and other vectors have none."""
    layer_decay: float = 1.0
    """What a block's rate is of the rate of the block above; 1 for the same everywhere."""
    transfer_weight: float | None = None
    """What the transfer's loss, a sum over layers, is multiplied by beside the task's; None for the mode's own, see
    `vl_attention.transfer.attention_transfer.DEFAULT_WEIGHTS`."""
    label_smoothing: float = 0.1
    """Share of the target that is spread over all classes."""
    mixup: float = 0.8
    """Strength of mixup; 0 for none."""
    cutmix: float = 1.0
    """Strength of CutMix; 0 for none."""
    random_augment: str = "rand-m9-mstd0.5-inc1"
    """timm's name of an automatic augmentation; empty for none."""
    crop_scale: tuple[float, float] = (0.08, 1.0)
    """Share of an image's area that a random crop keeps."""
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Aspect ratio of a random crop."""
    flip: bool = True
    """Whether images are mirrored at random."""
    erasing: float = 0.25
    """Probability that a rectangle is replaced by noise."""
    average_decay: float = 0.9999
    """Of the moving average of the weights, which is what is evaluated; 0 for none."""
    precision: Precision = "bfloat16"
    """bfloat16: autocast; the weights are float32 either way."""
    math_attention: bool = False
    """Whether attention is computed with its maps in memory: meant for a CPU and few tokens, where the backward
    pass of fused attention is slow."""
    compile: bool = False
    """Whether blocks are compiled; a run that is gone on with may change it, and may then differ in last bits."""
    workers: int = 0
    """Processes that prepare images, for each process that trains; they change nothing in what comes out."""
    seed: int = 0
    """Of the order of images and everything else that is random, but for the model's initial weights."""

    def __post_init__(self) -> None:
        positive = {"epochs": self.epochs, "batch_size": self.batch_size, "accumulation": self.accumulation}
        for name, count in positive.items():
            if count < 1:
                raise ValueError(f"{name} must be at least 1, got {count}")
        shares = {"label_smoothing": self.label_smoothing, "erasing": self.erasing, "average_decay": self.average_decay}
        for name, value in shares.items():
            if not 0 <= value < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, got {value}")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay must be above 0 and at most 1, got {self.layer_decay}")
        if not 0 <= self.warmup_epochs <= self.epochs:
            raise ValueError(f"warmup_epochs must lie in 0..{self.epochs}, got {self.warmup_epochs}")
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
        """The peak rate."""
        return self.base_learning_rate * self.batch_size / 256

    def loop(self, images: int) -> TrainingSettings:
        """Settings of the training loop, for a data set of this many images."""
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
            ema_decay=self.average_decay,
            precision=self.precision,
            math_attention=self.math_attention,
            workers=self.workers,
            seed=self.seed,
        )

    def config(self) -> dict[str, Any]:
        """Return the settings that make a run what it is: all but ``workers`` and ``compile``."""
        return {name: value for name, value in asdict(self).items() if name not in _FREE}
