"""Summary of a comparison: means over seeds, gains over training from scratch, and confidence intervals."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan, sqrt
from statistics import fmean, stdev

from scipy.stats import t as student_t
from vl_core.results import wilson_interval

from vl_attention.comparison.compare import read_predictions

SCRATCH, FINE_TUNE = "scratch", "fine-tune"


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % confidence interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Summary:
    """One method, summarized over its seeds."""

    method: str
    seeds: tuple[int, ...]
    accuracy: Interval
    """Fraction of the test images. Several seeds: Student's interval of their mean; one seed: Wilson's, over images."""
    gain: Interval | None
    """Accuracy gain over training from scratch, paired by seed, or by image if there is one seed. None for training
    from scratch itself, or if it is missing."""
    share_of_gap: float | None
    """The gain divided by that of fine-tuning, over the seeds that both have in common with training from scratch; None
    if there are none or fine-tuning gains nothing."""
    seconds: float
    """Mean training time."""
    peak_mb: float
    """Maximum over seeds."""


def summarize(rows: Sequence[Mapping[str, str]], out: str | os.PathLike[str]) -> list[Summary]:
    """Summarize each method, in the order of the rows.

    Args:
        rows: Rows of ``transfer.csv``.
        out: Folder of the comparison; predictions are read from it if there is one seed.

    Raises:
        ValueError: If there are no rows.
    """
    if not rows:
        raise ValueError("rows must be one or more rows of transfer.csv, got none")
    by_method: dict[str, dict[int, Mapping[str, str]]] = {}
    for row in rows:
        by_method.setdefault(row["method"], {})[int(row["seed"])] = row
    return [
        Summary(
            name,
            tuple(found),
            _accuracy(found, name, out),
            _gain(by_method, name, out),
            _share_of_gap(by_method, name),
            fmean(float(row["seconds"]) for row in found.values()),
            max(float(row["peak_mb"]) for row in found.values()),
        )
        for name, found in by_method.items()
    ]


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean with Student's 95 % interval; the ends are NaN for a single value.

    Example:
        >>> found = mean_interval([1.0, 2.0, 3.0])
        >>> f"{found.mean:.2f} {found.low:.2f} {found.high:.2f}"
        '2.00 -0.48 4.48'
    """
    mean = fmean(values)
    if len(values) < 2:
        return Interval(mean, nan, nan)
    half = float(student_t.ppf(0.975, len(values) - 1)) * stdev(values) / sqrt(len(values))
    return Interval(mean, mean - half, mean + half)


def _accuracy(found: Mapping[int, Mapping[str, str]], name: str, out: str | os.PathLike[str]) -> Interval:
    if len(found) > 1:
        return mean_interval([float(row["accuracy"]) for row in found.values()])
    logits, labels = read_predictions(out, name, next(iter(found)))
    correct = int((logits.argmax(-1) == labels).sum())
    return Interval(correct / len(labels), *wilson_interval(correct, len(labels)))


def _gain(
    by_method: Mapping[str, Mapping[int, Mapping[str, str]]], name: str, out: str | os.PathLike[str]
) -> Interval | None:
    if name == SCRATCH:
        return None
    seeds = [seed for seed in by_method[name] if seed in by_method.get(SCRATCH, {})]
    if not seeds:
        return None
    if len(seeds) > 1:
        pairs = [(by_method[name][seed], by_method[SCRATCH][seed]) for seed in seeds]
        return mean_interval([float(ours["accuracy"]) - float(theirs["accuracy"]) for ours, theirs in pairs])
    logits, labels = read_predictions(out, name, seeds[0])
    scratch, _ = read_predictions(out, SCRATCH, seeds[0])
    difference = (logits.argmax(-1) == labels).double() - (scratch.argmax(-1) == labels).double()
    return mean_interval(difference.tolist())


def _share_of_gap(by_method: Mapping[str, Mapping[int, Mapping[str, str]]], name: str) -> float | None:
    scratch, tuned, ours = (by_method.get(method, {}) for method in (SCRATCH, FINE_TUNE, name))
    seeds = [seed for seed in ours if seed in scratch and seed in tuned]
    if name == SCRATCH or not seeds:
        return None
    gain, whole = (
        fmean(float(found[seed]["accuracy"]) - float(scratch[seed]["accuracy"]) for seed in seeds)
        for found in (ours, tuned)
    )
    return gain / whole if whole > 0 else None
