"""`vl-density score`: exact log-probabilities of images."""

from __future__ import annotations

import numpy as np
import torch
from vl_core.devices import find_device
from vl_core.progress import progress_bar
from vl_core.tables import write_rows

from vl_density.charts.grids import draw_grid
from vl_density.commands._images import open_images
from vl_density.commands.settings.score import Score
from vl_density.models.pretrained import load_density
from vl_density.ood.likelihoods import log_probs
from vl_density.quantization import bits_per_dim

_BATCH = 64


def run(settings: Score) -> None:
    """Score the images, and write the table and the figure.

    Raises:
        ValueError: If no image can be read.
        OSError: If a file is missing or damaged.
    """
    settings.check()
    model = load_density(settings.density).to(find_device(settings.device))
    opened = open_images(settings.images, settings.split, "test", limit=settings.limit, exclude=settings.out)
    dataset, images = opened.dataset, opened.batch((model.channels, *model.image_size), model.levels)
    count = len(dataset)
    parts = torch.split(images, _BATCH)
    nats = np.concatenate([log_probs(model, part) for part in progress_bar(parts, desc="scoring", unit="batches")])
    bits = bits_per_dim(torch.from_numpy(nats), model.dimensions).numpy()
    settings.out.mkdir(parents=True, exist_ok=True)
    write_rows(
        settings.out / "scores.csv",
        [
            {"image": dataset.names[index], "log_prob": float(nats[index]), "bits_per_dim": float(bits[index])}
            for index in range(count)
        ],
    )
    order = np.argsort(bits)
    shown = torch.from_numpy(np.concatenate([order[:8], order[-8:]])) if count >= 16 else torch.from_numpy(order)
    draw_grid(settings.out / "scores.png", images[shown], title="most probable above, least below")
    low, middle, high = np.quantile(bits, [0.05, 0.5, 0.95])
    spread = f"median {middle:.3f} bits per dimension, 5 % to 95 %: {low:.3f} to {high:.3f}"
    print(f"{count} images under {settings.density}: {spread}")
    print(f"wrote scores.csv and scores.png to {settings.out}")
