"""`hard_negatives`: pairs of scenes that differ in one factor, with a true caption each that is false of the other."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

from PIL import Image

from vl_vlm.scenes.arguments import MOST, check_number, check_seed, check_split
from vl_vlm.scenes.drawing import check_size, draw_scene
from vl_vlm.scenes.draws import Draws
from vl_vlm.scenes.edits import NEGATIVES, Negative, edit
from vl_vlm.scenes.sampling import attribute_scene, count_scene, draw_pair, sample_scene
from vl_vlm.scenes.scene import Scene
from vl_vlm.scenes.vocabulary import PATTERNS, SIZES, SPLITS, Split, combinations
from vl_vlm.scenes.wording import plain_captions, scene_captions

_STREAM = 16  # sets the choices of pairs apart from those of single scenes


class DrawnScenes(Sequence[Any]):
    """Images of scenes, or tuples of images of tuples of scenes, drawn each time they are asked for.

    Args:
        scenes: A scene for each item, or a tuple of scenes.
        size: Width and height in pixels.
    """

    def __init__(self, scenes: Sequence[Any], size: int) -> None:
        self.scenes, self.size = scenes, size

    def __len__(self) -> int:
        """Count the items."""
        return len(self.scenes)

    @overload
    def __getitem__(self, item: int) -> Any: ...
    @overload
    def __getitem__(self, item: slice) -> DrawnScenes: ...
    def __getitem__(self, item: int | slice) -> Any:
        """Draw an item's image or images."""
        if isinstance(item, slice):
            return DrawnScenes(self.scenes[item], self.size)
        scenes = self.scenes[item]
        if isinstance(scenes, tuple):
            return tuple(draw_scene(scene, self.size) for scene in scenes)
        return draw_scene(scenes, self.size)


@dataclass(frozen=True)
class ScenePairs:
    """Pairs of images with a caption each, which is true of its own image and false of the other.

    Example:
        >>> from vl_vlm import SugarCrepeTask, WinogroundTask, hard_negatives
        >>> pairs = hard_negatives("swap_color", 100)
        >>> len(WinogroundTask(pairs.images, pairs.captions, ids=pairs.ids).item_ids)
        100
        >>> len(SugarCrepeTask(*pairs.singles()).item_ids)
        200
    """

    kind: Negative
    """The factor in which the two scenes differ."""
    scenes: tuple[tuple[Scene, Scene], ...]
    """The scenes of each pair."""
    captions: tuple[tuple[str, str], ...]
    """Captions of each pair."""
    ids: tuple[str, ...]
    """A name for each pair."""
    size: int
    """Width and height of the images in pixels."""

    def __len__(self) -> int:
        """Count the pairs."""
        return len(self.scenes)

    @property
    def images(self) -> Sequence[tuple[Image.Image, Image.Image]]:
        """Both images of each pair, drawn when they are asked for."""
        return DrawnScenes(self.scenes, self.size)

    def singles(self) -> tuple[Sequence[Image.Image], list[str], list[str]]:
        """Images one by one, the right caption of each, and the wrong one, for a `SugarCrepeTask`."""
        scenes = [scene for pair in self.scenes for scene in pair]
        captions = [caption for pair in self.captions for caption in pair]
        negatives = [caption for pair in self.captions for caption in pair[::-1]]
        return DrawnScenes(scenes, self.size), captions, negatives


def hard_negatives(kind: Negative, count: int, *, size: int = 32, seed: int = 0, split: Split = "test") -> ScenePairs:
    """Make pairs of scenes that differ in one factor.

    A pair is a function of kind, split, seed and its number: more pairs begin with the same ones. Both scenes have the
    same background, places and tints, as far as the factor allows, and both belong to the split.

    Args:
        kind: ``"swap_color"``, ``"swap_size"``, ``"swap_pattern"``, ``"swap_count"`` and ``"swap_relation"`` keep the
            words of the caption and change their order; ``"replace_color"``, ``"replace_shape"``, ``"replace_size"``,
            ``"replace_pattern"``, ``"replace_count"`` and ``"replace_relation"`` change a word.
        count: Number of pairs.
        size: Width and height of the images in pixels.
        seed: Seed of the scenes.
        split: ``"train"``, ``"test"`` or ``"held_out"``, as in `make_scenes`.

    Returns:
        The pairs, whose images are drawn when they are asked for.

    Raises:
        ValueError: If kind or split is another one, or a number is too small.

    Example:
        >>> hard_negatives("swap_color", 8).captions[0]
        ('a pink cross and a yellow diamond', 'a yellow cross and a pink diamond')
    """
    if kind not in NEGATIVES:
        raise ValueError(f"kind must be one of {', '.join(NEGATIVES)}, got {kind!r}")
    check_split(split)
    check_seed(seed)
    check_size(size)
    check_number(count, "count", 1, MOST)
    scenes, captions = [], []
    for number in range(count):
        draws = Draws(seed, _STREAM + SPLITS.index(split), NEGATIVES.index(kind), number)
        first = _base(kind, split, draws)
        second = edit(first, kind, split, draws)
        assert second is not None  # bases are made to be changed
        pair = first, second
        sentences = list(zip(plain_captions(first), plain_captions(second), strict=True))
        scenes.append(pair)
        captions.append(draws.choice(sentences))
    ids = tuple(f"{kind}-{split}-{seed}-{number}" for number in range(count))
    return ScenePairs(kind, tuple(scenes), tuple(captions), ids, size)


def negative_captions(scene: Scene, *, split: Split = "train", seed: int = 0) -> dict[Negative, str]:
    """Captions that are false of a scene, one for each kind of change that it allows.

    For training with hard negatives: encoded by the text tower, they are the ``negatives`` of `info_nce`. A false
    caption of one scene may be true of another scene of the batch; `is_true` tells.

    Args:
        scene: The scene.
        split: Split whose combinations they may name: ``"train"`` keeps the held-out ones unseen.
        seed: Seed of the choices, which depend on it and on the scene alone.

    Returns:
        Captions by kind, at least two of them.

    Raises:
        ValueError: If there is no such split, or the seed is negative.

    Example:
        >>> from vl_vlm import make_scene
        >>> negative_captions(make_scene(2))["replace_count"]  # of "two pink crosses"
        'five pink crosses'
    """
    check_split(split)
    check_seed(seed)
    draws = Draws(seed, _STREAM - 1, zlib.crc32(repr(scene).encode()))
    changed = {kind: edit(scene, kind, split, draws) for kind in NEGATIVES}
    return {kind: scene_captions(other)[0] for kind, other in changed.items() if other is not None}


def _base(kind: Negative, split: Split, draws: Draws) -> Scene:
    """A scene that can be changed in one factor, and names no other than it has to."""
    factor = kind.partition("_")[2]
    if factor == "relation":
        return sample_scene("relations", split, draws)
    first = draw_pair(split, draws)
    second = draw_pair(split, draws, other_than=[first])
    if kind == "swap_count":
        return count_scene([first, second], draws.shuffled([2, 3, 4])[:2], draws)
    if kind == "replace_count":
        return count_scene([first], [2 + draws.below(5)], draws)
    both = [first, second] if kind.startswith("swap") else [first]
    if kind == "swap_color":
        allowed = combinations(split)
        both[1] = draws.choice(
            [
                (color, shape)
                for color, shape in allowed
                if color != first[0]
                and shape != first[1]
                and (color, first[1]) in allowed
                and (first[0], shape) in allowed
            ]
        )
    sizes = draws.shuffled(SIZES)[: len(both)] if factor == "size" else [None] * len(both)
    patterns = draws.shuffled(PATTERNS)[: len(both)] if factor == "pattern" else [None] * len(both)
    return attribute_scene(both, sizes, patterns, draws)
