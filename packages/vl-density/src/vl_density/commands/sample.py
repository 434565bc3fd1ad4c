"""`vl-density sample`: images of a density."""

from __future__ import annotations

import numpy as np
import torch
from vl_core.devices import find_device
from vl_core.tables import write_rows

from vl_density.charts.grids import draw_grid
from vl_density.commands.settings.sample import Sample
from vl_density.models.pretrained import load_density
from vl_density.ood.likelihoods import log_probs
from vl_density.quantization import bits_per_dim


def run(settings: Sample) -> None:
    """Draw the images, and write them with their bits per dimension.

    Raises:
        ValueError: If the condition does not fit the density.
        OSError: If the density is missing or damaged.
    """
    settings.check()
    model = load_density(settings.density).to(find_device(settings.device))
    generator = torch.Generator().manual_seed(settings.seed)
    images = model.sample(settings.count, settings.condition, generator=generator, progress=True).cpu()
    nats = torch.from_numpy(log_probs(model, images, condition=settings.condition))
    bits = bits_per_dim(nats, model.dimensions).tolist()
    settings.out.mkdir(parents=True, exist_ok=True)
    pixels = (images * 255).round().to(torch.uint8).movedim(1, -1).numpy()
    np.savez_compressed(settings.out / "samples.npz", x=pixels)
    write_rows(
        settings.out / "samples.csv",
        [{"image": index, "log_prob": nats[index].item(), "bits_per_dim": value} for index, value in enumerate(bits)],
    )
    draw_grid(settings.out / "samples.png", images[:64], title=f"samples of {settings.density}")
    print(f"{len(bits)} samples of {settings.density}: {np.mean(bits):.3f} bits per dimension on average")
    print(f"wrote samples.png, samples.npz and samples.csv to {settings.out}")
