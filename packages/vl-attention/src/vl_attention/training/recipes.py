"""Settings of training for models of the usual sizes.

Those of ViT-L are published ones, for ImageNet-1k at 224 pixels: of Attention Transfer (Li et al., 2024) for
distillation and copy, of masked autoencoders (He et al., 2022) for fine-tuning and for training from scratch, which are
the settings that the former build on; 2,048 images an update, and 1,024 in fine-tuning. Of ViT-B fine-tuning is
published too; the others take over those of ViT-L, with a steeper decay over blocks, of which it has half, and are a
starting point. None was measured here. Those of small images were chosen on images of clothes, see the package's
page.

What a recipe does not hold goes to the model: ``layers="first:18"`` and ``drop_path=0.2`` for distillation into ViT-L.
"""

from __future__ import annotations

from dataclasses import replace

from vl_attention.training.settings import TrainSettings


def vit_large_distill() -> TrainSettings:
    """Attention distillation: 200 epochs, 20 of them warm-up, at 8e-4."""
    return TrainSettings()


def vit_large_copy() -> TrainSettings:
    """Attention copy: 100 epochs, 5 of them warm-up, at 8e-3 down to 2e-3, rates falling by 0.75 a block."""
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
    """Fine-tuning: 50 epochs, 5 of them warm-up, at 4e-3, rates falling by 0.75 a block, and no average of weights."""
    return TrainSettings(
        epochs=50,
        warmup_epochs=5,
        batch_size=1024,
        base_learning_rate=1e-3,
        betas=(0.9, 0.999),
        weight_decay=0.05,
        layer_decay=0.75,
        average_decay=0.0,
    )


def vit_large_scratch() -> TrainSettings:
    """Training from scratch: the settings that distillation took over."""
    return vit_large_distill()


def vit_base_distill() -> TrainSettings:
    """Attention distillation into ViT-B, by the settings of ViT-L."""
    return vit_large_distill()


def vit_base_copy() -> TrainSettings:
    """Attention copy into ViT-B, by the settings of ViT-L but for the decay over blocks, of which it has half."""
    return replace(vit_large_copy(), layer_decay=0.65)


def vit_base_fine_tune() -> TrainSettings:
    """Fine-tuning of ViT-B: 100 epochs, at 2e-3, rates falling by 0.65 a block."""
    return replace(vit_large_fine_tune(), epochs=100, base_learning_rate=5e-4, layer_decay=0.65)


def vit_base_scratch() -> TrainSettings:
    """Training ViT-B from scratch: 300 epochs."""
    return replace(vit_large_scratch(), epochs=300)


def small_images() -> TrainSettings:
    """A small ViT on small images and few labels, on a CPU: mild augmentation, and no mixing of images."""
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
        average_decay=0.0,
        precision="float32",
        math_attention=True,
    )


def small_images_scratch() -> TrainSettings:
    """Training such a ViT from scratch, which wants half the rate."""
    return replace(small_images(), base_learning_rate=8e-3)


def small_images_distill() -> TrainSettings:
    """Attention distillation into such a ViT, which bears and wants four times the rate."""
    return replace(small_images(), base_learning_rate=64e-3)


def small_images_fine_tune() -> TrainSettings:
    """Fine-tuning of such a ViT: rates fall by 0.75 a block."""
    return replace(small_images(), layer_decay=0.75)


def small_teacher() -> TrainSettings:
    """Masked autoencoding with such a ViT, for which nothing but images is needed."""
    return replace(
        small_images(),
        epochs=8,
        warmup_epochs=1,
        batch_size=256,
        base_learning_rate=2e-3,
        label_smoothing=0.0,
        crop_scale=(0.5, 1.0),
        average_decay=0.999,
    )
