"""Seeded, class-balanced orders of images, for taking a part of a data set."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np


def balanced_order(labels: Sequence[Hashable], *, seed: int = 0) -> list[int]:
    """Indices of images in a random order of which every prefix has all classes in proportion.

    The first 10 and the first 100 indices are therefore both a fair sample, and the larger contains the smaller.
    Evenly spaced indices are not balanced: in many data sets every tenth image is of the same class.

    Args:
        labels: The class of each image, as an index or a name; unlabeled images (-1 or None) count as one more class.
        seed: Seed of the order.

    Example:
        >>> labels = ["cat", "cat", "cat", "cat", "dog", "dog"]
        >>> sorted(labels[i] for i in balanced_order(labels)[:3])
        ['cat', 'cat', 'dog']
    """
    shuffled = np.random.default_rng(seed).permutation(len(labels)).tolist()
    members: dict[Hashable, list[int]] = {}
    for index in shuffled:
        members.setdefault(labels[index], []).append(index)
    share = {index: (rank + 0.5) / len(own) for own in members.values() for rank, index in enumerate(own)}
    return sorted(shuffled, key=share.__getitem__)
