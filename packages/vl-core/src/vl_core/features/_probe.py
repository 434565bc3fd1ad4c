"""A linear classifier on frozen features, fitted to its optimum.

With features standardized and the objective convex, the optimum is one point: there is no learning rate, schedule or
augmentation to tune, and two people get the same number. CLIP's evaluation (Radford et al., 2021, appendix A.3) fits
the same model by L-BFGS and sweeps its regularization on a held-out split.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from vl_core.features._checks import check_features, distinct

_GRID = tuple(10.0**power for power in range(1, -7, -1))  # strongest first, so that each fit starts near its optimum
_HELD_OUT = 0.2  # of each class
_TOLERANCE = 1e-6  # largest component of the gradient at the optimum
_MAX_ITERATIONS = 2000

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProbeResult:
    """Result of a linear probe."""

    accuracy: float
    """Share of test rows named correctly, in [0, 1]."""
    class_accuracy: float
    """Mean over the test classes of the share named correctly; equal to ``accuracy`` where classes are balanced."""
    regularization: float
    """The one given, or the one chosen."""
    predictions: Tensor
    """Label named for each test row, ``(m,)`` int64 on the features' device."""


def linear_probe(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    test_labels: Tensor,
    *,
    regularization: float | None = None,
    seed: int = 0,
) -> ProbeResult:
    """Accuracy of multinomial logistic regression on standardized features.

    Minimises mean cross-entropy plus ``regularization / 2`` times the squared norm of the weights (the bias is free) by
    L-BFGS in float64. Features get the training rows' mean zero and deviation one; constant ones are left at zero.
    scikit-learn's ``C`` is ``1 / (n * regularization)``.

    Args:
        train_features: ``(n, d)``, finite.
        train_labels: ``(n,)`` integers, at least two classes.
        test_features: ``(m, d)``, finite.
        test_labels: ``(m,)`` integers; a class the training rows lack counts as wrong.
        regularization: Above zero. None takes the value of 1e-6, 1e-5, … 10 with the best accuracy on a fifth of each
            training class, the strongest of equals, and refits on all training rows.
        seed: Of the held-out choice; has no effect where ``regularization`` is given.

    Raises:
        TypeError: If features are not floating tensors or labels not integer ones.
        ValueError: If shapes disagree, features are not finite, a side is empty, there is only one class,
            ``regularization`` is not above zero, or no class has two rows to choose it by.

    Example:
        >>> features, labels = torch.eye(4), torch.tensor([0, 0, 1, 1])
        >>> linear_probe(features, labels, features, labels, regularization=0.1).accuracy
        1.0
    """
    train, train_labels, test, test_labels = check_features(train_features, train_labels, test_features, test_labels)
    if regularization is not None and not regularization > 0:
        raise ValueError(
            f"regularization must be above zero, got {regularization}; without it separable classes have no optimum"
        )
    train, test = train.double(), test.double()
    classes, targets = distinct(train_labels)
    if regularization is None:
        regularization = _choose(train, targets, len(classes), seed)
    mean, deviation = _moments(train)
    weights = fit((train - mean) / deviation, targets, len(classes), regularization)
    predictions = classes[_scores((test - mean) / deviation, weights).argmax(dim=1)]
    correct = (predictions == test_labels).double()
    of_class = [correct[test_labels == label].mean() for label in distinct(test_labels)[0]]
    return ProbeResult(
        accuracy=correct.mean().item(),
        class_accuracy=torch.stack(of_class).mean().item(),
        regularization=float(regularization),
        predictions=predictions,
    )


def fit(
    features: Tensor, targets: Tensor, num_classes: int, regularization: float, start: Tensor | None = None
) -> Tensor:
    """Weights ``(num_classes, d + 1)`` that minimize the penalized cross-entropy; the last column is the bias.

    Args:
        features: ``(n, d)`` float64, standardized.
        targets: ``(n,)`` class indices.
        num_classes: Number of classes.
        regularization: Factor of half the squared norm of all weights but the bias.
        start: Weights to begin from; zeros by default.
    """
    shape = (num_classes, features.shape[1] + 1)
    weights = features.new_zeros(shape) if start is None else start.clone()
    weights.requires_grad_()
    optimizer = torch.optim.LBFGS(
        [weights],
        max_iter=_MAX_ITERATIONS,
        max_eval=2 * _MAX_ITERATIONS,
        tolerance_grad=_TOLERANCE,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )

    def objective() -> Tensor:
        optimizer.zero_grad()
        penalty = weights[:, :-1].square().sum() * (regularization / 2)
        loss = cross_entropy(_scores(features, weights), targets) + penalty
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        optimizer.step(objective)  # type: ignore[no-untyped-call]
        objective()
    slope = float(weights.grad.abs().max()) if weights.grad is not None else 0.0
    if slope > 10 * _TOLERANCE:
        _log.warning("linear probe stopped at gradient %.1e (wanted %.0e), accuracy may be off", slope, _TOLERANCE)
    return weights.detach()


def _choose(features: Tensor, targets: Tensor, num_classes: int, seed: int) -> float:
    """Regularization from the grid with the best accuracy on held-out training rows."""
    held_out = _held_out(targets, seed)
    if not bool(held_out.any()):
        raise ValueError("regularization must be given where no class has two training rows to hold one out")
    mean, deviation = _moments(features[~held_out])
    features = (features - mean) / deviation
    weights, best, best_correct = None, _GRID[0], -1
    for regularization in _GRID:
        weights = fit(features[~held_out], targets[~held_out], num_classes, regularization, weights)
        correct = int((_scores(features[held_out], weights).argmax(dim=1) == targets[held_out]).sum())
        if correct > best_correct:
            best, best_correct = regularization, correct
    return best


def _held_out(targets: Tensor, seed: int) -> Tensor:
    """Mask ``(n,)`` that holds out a fifth of each class, at least one row if the class has two."""
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed)).to(targets.device)
    mask = torch.zeros_like(targets, dtype=torch.bool)
    for target in distinct(targets)[0]:
        rows = order[targets[order] == target]
        count = max(round(_HELD_OUT * len(rows)), 1) if len(rows) > 1 else 0
        mask[rows[:count]] = True
    return mask


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each column; the deviation of a constant column is set to one."""
    mean = features.mean(dim=0)
    deviation = features.std(dim=0, correction=0)
    constant = deviation <= 1e-12 * mean.abs().clamp(min=1e-300)
    return mean, deviation.masked_fill(constant, 1.0)


def _scores(features: Tensor, weights: Tensor) -> Tensor:
    return torch.addmm(weights[:, -1], features, weights[:, :-1].T)
