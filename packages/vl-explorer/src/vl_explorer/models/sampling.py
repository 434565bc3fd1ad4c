"""The distribution that queries are drawn from, and the draw.

Section 2.5 and appendix A of Internet Explorer (Li, Brown, Efros and Pathak, 2023): a softmax of the scores whose
temperature makes the best concept a fixed factor more likely than the worst, and fixed shares of the mass for tiers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vl_explorer.models.model import Floats, check_positive


def softmax_with_ratio(scores: ArrayLike, ratio: float = 3.0) -> Floats:
    """Softmax of scores ``(N,)`` with temperature (max − min) / `ratio`; uniform if all are equal.

    The best is e^`ratio` times as likely as the worst, whatever the scale of the scores.

    Raises:
        ValueError: If there are no scores, one is not finite, or `ratio` is not above 0.

    Example:
        >>> p = softmax_with_ratio([0.2, 0.5, 0.1])
        >>> round(float(p.max() / p.min()), 3)
        20.086
    """
    check_positive(ratio=ratio)
    weights = np.exp(_logits(_checked_scores(scores), ratio))
    shares: Floats = weights / weights.sum()
    return shares


def query_distribution(
    scores: ArrayLike,
    ratio: float = 3.0,
    tiers: Sequence[int] = (250, 750),
    masses: Sequence[float] = (0.8, 0.1, 0.1),
) -> Floats:
    """Probabilities ``(N,)`` of the concepts: a softmax whose ranks are cut into tiers with fixed shares of the mass.

    The best `tiers[0]` concepts have `masses[0]` together, the next `tiers[1]` have `masses[1]`, and the rest has what
    remains; inside each tier the softmax is renormalized. Concepts with equal scores share the mass of their ranks
    equally, so that equal scores give a uniform distribution. With fewer concepts than ranks, tiers without a concept
    are left out and the other masses renormalized.

    Args:
        scores: Of all concepts, ``(N,)``; higher is better.
        ratio: Logarithm of how much likelier the best is than the worst in the softmax.
        tiers: Sizes of all tiers but the last, at least 1 each.
        masses: Share of each tier, one more than `tiers`; they sum to 1.

    Raises:
        ValueError: If there are no scores, one is not finite, or an option is out of range.

    Example:
        >>> p = query_distribution(np.arange(2000.0))
        >>> [round(float(part.sum()), 12) for part in (p[-250:], p[-1000:-250], p[:-1000])]
        [0.8, 0.1, 0.1]
    """
    if len(masses) != len(tiers) + 1 or min(masses) < 0 or not math.isclose(sum(masses), 1):
        raise ValueError(f"masses must be {len(tiers) + 1} shares that sum to 1, one more than tiers, got {masses}")
    if any(size < 1 for size in tiers):
        raise ValueError(f"tiers must be sizes of at least 1, got {tiers}")
    values = _checked_scores(scores)
    check_positive(ratio=ratio)
    order = np.argsort(-values, kind="stable")
    by_rank = _logits(values, ratio)[order]
    parts = np.split(by_rank, np.minimum(np.cumsum(tiers, dtype=np.int64), len(values)))
    held = sum(mass for mass, part in zip(masses, parts, strict=True) if len(part))
    if held <= 0:
        raise ValueError(f"masses must give {len(values)} concepts a chance, got {masses} for tiers {tiers}")
    for mass, part in zip(masses, parts, strict=True):
        if len(part):
            # Relative to the best of the tier, so that no tier vanishes whatever the ratio.
            part[:] = np.exp(part - part[0])
            part *= mass / held / part.sum()
    # Ranks with equal scores are runs; each of a run gets the run's mean.
    starts = np.flatnonzero(np.r_[True, np.diff(values[order]) != 0])
    lengths = np.diff(np.r_[starts, len(values)])
    probabilities = np.empty_like(values)
    probabilities[order] = np.repeat(np.add.reduceat(by_rank, starts) / lengths, lengths)
    return probabilities


def draw(distribution: ArrayLike, count: int, seed: int, iteration: int) -> NDArray[np.int64]:
    """Indices of distinct concepts, drawn one after another in proportion to the probabilities.

    A pure function of its arguments: concept i has the i-th number u of the counter-based generator Philox with key
    (seed, iteration), and those with the smallest −log(u) / p win, in this order (an exponential race).

    Args:
        distribution: Probabilities ``(N,)``; those of zero are never drawn. They need not sum to 1.
        count: How many, at least 0.
        seed: Of the run, in 0..2⁶⁴ − 1.
        iteration: In 0..2⁶⁴ − 1.

    Returns:
        ``(count,)``, fewer where fewer have a probability above zero.

    Raises:
        ValueError: If probabilities are negative or not finite, or a number is out of range.

    Example:
        >>> draw([0.0, 1.0, 0.0], 2, seed=0, iteration=0).tolist()
        [1]
    """
    shares = np.asarray(distribution, np.float64)
    if shares.ndim != 1 or not np.isfinite(shares).all() or (shares < 0).any():
        raise ValueError(f"distribution must be probabilities of shape (N,), got shape {shares.shape}")
    if count < 0:
        raise ValueError(f"count must be at least 0, got {count}")
    raw = _philox(seed, iteration).random_raw(len(shares))
    uniform = ((raw >> np.uint64(11)) + 0.5) * 2.0**-53
    possible = np.flatnonzero(shares)
    arrivals = -np.log(uniform[possible]) / shares[possible]
    return possible[np.argsort(arrivals, kind="stable")[:count]]


def generator_of(seed: int, iteration: int) -> np.random.Generator:
    """Generator for the acquisition of an iteration; `draw` uses other numbers of the same seed.

    Raises:
        ValueError: If a number is not in 0..2⁶⁴ − 1.
    """
    bits = _philox(seed, iteration)
    return np.random.Generator(bits.jumped())


def _philox(seed: int, iteration: int) -> np.random.Philox:
    for name, value in (("seed", seed), ("iteration", iteration)):
        if not 0 <= value < 2**64:
            raise ValueError(f"{name} must be in 0..2**64 - 1, got {value}")
    return np.random.Philox(key=np.array([seed, iteration], np.uint64))


def _logits(scores: Floats, ratio: float) -> Floats:
    """Logarithms of the softmax weights, from −`ratio` to 0; zeros where all scores are equal."""
    spread = scores.max() - scores.min()
    logits: Floats = (scores - scores.max()) / (spread if spread > 0 else 1) * ratio
    return logits


def _checked_scores(scores: ArrayLike) -> Floats:
    values = np.asarray(scores, np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"scores must have shape (N,) with N of at least 1, got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"scores must be finite, got {values[~np.isfinite(values)][0]}")
    return values
