"""VICReg: Bardes, Ponce and LeCun, *Variance-Invariance-Covariance Regularization*, 2022."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F

from vl_ssl.methods.distributed import gather
from vl_ssl.methods.heads import mlp
from vl_ssl.methods.method import SiameseMethod, SiameseOutput, full_precision, siamese_output, wide


class VICReg(SiameseMethod):
    """VICReg: equal projections of both views, each dimension spread out, dimensions uncorrelated.

    Weighted sum of three terms (equations 1 to 6 of the paper, scaled as in its authors' code), over the batches of all
    ranks:

    - invariance: mean squared difference of the two views' projections, over images and dimensions;
    - variance: mean over dimensions of ``max(0, 1 - sqrt(Var + 1e-4))``, the mean of both views;
    - covariance: sum of squared covariances of different dimensions over ``k``, the sum of both views.

    Args:
        backbone: From images ``(B, C, H, W)`` to features ``(B, d)``.
        num_features: ``d``; None asks the backbone.
        projection: Width ``k`` of the projections; the paper's is 8192.
        hidden: Width of the projector's two hidden layers; None is ``projection``.
        weights: Of invariance, variance and covariance.

    Raises:
        ValueError: If a width is below 1, the backbone does not know its own, or there are not three weights from 0 up.

    Example:
        >>> method = VICReg(timm.create_model("resnet18", num_classes=0), projection=512)
        >>> method(torch.rand(4, 3, 32, 32), torch.rand(4, 3, 32, 32)).projections[0].shape
        torch.Size([4, 512])
    """

    _excludes_vectors = True

    def __init__(
        self,
        backbone: nn.Module,
        *,
        num_features: int | None = None,
        projection: int = 2048,
        hidden: int | None = None,
        weights: tuple[float, float, float] = (25.0, 25.0, 1.0),
    ):
        super().__init__(backbone, num_features=num_features)
        if len(weights) != 3 or not all(0 <= weight < math.inf for weight in weights):
            raise ValueError(
                f"weights must be three finite numbers from 0 up, got {weights}; they weigh invariance, variance, "
                "covariance"
            )
        width = projection if hidden is None else hidden
        # A bias would be the same for all images and views, and the loss does not see what is common to all.
        self.projector = mlp([self.num_features, width, width, projection], bias=False)
        self.weights = weights

    def forward(self, view_1: Tensor, view_2: Tensor) -> SiameseOutput:
        """Loss of two views of the same images; see `SiameseMethod.forward`."""
        h1, h2 = self.encode(view_1, view_2)
        z1, z2 = self.projector(h1), self.projector(h2)
        return siamese_output(self._regularize(z1, z2), (h1, h2), (z1, z2))

    def _regularize(self, z1: Tensor, z2: Tensor) -> Tensor:
        with full_precision(z1):
            all_1, all_2 = gather(wide(z1)), gather(wide(z2))
            (var_1, cov_1), (var_2, cov_2) = _spread(all_1), _spread(all_2)
            invariance, variance, covariance = self.weights
            return invariance * F.mse_loss(all_1, all_2) + variance * (var_1 + var_2) / 2 + covariance * (cov_1 + cov_2)


def _spread(projections: Tensor) -> tuple[Tensor, Tensor]:
    """Variance and covariance term of one view."""
    count, width = projections.shape
    centered = projections - projections.mean(dim=0)
    variances = centered.square().sum(dim=0) / (count - 1)
    hinge = F.relu(1 - (variances + 1e-4).sqrt()).mean()
    # The squares of all covariances are those of the Gram matrix of images where that is the smaller one.
    gram = centered.T @ centered if width <= count else centered @ centered.T
    off_diagonal = gram.square().sum() / (count - 1) ** 2 - variances.square().sum()
    return hinge, off_diagonal / width
