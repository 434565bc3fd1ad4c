"""`scene_captions`: sentences that are true of a scene, from templates."""

from __future__ import annotations

from collections.abc import Sequence

from vl_vlm.scenes.scene import Scene, SceneObject
from vl_vlm.scenes.vocabulary import NUMBERS, opposite


def scene_captions(scene: Scene) -> tuple[str, ...]:
    """Captions that are true of a scene, the plain one first.

    Attributes name size (if it is not medium), pattern (if there is one), color and shape of every object; relations
    name color and shape of both objects; counts name number, color and shape of every group.

    Args:
        scene: The scene, whose kind says what its captions are about.

    Returns:
        Three captions or four, all different.

    Example:
        >>> from vl_vlm import Scene, SceneObject
        >>> circle = SceneObject("red", "circle", x=0.25, y=0.5, radius=0.2)
        >>> square = SceneObject("blue", "square", x=0.75, y=0.5, radius=0.1)
        >>> scene_captions(Scene("attributes", (circle, square)))[0]
        'a large red circle and a small blue square'
        >>> scene_captions(Scene("relations", (circle, square), "left of"))[:2]
        ('a red circle left of a blue square', 'a blue square right of a red circle')
    """
    return tuple(_SENTENCES[scene.kind](scene))


def plain_captions(scene: Scene) -> tuple[str, ...]:
    """Captions whose objects come in the order of the scene, for pairs of scenes in the same words."""
    return tuple(caption for place, caption in enumerate(scene_captions(scene)) if not _reverses(scene, place))


def with_article(name: str) -> str:
    """Put "a" or "an" before a name."""
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _attributes(scene: Scene) -> list[str]:
    names = [_described(item) for item in scene.objects]
    return _listed(names, "there is")


def _counts(scene: Scene) -> list[str]:
    groups = scene.groups
    names = [f"{NUMBERS[len(group) - 1]} {group[0].color} {group[0].shape}{_ending(group)}" for group in groups]
    return _listed(names, "there is" if len(groups[0]) == 1 else "there are")


def _relations(scene: Scene) -> list[str]:
    first, second = (with_article(f"{item.color} {item.shape}") for item in scene.objects)
    relation = scene.relation or ""
    return [
        f"{first} {relation} {second}",
        f"{second} {opposite(relation)} {first}",
        f"{first} is {relation} {second}",
        f"an image of {first} {relation} {second}",
    ]


_SENTENCES = {"attributes": _attributes, "relations": _relations, "counts": _counts}


def _reverses(scene: Scene, place: int) -> bool:
    return place == 1 and (scene.kind == "relations" or len(scene.groups) > 1)


def _listed(names: Sequence[str], opening: str) -> list[str]:
    """One or two names in sentences; the second sentence has two in the other order."""
    forwards = " and ".join(names)
    backwards = [" and ".join(names[::-1])] if len(names) > 1 else []
    return [forwards, *backwards, f"{opening} {forwards}", f"an image of {forwards}"]


def _described(item: SceneObject) -> str:
    words = (item.size, item.pattern, item.color, item.shape)
    return with_article(" ".join(word for word in words if word))


def _ending(group: Sequence[SceneObject]) -> str:
    """Ending of the plural."""
    if len(group) == 1:
        return ""
    return "es" if group[0].shape.endswith("s") else "s"
