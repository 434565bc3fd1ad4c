"""Several classifiers as one, by the mean of their probabilities.

A fine-tuned teacher and a student that learned from its attention err on different images: in Attention Transfer (Li
et al., 2024) each is right on 85.7 % of ImageNet's, and both together on 86.3 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vl_attention.classifiers.classifier import Classifier
from vl_attention.models.calling import call, check_images, evaluating, logits_of
from vl_attention.models.normalization import Normalization
from vl_attention.transfer.attention_transfer import AttentionTransfer

_NORMALIZING = AttentionTransfer, Classifier
"""What takes images in 0..1 as they are."""


class Ensemble(nn.Module):
    """Averages the probabilities of classifiers. It starts in evaluation mode.

    Args:
        models: Two or more: `AttentionTransfer` or `Classifier`, models of timm or of transformers, or any from
            images to logits.
        normalizations: How images in 0..1 enter each; None, for all or for one: as the model says. An
            `AttentionTransfer` and a `Classifier` normalize by themselves.
        weights: Of each, above or equal to 0; they are scaled to sum to one. Default: equal ones.

    Raises:
        ValueError: If numbers differ, weights are negative or all zero, or models tell apart different numbers of
            classes.

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
            raise ValueError(f"normalizations must be one a model, {len(models)}, got {len(given)}")
        for index, (model, normalization) in enumerate(zip(models, given, strict=True)):
            if isinstance(model, _NORMALIZING) and normalization is not None:
                raise ValueError(
                    f"normalizations[{index}] must be None, since this {type(model).__name__} normalizes by itself; "
                    "say how when it is made"
                )
        counts = {index: n for index, model in enumerate(models) if (n := _class_count(model)) is not None}
        _check_classes(counts)
        self.models = nn.ModuleList(models)
        self.normalizations = [
            None if isinstance(model, _NORMALIZING) else normalization or Normalization.of(model)
            for model, normalization in zip(models, given, strict=True)
        ]
        # Float64 whatever .half() does to the members, and so no buffer.
        self.weights = torch.empty(0)
        self.set_weights([1.0] * len(models) if weights is None else weights)
        self.eval()

    def set_weights(self, weights: Sequence[float]) -> None:
        """Weigh the members anew.

        Raises:
            ValueError: If there is not one a member, or they are negative, not finite or all zero.
        """
        found = torch.tensor([float(weight) for weight in weights], dtype=torch.float64)
        if len(found) != len(self.models) or not found.isfinite().all() or found.min() < 0 or found.sum() == 0:
            raise ValueError(
                f"weights must be {len(self.models)} finite numbers, none below 0 and one above, got {list(weights)}"
            )
        self.weights = found / found.sum()

    def get_extra_state(self) -> dict[str, Any]:
        """The weights, for checkpoints."""
        return {"weights": self.weights.tolist()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Weights from a checkpoint."""
        self.set_weights(state["weights"])

    def forward(self, images: Tensor) -> Tensor:
        """The logarithm of the mean probabilities ``(B, classes)``, float32, which serves as logits.

        Args:
            images: ``(B, C, H, W)``, floats in 0..1.

        Raises:
            ValueError: If members return different numbers of classes.
        """
        return mix(self.log_probabilities(images), self.weights)

    def log_probabilities(self, images: Tensor) -> Tensor:
        """Of each member, ``(models, B, classes)``."""
        check_images(images)
        found = []
        for model, normalization in zip(self.models, self.normalizations, strict=True):
            output = call(model, images if normalization is None else normalization(images))
            # A TransferOutput is a tuple of tensors too, which are not all logits.
            found.append(logits_of(getattr(output, "logits", output)).float().log_softmax(-1))
        _check_classes({index: logits.shape[-1] for index, logits in enumerate(found)})
        return torch.stack(found)


def mix(log_probabilities: Tensor, weights: Tensor) -> Tensor:
    """Logarithm of a weighted mean of probabilities: ``(models, B, classes)`` and ``(models,)`` to ``(B, classes)``."""
    return (log_probabilities + weights.log().to(log_probabilities)[:, None, None]).logsumexp(0)


def fit_weight(ensemble: Ensemble, images: Tensor, labels: Tensor, *, steps: int = 21, batch_size: int = 64) -> float:
    """Choose how two members are weighed by images that neither was trained on, and that no result is told of.

    The grid's weight of highest accuracy is taken; among equals that of the highest likelihood.

    Args:
        ensemble: Of two members; its weights are set.
        images: ``(N, C, H, W)``, floats in 0..1.
        labels: int64 ``(N,)``.
        steps: Weights tried, from 0 to 1.
        batch_size: Images asked about at once.

    Returns:
        The first member's weight.

    Raises:
        ValueError: If there are other than two members, images and labels differ in number or are none, or there are
            fewer than two steps.
    """
    if len(ensemble.models) != 2:
        raise ValueError(f"ensemble must have two members to be weighed, got {len(ensemble.models)}")
    if len(images) != len(labels) or not len(images) or steps < 2 or batch_size < 1:
        raise ValueError(
            f"fit_weight wants as many labels as images, at least two steps and a batch of one, got {len(images)} "
            f"images, {len(labels)} labels, {steps} steps, batch_size={batch_size}"
        )
    with torch.no_grad(), evaluating(ensemble):
        answers = torch.cat([ensemble.log_probabilities(part) for part in torch.split(images, batch_size)], 1)
    weight = best_weight(answers, labels, steps=steps)
    ensemble.set_weights([weight, 1 - weight])
    return weight


def best_weight(log_probabilities: Tensor, labels: Tensor, *, steps: int = 21) -> float:
    """The first of two members' weight that `fit_weight` chooses, from answers that are there already.

    Args:
        log_probabilities: ``(2, N, classes)``.
        labels: int64 ``(N,)``.
        steps: Weights tried, from 0 to 1; two or more.
    """
    answers, truth = log_probabilities.cpu().double(), labels.cpu().long()
    best: tuple[tuple[float, float], float] | None = None
    for weight in torch.linspace(0, 1, steps, dtype=torch.float64).tolist():
        mixed = mix(answers, torch.tensor([weight, 1 - weight], dtype=torch.float64))
        correct = float((mixed.argmax(-1) == truth).sum())
        score = correct, float(mixed.gather(1, truth[:, None]).mean())
        if best is None or score > best[0]:
            best = score, weight
    assert best is not None
    return best[1]


def _class_count(model: Any) -> int | None:
    """How many classes a model says that it tells apart."""
    if isinstance(model, _NORMALIZING):
        return _class_count(model.student)
    for owner, name in ((model, "num_classes"), (getattr(model, "config", None), "num_labels")):
        if isinstance(count := getattr(owner, name, None), int) and count:
            return count
    return None


def _check_classes(counts: dict[int, int]) -> None:
    if len(set(counts.values())) > 1:
        raise ValueError(
            f"models must tell apart the same classes, got {counts} classes by model; give them heads of one size"
        )
