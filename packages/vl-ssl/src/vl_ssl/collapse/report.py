"""All metrics of the features that a meter has seen, as one record."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from vl_ssl.collapse.spectra import (
    alpha_req,
    effective_rank,
    explained_dimensions,
    nesum,
    participation_ratio,
    rankme,
    spectrum_auc,
    stable_rank,
)
from vl_ssl.collapse.summary import Summary

FEW = 10.0
"""Samples per dimension below which a report warns that its metrics are biased."""


@dataclass(frozen=True)
class CollapseReport:
    """Metrics of collapse of features ``(n, d)``, none of them ever NaN.

    σ are singular values in float64, of centered features where not said otherwise, and λ = σ² the eigenvalues of the
    covariance up to a factor. Constant features, and a single sample, are a point: no dimension is in use, so metrics
    that count dimensions are 0, the AUC is 1 and α infinite; RankMe and the stable rank, which do not center, are 1,
    the direction of the mean.
    """

    samples: int
    """Number of rows n."""
    effective_samples: float
    """Effective number of rows under forgetting, (Σ w)² / Σ w²; n without."""
    dimensions: int
    """Width d of the features."""
    ratio: float
    """Effective samples per dimension, n / d; below ten `warning` says so."""
    auc: float
    """Area under the curve of the cumulative σ (Li, Efros and Pathak, 2022): (d + 1) / (2 d) to 1, collapsed."""
    rankme: float
    """RankMe (Garrido et al., 2023), of σ without centering."""
    effective_rank: float
    """Effective rank (Roy and Vetterli, 2007): RankMe without constant, of centered σ."""
    alpha_req: float
    """Decay of λ between indices 11 and 100 (α-ReQ, Agrawal et al., 2022); infinite for at most one direction."""
    nesum: float
    """NESum Σ λ / λ_1 (He and Ozay, 2022)."""
    stable_rank: float
    """Stable rank ‖X‖_F² / ‖X‖_2², without centering."""
    participation_ratio: float
    """Participation ratio (Σ λ)² / Σ λ²."""
    std: float
    """SimSiam's deviation (Chen and He, 2021): of rows of unit length, the standard deviation of each dimension with n
    as the divisor, averaged; about 1/√d where nothing collapses, 0 for a point."""
    std_scaled: float
    """`std` · √d: about 1 where nothing collapses."""
    dimensions_90: int
    """Least number of dimensions whose σ are 90 % of Σ σ."""
    lidar: float | None
    """LiDAR (Thilak et al., 2024), where views were given."""
    unresolved: float
    """Share of the variance Σ λ that a sketch did not resolve, whose σ are estimates; 0 without a sketch."""
    singular_values: tuple[float, ...]
    """σ of centered features, descending, d of them."""

    @property
    def warning(self) -> str:
        """Sentences where metrics cannot be taken at their value: few samples, or a sketch; else empty."""
        found = []
        if self.ratio < FEW:
            found.append(
                f"only {self.ratio:.2g} samples per dimension ({self.effective_samples:.0f} for d = {self.dimensions})"
                ": the metrics look more collapsed than they are, and only those of equal n compare; "
                f"take {math.ceil(FEW * self.dimensions):,} samples"
            )
        if self.unresolved:
            found.append(
                f"the sketch did not resolve {self.unresolved:.2g} of the variance: metrics over the whole spectrum "
                "(auc, rankme, effective_rank, dimensions_90) are approximate; take a sketch of higher rank, or none"
            )
        return "; ".join(found)

    def as_dict(self) -> dict[str, float]:
        """The numbers by name, for logs and tables: all but the singular values, and LiDAR where there is one."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "singular_values"}
        return {name: value for name, value in values.items() if value is not None}


def report_of(summary: Summary, *, lidar: float | None = None) -> CollapseReport:
    """All metrics of a summary.

    Raises:
        ValueError: If it has no rows.
    """
    if not summary.count:
        raise ValueError("a report needs at least one sample, the meter has seen none; call update(features) first")
    d, raw = summary.dimensions, summary.spectrum(centered=False)
    centered, unresolved = summary.estimated()
    return CollapseReport(
        samples=summary.count,
        effective_samples=summary.effective,
        dimensions=d,
        ratio=summary.effective / d,
        auc=spectrum_auc(centered),
        # The constant of RankMe is added to min(n, d) shares.
        rankme=rankme(raw[: summary.count]),
        effective_rank=effective_rank(centered),
        alpha_req=alpha_req(centered),
        nesum=nesum(centered),
        stable_rank=stable_rank(raw),
        participation_ratio=participation_ratio(centered),
        std=summary.unit_deviation,
        std_scaled=summary.unit_deviation * math.sqrt(d),
        dimensions_90=explained_dimensions(centered),
        lidar=lidar,
        unresolved=unresolved,
        singular_values=tuple(centered.tolist()),
    )
