"""Seeded, class-balanced subsets of labeled images."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def stratified_indices(labels: Sequence[int], count: int, seed: int) -> list[int]:
    """Draw the indices of a subset with equally many images per class, in ascending order.

    Args:
        labels: Labels of all images; -1 for none.
        count: Size of the subset, a multiple of the number of classes.
        seed: Seed of the draw.

    Raises:
        ValueError: If ``count`` is not a multiple of the number of classes, or a class has too few images.

    Example:
        >>> [[0, 1, 0, 1, 0][i] for i in stratified_indices([0, 1, 0, 1, 0], 2, seed=0)] in ([0, 1], [1, 0])
        True
    """
    truth = torch.as_tensor(labels)
    classes = sorted({int(label) for label in truth.tolist()} - {-1})
    if not classes:
        raise ValueError(f"labels={count} needs labeled images, and none has a label")
    if count < 1 or count % len(classes):
        raise ValueError(
            f"labels must be a positive multiple of the number of classes, {len(classes)}; got {count}; take "
            f"{max(1, count // len(classes)) * len(classes)}"
        )
    generator = torch.Generator().manual_seed(seed)
    chosen: list[int] = []
    for label in classes:
        places = (truth == label).nonzero()[:, 0]
        if len(places) < count // len(classes):
            raise ValueError(
                f"labels={count} needs {count // len(classes)} images per class, and class {label} has {len(places)}; "
                f"take {min(int((truth == one).sum()) for one in classes) * len(classes)} at most"
            )
        drawn = torch.randperm(len(places), generator=generator)[: count // len(classes)]
        chosen += places[drawn].tolist()
    return sorted(chosen)
