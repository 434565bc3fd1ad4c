r"""Make the data sets that ship inside vl-core: a part of Fashion-MNIST, and emoji in three styles.

    python packages/vl-core/experiments/builtin_data/build_builtin_data.py \
        --source <folder with fashion_mnist/ and emoji_styles/>

The folder defaults to `$VL_DATA`. `fashion_mnist/` holds the four original IDX files (the Debian package
`dataset-fashion-mnist` has them); `emoji_styles/` holds `concepts.jsonl` and `<style>_64.npz` with arrays `x`
(n, 64, 64, 3) and `hexcode` (n,). The same source and seed give the same arrays again. Data cards and license notices
lie beside the data and are written by hand.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from vl_core.data.idx import read_idx

TARGET = Path(__file__).resolve().parents[2] / "src/vl_core/data/builtin"
PER_CLASS = {"train": 1000, "test": 200}
ORIGINAL = {"train": "train", "test": "t10k"}
STYLES = ("noto", "twemoji", "fluent")
CONCEPT_KEYS = ("hexcode", "label", "group", "subgroup", "tags", "split")

UInt8 = npt.NDArray[np.uint8]


def write_idx(path: Path, values: UInt8) -> None:
    """Write unsigned bytes as gzip-compressed IDX, without a time stamp."""
    header = struct.pack(f">4B{values.ndim}I", 0, 0, 0x08, values.ndim, *values.shape)
    path.write_bytes(gzip.compress(header + values.tobytes(), compresslevel=9, mtime=0))


def choose(labels: UInt8, per_class: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """Choose ``per_class`` images per class, ordered so that any ten consecutive ones hold every class once."""
    columns = []
    for label in range(10):
        members = np.flatnonzero(labels == label)
        columns.append(np.sort(generator.choice(members, per_class, replace=False)))
    return np.stack(columns, axis=1).reshape(-1)


def build_fashion(source: Path, target: Path, seed: int) -> None:
    """Write a stratified part of each split of Fashion-MNIST, with each image's position in the original."""
    target.mkdir(parents=True, exist_ok=True)
    for split, per_class in PER_CLASS.items():
        images = read_idx(source / f"{ORIGINAL[split]}-images-idx3-ubyte.gz")
        labels = read_idx(source / f"{ORIGINAL[split]}-labels-idx1-ubyte.gz")
        generator = np.random.default_rng([seed, sorted(PER_CLASS).index(split)])
        index = choose(labels, per_class, generator)
        write_idx(target / f"{split}-images.idx.gz", images[index])
        write_idx(target / f"{split}-labels.idx.gz", labels[index])
        np.save(target / f"{split}-source-index.npy", index.astype(np.uint16))


def halve(images: UInt8) -> UInt8:
    """Average blocks of two by two pixels, rounded: ``(n, 2h, 2w, 3)`` to ``(n, h, w, 3)``."""
    n, height, width, channels = images.shape
    blocks = images.reshape(n, height // 2, 2, width // 2, 2, channels).astype(np.uint16)
    means: UInt8 = ((blocks.sum(axis=(2, 4)) + 2) // 4).astype(np.uint8)
    return means


def build_emoji(source: Path, target: Path) -> None:
    """Write the three styles at 32 pixels, each in the order of the concepts that it draws."""
    target.mkdir(parents=True, exist_ok=True)
    concepts: list[dict[str, Any]] = []
    for line in (source / "concepts.jsonl").read_text(encoding="utf-8").splitlines():
        concept = json.loads(line)
        styles = [style for style in STYLES if style in concept["styles"]]
        if styles:
            concepts.append({key: concept[key] for key in CONCEPT_KEYS} | {"styles": styles})
    lines = [json.dumps(concept, ensure_ascii=False, separators=(",", ":")) for concept in concepts]
    (target / "concepts.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for style in STYLES:
        with np.load(source / f"{style}_64.npz", allow_pickle=False) as archive:
            position = {str(hexcode): i for i, hexcode in enumerate(archive["hexcode"])}
            order = [position[concept["hexcode"]] for concept in concepts if style in concept["styles"]]
            write_idx(target / f"{style}-images.idx.gz", halve(archive["x"][order]))


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("VL_DATA")
    parser.add_argument("--source", type=Path, default=default and Path(default), required=default is None)
    parser.add_argument("--target", type=Path, default=TARGET)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    build_fashion(args.source / "fashion_mnist", args.target / "fashion", args.seed)
    build_emoji(args.source / "emoji_styles", args.target / "emoji")
    size = sum(path.stat().st_size for path in args.target.rglob("*") if path.is_file())
    print(f"{args.target}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
