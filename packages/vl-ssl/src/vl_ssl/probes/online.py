"""A linear classifier trained beside a method on its detached features, one step an update."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vl_ssl.backbones.checking import evaluating
from vl_ssl.probes.images import ImageTensors
from vl_ssl.probes.offline import ProbeAccuracy, frozen_features


class OnlineStep(NamedTuple):
    """Measures of a batch before an online probe learned from it; scalars on the features' device."""

    loss: Tensor
    """Mean cross-entropy of the batch in nats; NaN for a batch without labels."""
    accuracy: Tensor
    """Share of the batch whose class was predicted; NaN for a batch without labels."""


class OnlineLinearProbe(nn.Module):
    """Multinomial logistic regression on features normalized by running moments, trained by SGD with momentum.

    Its state dict holds weights, moments and momentum, all tensors, so that a checkpoint of it continues exactly. No
    gradient reaches the features, and no parameter of it asks for one: an optimizer of the method passes it over.

    Args:
        num_features: Width ``d`` of the features.
        num_classes: Number of classes; labels are ``0 .. num_classes - 1``, and -1 for none.
        learning_rate: Of SGD; the features have deviation 1, so that one rate suits all backbones.
        momentum: Of SGD.
        weight_decay: Of SGD, for the weights and not for the bias.

    Raises:
        ValueError: If a number is out of range, or there are fewer than two classes.

    Example:
        >>> probe = OnlineLinearProbe(4, 2)
        >>> features, labels = torch.eye(4), torch.tensor([0, 0, 1, 1])
        >>> for _ in range(20):
        ...     step = probe.update(features, labels)
        >>> step.accuracy.item()
        1.0
    """

    weight: Tensor
    bias: Tensor
    weight_momentum: Tensor
    bias_momentum: Tensor
    seen: Tensor

    def __init__(
        self,
        num_features: int,
        num_classes: int,
        *,
        learning_rate: float = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
    ):
        super().__init__()
        if num_features < 1 or num_classes < 2:
            raise ValueError(
                f"num_features must be at least 1 and num_classes at least 2, got {num_features} and {num_classes}"
            )
        if not (learning_rate > 0 and 0 <= momentum < 1 and weight_decay >= 0):
            raise ValueError(
                "learning_rate must be above 0, momentum in 0..1 without 1, weight_decay at least 0; got "
                f"{learning_rate}, {momentum} and {weight_decay}"
            )
        self.num_classes = num_classes
        self.learning_rate, self.momentum, self.weight_decay = learning_rate, momentum, weight_decay
        self.norm = nn.BatchNorm1d(num_features, affine=False)
        # Buffers, since the gradient of logistic regression is known and nothing else is to train them.
        for name in ("weight", "weight_momentum"):
            self.register_buffer(name, torch.zeros(num_classes, num_features))
        for name in ("bias", "bias_momentum"):
            self.register_buffer(name, torch.zeros(num_classes))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, features: Tensor, labels: Tensor) -> OnlineStep:
        """Measure a batch, then take one step on it.

        Args:
            features: ``(B, d)`` of a training step; detached here.
            labels: ``(B,)`` integers; rows with -1, and rows whose features are not finite, are left out. Fewer than
                two rows change nothing.

        Raises:
            TypeError: If labels are no integers.
            ValueError: If a shape or a label is out of range.
        """
        self._check(features, labels)
        labels = labels.to(features.device, torch.int64)
        labeled = (labels >= 0) & features.isfinite().all(dim=1)
        features, labels = features.detach().float()[labeled], labels[labeled]
        if len(labels) < 2:
            nothing = torch.full((), torch.nan, device=features.device)
            return OnlineStep(nothing, nothing)
        with torch.autocast(features.device.type, enabled=False):
            self.norm.train()
            normalized = self.norm(features)
            self.norm.eval()
            logits = torch.addmm(self.bias, normalized, self.weight.T)
            step = OnlineStep(F.cross_entropy(logits, labels), (logits.argmax(dim=1) == labels).float().mean())
            slope = (logits.softmax(dim=1) - F.one_hot(labels, self.num_classes)) / len(labels)
            self.weight_momentum.mul_(self.momentum).add_(slope.T @ normalized + self.weight_decay * self.weight)
            self.bias_momentum.mul_(self.momentum).add_(slope.sum(dim=0))
            self.weight.sub_(self.learning_rate * self.weight_momentum)
            self.bias.sub_(self.learning_rate * self.bias_momentum)
            self.seen += len(labels)
        return step

    @torch.no_grad()
    def forward(self, features: Tensor) -> Tensor:
        """Logits ``(B, num_classes)`` of features ``(B, d)``, normalized by the running moments."""
        moments = self.norm.running_mean, self.norm.running_var
        normalized = F.batch_norm(features.float(), *moments, eps=self.norm.eps)
        return torch.addmm(self.bias, normalized, self.weight.T)

    def accuracy(self, backbone: nn.Module, test: ImageTensors, *, batch_size: int = 256) -> ProbeAccuracy:
        """Accuracy on test images of the weights as they are; the backbone is left as it was, bit by bit.

        Raises:
            ValueError: If no image is labeled, or the features have another width.
        """
        with evaluating(backbone):
            features = frozen_features(backbone, test, batch_size)
        labeled = test.labels >= 0
        if not bool(labeled.any()):
            raise ValueError(f"test must hold labeled images, got {len(test)} without a label; a probe needs classes")
        if features.shape[1] != self.weight.shape[1]:
            raise ValueError(f"backbone must give {self.weight.shape[1]} features, got {features.shape[1]}")
        predictions = self(features[labeled].to(self.weight.device)).argmax(dim=1).cpu()
        accuracy = (predictions == test.labels[labeled]).double().mean().item()
        return ProbeAccuracy(
            "online",
            accuracy,
            bank_size=int(self.seen),
            test_size=len(predictions),
            num_classes=self.num_classes,
            normalization="batch",
        )

    def _check(self, features: Tensor, labels: Tensor) -> None:
        width = self.weight.shape[1]
        if features.ndim != 2 or features.shape[1] != width or labels.shape != features.shape[:1]:
            raise ValueError(
                f"features and labels must have shapes (B, {width}) and (B,), "
                f"got {tuple(features.shape)} and {tuple(labels.shape)}"
            )
        if labels.is_floating_point() or labels.dtype == torch.bool:
            raise TypeError(f"labels must be integers, got {labels.dtype}")
        if len(labels) and not -1 <= int(labels.min()) <= int(labels.max()) < self.num_classes:
            raise ValueError(
                f"labels must lie in -1..{self.num_classes - 1} (-1 for none), got {int(labels.min())} to "
                f"{int(labels.max())}"
            )
