"""Metrics of scores that are to tell images out of the distribution from those in it.

A score is larger the more an image is out, and being out is the positive class: the convention of pytorch-ood. Ties are
counted as what they are, and all is computed in float64, so scores of 1,500 nats lose nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from vl_core.intervals import Interval
from vl_core.intervals import bootstrap_all as _bootstrap_all

if TYPE_CHECKING:
    from torch import Tensor

Scores: TypeAlias = NDArray[np.float64]
Metric: TypeAlias = Callable[[Scores, Scores], float]
"""From scores of images inside and of images outside to a number."""


class OriginalScores(np.ndarray[Any, np.dtype[np.float64]]):
    """Scores of an `OODScore`, whose sign is known to be right, even where all of them are negative.

    What is computed from them, such as their negatives, is a plain array again.
    """

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """Compute with plain arrays."""
        plain = [_plain(values) for values in inputs]
        if "out" in options:
            options["out"] = tuple(map(_plain, options["out"]))
        return getattr(ufunc, method)(*plain, **options)


def _plain(values: Any) -> Any:
    return values.view(np.ndarray) if isinstance(values, OriginalScores) else values


def auroc(inside: ArrayLike, outside: ArrayLike) -> float:
    """Probability that an image outside scores higher than one inside, a tie counting half.

    The area under the receiver operating characteristic; 0.5 for a score that knows nothing, below it for one that
    takes images outside for more typical than those inside.

    Args:
        inside: Scores of images of the distribution, at least one.
        outside: Scores of other images, at least one.

    Raises:
        ValueError: If a set is empty, or a score is not finite.

    Example:
        >>> auroc([1.0, 2.0], [2.0, 3.0])
        0.875
    """
    low, high = checked_scores(inside, outside)
    ordered = np.sort(low)
    below = np.searchsorted(ordered, high, side="left")
    upto = np.searchsorted(ordered, high, side="right")
    return float((below + upto).mean() / (2 * len(low)))


def aupr(inside: ArrayLike, outside: ArrayLike) -> float:
    """Average precision with images outside as the positive class; arguments as for `auroc`.

    The sum over thresholds of precision times the rise of recall. Images of equal score are found together, so their
    order does not matter. A score that knows nothing has the share of images outside.
    """
    true, false = _counts(*checked_scores(inside, outside))
    precision = true / (true + false)
    return float((np.diff(true, prepend=0) * precision).sum() / true[-1])


def fpr95(inside: ArrayLike, outside: ArrayLike) -> float:
    """Share of images inside that are taken for outside where 95 % of those outside are found.

    The threshold is the highest score at which at least 95 % of the images outside score as much or more. With heavy
    ties more than 95 % may be found there, and a constant score has 1. Arguments as for `auroc`.
    """
    low, high = checked_scores(inside, outside)
    true, false = _counts(low, high)
    first = int(np.searchsorted(true, 0.95 * len(high) - 1e-9))
    return float(false[first] / len(low))


METRICS: dict[str, Metric] = {"AUROC": auroc, "AUPR": aupr, "FPR95": fpr95}
"""The metrics by name."""


def bootstrap(
    metric: Metric,
    inside: ArrayLike,
    outside: ArrayLike,
    *,
    repetitions: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Metric with a percentile interval: both sets are drawn anew, each with replacement.

    Args:
        metric: One of `METRICS`, or a function like them.
        inside: Scores of images of the distribution, at least two.
        outside: Scores of other images, at least two.
        repetitions: Number of repetitions.
        level: Probability that the interval covers.
        seed: Seed of the draws.

    Raises:
        ValueError: If a set has fewer than two scores, one is not finite, or a number is out of range.
    """
    return bootstrap_metrics({"metric": metric}, inside, outside, repetitions=repetitions, level=level, seed=seed)[
        "metric"
    ]


def bootstrap_metrics(
    metrics: Mapping[str, Metric],
    inside: ArrayLike,
    outside: ArrayLike,
    *,
    repetitions: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Several metrics of the same draws, by name; arguments as for `bootstrap`."""
    low, high = checked_scores(inside, outside)
    if min(len(low), len(high)) < 2:
        raise ValueError(f"an interval needs at least two images in each set, got {len(low)} and {len(high)}")

    def on_scores(metric: Metric) -> Metric:
        return lambda low, high: metric(low.view(OriginalScores), high.view(OriginalScores))

    return _bootstrap_all(
        {name: on_scores(metric) for name, metric in metrics.items()},
        low,
        high,
        repetitions=repetitions,
        level=level,
        seed=seed,
    )


def checked_scores(inside: ArrayLike, outside: ArrayLike) -> tuple[Scores, Scores]:
    """Both sets of scores as float64 ``(N,)``.

    Raises:
        ValueError: If a set is empty or no vector, or a score is not finite or looks like a log-probability.
    """
    found = []
    signed = isinstance(inside, OriginalScores) and isinstance(outside, OriginalScores)
    for name, given in (("inside", inside), ("outside", outside)):
        scores = np.asarray(given.detach().cpu() if hasattr(given, "detach") else given, dtype=np.float64)
        if scores.ndim != 1 or not len(scores):
            raise ValueError(f"{name} must be at least one score, a vector, got shape {scores.shape}")
        if not np.isfinite(scores).all():
            raise ValueError(f"{name} must be finite, got {scores[~np.isfinite(scores)][0]}")
        found.append(scores)
    if not signed and all((scores < 0).all() for scores in found):
        raise ValueError(
            "scores must be larger the more an image is out, but all are negative, as log-probabilities are; pass "
            "their negatives, or add a constant if these are scores of your own"
        )
    return found[0].view(OriginalScores), found[1].view(OriginalScores)


def to_pytorch_ood(inside: ArrayLike, outside: ArrayLike) -> tuple[Tensor, Tensor]:
    """Scores and labels as pytorch-ood takes them: ``OODMetrics().update(*to_pytorch_ood(inside, outside)).compute()``.

    Its AUROC and FPR95TPR are those of this module, ties included. Its AUPR-OUT is the area under the precision-recall
    curve by trapezoids, which is another number than the average precision of `aupr` (Davis and Goadrich, 2006): for a
    constant score, halfway between the share of images outside and 1.

    Args:
        inside: As for `auroc`.
        outside: As for `auroc`.

    Returns:
        Scores, float64, since float32 merges scores near 1,500 nats that differ by less than 1e-4, and labels, 0 inside
        and -1 outside.

    Raises:
        ValueError: As for `auroc`.

    Example:
        >>> scores, labels = to_pytorch_ood([1.0], [2.0, 3.0])
        >>> labels.tolist()
        [0, -1, -1]
    """
    import torch

    low, high = checked_scores(inside, outside)
    labels = torch.from_numpy(np.repeat([0, -1], [len(low), len(high)]))
    return torch.from_numpy(np.concatenate([low, high]).view(np.ndarray)), labels


def _counts(inside: Scores, outside: Scores) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Images outside and inside that score as much as each threshold or more, thresholds falling."""
    thresholds = np.unique(np.concatenate([inside, outside]))[::-1]
    ordered, others = np.sort(outside), np.sort(inside)
    true = len(ordered) - np.searchsorted(ordered, thresholds, side="left")
    false = len(others) - np.searchsorted(others, thresholds, side="left")
    return true, false
