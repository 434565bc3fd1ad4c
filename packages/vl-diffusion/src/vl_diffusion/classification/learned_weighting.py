"""How much each noise level should count, learned from a few labeled images.

Clark & Jaini (2023), "Text-to-Image Diffusion Models are Zero-Shot Classifiers", learn a weight for each of 20 buckets
of time by logistic regression on the classes' errors; "Diffusion Classifiers Understand Compositionality, but
Conditions Apply" (2025, arXiv 2505.17955) learns polynomials, too. Here weights are kept from becoming negative, and
the regression is held to uniform weights as firmly as cross-validation finds best: with no more than noise to learn
from, uniform is what comes out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from vl_diffusion.classification.calibration import fit_inverse_temperature

Kind = Literal["bucket", "polynomial"]

# Strength of the pull towards uniform weights, in nats a labeled image for weights that are off by their own size.
_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 1e4)
_FOLDS = 5


@dataclass(frozen=True)
class LearnedWeighting:
    """Weights over time, to be passed as ``DiffusionClassifier(weighting=...)``.

    Example:
        >>> weighting = LearnedWeighting("bucket", (0.0, 2.0))
        >>> weighting(np.array([0.2, 0.7]), None, None)
        array([0., 2.])
        >>> LearnedWeighting.from_json(weighting.to_json()) == weighting
        True
    """

    kind: Kind
    """``"bucket"``: one weight for each of equally long stretches of time. ``"polynomial"``: coefficients of Bernstein
    polynomials, which keep a polynomial from becoming negative."""

    values: tuple[float, ...]
    """The weights or coefficients, from little noise to much, none negative; uniform if all are equal."""

    penalty: float | None = None
    """Strength of the pull towards uniform weights that cross-validation chose."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind must be bucket or polynomial, got {self.kind!r}")
        values = tuple(float(value) for value in self.values)
        if not values or not np.isfinite(values).all() or min(values) < 0 or max(values) == 0:
            raise ValueError(f"values must be finite weights, none negative and some positive, got {self.values!r}")
        object.__setattr__(self, "values", values)

    def __call__(self, time: np.ndarray, alpha: Any = None, sigma: Any = None) -> np.ndarray:
        """Weights ``(n,)`` at times ``(n,)`` in [0, 1]; the levels are not needed."""
        weights: np.ndarray = _basis(self.kind, len(self.values), np.asarray(time, np.float64)) @ np.array(self.values)
        return weights

    def to_json(self) -> str:
        """A line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> LearnedWeighting:
        """What :meth:`to_json` wrote.

        Raises:
            ValueError: If it is something else.
        """
        content = json.loads(text)
        if not isinstance(content, dict) or not {"kind", "values"} <= set(content) <= {"kind", "values", "penalty"}:
            raise ValueError(f"text must be what LearnedWeighting.to_json() writes, got {text[:80]!r}")
        return cls(content["kind"], tuple(content["values"]), content.get("penalty"))


def fit_weighting(
    errors: np.ndarray,
    labels: Sequence[int] | np.ndarray,
    times: np.ndarray,
    *,
    kind: Kind = "bucket",
    buckets: int = 20,
    degree: int = 4,
    penalty: float | None = None,
) -> LearnedWeighting:
    """Weights under which the true classes of labeled images are likeliest.

    With w(t) the weight at time t, an image's logits are minus the mean over draws of ``w(t) * error``. They are linear
    in the weights, so that the loss is convex: mean negative log-likelihood, plus `penalty` times the mean square of
    the relative distance to uniform weights of the likeliest size.

    Args:
        errors: ``(B, K, M)`` of :func:`vl_diffusion.draw_errors`.
        labels: int ``(B,)``, indices of the true classes.
        times: ``(M,)`` in [0, 1], of the same.
        kind: ``"bucket"`` or ``"polynomial"``.
        buckets: How many stretches of time have a weight of their own. Those without a draw take the uniform weight.
        degree: Of the polynomial.
        penalty: Its strength; by default that of a few which has the best likelihood in 5-fold cross-validation.

    Raises:
        ValueError: If shapes do not fit, errors are not finite, or there are fewer than two images.

    Example:
        >>> from vl_core.data import open_dataset
        >>> data = open_dataset("fashion", split="test")
        >>> classifier = DiffusionClassifier.from_pretrained("fashion", search=Exhaustive(8))
        >>> found = draw_errors(classifier, [data[i][0] for i in range(6)])
        >>> weighting = fit_weighting(found.errors, [data[i][1] for i in range(6)], found.times, buckets=4)
        >>> len(weighting.values)
        4
    """
    table, truths, moments = _checked(errors, labels, times)
    if kind not in get_args(Kind):
        raise ValueError(f"kind must be bucket or polynomial, got {kind!r}")
    size = buckets if kind == "bucket" else degree + 1
    if size < 1:
        raise ValueError(f"buckets must be at least 1 and degree at least 0, got {buckets} and {degree}")
    # Feature b of a class: mean over draws of its error times the b-th basis function; uniform weights add them up.
    features = table @ (_basis(kind, size, moments) / len(moments))
    features = features - features[np.arange(len(truths)), truths][:, None]
    unit = _uniform_size(features, truths)
    scaled = features * unit
    if penalty is None:
        penalty = _best_penalty(scaled, np.arange(len(truths)) % min(_FOLDS, len(truths)))
    weights = _fit(scaled, penalty)
    if not weights.any():
        # Errors that say the opposite of the labels: no weighting is better than none.
        weights = np.ones(size)
    return LearnedWeighting(kind, tuple((weights / weights.mean()).tolist()), penalty)


def _basis(kind: Kind, size: int, time: np.ndarray) -> np.ndarray:
    """Functions of time ``(n, size)``, none negative, that add up to one everywhere."""
    if kind == "bucket":
        place = np.clip((time * size).astype(np.int64), 0, size - 1)
        indicators: np.ndarray = np.eye(size)[place]
        return indicators
    from scipy.special import comb

    order = np.arange(size)
    polynomials: np.ndarray = comb(size - 1, order) * time[:, None] ** order * (1 - time[:, None]) ** order[::-1]
    return polynomials


def _uniform_size(features: np.ndarray, labels: np.ndarray) -> float:
    """The likeliest size of uniform weights, or that of the errors' own spread where there is none."""
    try:
        return fit_inverse_temperature(features.sum(2), labels)[0]
    except ValueError:
        spread = float(np.abs(features).sum(2).mean())
        return 1 / spread if spread > 0 else 1.0


def _fit(features: np.ndarray, penalty: float) -> np.ndarray:
    """Weights ``(size,)``, relative to uniform ones, from features relative to the true class's, ``(B, K, size)``."""
    from scipy.optimize import minimize

    size = features.shape[2]

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        logits = -features @ weights
        top = logits.max(1, keepdims=True)
        relative = np.exp(logits - top)
        total = relative.sum(1, keepdims=True)
        gradient = -np.einsum("bk,bkf->f", relative / total, features) / len(features)
        away = weights - 1
        value = (np.log(total) + top).mean() + penalty * (away**2).mean()
        return float(value), gradient + 2 * penalty * away / size

    found = minimize(loss, np.ones(size), jac=True, bounds=[(0, None)] * size, method="L-BFGS-B")
    return np.asarray(found.x)


def _nll(features: np.ndarray, weights: np.ndarray) -> float:
    logits = -features @ weights
    top = logits.max(1, keepdims=True)
    return float((np.log(np.exp(logits - top).sum(1, keepdims=True)) + top).mean())


def _best_penalty(features: np.ndarray, fold: np.ndarray) -> float:
    """The penalty of the smallest held-out loss; of equal ones the largest."""
    losses = []
    for penalty in _PENALTIES:
        held_out = [_nll(features[fold == f], _fit(features[fold != f], penalty)) for f in np.unique(fold)]
        losses.append(np.average(held_out, weights=np.bincount(fold)))
    return _PENALTIES[len(losses) - 1 - int(np.argmin(losses[::-1]))]


def _checked(errors: Any, labels: Any, times: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table, truths, moments = np.asarray(errors, np.float64), np.asarray(labels), np.asarray(times, np.float64)
    if table.ndim != 3 or 0 in table.shape or not np.isfinite(table).all():
        raise ValueError(f"errors must be finite and of shape (images, classes, draws), got shape {table.shape}")
    if moments.shape != table.shape[2:] or not ((moments >= 0) & (moments <= 1)).all():
        raise ValueError(f"times must be {table.shape[2]} numbers in [0, 1], one a draw, got shape {moments.shape}")
    if truths.shape != table.shape[:1] or not np.issubdtype(truths.dtype, np.integer):
        raise ValueError(
            f"labels must be {len(table)} integers, one an image, got shape {truths.shape} of {truths.dtype}"
        )
    if ((truths < 0) | (truths >= table.shape[1])).any():
        raise ValueError(f"labels must be in 0 ... {table.shape[1] - 1}, got {truths.min()} to {truths.max()}")
    if len(table) < 2:
        raise ValueError("errors must be of two images or more, to learn from one and check with another, got one")
    return table, truths, moments
