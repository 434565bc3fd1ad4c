"""The web that ships: emoji in two styles and Fashion-MNIST, with tasks in the third style and the test images."""

from __future__ import annotations

import numpy as np
from vl_core.data import ImageDataset, open_dataset

from vl_explorer.search.captions import captions_of
from vl_explorer.worlds.joining import build, credited, join, relabeled, tagged_captions
from vl_explorer.worlds.relevance import BUILTIN_RULES
from vl_explorer.worlds.sources import EMOJI_CREDITS, FASHION_CREDIT
from vl_explorer.worlds.world import World

STYLE = "fluent"
"""Style of the tasks among emoji, which the web does not have."""


def open_builtin(task: str, every_word: bool) -> World:
    """13,566 images: emoji of noto and twemoji, and the training images of Fashion-MNIST that ship."""
    rule = BUILTIN_RULES[task]
    emoji = [credited(open_dataset(f"emoji:{style}"), *EMOJI_CREDITS[style]) for style in ("noto", "twemoji")]
    fashion = credited(open_dataset("fashion", split="train"), *FASHION_CREDIT)
    web = join("builtin", [*emoji, fashion], [*(tagged_captions(part) for part in emoji), captions_of(fashion)])
    found = [rule.of_emoji(entry) for part in emoji for entry in part.metadata or ()]
    found += [fashion.classes[label] in rule.garments for label in fashion.labels.tolist()]
    return build("builtin", task, web, _kept_out(task), np.flatnonzero(found).tolist(), every_word)


def _kept_out(task: str) -> ImageDataset:
    """Labeled images of a task: emoji of the third style by subgroup, or test images of Fashion-MNIST by class."""
    rule = BUILTIN_RULES[task]
    if rule.garments:
        fashion = open_dataset("fashion", split="test")
        names = fashion.classes
        chosen = fashion.subset(np.flatnonzero([names[label] in rule.garments for label in fashion.labels.tolist()]))
        return relabeled(chosen, lambda index: names[chosen.labels[index]])
    emoji = open_dataset(f"emoji:{STYLE}")
    own = emoji.subset(index for index, entry in enumerate(emoji.metadata or ()) if rule.of_emoji(entry))
    metadata = own.metadata or ()
    return relabeled(own, lambda index: str(metadata[index]["subgroup"]))
