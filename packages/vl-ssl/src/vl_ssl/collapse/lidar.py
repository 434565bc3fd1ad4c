"""LiDAR: effective rank of linear discriminants whose classes are single images, seen through several views.

Thilak et al., *LiDAR: Sensing Linear Probing Performance in Joint Embedding SSL Architectures*, 2024.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vl_ssl.collapse.checks import checked_views
from vl_ssl.collapse.scatters import GramSummary
from vl_ssl.collapse.spectra import rankme

_ROUNDING = 4 * torch.finfo(torch.float32).eps
LIDAR_DELTA = 1e-4
"""Multiple of the identity that is added to the scatter within images."""


class ViewSummary:
    """Scatter of the means of images, and of their views around them, both in float64.

    Args:
        dimensions: Width d of the features.
        device: Where the sums are kept.
    """

    def __init__(self, dimensions: int, device: torch.device):
        self.between = GramSummary(dimensions, device)
        # Views around the means of their images: their own mean is zero.
        self.within = GramSummary(dimensions, device)

    def update(self, views: Tensor, *, half_life: float | None = None) -> None:
        """Add images ``(B, q, d)`` with q views each; the half-life is in views."""
        q = views.shape[1]
        for block in torch.split(views, max(1, self.between.block_rows // q)) if len(views) else ():
            rows = block.to(self.between.device, torch.float64)
            means = rows.mean(dim=1)
            images = None if half_life is None else half_life / q
            self.between.update(means, half_life=images)
            around = ((rows - means[:, None]) / math.sqrt(q)).transpose(0, 1)
            if images is not None:
                self.within.decay(2.0 ** (-len(rows) / images))
                ages = torch.arange(len(rows) - 1, -1, -1, dtype=torch.float64, device=rows.device)
                around = around * torch.exp2(-ages / images / 2)[:, None]
            self.within.fold(around.reshape(-1, rows.shape[2]))

    def decay(self, factor: float) -> None:
        """Multiply the weights of all images so far."""
        self.between.decay(factor)
        self.within.decay(factor)

    def merge(self, other: ViewSummary) -> None:
        """Add all images of another summary."""
        self.between.merge(other.between)
        self.within.fold_core(other.within.core.to(self.within.device))

    def lidar(self, *, delta: float = LIDAR_DELTA) -> float:
        """LiDAR of the images so far; see `lidar`."""
        if not delta > 0:
            raise ValueError(f"delta must be above 0, got {delta}; the paper takes 1e-4")
        n = self.between.weight
        if not n:
            return 0.0
        between, within = self.between.matrix / n, self.within.matrix / n
        size = float(self.between.mean.square().sum() + between.trace() + within.trace())
        # Means that differ by no more than the rounding of float32 features are equal.
        if float(between.trace()) <= _ROUNDING**2 * size:
            return 0.0
        return lidar_of_scatters(between, within, delta=delta)

    def state_dict(self) -> dict[str, Tensor]:
        """All that is kept, as tensors."""
        own = {f"between.{name}": value for name, value in self.between.state_dict().items()}
        return {**own, "within": self.within.core.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over what another summary of this width kept."""
        prefix = "between."
        self.between.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
        self.within.core = state["within"].to(self.within.device, torch.float64).clone()


def lidar(views: Tensor, *, delta: float = LIDAR_DELTA) -> float:
    """LiDAR: exponential of the entropy of the eigenvalues of Σ_w^-½ Σ_b Σ_w^-½; lower is more collapsed.

    Thilak et al., 2024: each image is a class of its own, Σ_b the covariance of the means of images, Σ_w that of their
    views around these plus δ I, both as expectations. Shares of the eigenvalues get a constant of 1e-7, as in `rankme`.
    Elsewhere: stable-pretraining divides by n - 1 and n (q - 1), which acts like another δ.

    Args:
        views: Features ``(n, q, d)`` of q views of n images, at least two of each; the paper takes n = 1000 and q = 50.
        delta: Multiple of the identity.

    Returns:
        1 to the smaller of n - 1 and d; 0 where all means are equal, up to the rounding of float32.

    Raises:
        TypeError, ValueError: If the views are not as above.

    Example:
        >>> points = torch.eye(3, dtype=torch.float64)
        >>> round(lidar(points[:, None].repeat(1, 2, 1)), 3)
        2.0
    """
    views = checked_views(views)
    summary = ViewSummary(views.shape[2], torch.device("cpu"))
    summary.update(views)
    return summary.lidar(delta=delta)


def lidar_of_scatters(between: Tensor, within: Tensor, *, delta: float) -> float:
    """LiDAR of covariances ``(d, d)`` between images and within them, in float64."""
    eigenvalues, vectors = torch.linalg.eigh(within)
    whiten = vectors * (eigenvalues.clamp_min(0) + delta).rsqrt()
    found = torch.linalg.eigvalsh(whiten.T @ between @ whiten)
    floor = len(found) * torch.finfo(torch.float64).eps * float(found[-1])
    return rankme(torch.where(found > max(floor, 0.0), found, 0.0))
