"""Several data sets as the images of one web, and the parts that are kept out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image
from vl_core.data import ImageDataset

from vl_explorer.embeddings.glove import GloveNouns
from vl_explorer.search.captions import CaptionEngine, captions_of
from vl_explorer.search.ranking.words import words
from vl_explorer.vocabulary.blocklist import is_vulgar
from vl_explorer.vocabulary.concepts import Vocabulary
from vl_explorer.worlds.world import HeldOut, World

TARGET = 100
"""Most images of a target."""

LEAST = 4
"""Images of a class below which it is not held out."""


class JoinedImages:
    """Images of several data sets one after another, read when they are asked for."""

    def __init__(self, parts: Sequence[ImageDataset]) -> None:
        self.parts = tuple(parts)
        self.starts = np.cumsum([0, *(len(part) for part in self.parts)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, index: int) -> Image.Image:
        part = int(np.searchsorted(self.starts, index, side="right")) - 1
        image: Image.Image = self.parts[part][index - int(self.starts[part])][0]
        return image


def join(name: str, parts: Sequence[ImageDataset], captions: Sequence[Sequence[str]]) -> ImageDataset:
    """One data set of several, without labels, with the given captions of each part."""
    metadata = [entry for part in parts for entry in part.metadata or [{}] * len(part)]
    return ImageDataset(
        JoinedImages(parts),
        np.full(len(metadata), -1),
        name=name,
        names=[one for part in parts for one in part.names],
        captions=[caption for part in captions for caption in part],
        metadata=metadata,
    )


def credited(dataset: ImageDataset, author: str, license: str) -> ImageDataset:
    """The images with author and license as metadata, where an image has none of its own."""
    result = dataset.subset(range(len(dataset)))
    own: Sequence[Mapping[str, Any]] = dataset.metadata or [{}] * len(dataset)
    result.metadata = tuple({"author": author, "license": license, **entry} for entry in own)
    return result


def tagged_captions(dataset: ImageDataset) -> list[str]:
    """Captions with the tags of each image behind them, as the page around an image has further words."""
    metadata: Sequence[Mapping[str, Any]] = dataset.metadata or [{}] * len(dataset)
    captions = zip(captions_of(dataset), metadata, strict=True)
    return [" ".join([caption, *entry.get("tags", ())]) for caption, entry in captions]


def relabeled(dataset: ImageDataset, label_of: Callable[[int], str]) -> ImageDataset:
    """The images with the label that a function of their position names, classes in order of first appearance."""
    names = [label_of(index) for index in range(len(dataset))]
    classes = tuple(dict.fromkeys(names))
    result = dataset.subset(range(len(dataset)))
    result.labels = np.array([classes.index(name) for name in names], np.int64)
    result.classes = classes
    return result


def hold_out(dataset: ImageDataset) -> tuple[ImageDataset, HeldOut]:
    """Target and labeled images of a data set.

    Images of each class go by turns to the train side and the test side. The target has the first `TARGET` images of
    the train side, taken by turns from the classes, without their labels. Classes of fewer than `LEAST` images are left
    out.

    Raises:
        ValueError: If fewer than two classes are left.
    """
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes))
    kept = [label for label, count in enumerate(counts) if count >= LEAST]
    if len(kept) < 2:
        raise ValueError(f"{dataset.name} must have two classes of at least {LEAST} images, got {len(kept)}")
    rows = [np.flatnonzero(dataset.labels == label) for label in kept]
    names = dataset.classes

    def side(first: int) -> ImageDataset:
        chosen = dataset.subset(int(row) for part in rows for row in part[first::2])
        return relabeled(chosen, lambda index: names[chosen.labels[index]])

    turns = sorted((turn, place, int(row)) for place, part in enumerate(rows) for turn, row in enumerate(part[::2]))
    target = dataset.subset(row for *_, row in turns[:TARGET])
    target.labels = np.full(len(target), -1, np.int64)
    target.classes = ()
    return target, HeldOut(side(0), side(1))


def known_vocabulary(captions: Iterable[str], embed: GloveNouns) -> Vocabulary:
    """Words of the embedder that are in a caption, so that each brings an image, less vulgar ones.

    Of words that a search takes for the same, such as *cat* and *cats*, the shortest is kept.
    """
    there = {word for caption in captions for word in words(caption)}
    found: dict[str, str] = {}
    for word in sorted(embed.words, key=lambda word: (len(word), word)):
        parts = words(word)
        if len(parts) == 1 and parts[0] in there and word.isalpha() and len(word) > 1:
            found.setdefault(parts[0], word)
    return Vocabulary.of(sorted(found.values())).without(is_vulgar)


def build(
    name: str,
    task: str,
    web: ImageDataset,
    kept_out: ImageDataset,
    relevant: Iterable[int],
    every_word: bool,
    engine_name: str | None = None,
) -> World:
    """The world of a web and a task.

    Args:
        name: Of the web.
        task: Name of the task.
        web: All its images with captions.
        kept_out: Labeled images of the task that are not in the web.
        relevant: Numbers of the relevant images of the web.
        every_word: Take all words of the shipped embedder for vocabulary, not only those that captions have.
        engine_name: Of the engine, by default that of the web; another one where tasks leave out other images, so that
            no two images have one address.
    """
    target, held_out = hold_out(kept_out)
    embed = GloveNouns()
    names = [word for word in embed.words if word.isalpha()]
    vocabulary = Vocabulary.of(names).without(is_vulgar) if every_word else known_vocabulary(web.captions or (), embed)
    engine = CaptionEngine.open(web, name=engine_name or name)
    return World(
        name=name,
        task=task,
        engine=engine,
        web=web,
        target=target,
        held_out=held_out,
        vocabulary=vocabulary,
        relevant=frozenset(f"local:{engine.name}/{number}" for number in relevant),
    )
