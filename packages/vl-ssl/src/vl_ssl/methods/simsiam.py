"""SimSiam: Chen and He, *Exploring Simple Siamese Representation Learning*, 2021."""

from __future__ import annotations

from torch import Tensor, nn

from vl_ssl.methods.heads import mlp
from vl_ssl.methods.method import SiameseMethod, SiameseOutput, negative_cosine, siamese_output


class SimSiam(SiameseMethod):
    """SimSiam: predict one view's projection from the other's, and stop the gradient at the target.

    Loss ``-1/2 (cos(p1, sg z2) + cos(p2, sg z1))`` with projections ``z`` and predictions ``p`` (algorithm 1 of the
    paper), from -1 to 1. The predictor's learning rate stays at its peak (section 4), and everything is decayed.

    Args:
        backbone: From images ``(B, C, H, W)`` to features ``(B, d)``.
        num_features: ``d``; None asks the backbone.
        projection: Width ``k`` of the projections.
        hidden: Width of the projector's two hidden layers; None is ``d``.
        predictor_hidden: Width of the predictor's hidden layer.
        predictor: False takes the projections for predictions; for studies, since the paper's networks then collapse.
        stop_gradient: False lets gradients flow into the targets; for studies of collapse as well.

    Raises:
        ValueError: If a width is below 1, or the backbone does not know its own.

    Example:
        >>> backbone = timm.create_model("resnet18", num_classes=0)
        >>> method = SimSiam(backbone)
        >>> method(torch.rand(4, 3, 32, 32), torch.rand(4, 3, 32, 32)).projections[0].shape
        torch.Size([4, 2048])
    """

    _constant_rate = "predictor"

    def __init__(
        self,
        backbone: nn.Module,
        *,
        num_features: int | None = None,
        projection: int = 2048,
        hidden: int | None = None,
        predictor_hidden: int = 512,
        predictor: bool = True,
        stop_gradient: bool = True,
    ):
        super().__init__(backbone, num_features=num_features)
        width = self.num_features if hidden is None else hidden
        self.projector = mlp([self.num_features, width, width, projection], last_norm=True)
        self.predictor = mlp([projection, predictor_hidden, projection]) if predictor else nn.Identity()
        self.stop_gradient = stop_gradient

    def forward(self, view_1: Tensor, view_2: Tensor) -> SiameseOutput:
        """Loss of two views of the same images; see `SiameseMethod.forward`."""
        h1, h2 = self.encode(view_1, view_2)
        z1, z2 = self.projector(h1), self.projector(h2)
        p1, p2 = self.predictor(z1), self.predictor(z2)
        t1, t2 = self._targets(z1, z2)
        loss = (negative_cosine(p1, t2) + negative_cosine(p2, t1)) / 2
        return siamese_output(loss, (h1, h2), (z1, z2))

    def _targets(self, z1: Tensor, z2: Tensor) -> tuple[Tensor, Tensor]:
        return (z1.detach(), z2.detach()) if self.stop_gradient else (z1, z2)
