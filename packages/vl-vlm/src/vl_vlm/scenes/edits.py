"""Changes of one factor of a scene, after which its captions are false of what it was, and the other way round.

A change keeps everything else, background, tints and places included. It stays inside the combinations of the split.
None is returned where a scene has nothing to change: no caption names the size of an object of medium size, so that no
other size would make its caption false.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias, get_args

from vl_vlm.scenes.draws import Draws
from vl_vlm.scenes.sampling import CELLS, MOST, MOST_OF_TWO, RADII, jittered_place
from vl_vlm.scenes.scene import Scene, SceneObject
from vl_vlm.scenes.vocabulary import AXES, COLORS, PATTERNS, SHAPES, Split, axes, axis_of, combinations, opposite

Negative: TypeAlias = Literal[
    "swap_color",
    "swap_size",
    "swap_pattern",
    "swap_count",
    "swap_relation",
    "replace_color",
    "replace_shape",
    "replace_size",
    "replace_pattern",
    "replace_count",
    "replace_relation",
]

NEGATIVES: tuple[Negative, ...] = get_args(Negative)
"""Kinds of hard negatives; after a swap the caption has the same words in another order."""


def edit(scene: Scene, kind: Negative, split: Split, draws: Draws) -> Scene | None:
    """Change one factor of a scene.

    Args:
        scene: The scene.
        kind: The change.
        split: Split whose combinations the changed scene may have.
        draws: Source of the choices.

    Returns:
        The changed scene, or None if this one cannot be changed so.
    """
    return _EDITS[kind](scene, split, draws)


def _swap_color(scene: Scene, split: Split, draws: Draws) -> Scene | None:
    del draws
    if len(scene.groups) < 2:
        return None
    first, second = (group[0] for group in scene.groups)
    allowed = combinations(split)
    inside = (second.color, first.shape) in allowed and (first.color, second.shape) in allowed
    if not inside or first.shape == second.shape or first.color == second.color:
        return None
    colors = {first.color: second.color, second.color: first.color}
    return _with(scene, [replace(item, color=colors[item.color]) for item in scene.objects])


def _swap_size(scene: Scene, split: Split, draws: Draws) -> Scene | None:
    del split, draws
    if scene.kind != "attributes" or len(scene.objects) < 2 or scene.objects[0].size == scene.objects[1].size:
        return None
    first, second = scene.objects
    return _with(scene, [replace(first, radius=second.radius), replace(second, radius=first.radius)])


def _swap_pattern(scene: Scene, split: Split, draws: Draws) -> Scene | None:
    del split, draws
    if len(scene.groups) < 2 or scene.objects[0].pattern == scene.objects[1].pattern:
        return None
    first, second = scene.objects
    return _with(scene, [replace(first, pattern=second.pattern), replace(second, pattern=first.pattern)])


def _swap_count(scene: Scene, split: Split, draws: Draws) -> Scene | None:
    del split, draws
    if scene.kind != "counts" or len(scene.groups) < 2:
        return None
    first, second = scene.groups
    if len(first) == len(second):
        return None
    names = [(group[0].color, group[0].shape) for group in scene.groups]
    wanted = [names[0]] * len(second) + [names[1]] * len(first)
    return _with(scene, [_named(item, *name) for item, name in zip(scene.objects, wanted, strict=True)])


def _swap_relation(scene: Scene, split: Split, draws: Draws) -> Scene | None:
    del split, draws
    if scene.relation is None:
        return None
    first, second = _exchanged(scene)
    return _with(scene, [second, first])


def _replace_color(scene: Scene, split: Split, draws: Draws) -> Scene | None:
    place = draws.below(len(scene.groups))
    group, taken = scene.groups[place], {item.color for item in scene.objects}
    allowed = [color for color in COLORS if color not in taken and (color, group[0].shape) in combinations(split)]
    if not allowed:
        return None
    color = draws.choice(allowed)
    return _with_group(scene, place, [replace(item, color=color) for item in group])


def _replace_shape(scene: Scene, split: Split, draws: Draws) -> Scene | None:
    place = draws.below(len(scene.groups))
    group, others = scene.groups[place], [group[0].shape for group in scene.groups]
    allowed = [
        shape
        for shape in SHAPES
        if shape != group[0].shape
        and (group[0].color, shape) in combinations(split)
        and (scene.relation is None or axis_of(scene.relation) in axes((shape, others[1 - place]), split))
    ]
    if not allowed:
        return None
    shape = draws.choice(allowed)
    return _with_group(scene, place, [replace(item, shape=shape) for item in group])


def _replace_size(scene: Scene, split: Split, draws: Draws) -> Scene | None:
    del split
    sized = [place for place, item in enumerate(scene.objects) if item.size is not None]
    if scene.kind != "attributes" or not sized:
        return None
    place = draws.choice(sized)
    item = scene.objects[place]
    radius = draws.uniform(*RADII["large" if item.size == "small" else "small"])
    return _with_group(scene, place, [replace(item, radius=radius)])


def _replace_pattern(scene: Scene, split: Split, draws: Draws) -> Scene | None:
    del split
    patterned = [place for place, item in enumerate(scene.objects) if item.pattern is not None]
    if not patterned:
        return None
    place = draws.choice(patterned)
    item = scene.objects[place]
    pattern = draws.choice([name for name in PATTERNS if name != item.pattern])
    return _with_group(scene, place, [replace(item, pattern=pattern)])


def _replace_count(scene: Scene, split: Split, draws: Draws) -> Scene | None:
    del split
    if scene.kind != "counts":
        return None
    place = draws.below(len(scene.groups))
    group = scene.groups[place]
    most = MOST if len(scene.groups) == 1 else MOST_OF_TWO
    wanted = draws.choice([number for number in range(1, most + 1) if number != len(group)])
    if wanted < len(group):
        return _with_group(scene, place, group[:wanted])
    taken = {(int(item.x * CELLS), int(item.y * CELLS)) for item in scene.objects}
    free = [(column, row) for column in range(CELLS) for row in range(CELLS) if (column, row) not in taken]
    added = []
    for cell in draws.shuffled(free)[: wanted - len(group)]:
        x, y = jittered_place(cell, draws)
        added.append(replace(draws.choice(group), x=x, y=y))
    return _with_group(scene, place, [*group, *added])


def _replace_relation(scene: Scene, split: Split, draws: Draws) -> Scene | None:
    if scene.relation is None:
        return None
    first, second = scene.objects
    axis, other = axis_of(scene.relation), 1 - axis_of(scene.relation)
    if axis < 2 and other in axes((first.shape, second.shape), split) and draws.below(2):
        relation = draws.choice(AXES[other])
        # Reflected in a diagonal, "left of" becomes "above".
        objects = [replace(item, x=item.y, y=item.x) for item in scene.objects]
        reflected = _with(scene, objects, AXES[other][AXES[axis].index(scene.relation)])
        return reflected if relation == reflected.relation else _with(scene, _exchanged(reflected), relation)
    return _with(scene, _exchanged(scene), opposite(scene.relation))


_EDITS: dict[Negative, Callable[[Scene, Split, Draws], Scene | None]] = {
    "swap_color": _swap_color,
    "swap_size": _swap_size,
    "swap_pattern": _swap_pattern,
    "swap_count": _swap_count,
    "swap_relation": _swap_relation,
    "replace_color": _replace_color,
    "replace_shape": _replace_shape,
    "replace_size": _replace_size,
    "replace_pattern": _replace_pattern,
    "replace_count": _replace_count,
    "replace_relation": _replace_relation,
}


def _exchanged(scene: Scene) -> tuple[SceneObject, SceneObject]:
    """Both objects, each with the place or the radius of the other."""
    first, second = scene.objects
    if axis_of(scene.relation or "") == 2:
        return replace(first, radius=second.radius), replace(second, radius=first.radius)
    return replace(first, x=second.x, y=second.y), replace(second, x=first.x, y=first.y)


def _named(item: SceneObject, color: str, shape: str) -> SceneObject:
    return replace(item, color=color, shape=shape)


def _with(scene: Scene, objects: Sequence[SceneObject], relation: str | None = None) -> Scene:
    return replace(scene, objects=tuple(objects), relation=relation or scene.relation)


def _with_group(scene: Scene, place: int, group: Sequence[SceneObject]) -> Scene:
    groups = [*scene.groups[:place], group, *scene.groups[place + 1 :]]
    return _with(scene, [item for items in groups for item in items])
