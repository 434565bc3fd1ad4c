"""Features of all images of the web of the study by a start encoder, computed once and kept in a folder.

    python packages/vl-explorer/experiments/search/world_features.py --encoder imagenet --out runs/search

An interruption costs the last 512 images; the same command goes on from there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from vl_core.data import ImageDataset
from vl_core.progress import progress_bar
from vl_core.runs import atomic_write
from vl_explorer import ImageEncoder, NetworkEncoder, World, open_start_backbone, open_start_encoder, open_world

TASKS = ("animals", "vehicles", "food")
CHUNK = 512

Features = dict[str, NDArray[np.float32]]
"""Features by the name of an image, of unit length."""


def features_of(encoder: str, worlds: list[World], folder: Path) -> Features:
    """Features by the start encoder of this name of the web, the target and the test side; computed once."""
    datasets = [part for world in worlds for part in (world.web, world.target, world.held_out.test)]
    places = {name: (part, index) for part in datasets for index, name in enumerate(part.names)}
    names = sorted(places)
    chunks = [names[start : start + CHUNK] for start in range(0, len(names), CHUNK)]
    encode = None
    found: Features = {}
    for number, chunk in enumerate(progress_bar(chunks, desc=f"features of {encoder}", unit="chunk")):
        path = folder / f"features-{encoder}" / f"{number:04d}.npz"
        if not path.exists():
            encode = encode or _open(encoder)
            rows = encode([_image(*places[name]) for name in chunk])
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path, "wb") as file:
                np.savez(file, rows=rows.astype(np.float16), names=np.array(chunk))
        with np.load(path) as file:
            if file["names"].tolist() != chunk:
                raise SystemExit(f"{path} is of other images; give another --out")
            found |= dict(zip(chunk, file["rows"].astype(np.float32), strict=True))
    return found


def _open(name: str) -> ImageEncoder:
    """The start encoder, with weights in the order that convolutions on a CPU are faster in."""
    if name == "pixels":
        return open_start_encoder(name)
    backbone = open_start_backbone(name)
    size = 224 if backbone.config is None or backbone.config.image_size is None else backbone.config.image_size
    return NetworkEncoder(backbone.to(memory_format=torch.channels_last), image_size=size, name=name)


def _image(dataset: ImageDataset, index: int) -> Image.Image:
    image: Image.Image = dataset[index][0]
    return image


def main() -> None:
    """Compute the features."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="imagenet", help="a start encoder, such as imagenet or distilled")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    features_of(args.encoder, [open_world("full", target=task) for task in TASKS], args.out)


if __name__ == "__main__":
    main()
