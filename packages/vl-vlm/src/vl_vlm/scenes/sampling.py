"""`sample_scene`: a scene of a kind and a split from random choices.

Objects never overlap, and what a caption may say is far from any limit: radii of one size differ from those of the
next, two objects in a relation lie along its axis, and the objects of scenes of counts have a cell of a grid each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vl_vlm.scenes.draws import Draws
from vl_vlm.scenes.scene import Scene, SceneObject
from vl_vlm.scenes.vocabulary import AXES, PATTERNS, Kind, Split, axes, axis_of, combinations

RADII = {"small": (0.1, 0.115), None: (0.135, 0.155), "large": (0.18, 0.2)}
"""Limits of the radius of each size."""

Pair = tuple[str, str]
"""Color and shape."""

MOST, MOST_OF_TWO = 6, 4
"""Largest number of objects of the only group, and of one of two groups."""

CELLS = 3
"""Cells along each side of the image in scenes of counts; at most one object lies in a cell."""

_PLAIN = 0.6  # share of objects without a pattern


def sample_scene(kind: Kind, split: Split, draws: Draws) -> Scene:
    """Draw a scene.

    Args:
        kind: Kind of the scene.
        split: Split whose combinations of colors, shapes and relations it has.
        draws: Source of the choices.
    """
    if kind == "attributes":
        pairs = [draw_pair(split, draws)]
        if draws.below(2):
            pairs.append(draw_pair(split, draws, other_than=pairs))
        sizes = [draws.choice(tuple(RADII)) for _ in pairs]
        return attribute_scene(pairs, sizes, [_draw_pattern(draws) for _ in pairs], draws)
    if kind == "relations":
        first = draw_pair(split, draws)
        second = draw_pair(split, draws, other_than=[first])
        relation = draws.choice(AXES[draws.choice(axes((first[1], second[1]), split))])
        return relation_scene([first, second], relation, draws)
    first = draw_pair(split, draws)
    if not draws.below(2):
        return count_scene([first], [2 + draws.below(MOST - 1)], draws)
    second = draw_pair(split, draws, other_than=[first])
    return count_scene([first, second], [1 + draws.below(MOST_OF_TWO) for _ in range(2)], draws)


def draw_pair(split: Split, draws: Draws, *, other_than: Sequence[Pair] = ()) -> Pair:
    """Draw a color and a shape that go together in a split, of another color than those given."""
    colors = {color for color, _ in other_than}
    return draws.choice([pair for pair in combinations(split) if pair[0] not in colors])


def attribute_scene(
    pairs: Sequence[Pair], sizes: Sequence[str | None], patterns: Sequence[str | None], draws: Draws
) -> Scene:
    """Draw a scene of one object, anywhere, or of two side by side in any direction."""
    radii = [draws.uniform(*RADII[size]) for size in sizes]
    if len(pairs) == 1:
        margin = 0.02 + RADII["large"][1]  # of any size, so that an object may change it
        places = [(draws.uniform(margin, 1 - margin), draws.uniform(margin, 1 - margin))]
    else:
        places = draws.shuffled(_along(draws.below(2), draws))
    return _scene("attributes", pairs, radii, places, draws, patterns)


def relation_scene(pairs: Sequence[Pair], relation: str, draws: Draws) -> Scene:
    """Draw a scene of two objects in a relation."""
    axis = axis_of(relation)
    first = relation == AXES[axis][0]
    if axis == 2:
        radii = [draws.uniform(*RADII[size]) for size in (("large", "small") if first else ("small", "large"))]
        places = draws.shuffled(_along(draws.below(2), draws))
    else:
        radii = [draws.uniform(*RADII[None]) for _ in pairs]
        places = _along(axis, draws)[:: 1 if first else -1]
    return _scene("relations", pairs, radii, places, draws, relation=relation)


def count_scene(pairs: Sequence[Pair], counts: Sequence[int], draws: Draws) -> Scene:
    """Draw a scene of one or two groups of objects."""
    cells = draws.shuffled([(column, row) for column in range(CELLS) for row in range(CELLS)])
    all_pairs = [pair for pair, count in zip(pairs, counts, strict=True) for _ in range(count)]
    places = [jittered_place(cell, draws) for cell in cells[: len(all_pairs)]]
    radii = [draws.uniform(*RADII["small"]) for _ in all_pairs]
    return _scene("counts", all_pairs, radii, places, draws)


def jittered_place(cell: tuple[int, int], draws: Draws) -> tuple[float, float]:
    """Draw a place near the middle of a cell of a given column and row."""
    column, row = cell
    return (column + 0.5) / CELLS + draws.uniform(-0.03, 0.03), (row + 0.5) / CELLS + draws.uniform(-0.03, 0.03)


def _draw_pattern(draws: Draws) -> str | None:
    return None if draws.uniform(0, 1) < _PLAIN else draws.choice(PATTERNS)


def _along(axis: int, draws: Draws) -> list[tuple[float, float]]:
    """Two places along an axis, the left or the upper one first."""
    middle = draws.uniform(0.35, 0.65)
    found = []
    for center in (0.25, 0.75):
        along, across = center + draws.uniform(-0.02, 0.02), middle + draws.uniform(-0.06, 0.06)
        found.append((along, across) if axis == 0 else (across, along))
    return found


def _scene(
    kind: Kind,
    pairs: Sequence[Pair],
    radii: Sequence[float],
    places: Sequence[tuple[float, float]],
    draws: Draws,
    patterns: Sequence[str | None] | None = None,
    relation: str | None = None,
) -> Scene:
    """A scene with what captions never speak of: turns, tints and a background."""
    surfaces: Sequence[Any] = patterns or [None] * len(pairs)
    objects = [
        SceneObject(
            *pair,
            *place,
            radius,
            pattern,
            turn=draws.uniform(-0.08, 0.08),
            tint=(draws.uniform(-14, 14), draws.uniform(-14, 14), draws.uniform(-14, 14)),
        )
        for pair, place, radius, pattern in zip(pairs, places, radii, surfaces, strict=True)
    ]
    gray = draws.uniform(205, 240)
    red, green, blue = (gray + draws.uniform(-10, 10) for _ in range(3))
    slope = draws.uniform(-24, 24), draws.uniform(-24, 24)
    return Scene(kind, tuple(objects), relation, background=(red, green, blue), slope=slope)
