"""`Scene`: objects with shape, color, pattern, size and place, on which an image and its captions depend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vl_vlm.scenes.vocabulary import Kind

SMALL, LARGE = 0.125, 0.165
"""Radii below which an object is small, and above which it is large."""


@dataclass(frozen=True)
class SceneObject:
    """One object of a scene."""

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

    @property
    def size(self) -> str | None:
        """``"small"``, ``"large"``, or None in between."""
        return "small" if self.radius < SMALL else "large" if self.radius > LARGE else None


@dataclass(frozen=True)
class Scene:
    """Objects in front of a background."""

    kind: Kind
    """What the captions are about: attributes of one or two objects, their relation, or counts."""
    objects: tuple[SceneObject, ...]
    """In the order in which captions name them; of one group after the other in scenes of counts."""
    relation: str | None = None
    """What the first object is to the second, in scenes of relations."""
    background: tuple[float, float, float] = (225.0, 225.0, 225.0)
    """Red, green and blue in the middle of the image, between 0 and 255."""
    slope: tuple[float, float] = (0.0, 0.0)
    """Change of the background over the width and over the height of the image."""

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
        """What differs between scenes, in plain lists for tables."""
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
