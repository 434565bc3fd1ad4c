"""Rewards from features: of an image by the target images nearest to it, of a concept by its best images.

Li, Brown, Efros and Pathak, *Internet Explorer*, ICML 2023, section 2.3: mean cosine to the 15 nearest target images,
and, of a concept, the mean of its ten best images (the paper's algorithm 1 has the mean of all; its text and its
ablation have the best).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_CELLS = 1 << 22  # numbers held at once beside the arguments: 32 MB


def image_rewards(features: ArrayLike, target: ArrayLike, *, neighbors: int = 15) -> Floats:
    """Mean cosine of each image to the target images nearest to it.

    Memory beyond a copy of the target is bounded, whatever the number of images.

    Args:
        features: Of what was found, ``(n, d)``; rows need not be of unit length.
        target: Features of the target images by the same encoder, ``(m, d)``.
        neighbors: Nearest target images that count. Where the target has fewer, all count, and a warning says so.

    Returns:
        Rewards ``(n,)`` in [-1, 1], float64.

    Raises:
        TypeError: If features are not numbers.
        ValueError: If a shape is another, there is no image, a feature is not finite, a row is zero, or ``neighbors``
            is below 1.

    Example:
        >>> target = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]
        >>> image_rewards([[2.0, 0.0], [0.0, 1.0]], target, neighbors=2).tolist()
        [0.5, 0.5]
    """
    found, wanted = checked_pair(features, target, "target", neighbors)
    if len(wanted) < neighbors:
        warnings.warn(
            f"target has {len(wanted)} images, fewer than neighbors={neighbors}: the reward is the mean cosine to all "
            "of them, so that each odd one weighs more and an image must look like the target as a whole; "
            "add target images, or lower neighbors",
            UserWarning,
            stacklevel=2,
        )
    return nearest_means(found, unit(wanted, "target"), min(neighbors, len(wanted)))


def contrast_rewards(
    rewards: ArrayLike, features: ArrayLike, background: ArrayLike, *, weight: float = 0.5, neighbors: int = 15
) -> Floats:
    """Rewards less what an image has in common with any image of the web.

    Some images have a large cosine to nearly all others, hubs, and so a large reward for any target. Of each reward is
    taken ``weight`` times the mean cosine to the nearest images of a background, as far as it is above that of the
    background itself, so that rewards keep their scale. The correction is half of CSLS (Conneau, Lample, Ranzato,
    Denoyer and Jégou, *Word Translation Without Parallel Data*, 2018) at weight 1; Internet Explorer has none.

    Args:
        rewards: Of `image_rewards`, ``(n,)``.
        features: Of the same images, ``(n, d)``.
        background: Features of images of the web that were not chosen for the target, ``(m, d)``; with fewer than two
            the rewards stay as they are.
        weight: At least 0, which leaves them too.
        neighbors: Nearest background images that count; all others where there are fewer.

    Raises:
        TypeError: If features are not numbers.
        ValueError: As `image_rewards`, or if ``weight`` is negative or not finite.

    Example:
        >>> contrast_rewards([0.8, 0.8], [[1, 0], [0, 1]], [[1, 0.1], [1, -0.1]], weight=1.0).round(2).tolist()
        [0.79, 1.78]
    """
    if not 0 <= weight < np.inf:
        raise ValueError(f"weight must be a number of at least 0, got {weight}")
    found, others = checked_pair(features, background, "background", neighbors)
    own: Floats = np.asarray(rewards, np.float64)
    if len(others) < 2 or not weight:
        return own
    units, count = unit(others, "background"), min(neighbors, len(others) - 1)
    usual = nearest_means(others, units, count, name="background", hide=lambda rows: rows).mean()
    contrasted: Floats = own - weight * (nearest_means(found, units, count) - usual)
    return contrasted


def concept_reward(image_rewards: ArrayLike, *, top: int = 10) -> float:
    """Mean of the best image rewards of a concept.

    Args:
        image_rewards: Of the images that its query found, ``(n,)``.
        top: Best images that count; all where there are fewer.

    Raises:
        TypeError: If rewards are not numbers.
        ValueError: If there are none, one is not finite, or ``top`` is below 1.

    Example:
        >>> concept_reward([0.1, 0.9, 0.7], top=2)
        0.8
    """
    rewards = _numbers(image_rewards, "image_rewards").astype(np.float64)
    if rewards.ndim != 1 or not len(rewards):
        raise ValueError(
            f"image_rewards must have shape (n,) with n at least 1, got {rewards.shape}; a query without images has no "
            "reward, leave it out"
        )
    if not np.isfinite(rewards).all():
        raise ValueError(
            f"image_rewards must be finite, got {rewards[~np.isfinite(rewards)][0]}; leave out images without a reward"
        )
    if top < 1:
        raise ValueError(f"top must be at least 1, got {top}; the paper has 10")
    return float(np.sort(rewards)[::-1][:top].mean())


def checked_pair(
    features: ArrayLike, target: ArrayLike, name: str, neighbors: int
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Both arrays of features as they are, shapes and ``neighbors`` checked; ``name`` is that of the second.

    Raises:
        TypeError: If one does not hold numbers.
        ValueError: If a shape is another, or ``neighbors`` is below 1.
    """
    found, wanted = _numbers(features, "features"), _numbers(target, name)
    for kind, rows in (("features", found), (name, wanted)):
        if rows.ndim != 2 or 0 in rows.shape:
            raise ValueError(f"{kind} must have shape (n, d) with n and d at least 1, got {rows.shape}")
    if found.shape[1] != wanted.shape[1]:
        raise ValueError(
            f"{name} must have {found.shape[1]} numbers a row like features, got {wanted.shape[1]}; "
            "encode both with the same encoder"
        )
    if neighbors < 1:
        raise ValueError(f"neighbors must be at least 1, got {neighbors}; the paper has 15")
    return found, wanted


def nearest_means(
    features: NDArray[np.floating],
    target: Floats,
    count: int,
    *,
    name: str = "features",
    hide: Callable[[NDArray[np.int64]], NDArray[np.int64]] | None = None,
) -> Floats:
    """Mean of the ``count`` largest cosines of each row to unit rows of the target, in blocks.

    Args:
        features: ``(n, d)``, of any length above zero.
        target: Unit rows ``(m, d)``.
        count: At most ``m``, or ``m - 1`` with ``hide``.
        name: For errors.
        hide: From numbers of rows to the target row that each must not use.
    """
    rewards = np.empty(len(features))
    step = max(1, _CELLS // sum(target.shape))
    for begin in range(0, len(features), step):
        rows = np.arange(begin, min(begin + step, len(features)))
        cosines = unit(features[rows], name, begin) @ target.T
        if hide is not None:
            cosines[rows - begin, hide(rows)] = -np.inf
        nearest = np.partition(cosines, len(target) - count, axis=1)[:, len(target) - count :]
        rewards[rows] = nearest.mean(axis=1)
    return rewards


def unit(rows: NDArray[np.floating], name: str, begin: int = 0) -> Floats:
    """Rows of unit length, float64.

    Raises:
        ValueError: If one is zero or not finite; it is named by its number, counted from ``begin``.
    """
    wide = rows.astype(np.float64)
    largest = np.abs(wide).max(axis=1, keepdims=True)
    bad = np.flatnonzero(~(np.isfinite(largest) & (largest > 0)))
    if len(bad):
        row = int(bad[0])
        fault = "zeros" if largest[row, 0] == 0 else "numbers that are not finite"
        raise ValueError(
            f"{name} must have finite rows that are not zero, got {fault} in row {begin + row} ({len(bad)} such rows); "
            "leave these images out"
        )
    # By the largest first, since squares of tiny or huge numbers leave the range.
    wide /= largest
    scaled: Floats = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    return scaled


def _numbers(values: ArrayLike, name: str) -> NDArray[np.floating]:
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must hold real numbers, got {array.dtype}")
    return array
