"""The two data sets that ship inside the wheel; `experiments/builtin_data/build_builtin_data.py` makes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from vl_core.data._arrays import ArrayImages
from vl_core.data._contents import ImageContents
from vl_core.data._specs import EMOJI_STYLES
from vl_core.data._splits import select_splits
from vl_core.data.idx import read_idx

BUILTIN = Path(__file__).parent / "builtin"

FASHION_CLASSES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)


def open_fashion(split: str | None) -> ImageContents:
    """10,000 training and 2,000 test images of Fashion-MNIST, 28 x 28 gray, balanced over ten classes.

    Any ten images in a row from a multiple of ten hold every class once. ``metadata`` gives each image's split and
    its position in the original (``source_index``).
    """
    folder = BUILTIN / "fashion"
    pixels, labels, names, metadata = [], [], [], []
    for part in select_splits(split, ("train", "test"), "fashion"):
        pixels.append(read_idx(folder / f"{part}-images.idx.gz"))
        labels.append(read_idx(folder / f"{part}-labels.idx.gz"))
        source = np.load(folder / f"{part}-source-index.npy", allow_pickle=False)
        names += [f"fashion/{part}/{index:05d}" for index in range(len(source))]
        metadata += [{"split": part, "source_index": int(index)} for index in source]
    return ImageContents(
        ArrayImages(np.concatenate(pixels)),
        np.concatenate(labels),
        name="fashion",
        split=split,
        classes=FASHION_CLASSES,
        names=names,
        metadata=metadata,
    )


def open_emoji(split: str | None, style: str | None = None) -> ImageContents:
    """Emoji by three designers, 32 x 32 RGB on white; no concept is in two splits.

    The label is the group (``"food & drink"``), the caption the concept's name (``"hot dog"``). ``metadata`` gives
    ``style``, ``hexcode``, ``label``, ``group``, ``subgroup``, ``tags`` and ``split``.

    Args:
        split: ``"train"``, ``"val"``, ``"test"``, or None for all.
        style: ``"noto"``, ``"twemoji"`` or ``"fluent"``; None for all, one after the other.
    """
    folder = BUILTIN / "emoji"
    lines = (folder / "concepts.jsonl").read_text(encoding="utf-8").splitlines()
    concepts: list[dict[str, Any]] = [json.loads(line) for line in lines]
    # In the order of the Unicode charts, which is the order of the file.
    classes = tuple(dict.fromkeys(concept["group"] for concept in concepts))
    name = "emoji" if style is None else f"emoji:{style}"
    wanted = set(select_splits(split, ("train", "val", "test"), name))
    pixels, metadata = [], []
    for drawn in EMOJI_STYLES if style is None else (style,):
        # Each file holds the concepts that its designer drew, in the order of concepts.jsonl.
        own = [concept for concept in concepts if drawn in concept["styles"]]
        keep = [index for index, concept in enumerate(own) if concept["split"] in wanted]
        pixels.append(read_idx(folder / f"{drawn}-images.idx.gz")[keep])
        for index in keep:
            known = {key: value for key, value in own[index].items() if key != "styles"}
            metadata.append(known | {"style": drawn, "tags": tuple(known["tags"])})
    return ImageContents(
        ArrayImages(np.concatenate(pixels)),
        [classes.index(entry["group"]) for entry in metadata],
        name=name,
        split=split,
        classes=classes,
        captions=[entry["label"] for entry in metadata],
        names=[f"emoji/{entry['style']}/{entry['hexcode']}" for entry in metadata],
        metadata=metadata,
    )
