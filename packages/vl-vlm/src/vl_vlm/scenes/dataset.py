"""`make_scenes`: captioned scenes as a data set whose images are drawn when they are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from vl_vlm.captions.captioned import CaptionedImages
from vl_vlm.scenes.arguments import MOST, check_kinds, check_number, check_seed, check_split
from vl_vlm.scenes.drawing import check_size, draw_scene
from vl_vlm.scenes.draws import Draws
from vl_vlm.scenes.pairs import negative_captions
from vl_vlm.scenes.sampling import sample_scene
from vl_vlm.scenes.scene import Scene
from vl_vlm.scenes.vocabulary import KINDS, SPLITS, Kind, Split
from vl_vlm.scenes.wording import scene_captions


def make_scene(index: int, *, seed: int = 0, split: Split = "train", kinds: Sequence[Kind] = KINDS) -> Scene:
    """Make one scene alone, that of `make_scenes` at the same place.

    Args:
        index: Number of the scene, from 0.
        seed: Seed of the scenes.
        split: ``"train"``, ``"test"`` or ``"held_out"``.
        kinds: Kinds of scenes, which follow one another in this order.

    Returns:
        The scene, a pure function of the arguments.

    Raises:
        TypeError: If ``kinds`` is one text.
        ValueError: If there is no such kind or split, or a number is out of range.

    Example:
        >>> from vl_vlm import scene_captions
        >>> scene_captions(make_scene(2))[0]
        'two pink crosses'
    """
    check_kinds(kinds)
    check_split(split)
    check_seed(seed)
    check_number(index, "index", 0, MOST - 1)
    return sample_scene(kinds[index % len(kinds)], split, Draws(seed, SPLITS.index(split), index))


def make_scenes(
    count: int,
    *,
    size: int = 32,
    seed: int = 0,
    split: Split = "train",
    kinds: Sequence[Kind] = KINDS,
    negatives: bool = False,
) -> CaptionedImages:
    """Make a data set of captioned scenes.

    An image is a function of seed, split, kinds and its number: larger data sets begin with the same images, and any
    image can be read alone. ``"train"`` and ``"test"`` have other scenes of the same combinations. In ``"held_out"``
    every object has a color and a shape that never go together in the others, and two objects in a relation have shapes
    that never are in one of its axis there.

    Args:
        count: Number of scenes.
        size: Width and height of the images in pixels, at least 16.
        seed: Seed of the scenes.
        split: ``"train"``, ``"test"`` or ``"held_out"``.
        kinds: ``"attributes"`` (one object or two, with size, pattern, color and shape), ``"relations"`` (two objects)
            and ``"counts"`` (one group or two of equal objects); they follow one another in this order.
        negatives: Add false captions to the metadata of each image, as ``negatives``; see `negative_captions`.

    Returns:
        Images with three captions or more each, drawn when they are read. The metadata of an image hold ``index``,
        ``split`` and its factors: ``kind``, ``relation``, and lists of ``colors``, ``shapes``, ``sizes``,
        ``patterns`` and ``counts``, an entry for each object, or group of equal ones.

    Raises:
        TypeError: If ``kinds`` is one text.
        ValueError: If there is no such kind or split, or a number is out of range.

    Example:
        >>> dataset = make_scenes(1000, split="held_out")
        >>> dataset[1].captions[0], dataset[1].image.size
        ('a cyan triangle below an orange heart', (32, 32))
    """
    check_kinds(kinds)
    check_split(split)
    check_seed(seed)
    check_size(size)
    check_number(count, "count", 1, MOST)
    source: dict[str, Any] = {"seed": seed, "split": split, "kinds": tuple(kinds)}
    captions, metadata = [], []
    for index in range(count):
        scene = make_scene(index, **source)
        captions.append(scene_captions(scene))
        facts: dict[str, Any] = {"index": index, "split": split, **scene.factors()}
        if negatives:
            facts["negatives"] = list(negative_captions(scene, split=split, seed=seed).values())
        metadata.append(facts)
    return CaptionedImages(
        _Images(count, size, source),
        captions,
        names=[f"{split}-{seed}-{index:06d}" for index in range(count)],
        name=f"scenes ({split})",
        metadata=metadata,
    )


class _Images(Sequence[Image.Image]):
    """Images by number; holds no scene, so that it costs nothing to send to another process."""

    def __init__(self, count: int, size: int, source: dict[str, Any]) -> None:
        self._count, self._size, self._source = count, size, source

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        return draw_scene(make_scene(index, **self._source), self._size)
