"""SimCLR: Chen et al., *A Simple Framework for Contrastive Learning of Visual Representations*, 2020."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vl_ssl.methods.distributed import gather, rank
from vl_ssl.methods.heads import mlp
from vl_ssl.methods.method import SiameseMethod, SiameseOutput, check_temperature, full_precision, siamese_output, wide


class SimCLR(SiameseMethod):
    """SimCLR: tell an image's other view from all other views of the batch.

    NT-Xent (equation 1 of the paper): for each of the ``2 B`` views, the cross entropy of finding its partner among the
    ``2 B - 1`` others of all ranks, from cosine similarities over ``temperature``; the mean over views.

    Args:
        backbone: From images ``(B, C, H, W)`` to features ``(B, d)``.
        num_features: ``d``; None asks the backbone.
        projection: Width ``k`` of the projections.
        hidden: Width of the projector's hidden layer; None is ``d``.
        temperature: Smaller values let the nearest negatives count more.

    Raises:
        ValueError: If a width is below 1, the backbone does not know its own, or the temperature is not above 0.

    Example:
        >>> method = SimCLR(timm.create_model("resnet18", num_classes=0))
        >>> method(torch.rand(4, 3, 32, 32), torch.rand(4, 3, 32, 32)).projections[0].shape
        torch.Size([4, 128])
    """

    _excludes_vectors = True

    def __init__(
        self,
        backbone: nn.Module,
        *,
        num_features: int | None = None,
        projection: int = 128,
        hidden: int | None = None,
        temperature: float = 0.5,
    ):
        super().__init__(backbone, num_features=num_features)
        check_temperature(temperature)
        self.projector = mlp([self.num_features, self.num_features if hidden is None else hidden, projection])
        self.temperature = temperature

    def forward(self, view_1: Tensor, view_2: Tensor) -> SiameseOutput:
        """Loss of two views of the same images; see `SiameseMethod.forward`."""
        h1, h2 = self.encode(view_1, view_2)
        z1, z2 = self.projector(h1), self.projector(h2)
        return siamese_output(self._contrast(z1, z2), (h1, h2), (z1, z2))

    def _contrast(self, z1: Tensor, z2: Tensor) -> Tensor:
        with full_precision(z1):
            u1, u2 = F.normalize(wide(z1)), F.normalize(wide(z2))
            all_1, all_2 = gather(u1), gather(u2)
            own = torch.arange(len(u1), device=u1.device) + rank() * len(u1)
            logits = torch.cat([u1, u2]) @ torch.cat([all_1, all_2]).T / self.temperature
            itself = torch.cat([own, own + len(all_1)])
            partner = torch.cat([own + len(all_1), own])
            logits = logits.scatter(1, itself[:, None], -torch.inf)
            return F.cross_entropy(logits, partner)
