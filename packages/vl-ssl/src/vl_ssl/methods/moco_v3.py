"""MoCo v3: Chen, Xie and He, *An Empirical Study of Training Self-Supervised Vision Transformers*, 2021."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vl_ssl.methods.distributed import gather, rank
from vl_ssl.methods.heads import mlp
from vl_ssl.methods.method import SiameseMethod, SiameseOutput, check_temperature, full_precision, siamese_output, wide
from vl_ssl.methods.momentum import MomentumEncoder, MomentumSchedule, check_momentum, momentum_at


class MoCoV3(SiameseMethod):
    """MoCo v3: tell a momentum encoder's projection of the other view from those of all other images.

    Loss ``2 tau (CE(q1 k2 / tau) + CE(q2 k1 / tau))`` with predictions ``q``, the momentum encoder's projections ``k``
    of all ranks, both of unit length, and the cross entropy ``CE`` of finding the same image (algorithm 1 of the
    paper). `after_update` moves the momentum encoder.

    Args:
        backbone: From images ``(B, C, H, W)`` to features ``(B, d)``.
        num_features: ``d``; None asks the backbone.
        projection: Width ``k`` of the projections.
        hidden: Width of hidden layers of the projector.
        projector_layers: Layers of the projector; None is 3 for a backbone with a patch embedding and 2 for others.
        predictor_hidden: Width of the hidden layer of the predictor.
        temperature: ``tau``.
        momentum: Share of the momentum encoder that stays after the first step.
        momentum_schedule: ``"cosine"`` lets it rise to 1 by the end; ``"constant"`` keeps it.
        freeze_patch_embedding: Whether a ViT's patch projection stays as initialized, which keeps its training stable
            (section 4 of the paper); `export` makes it trainable again.

    Raises:
        ValueError: If a width is below 1, the backbone does not know its own, the temperature is not above 0, the
            momentum or its schedule cannot be, or there is no patch embedding to freeze.

    Example:
        >>> backbone = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=0)
        >>> method = MoCoV3(backbone, hidden=512, predictor_hidden=512, freeze_patch_embedding=True)
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
        projector_layers: int | None = None,
        predictor_hidden: int = 4096,
        temperature: float = 0.2,
        momentum: float = 0.99,
        momentum_schedule: MomentumSchedule = "cosine",
        freeze_patch_embedding: bool = False,
    ):
        super().__init__(backbone, num_features=num_features)
        check_momentum(momentum, momentum_schedule)
        check_temperature(temperature)
        if projector_layers is not None and projector_layers < 1:
            raise ValueError(f"projector_layers must be at least 1, got {projector_layers}; the paper's are 2 and 3")
        patches = [part for name, part in backbone.named_modules() if name.split(".")[-1] == "patch_embed"]
        if freeze_patch_embedding and not patches:
            raise ValueError(
                "freeze_patch_embedding needs a backbone with a module patch_embed, got "
                f"{type(backbone).__name__}; leave it False, or take a ViT of timm"
            )
        if freeze_patch_embedding:
            for part in patches:
                part.requires_grad_(False)
        layers = (3 if patches else 2) if projector_layers is None else projector_layers
        self.projector = mlp([self.num_features, *[hidden] * (layers - 1), projection], last_norm=True)
        self.predictor = mlp([projection, predictor_hidden, projection], last_norm=True)
        self.target = MomentumEncoder(self.backbone, self.projector)
        self.temperature, self.momentum, self.momentum_schedule = temperature, momentum, momentum_schedule

    def forward(self, view_1: Tensor, view_2: Tensor) -> SiameseOutput:
        """Loss of two views of the same images; see `SiameseMethod.forward`."""
        h1, h2 = self.encode(view_1, view_2)
        z1, z2 = self.projector(h1), self.projector(h2)
        q1, q2 = self.predictor(z1), self.predictor(z2)
        k1, k2 = self.target(view_1), self.target(view_2)
        loss = self._contrast(q1, k2) + self._contrast(q2, k1)
        return siamese_output(loss, (h1, h2), (z1, z2))

    def after_update(self, update: int, updates: int) -> None:
        """Move the momentum encoder towards the trained branch; see `SiameseMethod.after_update`."""
        super().after_update(update, updates)
        momentum = momentum_at(self.momentum, self.momentum_schedule, update, updates)
        self.target.follow(self.backbone, self.projector, momentum)

    def _contrast(self, queries: Tensor, keys: Tensor) -> Tensor:
        with full_precision(queries):
            q, k = F.normalize(wide(queries)), gather(F.normalize(wide(keys)))
            logits = q @ k.T / self.temperature
            own = torch.arange(len(q), device=q.device) + rank() * len(q)
            return 2 * self.temperature * F.cross_entropy(logits, own)
