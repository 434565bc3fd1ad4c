"""`scene_tasks`: a task for each factor of procedural scenes, from zero-shot classification to hard negatives."""

from __future__ import annotations

from collections.abc import Sequence

from vl_vlm.evaluation.tasks.classification import ClassificationTask
from vl_vlm.evaluation.tasks.pairs import WinogroundTask
from vl_vlm.evaluation.tasks.retrieval import RetrievalTask
from vl_vlm.evaluation.tasks.task import Task
from vl_vlm.scenes.arguments import check_seed, check_split
from vl_vlm.scenes.dataset import make_scene
from vl_vlm.scenes.drawing import check_size
from vl_vlm.scenes.draws import Draws
from vl_vlm.scenes.edits import NEGATIVES
from vl_vlm.scenes.pairs import DrawnScenes, hard_negatives
from vl_vlm.scenes.sampling import attribute_scene, draw_pair
from vl_vlm.scenes.truth import is_true
from vl_vlm.scenes.vocabulary import COLORS, SHAPES, SPLITS, Split
from vl_vlm.scenes.wording import scene_captions, with_article

CLASSES = ("color", "shape", "color and shape")
"""Tasks of zero-shot classification, of images with one object."""

TASKS = (*CLASSES, "retrieval", *NEGATIVES)
"""Names of all tasks."""

_STREAM = 32  # sets the choices of these scenes apart from others


def scene_tasks(
    count: int = 200, *, size: int = 32, seed: int = 0, split: Split = "test", tasks: Sequence[str] = TASKS
) -> dict[str, Task]:
    """Make a task for each factor of scenes.

    Classification asks for the color, the shape, or both, of the one object of an image; its prompts are ensembles of
    training's own sentences, such as "a red circle", …, "a red moon" for the color. Retrieval takes a data set of
    `make_scenes`; a caption that is true of several images is right for each, as `is_true` tells. Each kind of hard
    negatives is a task in Winoground's form.

    Args:
        count: Images of a task, or pairs of hard negatives, at least 2.
        size: Width and height of the images in pixels.
        seed: Seed of the scenes.
        split: ``"train"``, ``"test"`` or ``"held_out"``, as in `make_scenes`.
        tasks: Names of tasks: ``"color"``, ``"shape"``, ``"color and shape"``, ``"retrieval"``, and the kinds of
            `hard_negatives`.

    Returns:
        Tasks by name.

    Raises:
        ValueError: If there is no such task or split, or a number is out of range.

    Example:
        >>> sorted(scene_tasks(10, tasks=["color", "swap_relation"]))
        ['color', 'swap_relation']
    """
    if isinstance(tasks, str) or not tasks or (unknown := [name for name in tasks if name not in TASKS]):
        got = repr(unknown[0]) if tasks and not isinstance(tasks, str) else repr(tasks)
        raise ValueError(f"tasks must be a list of some of {', '.join(TASKS)}, got {got}")
    check_split(split)
    check_seed(seed)
    check_size(size)
    found: dict[str, Task] = {}
    for name in tasks:
        if name in CLASSES:
            found[name] = _classification(name, count, size, seed, split)
        elif name == "retrieval":
            found[name] = _retrieval(count, size, seed, split)
    for kind in NEGATIVES:
        if kind in tasks:
            pairs = hard_negatives(kind, count, size=size, seed=seed, split=split)
            found[kind] = WinogroundTask(pairs.images, pairs.captions, ids=pairs.ids)
    return {name: found[name] for name in tasks}


def _classification(name: str, count: int, size: int, seed: int, split: Split) -> Task:
    scenes, pairs = [], []
    for number in range(count):
        draws = Draws(seed, _STREAM + SPLITS.index(split), number)
        pairs.append(draw_pair(split, draws))
        scenes.append(attribute_scene(pairs[-1:], [None], [None], draws))
    if name == "color":
        names, templates = list(COLORS), [f"{{}} {shape}" for shape in SHAPES]
        labels, classes = [names.index(color) for color, _ in pairs], [with_article(color) for color in names]
    elif name == "shape":
        classes, templates = list(SHAPES), [f"{with_article(color)} {{}}" for color in COLORS]
        labels = [classes.index(shape) for _, shape in pairs]
    else:
        both = [(color, shape) for color in COLORS for shape in SHAPES]
        labels, classes = [both.index(pair) for pair in pairs], [with_article(" ".join(pair)) for pair in both]
        templates = ["{}", "there is {}", "an image of {}"]
    ids = [f"{split}-{seed}-{number}" for number in range(count)]
    return ClassificationTask(DrawnScenes(scenes, size), labels, classes, templates=templates, ids=ids)


def _retrieval(count: int, size: int, seed: int, split: Split) -> Task:
    scenes = [make_scene(number, seed=seed, split=split) for number in range(count)]
    texts = [scene_captions(scene)[0] for scene in scenes]
    distinct = list(dict.fromkeys(texts))
    captions = [
        list(dict.fromkeys([own, *(text for text in distinct if is_true(text, scene))]))
        for own, scene in zip(texts, scenes, strict=True)
    ]
    return RetrievalTask(
        DrawnScenes(scenes, size), captions, ids=[f"{split}-{seed}-{number}" for number in range(count)]
    )
