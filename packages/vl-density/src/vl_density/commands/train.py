"""`vl-density train`: a density of one's own images."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from vl_core.cli import note_on_interruption
from vl_core.training import TrainingSettings

from vl_density.charts.grids import draw_grid
from vl_density.commands._images import open_images
from vl_density.commands.settings.train import Train
from vl_density.models.density import AutoregressiveDensity
from vl_density.models.pixel_cnn import PixelCNN
from vl_density.models.pixel_cnn_pp import PixelCNNPP
from vl_density.models.transformer import ImageTransformer
from vl_density.quantization import quantize
from vl_density.training.likelihood import train_density

_KINDS: dict[str, Any] = {
    "pixelcnn": PixelCNN,
    "pixelcnn++": PixelCNNPP,
    "transformer": ImageTransformer,
}


def run(settings: Train) -> None:
    """Train what `settings.out` does not contain yet, and write the model and samples.

    Raises:
        ValueError: If no image can be read, the size does not go with the model, or the folder holds a run of other
            settings.
        OSError: If a file is missing or damaged.
    """
    settings.check()
    opened = open_images(settings.images, settings.split, "train", limit=settings.limit, exclude=settings.out)
    channels, height, width = opened.common_shape(settings.size)
    dataset = opened.fitted((channels, height, width))
    if settings.conditional:
        dataset = dataset.subset(np.flatnonzero(dataset.labels >= 0).tolist())
    torch.manual_seed(settings.seed)
    model: AutoregressiveDensity = _KINDS[settings.model](
        image_size=(height, width),
        channels=channels,
        levels=settings.levels,
        head=settings.head,
        num_classes=len(dataset.classes) if settings.conditional else 0,
        width=settings.width,
        layers=settings.layers,
    )
    training = TrainingSettings(
        updates=settings.updates,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        warmup=settings.updates // 20,
        max_grad_norm=1,
        workers=settings.workers,
        seed=settings.seed,
    )
    with note_on_interruption("rerun to resume from the last checkpoint"):
        train_density(
            model,
            dataset,
            training,
            settings.out,
            mutation_rate=settings.mutation_rate,
            order_seed=settings.seed,
            config={
                "images": settings.images,
                "split": settings.split,
                "count": len(dataset),
                "names": hashlib.sha256("\n".join(dataset.names).encode()).hexdigest()[:16],
                "shape": [channels, height, width],
            },
        )
    model.save_pretrained(settings.out / "model")
    classes = [index % model.num_classes for index in range(16)] if model.num_classes else None
    samples = model.sample(16, classes, generator=torch.Generator().manual_seed(settings.seed))
    draw_grid(settings.out / "samples.png", samples, title=f"samples after {settings.updates:,} updates")
    few = range(min(200, len(dataset)))
    images, labels = torch.stack([dataset[index][0] for index in few]), torch.as_tensor(dataset.labels[: len(few)])
    print(f"{_bits(model, images, labels, settings):.3f} bits per dimension of {len(few)} training images")
    print(f"wrote model/ and samples.png to {settings.out}")


@torch.no_grad()
def _bits(model: AutoregressiveDensity, images: torch.Tensor, labels: torch.Tensor, settings: Train) -> float:
    """Mean bits per dimension, in portions."""
    found = []
    for part, classes in zip(torch.split(images, 64), torch.split(labels, 64), strict=True):
        rounded = quantize(part, settings.levels)
        found.append(model.bits_per_dim(rounded, classes if model.num_classes else None))
    return torch.cat(found).mean().item()
