"""Every score on every set of images outside: metrics with intervals, and which set a score tells apart at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vl_core.intervals import Interval

from vl_density.ood.metrics import METRICS, bootstrap_metrics
from vl_density.ood.scores import OODScore


@dataclass(frozen=True)
class OODResult:
    """Metrics of one score on one set of images outside."""

    score: str
    """Name of the score."""
    outside: str
    """Name of the set."""
    metrics: dict[str, Interval]
    """Metrics by name, with intervals; images outside are the positive class."""


def evaluate_scores(
    scores: Mapping[str, OODScore],
    inside: Any,
    outside: Mapping[str, Any],
    *,
    fitted_on: Any = None,
    repetitions: int = 1000,
    seed: int = 0,
) -> tuple[list[OODResult], dict[str, dict[str, NDArray[np.float64]]]]:
    """Compare scores on sets of images outside.

    Args:
        scores: Scores by name.
        inside: Images of the distribution that no density was trained on, at least two.
        outside: Sets of other images by name, each at least two.
        fitted_on: Images of the distribution that the scores are fitted on, other ones than `inside`; None for scores
            that are fitted.
        repetitions: Repetitions of the bootstrap.
        seed: Seed of the bootstrap.

    Returns:
        Results by set and score, and the scores of images by name of the score and of the set (`"inside"` among them).

    Raises:
        ValueError: If a set has fewer than two images, or a name is `"inside"`.
    """
    if "inside" in outside:
        raise ValueError("outside must not have a set of the name 'inside'")
    for name, images in {"inside": inside, **outside}.items():
        if len(images) < 2:
            raise ValueError(f"{name} must hold at least two images, got {len(images)}; an interval needs them")
    found: dict[str, dict[str, NDArray[np.float64]]] = {}
    for name, score in scores.items():
        if fitted_on is not None:
            score.fit(fitted_on)
        found[name] = {which: score.score(images) for which, images in {"inside": inside, **outside}.items()}
    results = [
        OODResult(
            name,
            which,
            bootstrap_metrics(METRICS, own["inside"], own[which], repetitions=repetitions, seed=seed),
        )
        for which in outside
        for name, own in found.items()
    ]
    return results, found


def clearly_best(results: list[OODResult], outside: str) -> str | None:
    """Name of the score whose interval of AUROC on a set lies above those of all others, and above 0.5, or None.

    Args:
        results: Of `evaluate_scores`.
        outside: Name of the set.
    """
    own = [one for one in results if one.outside == outside]
    best = max(own, key=lambda one: one.metrics["AUROC"].estimate)
    low = best.metrics["AUROC"].low
    others = [one.metrics["AUROC"].high for one in own if one is not best]
    return best.score if low > max([0.5, *others]) else None
