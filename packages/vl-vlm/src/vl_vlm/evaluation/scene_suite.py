"""Tasks of procedural scenes: classification, retrieval, and pairs that differ in one factor."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count as numbers

from vl_vlm.evaluation.tasks.classification import ClassificationTask
from vl_vlm.evaluation.tasks.pairs import WinogroundTask
from vl_vlm.evaluation.tasks.retrieval import RetrievalTask
from vl_vlm.evaluation.tasks.task import Task
from vl_vlm.scenes.dataset import make_scene, make_scenes
from vl_vlm.scenes.edits import NEGATIVES
from vl_vlm.scenes.pairs import DrawnScenes, hard_negatives
from vl_vlm.scenes.scene import Scene
from vl_vlm.scenes.vocabulary import COLORS, SHAPES, Split

TEMPLATES = ("{}", "there is {}", "an image of {}")
"""Prompts of the classification, those of the captions of scenes."""


def scene_tasks(count: int = 200, *, size: int = 32, seed: int = 0, split: Split = "test") -> dict[str, Task]:
    """Make the tasks of a split of the scenes.

    ``classification`` asks which of all 81 combinations of color and shape a single object has; ``retrieval`` finds
    captions of scenes and scenes of captions; each of the others holds pairs of scenes that differ in one factor, in
    Winoground's form, such as ``swap_color`` and ``replace_count``; see `hard_negatives`.

    Args:
        count: Images of classification and of retrieval, and pairs of each factor; at least 2.
        size: Width and height of the images in pixels.
        seed: Seed of the scenes.
        split: ``"test"`` for combinations that training shows, ``"held_out"`` for others.

    Returns:
        Tasks by name, for `evaluate`.

    Raises:
        ValueError: If there is no such split, or a number is too small.

    Example:
        >>> sorted(scene_tasks(2))[:3]
        ['classification', 'replace_color', 'replace_count']
    """
    if count < 2:
        raise ValueError(f"count must be at least 2, got {count}; fewer cannot be told apart from chance")
    scenes = make_scenes(count, size=size, seed=seed, split=split)
    tasks: dict[str, Task] = {
        "classification": _classification(count, size, seed, split),
        "retrieval": RetrievalTask(
            DrawnScenes([make_scene(index, seed=seed, split=split) for index in range(count)], size),
            scenes.captions,
            ids=scenes.names,
        ),
    }
    for kind in NEGATIVES:
        pairs = hard_negatives(kind, count, size=size, seed=seed, split=split)
        tasks[kind] = WinogroundTask(pairs.images, pairs.captions, ids=pairs.ids)
    return tasks


def _classification(count: int, size: int, seed: int, split: Split) -> ClassificationTask:
    """Single objects, and the names of all combinations of color and shape."""
    pairs = [(color, shape) for color in COLORS for shape in SHAPES]
    names = [f"{'an' if color[0] in 'aeiou' else 'a'} {color} {shape}" for color, shape in pairs]
    singles = _single_objects(seed, split)
    scenes = [next(singles) for _ in range(count)]
    labels = [pairs.index((scene.objects[0].color, scene.objects[0].shape)) for scene in scenes]
    return ClassificationTask(DrawnScenes(scenes, size), labels, names, templates=TEMPLATES)


def _single_objects(seed: int, split: Split) -> Iterator[Scene]:
    for index in numbers():
        scene = make_scene(index, seed=seed, split=split, kinds=("attributes",))
        if len(scene.objects) == 1:
            yield scene
