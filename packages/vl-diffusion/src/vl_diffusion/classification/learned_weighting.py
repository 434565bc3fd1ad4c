"""Weights of the noise levels, learned from a few labeled images.

Clark & Jaini (2023), "Text-to-Image Diffusion Models are Zero-Shot Classifiers", learn a weight for each of 20 time
buckets by logistic regression on the classes' errors; "Diffusion Classifiers Understand Compositionality, but
Conditions Apply" (2025, arXiv 2505.17955) also learns polynomials. Here weights are non-negative, and the regression is
regularized towards uniform weights with a strength chosen by cross-validation, so that uninformative data give uniform
weights.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from vl_core.files import parse_json

from vl_diffusion.classification.calibration import fit_inverse_temperature

Kind = Literal["bucket", "polynomial"]

# Regularization strengths, in nats per labeled image for weights with a relative deviation of 1 from uniform.
_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 1e4)
_FOLDS = 5


@dataclass(frozen=True)
class LearnedWeighting:
    """Learned weights over time, for ``DiffusionClassifier(weighting=...)``.

    Example:
        >>> weighting = LearnedWeighting("bucket", (0.0, 2.0))
        >>> weighting(np.array([0.2, 0.7]), None, None)
        array([0., 2.])
        >>> LearnedWeighting.from_json(weighting.to_json()) == weighting
        True
    """

    kind: Kind
    """``"bucket"``: one weight per time interval of equal length. ``"polynomial"``: coefficients of Bernstein
    polynomials, which keep the polynomial non-negative."""

    values: tuple[float, ...]
    """Non-negative weights or coefficients, from low to high noise; all equal for uniform weights."""

    penalty: float | None = None
    """Regularization strength towards uniform weights."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind must be bucket or polynomial, got {self.kind!r}")
        values = tuple(float(value) for value in self.values)
        if not values or not np.isfinite(values).all() or min(values) < 0 or max(values) == 0:
            raise ValueError(f"values must be finite, non-negative and not all zero, got {self.values!r}")
        object.__setattr__(self, "values", values)

    def __call__(self, time: np.ndarray, alpha: Any = None, sigma: Any = None) -> np.ndarray:
        """Weights ``(n,)`` at times ``(n,)`` in [0, 1]; `alpha` and `sigma` are ignored."""
        weights: np.ndarray = _basis(self.kind, len(self.values), np.asarray(time, np.float64)) @ np.array(self.values)
        return weights

    def to_json(self) -> str:
        """Serialize to a line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> LearnedWeighting:
        """Parse the output of :meth:`to_json`.

        Raises:
            ValueError: If the text is not such an output.
        """
        content = parse_json(text, "text")
        if not isinstance(content, dict) or not {"kind", "values"} <= set(content) <= {"kind", "values", "penalty"}:
            raise ValueError(f"text must be the output of LearnedWeighting.to_json(), got {text[:80]!r}")
        try:
            return cls(content["kind"], tuple(content["values"]), content.get("penalty"))
        except (TypeError, OverflowError) as error:
            raise ValueError(f"text must be the output of LearnedWeighting.to_json() ({error})") from error


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
    """Fit weights that maximize the likelihood of the true classes of labeled images.

    With w(t) the weight at time t, an image's logits are minus the mean over draws of ``w(t) * error``. They are linear
    in the weights, so the loss is convex: mean negative log-likelihood, plus `penalty` times the mean square of the
    relative distance to the maximum-likelihood uniform weights.

    Args:
        errors: ``(B, K, M)`` from :func:`vl_diffusion.draw_errors`.
        labels: int ``(B,)``, indices of the true classes.
        times: ``(M,)`` in [0, 1], from the same.
        kind: ``"bucket"`` or ``"polynomial"``.
        buckets: Number of time intervals. Those without a draw get the uniform weight.
        degree: Degree of the polynomial.
        penalty: Regularization strength; by default chosen from a few values by 5-fold cross-validation.

    Raises:
        ValueError: If shapes do not match, errors are not finite, or there are fewer than two images.

    Example:
        >>> from vl_core.data import open_dataset
        >>> data = open_dataset("fashion", split="test")
        >>> classifier = DiffusionClassifier.from_pretrained("fashion", search=Exhaustive(8))
        >>> found = draw_errors(classifier, [data[i][0] for i in range(6)])
        >>> weighting = fit_weighting(found.errors, [data[i][1] for i in range(6)], found.times, buckets=4)
        >>> len(weighting.values)
        4
    """
    table, indices, moments = _checked(errors, labels, times)
    if kind not in get_args(Kind):
        raise ValueError(f"kind must be bucket or polynomial, got {kind!r}")
    size = buckets if kind == "bucket" else degree + 1
    if size < 1:
        raise ValueError(f"buckets must be at least 1 and degree at least 0, got {buckets} and {degree}")
    # Feature b of a class: mean over draws of its error times basis function b; uniform weights give the mean error.
    features = table @ (_basis(kind, size, moments) / len(moments))
    features = features - features[np.arange(len(indices)), indices][:, None]
    unit = _uniform_size(features, indices)
    scaled = features * unit
    if penalty is None:
        penalty = _best_penalty(scaled, np.arange(len(indices)) % min(_FOLDS, len(indices)))
    weights = _fit(scaled, penalty)
    if not weights.any():
        # The errors contradict the labels at every noise level: fall back to uniform weights.
        weights = np.ones(size)
    return LearnedWeighting(kind, tuple((weights / weights.mean()).tolist()), penalty)


def _basis(kind: Kind, size: int, time: np.ndarray) -> np.ndarray:
    """Non-negative basis functions of time, ``(n, size)``, that add up to one everywhere."""
    if kind == "bucket":
        place = np.clip((time * size).astype(np.int64), 0, size - 1)
        indicators: np.ndarray = np.eye(size)[place]
        return indicators
    from scipy.special import comb

    order = np.arange(size)
    polynomials: np.ndarray = comb(size - 1, order) * time[:, None] ** order * (1 - time[:, None]) ** order[::-1]
    return polynomials


def _uniform_size(features: np.ndarray, labels: np.ndarray) -> float:
    """Maximum-likelihood scale of uniform weights; the inverse spread of the errors if there is none."""
    try:
        return fit_inverse_temperature(features.sum(2), labels)[0]
    except ValueError:
        spread = float(np.abs(features).sum(2).mean())
        return 1 / spread if spread > 0 else 1.0


def _fit(features: np.ndarray, penalty: float) -> np.ndarray:
    """Fit weights ``(size,)``, relative to uniform ones, to features relative to the true class's, ``(B, K, size)``."""
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
    """The penalty with the smallest held-out loss; the largest of them in case of a tie."""
    losses = []
    for penalty in _PENALTIES:
        held_out = [_nll(features[fold == f], _fit(features[fold != f], penalty)) for f in np.unique(fold)]
        losses.append(np.average(held_out, weights=np.bincount(fold)))
    return _PENALTIES[len(losses) - 1 - int(np.argmin(losses[::-1]))]


def _checked(errors: Any, labels: Any, times: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table, indices, moments = np.asarray(errors, np.float64), np.asarray(labels), np.asarray(times, np.float64)
    if table.ndim != 3 or 0 in table.shape or not np.isfinite(table).all():
        raise ValueError(f"errors must be finite and of shape (images, classes, draws), got shape {table.shape}")
    if moments.shape != table.shape[2:] or not ((moments >= 0) & (moments <= 1)).all():
        raise ValueError(f"times must be {table.shape[2]} numbers in [0, 1], one per draw, got shape {moments.shape}")
    if indices.shape != table.shape[:1] or not np.issubdtype(indices.dtype, np.integer):
        raise ValueError(
            f"labels must be {len(table)} integers, one per image, got shape {indices.shape} of {indices.dtype}"
        )
    if ((indices < 0) | (indices >= table.shape[1])).any():
        raise ValueError(f"labels must be in 0 ... {table.shape[1] - 1}, got {indices.min()} to {indices.max()}")
    if len(table) < 2:
        raise ValueError("errors must be of at least two images for cross-validation, got one")
    return table, indices, moments
