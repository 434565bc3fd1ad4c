"""NNSiam: SimSiam with nearest neighbors for targets, after NNCLR.

Dwibedi et al., *With a Little Help from My Friends: Nearest-Neighbor Contrastive Learning of Visual Representations*,
2021, with SimSiam's loss in place of InfoNCE; Li, Efros and Pathak (2022) train it beside SimSiam.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vl_ssl.methods.distributed import gather
from vl_ssl.methods.method import full_precision, wide
from vl_ssl.methods.simsiam import SimSiam


class NNSiam(SimSiam):
    """NNSiam: predict, from one view, the stored projection that is nearest to the other view's.

    Loss ``-1/2 (cos(p1, NN(z2)) + cos(p2, NN(z1)))`` with the nearest neighbor ``NN`` in a queue of projections of
    unit length. In training the first view's projections, of all ranks in their order, then replace the oldest. The
    queue begins as random directions and is part of the state dict; ranks must begin with the same seed, or let
    DistributedDataParallel copy the first one's state.

    Args:
        backbone: From images ``(B, C, H, W)`` to features ``(B, d)``.
        num_features: ``d``; None asks the backbone.
        projection: Width ``k`` of the projections.
        hidden: Width of the projector's two hidden layers; None is ``d``.
        predictor_hidden: Width of the predictor's hidden layer.
        queue: Projections that are kept; ``4 * queue * k`` bytes.

    Raises:
        ValueError: If a width or ``queue`` is below 1, or the backbone does not know its own.

    Example:
        >>> method = NNSiam(timm.create_model("resnet18", num_classes=0), queue=128)
        >>> _ = method(torch.rand(4, 3, 32, 32), torch.rand(4, 3, 32, 32))
        >>> method.queue.shape, method.queue_position.item()
        (torch.Size([128, 2048]), 4)
    """

    queue: Tensor
    queue_position: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        *,
        num_features: int | None = None,
        projection: int = 2048,
        hidden: int | None = None,
        predictor_hidden: int = 512,
        queue: int = 25_600,
    ):
        super().__init__(
            backbone,
            num_features=num_features,
            projection=projection,
            hidden=hidden,
            predictor_hidden=predictor_hidden,
        )
        if queue < 1:
            raise ValueError(f"queue must be at least 1, got {queue}; it counts the projections that are kept")
        self.register_buffer("queue", F.normalize(torch.randn(queue, projection)))
        self.register_buffer("queue_position", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def _targets(self, z1: Tensor, z2: Tensor) -> tuple[Tensor, Tensor]:
        with full_precision(z1):
            unit_1, unit_2 = F.normalize(wide(z1)), F.normalize(wide(z2))
            targets = self._nearest(unit_1), self._nearest(unit_2)
            if self.training:
                self._store(gather(unit_1))
        return targets

    def _nearest(self, unit: Tensor) -> Tensor:
        return self.queue[(unit.to(self.queue.dtype) @ self.queue.T).argmax(dim=1)]

    def _store(self, unit: Tensor) -> None:
        size = len(self.queue)
        places = (torch.arange(len(unit), device=unit.device) + self.queue_position) % size
        # A batch larger than the queue would write some places twice; the last of it is what stays.
        self.queue[places[-size:]] = unit[-size:].to(self.queue.dtype)
        self.queue_position.add_(len(unit)).remainder_(size)
