"""Images in folders named like what a model takes them for, and some of them like something else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from vl_diffusion import DiffusionClassifier, Exhaustive


def make_folder(folder: Path, model: Path, *, count: int, draws: int, wrong: int = 4) -> Path:
    """Gray 28x28 PNGs; every `wrong`-th is in the folder of the class after the one that the model finds."""
    rng = np.random.default_rng(7)
    images = [Image.fromarray(rng.integers(0, 256, (28, 28), np.uint8)) for _ in range(count)]
    classifier = DiffusionClassifier.from_pretrained(model, search=Exhaustive(draws))
    found = classifier.classify(images).predictions
    for i, (image, label) in enumerate(zip(images, found, strict=True)):
        name = classifier.classes[(label + (i % wrong == 0)) % len(classifier.classes)]
        (folder / name).mkdir(parents=True, exist_ok=True)
        image.save(folder / name / f"{i:02d}.png")
    return folder
