"""`Scene`: objects with shape, color, pattern, size and place, on which an image and its captions depend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vl_vlm.scenes.vocabulary import COLORS, KINDS, NUMBERS, PATTERNS, RELATIONS, SHAPES, Kind

SMALL, LARGE = 0.125, 0.165
"""Radii below which an object is small, and above which it is large."""


@dataclass(frozen=True)
class SceneObject:
    """One object of a scene.

    Raises:
        ValueError: If color, shape or pattern is none of the vocabulary, or the radius is not positive.
    """

    color: str
    """Name of its color."""
    shape: str
    """Name of its shape."""
    x: float
    """Center from the left edge; the image has width 1."""
    y: float
    """Center from the upper edge; the image has height 1."""
    radius: float
    """Half of its extent."""
    pattern: str | None = None
    """Name of its surface; None for a plain one."""
    turn: float = 0.0
    """Tangent of half the angle by which it is turned."""
    tint: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Added to red, green and blue, which lie between 0 and 255."""

    def __post_init__(self) -> None:
        for argument, value, known in (
            ("color", self.color, COLORS),
            ("shape", self.shape, SHAPES),
            ("pattern", self.pattern, (None, *PATTERNS)),
        ):
            if value not in known:
                names = ", ".join(map(str, known))
                raise ValueError(f"{argument} must be one of {names}, got {value!r}")
        if not self.radius > 0:
            raise ValueError(f"radius must be above 0, got {self.radius}; the image has width 1")

    @property
    def size(self) -> str | None:
        """``"small"``, ``"large"``, or None in between."""
        return "small" if self.radius < SMALL else "large" if self.radius > LARGE else None


@dataclass(frozen=True)
class Scene:
    """Objects in front of a background.

    Raises:
        ValueError: If there is no object, the relation does not fit the objects, or they are too many to count.
    """

    kind: Kind
    """Subject of the captions, which is attributes of objects, the relation of two, or counts."""
    objects: tuple[SceneObject, ...]
    """In the order in which captions name them; of one group after the other in scenes of counts."""
    relation: str | None = None
    """Relation of the first object to the second, in scenes of relations."""
    background: tuple[float, float, float] = (225.0, 225.0, 225.0)
    """Red, green and blue in the middle of the image, between 0 and 255."""
    slope: tuple[float, float] = (0.0, 0.0)
    """Change of the background over the width and over the height of the image."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if not self.objects:
            raise ValueError("objects must be at least one, got none; an empty image has no caption")
        if self.kind == "relations" and (self.relation not in RELATIONS or len(self.objects) != 2):
            raise ValueError(
                f"relation must be one of {', '.join(RELATIONS)}, of two objects, got {self.relation!r} of "
                f"{len(self.objects)}"
            )
        if self.kind == "counts" and (most := max(map(len, self.groups))) > len(NUMBERS):
            raise ValueError(f"objects must be at most {len(NUMBERS)} of a kind, got {most}; there are no more numbers")

    @property
    def groups(self) -> tuple[tuple[SceneObject, ...], ...]:
        """Objects that follow one another and have one color and one shape."""
        found: list[list[SceneObject]] = []
        for item in self.objects:
            if found and (found[-1][0].color, found[-1][0].shape) == (item.color, item.shape):
                found[-1].append(item)
            else:
                found.append([item])
        return tuple(map(tuple, found))

    def factors(self) -> dict[str, Any]:
        """Factors in which scenes differ, in plain lists for tables."""
        groups = [group[0] for group in self.groups]
        return {
            "kind": self.kind,
            "colors": [item.color for item in groups],
            "shapes": [item.shape for item in groups],
            "sizes": [item.size or "medium" for item in groups],
            "patterns": [item.pattern or "plain" for item in groups],
            "counts": [len(group) for group in self.groups],
            "relation": self.relation,
        }
