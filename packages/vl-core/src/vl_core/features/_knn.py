"""The weighted nearest-neighbor classifier of instance discrimination.

Wu, Xiong, Yu and Lin, "Unsupervised feature learning via non-parametric instance discrimination" (CVPR 2018), section
3.4; k and temperature as DINO uses them (k = 20) and as the paper does (0.07).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from vl_core.features._checks import check_features, distinct

_CHUNK = 1 << 24  # similarities held at once: 64 MB


def knn_accuracy(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    test_labels: Tensor,
    *,
    k: int = 20,
    temperature: float = 0.07,
) -> float:
    """Accuracy of weighted k-nearest-neighbor classification on frozen features.

    Wu et al., 2018, section 3.4. Each of the ``k`` training rows of largest cosine similarity ``s`` votes for its class
    with weight ``exp(s / temperature)``. Of classes with equal votes the smallest label wins.

    Args:
        train_features: ``(n, d)``, finite; need not be normalized.
        train_labels: ``(n,)`` integers.
        test_features: ``(m, d)``, finite.
        test_labels: ``(m,)`` integers; a class the training rows lack counts as wrong.
        k: Neighbors that vote, at most ``n``.
        temperature: Of the weights, above zero; small values leave the vote to the nearest.

    Returns:
        Accuracy in [0, 1]. Memory beyond the arguments is bounded.

    Raises:
        TypeError: If features are not floating tensors or labels not integer ones.
        ValueError: If shapes disagree, features are not finite, a side is empty, there is only one class, or ``k`` or
            ``temperature`` is out of range.

    Example:
        >>> features, labels = torch.eye(4), torch.tensor([0, 0, 1, 1])
        >>> knn_accuracy(features, labels, features, labels, k=1)
        1.0
    """
    train, train_labels, test, test_labels = check_features(train_features, train_labels, test_features, test_labels)
    if not 1 <= k <= len(train):
        raise ValueError(f"k must lie between 1 and the {len(train)} training rows, got {k}")
    if not temperature > 0:
        raise ValueError(f"temperature must be above zero, got {temperature}")
    classes, targets = distinct(train_labels)
    train, test = _directions(train), _directions(test)
    correct, chunk = 0, max(1, _CHUNK // len(train))
    for start in range(0, len(test), chunk):
        rows, labels = test[start : start + chunk], test_labels[start : start + chunk]
        similarity, neighbors = (rows @ train.T).topk(k, dim=1)
        # Relative to the nearest, whose weight becomes one, so that no temperature overflows.
        weights = ((similarity - similarity[:, :1]) / temperature).exp()
        votes = weights.new_zeros(len(rows), len(classes)).scatter_add_(1, targets[neighbors], weights)
        correct += int((classes[votes.argmax(dim=1)] == labels).sum())
    return correct / len(test)


def _directions(features: Tensor) -> Tensor:
    """Rows normalized to unit length in float32, whatever their scale; zero rows stay zero."""
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    # With one as its largest value a row neither leaves the range of float32 nor loses its length to underflow.
    largest = features.abs().amax(dim=1, keepdim=True)
    return normalize((features / largest.masked_fill(largest == 0, 1)).float(), dim=1)
