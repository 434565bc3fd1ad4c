"""The web of the study: photographs, clip art, emoji in four styles and garments, from `$VL_DATA` and what ships."""

from __future__ import annotations

import numpy as np
from vl_core.data import ImageDataset, open_dataset

from vl_explorer.search.captions import captions_of
from vl_explorer.worlds.joining import build, credited, join, relabeled
from vl_explorer.worlds.relevance import FULL_RULES
from vl_explorer.worlds.sources import (
    EMOJI_STYLES,
    FASHION_CREDIT,
    data_folder,
    open_clip_art,
    open_emoji_style,
    open_photographs,
)
from vl_explorer.worlds.world import World

STYLE = "fluent"
"""Style of the tasks that are taken from emoji, which the web lacks then: or all of it would look like the target."""


def open_full(task: str, every_word: bool) -> World:
    """19,000 to 20,000 images: Caltech-101, Openclipart, emoji of four styles, and 2,000 of Fashion-MNIST.

    A task's own images are test photographs of its classes where there are some, which the web lacks then, and emoji of
    one style otherwise.
    """
    rule = FULL_RULES[task]
    root = data_folder()
    photographs, clip_art = open_photographs(root), open_clip_art(root)
    styles = {style: open_emoji_style(root, style) for style in EMOJI_STYLES}
    fashion = credited(open_dataset("fashion", split="test"), *FASHION_CREDIT)
    from_photographs = len(rule.photographs) > 2
    if from_photographs:
        kept_out, photographs = _take_photographs(photographs, rule.photographs)
    else:
        entries = styles[STYLE].metadata or ()
        own = np.array([rule.of_emoji(entry) for entry in entries])
        kept_out, _ = _divide(styles.pop(STYLE), own)
        metadata = kept_out.metadata or ()
        kept_out = relabeled(kept_out, lambda index: str(metadata[index]["subgroup"]))
    parts = [photographs, clip_art, *styles.values(), fashion]
    web = join("full", parts, [captions_of(part) for part in parts])
    found = [photographs.classes[label] in rule.photographs for label in photographs.labels.tolist()]
    found += [rule.of_clip_art(entry["path"]) for entry in clip_art.metadata or ()]
    found += [rule.of_emoji(entry) for part in styles.values() for entry in part.metadata or ()]
    return build("full", task, web, kept_out, np.flatnonzero(found).tolist(), every_word, f"full-{task}")


def _take_photographs(photographs: ImageDataset, classes: frozenset[str]) -> tuple[ImageDataset, ImageDataset]:
    """Test photographs of some classes by class, and all others."""
    metadata = photographs.metadata or ()
    own = np.array(
        [
            photographs.classes[label] in classes and entry["split"] == "test"
            for label, entry in zip(photographs.labels.tolist(), metadata, strict=True)
        ]
    )
    taken, left = _divide(photographs, own)
    return relabeled(taken, lambda index: taken.classes[taken.labels[index]]), left


def _divide(dataset: ImageDataset, mask: np.ndarray) -> tuple[ImageDataset, ImageDataset]:
    return dataset.subset(np.flatnonzero(mask)), dataset.subset(np.flatnonzero(~mask))
