"""Words of the scenes, and the combinations that training never shows.

Nine colors and nine shapes form three groups of three each. A color and a shape of groups with the same number are held
out: 27 of 81 combinations, so that every color and every shape is in training, in two thirds of its combinations. The
groups are such that swaps stay inside: if two colors go with two shapes, so they do after the exchange.

A relation belongs to an axis. Two shapes whose numbers and the number of the axis sum to a multiple of three are held
out on this axis: every two shapes are seen in training in relations of the two other axes.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

Kind: TypeAlias = Literal["attributes", "relations", "counts"]
Split: TypeAlias = Literal["train", "test", "held_out"]

KINDS: tuple[Kind, ...] = get_args(Kind)
SPLITS: tuple[Split, ...] = get_args(Split)

COLORS = {
    "red": (212, 34, 38),
    "cyan": (40, 200, 214),
    "brown": (124, 74, 36),
    "blue": (38, 70, 214),
    "yellow": (244, 216, 36),
    "pink": (250, 148, 196),
    "green": (38, 150, 54),
    "orange": (246, 134, 28),
    "purple": (122, 42, 166),
}
"""Names, and red, green and blue of 0 to 255; three in a row are a group."""

SHAPES = ("circle", "triangle", "cross", "square", "star", "ring", "diamond", "heart", "moon")
"""Names; three in a row are a group."""

PATTERNS = ("striped", "checkered", "dotted")
"""Surfaces that are named; an object with none of them is plain."""

SIZES = ("small", "large")
"""Sizes that are named; an object of neither is of medium size."""

AXES = (("left of", "right of"), ("above", "below"), ("larger than", "smaller than"))
"""Relations of the first object to the second, each with that of the second to the first."""

RELATIONS = tuple(name for names in AXES for name in names)
"""All relations."""

NUMBERS = ("one", "two", "three", "four", "five", "six")
"""Words for 1, 2, and so on."""

_GROUP = 3
_COLOR_PLACES = {name: place for place, name in enumerate(COLORS)}


def is_held_out(color: str, shape: str) -> bool:
    """True for combinations of color and shape that training never shows."""
    return _COLOR_PLACES[color] // _GROUP == SHAPES.index(shape) // _GROUP


def is_held_out_relation(shapes: tuple[str, str], axis: int) -> bool:
    """True for two shapes, in any order, that training never shows in a relation of an axis."""
    return (SHAPES.index(shapes[0]) + SHAPES.index(shapes[1]) + axis) % len(AXES) == 0


def combinations(split: Split) -> tuple[tuple[str, str], ...]:
    """Colors and shapes that go together in a split."""
    return _COMBINATIONS[split == "held_out"]


def axes(shapes: tuple[str, str], split: Split) -> tuple[int, ...]:
    """Numbers of the axes on which two shapes are related in a split; at least one."""
    held_out = split == "held_out"
    return tuple(axis for axis in range(len(AXES)) if is_held_out_relation(shapes, axis) == held_out)


def opposite(relation: str) -> str:
    """Relation of the second object to the first."""
    one, other = AXES[axis_of(relation)]
    return other if relation == one else one


def axis_of(relation: str) -> int:
    """Number of a relation's axis."""
    return next(axis for axis, names in enumerate(AXES) if relation in names)


_COMBINATIONS = tuple(
    tuple((color, shape) for color in COLORS for shape in SHAPES if is_held_out(color, shape) == held_out)
    for held_out in (False, True)
)
