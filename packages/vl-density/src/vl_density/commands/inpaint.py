"""`vl-density inpaint`: completions of images."""

from __future__ import annotations

import numpy as np
import torch
from vl_core.devices import find_device

from vl_density.charts.grids import draw_grid
from vl_density.commands._images import open_images
from vl_density.commands.settings.inpaint import Inpaint
from vl_density.models.pretrained import load_density


def run(settings: Inpaint) -> None:
    """Complete the images, and write them beside the originals.

    Raises:
        ValueError: If no image can be read, or the density has classes.
        OSError: If a file is missing or damaged.
    """
    settings.check()
    model = load_density(settings.density).to(find_device(settings.device))
    opened = open_images(settings.images, settings.split, "test", limit=settings.count, exclude=settings.out)
    images = opened.batch((model.channels, *model.image_size), model.levels)
    height, width = images.shape[2:]
    known = torch.zeros(height, width, dtype=torch.bool)
    side = height if settings.known == "top" else width
    count = round(settings.share * side)
    if not 0 < count < side:
        raise ValueError(f"--share must leave some of {side} rows known and some not, got {settings.share}")
    if settings.known == "top":
        known[:count] = True
    else:
        known[:, :count] = True
    generator = torch.Generator().manual_seed(settings.seed)
    completed = model.inpaint(images, known, generator=generator, progress=True).cpu()
    settings.out.mkdir(parents=True, exist_ok=True)
    pixels = (completed * 255).round().to(torch.uint8).movedim(1, -1).numpy()
    np.savez_compressed(settings.out / "inpaint.npz", x=pixels)
    # Rows of originals and of completions take turns.
    rows = zip(torch.split(images[:32], 8), torch.split(completed[:32], 8), strict=True)
    shown = torch.cat([torch.cat([*pair]) for pair in rows])
    draw_grid(settings.out / "inpaint.png", shown, title="originals, and completions below them")
    print(f"completed {len(images)} images, of which {int(known.sum())} of {known.numel()} pixels were known")
    print(f"wrote inpaint.png and inpaint.npz to {settings.out}")
