"""Metrics of a spectrum: functions of singular values, each in the convention of its source.

Every function takes the singular values σ of a feature matrix ``(n, d)``, not their squares, in any order. Which
singular values belong to a metric, those of centered features or of features as they are, is said in its docstring;
`CollapseMeter` supplies them. A spectrum of zeros has defined values everywhere: no dimension is in use, and the
collapse is complete.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

Spectrum: TypeAlias = Tensor | Sequence[float] | Any
"""Singular values ``(d,)``: a tensor, an array or a sequence of numbers."""

RANKME_EPSILON = 1e-7
"""Constant that RankMe and LiDAR add to every share."""
ALPHA_RANGE = (11, 100)
"""First and last index, from one, of the eigenvalues that α-ReQ is fitted to by default."""


def cumulative_share(singular_values: Spectrum) -> Tensor:
    """Cumulative explained variance E_j = Σ_{i≤j} σ_i / Σ σ, with σ not squared, as ``(d,)`` float64.

    Li, Efros and Pathak, 2022. A spectrum of zeros gives ones: a point needs no dimension.

    Args:
        singular_values: Of centered features.

    Raises:
        ValueError: If they are not a list of finite numbers of at least zero.

    Example:
        >>> cumulative_share([2.0, 1.0, 1.0]).tolist()
        [0.5, 0.75, 1.0]
    """
    values = _checked(singular_values)
    total = values.sum()
    return values.cumsum(0) / total if total > 0 else torch.ones_like(values)


def spectrum_auc(singular_values: Spectrum) -> float:
    """Area under the curve of the cumulative explained variance, (1/d) Σ_j E_j; higher is more collapsed.

    Equation 2 of Li, Efros and Pathak, *Understanding Collapse in Non-Contrastive Siamese Representation Learning*,
    2022, on centered σ that are not squared. Between (d + 1) / (2 d), a flat spectrum, and 1, a single direction.

    Args:
        singular_values: Of centered features, one for each of the d dimensions: zeros count.

    Raises:
        ValueError: If they are not a list of finite numbers of at least zero.

    Example:
        >>> spectrum_auc([1.0, 1.0, 1.0, 1.0])
        0.625
    """
    return float(cumulative_share(singular_values).mean())


def rankme(singular_values: Spectrum, *, epsilon: float = RANKME_EPSILON) -> float:
    """RankMe: exponential of the entropy of p_k = σ_k / Σ σ + ε; lower is more collapsed.

    Garrido et al., *RankMe*, 2023. Its σ are those of the embeddings without centering, min(n, d) of them. The constant
    counts: of d = 512 values of which few are not zero it adds up to 0.08 %. Elsewhere: stable-pretraining takes
    ε = 1e-5, and reptrix takes shares of σ² of centered features.

    Args:
        singular_values: Of features that are not centered.
        epsilon: The constant ε.

    Returns:
        About 1 to d; 0 for a spectrum of zeros.

    Raises:
        ValueError: If they are not a list of finite numbers of at least zero.

    Example:
        >>> round(rankme([1.0, 1.0, 1.0, 1.0]), 4)
        4.0
    """
    values = _checked(singular_values)
    if not values.sum() > 0:
        return 0.0
    shares = values / values.sum() + epsilon
    return math.exp(float(torch.special.entr(shares).sum()))


def effective_rank(singular_values: Spectrum) -> float:
    """Effective rank: exponential of the entropy of σ / Σ σ.

    Roy and Vetterli, *The Effective Rank*, 2007: RankMe without its constant, and here of centered features.

    Args:
        singular_values: Of centered features.

    Returns:
        1 to d; 0 for a spectrum of zeros.

    Raises:
        ValueError: If they are not a list of finite numbers of at least zero.

    Example:
        >>> round(effective_rank([3.0, 3.0, 0.0]), 6)
        2.0
    """
    return rankme(singular_values, epsilon=0.0)


def alpha_req(singular_values: Spectrum, *, fit_range: tuple[int, int] = ALPHA_RANGE) -> float:
    """α-ReQ: decay of the eigenvalues λ_j ∝ j^-α of the covariance, by least squares of log λ on log j.

    Agrawal et al., *α-ReQ*, 2022, which fits a middle range and finds representations good near 1; larger is more
    collapsed. The slope depends on the range, so that only values of one range compare. The range is cut at the last
    eigenvalue that is not zero. Where fewer than ten eigenvalues would be left, all that are not zero are fitted.

    Args:
        singular_values: Of centered features; λ = σ² up to a factor, which the slope does not see.
        fit_range: First and last index, from one.

    Returns:
        The slope with its sign changed: 0 for a flat spectrum, infinite where at most one eigenvalue is not zero, since
        the next is infinitely smaller.

    Raises:
        ValueError: If they are not a list of finite numbers of at least zero, or the range is empty.

    Example:
        >>> round(alpha_req([j**-0.5 for j in range(1, 200)]), 6)
        1.0
    """
    values = _checked(singular_values)
    first, last = fit_range
    if not 1 <= first < last:
        raise ValueError(f"fit_range must be two indices, the first from 1 and below the last, got {fit_range}")
    rank = int((values > 0).sum())
    if rank < 2:
        return math.inf
    last = min(last, rank)
    if last - first < 9:
        first, last = 1, rank
    index = torch.arange(first, last + 1, dtype=torch.float64).log()
    decay = 2 * values[first - 1 : last].log()
    index = index - index.mean()
    slope = float((index * (decay - decay.mean())).sum() / index.square().sum())
    # Of a flat spectrum, not minus zero.
    return -slope if slope else 0.0


def nesum(singular_values: Spectrum) -> float:
    """NESum: sum of the eigenvalues of the covariance over the largest, Σ λ_i / λ_1; lower is more collapsed.

    He and Ozay, *Exploring the Gap between Collapsed and Whitened Features in Self-Supervised Learning*, 2022.

    Args:
        singular_values: Of centered features.

    Returns:
        1 to d; 0 for a spectrum of zeros.

    Raises:
        ValueError: If they are not a list of finite numbers of at least zero.

    Example:
        >>> nesum([2.0, 1.0, 1.0])
        1.5
    """
    values = _checked(singular_values)
    largest = float(values[0])
    return float((values / largest).square().sum()) if largest > 0 else 0.0


def stable_rank(singular_values: Spectrum) -> float:
    """Stable rank ‖X‖_F² / ‖X‖_2² of the features as they are; lower is more collapsed.

    Rudelson and Vershynin, 2007, for features by Tsitsulin, Munkhoeva and Perozzi, *Unsupervised Embedding Quality
    Evaluation*, 2023. With centered σ it is `nesum`; without centering a large mean alone brings it near 1.

    Args:
        singular_values: Of features that are not centered.

    Returns:
        1 to d; 0 for a spectrum of zeros.

    Raises:
        ValueError: If they are not a list of finite numbers of at least zero.
    """
    return nesum(singular_values)


def participation_ratio(singular_values: Spectrum) -> float:
    """Participation ratio (Σ λ)² / Σ λ² of the eigenvalues λ = σ² of the covariance; lower is more collapsed.

    Args:
        singular_values: Of centered features.

    Returns:
        1 to d; 0 for a spectrum of zeros.

    Raises:
        ValueError: If they are not a list of finite numbers of at least zero.

    Example:
        >>> participation_ratio([1.0, 1.0, 0.0])
        2.0
    """
    values = _checked(singular_values)
    if not values[0] > 0:
        return 0.0
    # Relative to the largest, so that nothing overflows.
    eigenvalues = (values / values[0]).square()
    return float(eigenvalues.sum().square() / eigenvalues.square().sum())


def explained_dimensions(singular_values: Spectrum, *, share: float = 0.9) -> int:
    """Least number of dimensions whose σ are a share of Σ σ; lower is more collapsed.

    Args:
        singular_values: Of centered features.
        share: Above 0 and at most 1.

    Returns:
        1 to d; 0 for a spectrum of zeros.

    Raises:
        ValueError: If they are not a list of finite numbers of at least zero, or `share` is out of range.

    Example:
        >>> explained_dimensions([6.0, 3.0, 1.0])
        2
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, got {share}; 90 % is 0.9")
    values = _checked(singular_values)
    if not values[0] > 0:
        return 0
    # The sums of equal values miss a share such as 0.9 by rounding.
    return int((cumulative_share(values) < share - 1e-12).sum()) + 1


def _checked(singular_values: Spectrum) -> Tensor:
    """The singular values in float64 on the CPU, descending."""
    values = torch.as_tensor(singular_values, dtype=torch.float64).detach().cpu()
    if values.ndim != 1 or not len(values):
        raise ValueError(f"singular_values must have shape (d,) with d of at least 1, got {tuple(values.shape)}")
    if not bool((values.isfinite() & (values >= 0)).all()):
        raise ValueError("singular_values must be finite and at least 0; compute them in float64 from finite features")
    return values.sort(descending=True).values
