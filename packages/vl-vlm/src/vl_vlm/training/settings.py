"""Settings of contrastive training, and recipes: functions that return them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from vl_core.training import Precision, TrainingSettings


@dataclass(frozen=True)
class ContrastiveSettings:
    """Settings of `train_dual_encoder`.

    Raises:
        ValueError: If a value is out of range.
    """

    updates: int = 1000
    """Steps of the optimizer in all."""
    batch_size: int = 256
    """Images an update, over all processes: each is told apart from all others."""
    sub_batch: int = 0
    """Images whose activations a process has in memory at a time; 0 for all. The update is the same."""
    learning_rate: float = 5e-4
    """Peak learning rate."""
    min_learning_rate: float = 0.0
    """Learning rate at the end of the cosine."""
    warmup: int = 100
    """Updates over which the learning rate rises linearly from zero."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Betas of AdamW."""
    weight_decay: float = 0.2
    """Weight decay of AdamW; vectors (biases, norms, scale and bias of the loss) have none."""
    max_grad_norm: float = 1.0
    """Norm to which gradients are clipped; 0 for no clipping."""
    max_scale: float = 100.0
    """Largest scale of the logits; 0 for no limit."""
    lock_image: bool = False
    """Freeze the network of images (LiT)."""
    crop_scale: tuple[float, float] = (0.9, 1.0)
    """Share of the area that a random crop keeps, at least and at most."""
    flip: bool = False
    """Flip images at random; never for captions that speak of left and right."""
    precision: Precision = "float32"
    """Precision of the forward pass: ``"bfloat16"`` is autocast; weights are float32 either way."""
    workers: int = 0
    """Processes that prepare images, for each process that trains; they change no number."""
    seed: int = 0
    """Seed of order, choice of captions, crops and dropout."""

    def __post_init__(self) -> None:
        if self.sub_batch < 0:
            raise ValueError(f"sub_batch must be at least 0, got {self.sub_batch}; 0 is for the whole batch at once")
        if self.batch_size < 2:
            raise ValueError(
                f"batch_size must be at least 2, got {self.batch_size}; one image has nothing to differ from"
            )
        if not (self.max_scale == 0 or 1 <= self.max_scale < math.inf):
            raise ValueError(f"max_scale must be at least 1, or 0 for no limit, got {self.max_scale:g}")
        low, high = self.crop_scale
        if not 0 < low <= high <= 1:
            raise ValueError(f"crop_scale must be two shares with 0 < low <= high <= 1, got {self.crop_scale}")
        self.loop()

    def loop(self) -> TrainingSettings:
        """The settings of the loop."""
        names = ("updates", "batch_size", "learning_rate", "min_learning_rate", "warmup", "betas", "weight_decay")
        more = ("max_grad_norm", "precision", "workers", "seed")
        return TrainingSettings(**{name: getattr(self, name) for name in names + more})


def clip_recipe() -> ContrastiveSettings:
    """CLIP's optimizer for ViT-B/32: learning rate 5e-4 after 2,000 updates, betas 0.9 and 0.98, weight decay 0.2.

    Radford et al. (2021, section 2.5 and appendix F), batch size 32,768 there. Not run at that size here.
    """
    return ContrastiveSettings(updates=400_000, batch_size=32_768, warmup=2000, max_grad_norm=0.0)


def siglip_recipe() -> ContrastiveSettings:
    """SigLIP's optimizer: learning rate 1e-3, betas 0.9 and 0.95, weight decay 1e-4, no limit of the scale.

    Zhai et al. (2023, section 3.2 and 4), for a model with ``loss="sigmoid"``. Not run at that size here.
    """
    return replace(
        clip_recipe(), learning_rate=1e-3, betas=(0.9, 0.95), weight_decay=1e-4, max_scale=0.0, max_grad_norm=1.0
    )


def lit_recipe() -> ContrastiveSettings:
    """Locked-image tuning: the network of images stays as it is, the text network learns to read it.

    Zhai et al. (2022), with the optimizer of `siglip_recipe`, which goes with either loss. Not run at that size here.
    """
    return replace(siglip_recipe(), lock_image=True, max_scale=100.0)


def small_recipe() -> ContrastiveSettings:
    """Settings for a small model and a few thousand small images on a CPU; measured on procedural scenes."""
    return ContrastiveSettings(updates=500, batch_size=128, learning_rate=2e-3, warmup=50, weight_decay=0.1)
