"""BYOL: Grill et al., *Bootstrap Your Own Latent*, 2020."""

from __future__ import annotations

from torch import Tensor, nn

from vl_ssl.methods.heads import mlp
from vl_ssl.methods.method import SiameseMethod, SiameseOutput, negative_cosine, siamese_output
from vl_ssl.methods.momentum import MomentumEncoder, MomentumSchedule, check_momentum, momentum_at


class BYOL(SiameseMethod):
    """BYOL: predict a momentum encoder's projection of the other view.

    Loss ``(2 - 2 cos(p1, t2)) + (2 - 2 cos(p2, t1))`` with predictions ``p`` and the momentum encoder's projections
    ``t`` (equation 2 of the paper, both directions), from 0 to 8. `after_update` moves the momentum encoder.

    Args:
        backbone: From images ``(B, C, H, W)`` to features ``(B, d)``.
        num_features: ``d``; None asks the backbone.
        projection: Width ``k`` of the projections.
        hidden: Width of the hidden layer of the projector.
        predictor_hidden: Width of the hidden layer of the predictor.
        predictor: False takes the projections for predictions; for studies of collapse.
        stop_gradient: False takes the trained branch's own projections for targets, with gradients and without a
            momentum encoder. The method then collapses; for studies.
        momentum: Share of the momentum encoder that stays after the first step.
        momentum_schedule: ``"cosine"`` lets it rise to 1 by the end; ``"constant"`` keeps it.

    Raises:
        ValueError: If a width is below 1, the backbone does not know its own, or the momentum or its schedule cannot
            be.

    Example:
        >>> backbone = timm.create_model("resnet18", num_classes=0)
        >>> method = BYOL(backbone, hidden=512, predictor_hidden=512)
        >>> method(torch.rand(4, 3, 32, 32), torch.rand(4, 3, 32, 32)).projections[0].shape
        torch.Size([4, 256])
    """

    _excludes_vectors = True

    def __init__(
        self,
        backbone: nn.Module,
        *,
        num_features: int | None = None,
        projection: int = 256,
        hidden: int = 4096,
        predictor_hidden: int = 4096,
        predictor: bool = True,
        stop_gradient: bool = True,
        momentum: float = 0.996,
        momentum_schedule: MomentumSchedule = "cosine",
    ):
        super().__init__(backbone, num_features=num_features)
        check_momentum(momentum, momentum_schedule)
        self.projector = mlp([self.num_features, hidden, projection])
        self.predictor = mlp([projection, predictor_hidden, projection]) if predictor else nn.Identity()
        self.target = MomentumEncoder(self.backbone, self.projector) if stop_gradient else None
        self.momentum, self.momentum_schedule = momentum, momentum_schedule

    def forward(self, view_1: Tensor, view_2: Tensor) -> SiameseOutput:
        """Loss of two views of the same images; see `SiameseMethod.forward`."""
        h1, h2 = self.encode(view_1, view_2)
        z1, z2 = self.projector(h1), self.projector(h2)
        p1, p2 = self.predictor(z1), self.predictor(z2)
        t1, t2 = (z1, z2) if self.target is None else (self.target(view_1), self.target(view_2))
        loss = 4 + 2 * (negative_cosine(p1, t2) + negative_cosine(p2, t1))
        return siamese_output(loss, (h1, h2), (z1, z2))

    def after_update(self, update: int, updates: int) -> None:
        """Move the momentum encoder towards the trained branch; see `SiameseMethod.after_update`."""
        super().after_update(update, updates)
        if self.target is not None:
            momentum = momentum_at(self.momentum, self.momentum_schedule, update, updates)
            self.target.follow(self.backbone, self.projector, momentum)
