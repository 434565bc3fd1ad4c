"""Chart of evidence maps: which parts of an image favor a class over its rivals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from vl_core.charts import PAGE_WIDTH, SMALL, TEXT, TITLE, label_text, new_figure, save_figure, show_image

from vl_diffusion.classification.maps import evidence_map, upsample_maps


def draw_error_maps(
    path: Path, image: Any, maps: np.ndarray, classes: Sequence[str], *, name: str | None = None, at_most: int = 4
) -> None:
    """Draw an image, and over it the evidence for one class against its closest rivals.

    Blue regions favor the class, red ones the rival; all panels share one scale.

    Args:
        path: The file to write.
        image: The image: a PIL image, or an array ``(H, W)`` or ``(H, W, 3)``.
        maps: ``(K, h, w)`` of `vl_diffusion.error_maps`.
        classes: The K class names.
        name: The class that the evidence is for; by default the one with the smallest error.
        at_most: Maximum number of rivals, those with the smallest errors.

    Raises:
        ValueError: If maps and classes differ in number or are fewer than two, or `name` is not a class.
    """
    if len(maps) != len(classes) or len(maps) < 2:
        raise ValueError(
            f"maps and classes must have the same length of at least 2, got {len(maps)} and {len(classes)}"
        )
    if name is not None and name not in classes:
        raise ValueError(f"name must be one of the {len(classes)} classes, got {name!r}")
    order = np.argsort(maps.mean((1, 2)), kind="stable")
    best = int(order[0]) if name is None else list(classes).index(name)
    rivals = [int(k) for k in order if k != best][:at_most]
    pixels = np.asarray(image)
    gray = pixels if pixels.ndim == 2 else pixels[..., :3].mean(-1)
    evidence = upsample_maps(np.stack([evidence_map(maps[best], maps[k]) for k in rivals]), *gray.shape)
    # Limit the influence of outlying pixels on the scale.
    limit = max(float(np.nanquantile(np.abs(evidence), 0.99)), 1e-12)
    figure = new_figure(PAGE_WIDTH, (PAGE_WIDTH - 0.7) / (len(rivals) + 1) + 0.75)
    cells = figure.subplots(1, len(rivals) + 1, squeeze=False)[0]
    show_image(cells[0], pixels)
    cells[0].set_title(classes[best], fontsize=TEXT, fontweight="bold", parse_math=False)
    for axes, rival, values in zip(cells[1:], rivals, evidence, strict=True):
        show_image(axes, gray / max(gray.max(), 1))
        shown = axes.imshow(values, cmap="RdBu", vmin=-limit, vmax=limit, alpha=0.75)
        axes.set_title(label_text(f"against {classes[rival]}"), fontsize=TEXT, parse_math=False)
    figure.colorbar(shown, ax=list(cells), fraction=0.03, pad=0.01).ax.tick_params(labelsize=SMALL)
    figure.suptitle(f"Blue: smaller denoising error as {classes[best]}", fontsize=TITLE, parse_math=False)
    save_figure(figure, path)
