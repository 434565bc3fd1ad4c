"""Training settings for common model sizes.

The ViT-L settings are published ones for ImageNet-1k at 224 pixels: from Attention Transfer (Li et al., 2024) for
distillation and copying, and from masked autoencoders (He et al., 2022), on which those build, for fine-tuning and
training from scratch; batch size 2,048, and 1,024 for fine-tuning. For ViT-B fine-tuning is published too; the other
ViT-B settings are those of ViT-L with a stronger layer decay, since it has half the blocks, and are a starting point.
None of these was measured here. The settings for small images were tuned on Fashion-MNIST, see the package's page.

Two settings belong to the model instead: ``layers="first:18"`` and ``drop_path=0.2`` for distillation into ViT-L.
"""

from __future__ import annotations

from dataclasses import replace

from vl_attention.training.settings import TrainSettings


def vit_large_distill() -> TrainSettings:
    """Attention distillation: 200 epochs, 20 of them warm-up, learning rate 8e-4."""
    return TrainSettings()


def vit_large_copy() -> TrainSettings:
    """Attention copy: 100 epochs, 5 of them warm-up, learning rate 8e-3 to 2e-3, layer decay 0.75."""
    return TrainSettings(
        epochs=100,
        warmup_epochs=5,
        base_learning_rate=1e-3,
        min_learning_rate=2e-3,
        betas=(0.9, 0.999),
        weight_decay=0.05,
        layer_decay=0.75,
    )


def vit_large_fine_tune() -> TrainSettings:
    """Fine-tuning: 50 epochs, 5 of them warm-up, learning rate 4e-3, layer decay 0.75, no EMA."""
    return TrainSettings(
        epochs=50,
        warmup_epochs=5,
        batch_size=1024,
        base_learning_rate=1e-3,
        betas=(0.9, 0.999),
        weight_decay=0.05,
        layer_decay=0.75,
        ema_decay=0.0,
    )


def vit_large_scratch() -> TrainSettings:
    """Training from scratch, with the settings of distillation."""
    return vit_large_distill()


def vit_base_distill() -> TrainSettings:
    """Attention distillation into ViT-B, with the settings of ViT-L."""
    return vit_large_distill()


def vit_base_copy() -> TrainSettings:
    """Attention copy into ViT-B, with the settings of ViT-L and layer decay 0.65 for half the blocks."""
    return replace(vit_large_copy(), layer_decay=0.65)


def vit_base_fine_tune() -> TrainSettings:
    """Fine-tuning of ViT-B: 100 epochs, learning rate 2e-3, layer decay 0.65."""
    return replace(vit_large_fine_tune(), epochs=100, base_learning_rate=5e-4, layer_decay=0.65)


def vit_base_scratch() -> TrainSettings:
    """Training ViT-B from scratch: 300 epochs."""
    return replace(vit_large_scratch(), epochs=300)


def small_images_copy() -> TrainSettings:
    """Attention copy into a small ViT on small images with few labels, on a CPU: mild augmentation and no mixing."""
    return TrainSettings(
        epochs=16,
        warmup_epochs=1.6,
        batch_size=32,
        base_learning_rate=16e-3,
        min_learning_rate=1e-6,
        weight_decay=0.05,
        mixup=0.0,
        cutmix=0.0,
        random_augment="",
        crop_scale=(0.6, 1.0),
        erasing=0.0,
        ema_decay=0.0,
        precision="float32",
        math_attention=True,
    )


def small_images_scratch() -> TrainSettings:
    """Training a small ViT from scratch, at half the learning rate of copying."""
    return replace(small_images_copy(), base_learning_rate=8e-3)


def small_images_distill() -> TrainSettings:
    """Attention distillation into a small ViT, at four times the learning rate of copying."""
    return replace(small_images_copy(), base_learning_rate=64e-3)


def small_images_fine_tune() -> TrainSettings:
    """Fine-tuning of a small ViT: layer decay 0.75."""
    return replace(small_images_copy(), layer_decay=0.75)


def small_images_pretrain() -> TrainSettings:
    """Masked autoencoding with a small ViT on unlabeled images."""
    return replace(
        small_images_copy(),
        epochs=8,
        warmup_epochs=1,
        batch_size=256,
        base_learning_rate=2e-3,
        label_smoothing=0.0,
        crop_scale=(0.5, 1.0),
        ema_decay=0.999,
    )
