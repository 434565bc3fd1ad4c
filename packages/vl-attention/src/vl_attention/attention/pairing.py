"""Pairing of student layers and heads with teacher layers and heads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from vl_attention.models.whole_numbers import whole_number

Layers: TypeAlias = str | Sequence[int] | Mapping[int, int] | Sequence[tuple[int, int]]
"""``"all"``, ``"first:18"``, ``"first:75%"``, ``"last:6"``, ``"spread"``, layer numbers, or a mapping or pairs from
student layers to teacher layers."""
Heads: TypeAlias = str | Sequence[int] | Mapping[int, int | Sequence[int]] | Sequence[tuple[int, int | Sequence[int]]]
"""``"all"``, ``"first:12"``, head numbers, or a mapping or pairs from student heads to teacher heads; several teacher
heads for one student head average their maps."""
HeadMap: TypeAlias = list[int | list[int] | None]


def pair_layers(layers: Layers, student_depth: int, teacher_depth: int) -> list[tuple[int, int]]:
    """Pair each student layer with the teacher layer that it learns from, in the order of the student layers.

    Args:
        layers: ``"all"``: layer by layer, for equal depths; ``"first:K"`` and ``"last:K"``: the K layers of each model
            nearest to its input or output, or a percentage of the smaller depth (``"first:75%"``); ``"spread"``: every
            student layer with the teacher layer at the same relative depth; layer numbers, the same in both models
            (negative numbers count from the end of each); or a mapping.
        student_depth: Number of student layers.
        teacher_depth: Number of teacher layers.

    Raises:
        ValueError: If a layer does not exist, no layer is named, or ``"all"`` is used with different depths.

    Example:
        >>> pair_layers("last:2", 3, 6)
        [(1, 4), (2, 5)]
        >>> pair_layers("spread", 3, 6)
        [(0, 1), (1, 3), (2, 5)]
    """
    if isinstance(layers, str):
        pairs = _named_layers(layers, student_depth, teacher_depth)
    else:
        pairs = [
            (_index("layers", "student layer", s, student_depth), _index("layers", "teacher layer", t, teacher_depth))
            for s, t in as_pairs("layers", layers)
        ]
    if not pairs:
        raise ValueError(f"layers must name at least one layer, got {layers!r}")
    if len({student for student, _ in pairs}) < len(pairs):
        raise ValueError(f"layers must name each layer of the student once, got {layers!r}")
    return sorted(pairs)


def _named_layers(layers: str, student_depth: int, teacher_depth: int) -> list[tuple[int, int]]:
    if layers == "spread":
        return (
            [(i, (i + 1) * teacher_depth // student_depth - 1) for i in range(student_depth)]
            if (student_depth <= teacher_depth)
            else [(i, i * teacher_depth // student_depth) for i in range(student_depth)]
        )
    if layers == "all":
        if student_depth != teacher_depth:
            raise ValueError(
                f"layers='all' needs equal depths, and the student has {student_depth} layers, the teacher "
                f"{teacher_depth}; use 'spread', 'first:K', 'last:K' or a mapping from student layers to teacher layers"
            )
        return [(i, i) for i in range(student_depth)]
    end, count = _end_and_count("layers", layers, min(student_depth, teacher_depth), "'all', 'spread'")
    shift = (0, 0) if end == "first" else (student_depth - count, teacher_depth - count)
    return [(shift[0] + i, shift[1] + i) for i in range(count)]


def pair_heads(heads: Heads, student_heads: int, teacher_heads: int) -> HeadMap | None:
    """Assign each student head a teacher head, several teacher heads whose maps are averaged, or None.

    Args:
        heads: ``"all"``: head by head; if the teacher has a multiple of the student's heads, each student head learns
            the average of a group of adjacent teacher heads. ``"first:K"`` or numbers: these heads only. Or a mapping.
        student_heads: Number of student heads.
        teacher_heads: Number of teacher heads.

    Returns:
        One entry per student head, None for a head that learns from none; or None for head by head.

    Raises:
        ValueError: If a head does not exist, no head is named, or ``"all"`` is used with numbers that do not divide.

    Example:
        >>> pair_heads("all", 2, 4)
        [[0, 1], [2, 3]]
        >>> pair_heads([2], 3, 3)
        [None, None, 2]
    """
    if isinstance(heads, str) and heads == "all":
        if student_heads == teacher_heads:
            return None
        if teacher_heads % student_heads:
            raise ValueError(
                f"the student has {student_heads} heads and the teacher {teacher_heads}, which is not a multiple; pass "
                "heads={student head: teacher head}, or use mode='relations', which works with any numbers of heads"
            )
        group = teacher_heads // student_heads
        return [list(range(h * group, (h + 1) * group)) for h in range(student_heads)]
    if isinstance(heads, str):
        end, count = _end_and_count("heads", heads, min(student_heads, teacher_heads), "'all'")
        heads = range(count) if end == "first" else [-1 - i for i in range(count)]
    chosen: HeadMap = [None] * student_heads
    for student, teacher in as_pairs("heads", heads):
        numbers = list(teacher) if isinstance(teacher, Sequence) else [teacher]
        found = [_index("heads", "teacher head", n, teacher_heads) for n in numbers]
        if not found:
            raise ValueError(f"heads must name a teacher head for student head {student}, got an empty list")
        index = _index("heads", "student head", student, student_heads)
        if chosen[index] is not None:
            raise ValueError(f"heads must name each head of the student once, got {heads!r}")
        chosen[index] = found if len(found) > 1 else found[0]
    if all(head is None for head in chosen):
        raise ValueError(f"heads must name at least one head, got {heads!r}")
    return chosen


def _end_and_count(name: str, spec: str, most: int, also: str) -> tuple[str, int]:
    found = re.fullmatch(r"(first|last):(\d+)(%?)", spec)
    if not found:
        raise ValueError(f"{name} must be {also}, 'first:K', 'last:K', numbers or a mapping, got {spec!r}")
    end, number, percent = found[1], int(found[2]), bool(found[3])
    count = round(most * number / 100) if percent else number
    if not 1 <= count <= most:
        raise ValueError(f"{name}={spec!r} names {count}, and there are {most} to choose from")
    return end, count


def as_pairs(name: str, chosen: Any) -> list[tuple[Any, Any]]:
    """Convert a mapping, pairs, or numbers that are the same on both sides to (student, teacher) pairs."""
    if (single := whole_number(chosen)) is not None:
        raise ValueError(
            f"{name} must be a list of whole numbers, got the number {single}; for a single one pass [{single}], and "
            f"for the first ones 'first:{single}'"
        )
    items = list(chosen.items() if isinstance(chosen, Mapping) else _as_python(chosen))
    pairs = [(_as_python(item),) * 2 if whole_number(item) is not None else item for item in items]
    if any(not isinstance(pair, Sequence) or len(pair) != 2 for pair in pairs):
        raise ValueError(f"{name} must hold whole numbers, or (student, teacher) pairs, got {chosen!r}")
    return [(_as_python(student), _as_python(teacher)) for student, teacher in pairs]


def _as_python(value: Any) -> Any:
    """Whole numbers, arrays and tensors as Python's numbers and lists, which JSON can store; anything else as it is."""
    if (number := whole_number(value)) is not None:
        return number
    if hasattr(value, "tolist"):
        return value.tolist()
    return [_as_python(item) for item in value] if isinstance(value, list | tuple | range) else value


def _index(name: str, what: str, number: int, size: int) -> int:
    if isinstance(number, bool) or not isinstance(number, int):
        raise ValueError(f"{name} must hold whole numbers, got {number!r}")
    if not -size <= number < size:
        raise ValueError(f"{name} names {what} {number}, and there are {size}: 0 to {size - 1}, or -{size} to -1")
    return number % size
