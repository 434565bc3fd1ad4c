"""Ensemble of classifiers by the mean of their probabilities.

A fine-tuned teacher and a student that learned from its attention make different errors: in Attention Transfer (Li et
al., 2024) each has an ImageNet accuracy of 85.7 %, and their ensemble 86.3 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vl_attention.classifiers.classifier import Classifier
from vl_attention.models.inference import call_model, check_images, eval_mode, get_logits
from vl_attention.models.normalization import Normalization
from vl_attention.transfer.attention_transfer import AttentionTransfer

_NORMALIZING = AttentionTransfer, Classifier
"""Models that normalize images in 0..1 themselves."""


class Ensemble(nn.Module):
    """Average the probabilities of classifiers. The ensemble starts in evaluation mode.

    Args:
        models: Two or more: `AttentionTransfer`, `Classifier`, timm or transformers models, or other modules from
            images to logits.
        normalizations: Normalization of images in 0..1 for each model; None, for all or one, means the model's own.
            `AttentionTransfer` and `Classifier` normalize images themselves.
        weights: Weight of each model, at least 0; they are scaled to sum to one. Default: equal weights.

    Raises:
        ValueError: If the numbers of arguments differ, weights are negative or all zero, or models have different
            numbers of classes.

    Example:
        >>> import timm
        >>> size = dict(img_size=32, patch_size=8, embed_dim=48, depth=1, num_classes=5)
        >>> both = Ensemble([timm.create_model("vit_tiny_patch16_224", **size) for _ in range(2)])
        >>> both(torch.rand(2, 3, 32, 32)).exp().sum(-1).allclose(torch.ones(2))
        True
    """

    weights: Tensor
    """Float64 ``(models,)``; they sum to one."""

    def __init__(
        self,
        models: Sequence[nn.Module],
        normalizations: Sequence[Normalization | None] | None = None,
        weights: Sequence[float] | None = None,
    ):
        super().__init__()
        if len(models) < 2:
            raise ValueError(f"models must be two or more, got {len(models)}")
        given = [None] * len(models) if normalizations is None else list(normalizations)
        if len(given) != len(models):
            raise ValueError(f"normalizations must be one per model, {len(models)}, got {len(given)}")
        for index, (model, normalization) in enumerate(zip(models, given, strict=True)):
            if isinstance(model, _NORMALIZING) and normalization is not None:
                raise ValueError(
                    f"normalizations[{index}] must be None, since {type(model).__name__} normalizes images itself; set "
                    "its normalization when it is created"
                )
        counts = {index: n for index, model in enumerate(models) if (n := _num_classes(model)) is not None}
        _check_classes(counts)
        self.models = nn.ModuleList(models)
        self.normalizations = [
            None if isinstance(model, _NORMALIZING) else normalization or Normalization.of(model)
            for model, normalization in zip(models, given, strict=True)
        ]
        # Not a buffer, so that it stays float64 under .half().
        self.weights = torch.empty(0)
        self.set_weights([1.0] * len(models) if weights is None else weights)
        self.eval()

    def set_weights(self, weights: Sequence[float]) -> None:
        """Set the weights of the models.

        Raises:
            ValueError: If there is not one per model, or they are negative, not finite or all zero.
        """
        found = torch.tensor([float(weight) for weight in weights], dtype=torch.float64)
        if len(found) != len(self.models) or not found.isfinite().all() or found.min() < 0 or found.sum() == 0:
            raise ValueError(
                f"weights must be {len(self.models)} finite numbers of at least 0, not all 0, got {list(weights)}"
            )
        self.weights = found / found.sum()

    def get_extra_state(self) -> dict[str, Any]:
        """Return the weights for checkpoints."""
        return {"weights": self.weights.tolist()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore the weights from a checkpoint."""
        self.set_weights(state["weights"])

    def forward(self, images: Tensor) -> Tensor:
        """Logarithm of the mean probabilities ``(B, num_classes)``, float32, usable as logits.

        Args:
            images: ``(B, C, H, W)``, floats in 0..1.

        Raises:
            ValueError: If models return different numbers of classes.
        """
        return mix(self.log_probabilities(images), self.weights)

    def log_probabilities(self, images: Tensor) -> Tensor:
        """Log probabilities of each model, ``(models, B, num_classes)``."""
        check_images(images, self)
        found = []
        for model, normalization in zip(self.models, self.normalizations, strict=True):
            output = call_model(model, images if normalization is None else normalization(images))
            # A TransferOutput is also a tuple of tensors, not all of them logits.
            found.append(get_logits(getattr(output, "logits", output)).float().log_softmax(-1))
        _check_classes({index: logits.shape[-1] for index, logits in enumerate(found)})
        return torch.stack(found)


def mix(log_probabilities: Tensor, weights: Tensor) -> Tensor:
    """Log of the weighted mean of probabilities, from ``(models, B, num_classes)`` and ``(models,)``."""
    return (log_probabilities + weights.log().to(log_probabilities)[:, None, None]).logsumexp(0)


def fit_weight(ensemble: Ensemble, images: Tensor, labels: Tensor, *, steps: int = 21, batch_size: int = 64) -> float:
    """Fit the weights of a two-model ensemble on held-out images: neither training nor test images.

    Picks the weight from a grid with the highest accuracy; ties go to the highest likelihood.

    Args:
        ensemble: An ensemble of two models; its weights are set.
        images: ``(N, C, H, W)``, floats in 0..1.
        labels: int64 ``(N,)``.
        steps: Number of weights to try, from 0 to 1.
        batch_size: Images per forward pass.

    Returns:
        The weight of the first model.

    Raises:
        ValueError: If there are not exactly two models, images and labels differ in number or are empty, or there
            are fewer than two steps.
    """
    if len(ensemble.models) != 2:
        raise ValueError(f"ensemble must have exactly two models, got {len(ensemble.models)}")
    if len(images) != len(labels) or not len(images) or steps < 2 or batch_size < 1:
        raise ValueError(
            f"fit_weight needs as many labels as images, steps >= 2 and batch_size >= 1, got {len(images)} "
            f"images, {len(labels)} labels, {steps} steps, batch_size={batch_size}"
        )
    with torch.no_grad(), eval_mode(ensemble):
        predictions = torch.cat([ensemble.log_probabilities(part) for part in torch.split(images, batch_size)], 1)
    weight = best_weight(predictions, labels, steps=steps)
    ensemble.set_weights([weight, 1 - weight])
    return weight


def best_weight(log_probabilities: Tensor, labels: Tensor, *, steps: int = 21) -> float:
    """Weight of the first of two models that `fit_weight` chooses, from precomputed log probabilities.

    Args:
        log_probabilities: ``(2, N, num_classes)``.
        labels: int64 ``(N,)``.
        steps: Number of weights to try, from 0 to 1; two or more.
    """
    predictions, truth = log_probabilities.cpu().double(), labels.cpu().long()
    best: tuple[tuple[float, float], float] | None = None
    for weight in torch.linspace(0, 1, steps, dtype=torch.float64).tolist():
        mixed = mix(predictions, torch.tensor([weight, 1 - weight], dtype=torch.float64))
        correct = float((mixed.argmax(-1) == truth).sum())
        score = correct, float(mixed.gather(1, truth[:, None]).mean())
        if best is None or score > best[0]:
            best = score, weight
    assert best is not None
    return best[1]


def _num_classes(model: Any) -> int | None:
    """Number of classes of a model; None if it does not state it."""
    if isinstance(model, _NORMALIZING):
        return _num_classes(model.student)
    for owner, name in ((model, "num_classes"), (getattr(model, "config", None), "num_labels")):
        if isinstance(count := getattr(owner, name, None), int) and count:
            return count
    return None


def _check_classes(counts: dict[int, int]) -> None:
    if len(set(counts.values())) > 1:
        raise ValueError(
            f"models must have the same number of classes, got {counts} by model; pass models trained on the same "
            "classes"
        )
