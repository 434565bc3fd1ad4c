"""Accuracy of a run from its collapse metrics and its training loss, with an interval, without labels of its own.

After Li, Efros and Pathak, *Understanding Collapse in Non-Contrastive Siamese Representation Learning*, ECCV 2022, who
state that the two together predict the accuracy of a linear probe. The form of the fit is chosen here: ridge
regression on standardized metrics.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from vl_core.files import read_json
from vl_core.runs import atomic_write

from vl_ssl.forecast.runs import check_features, column

Values = NDArray[np.float64]

LEAST = 3
"""Runs that a forecast is fitted to at least."""


class Forecast(NamedTuple):
    """Predicted accuracies of runs, as shares in 0..1."""

    accuracy: Values
    """Predictions ``(n,)``."""
    low: Values
    """Lower ends of the prediction intervals ``(n,)``."""
    high: Values
    """Upper ends ``(n,)``."""


@dataclass(frozen=True)
class _Line:
    """A fitted function: ``intercept + terms((x - mean) / scale) @ weights``."""

    mean: list[float]
    scale: list[float]
    intercept: float
    weights: list[float]

    def __call__(self, values: Values, degree: int) -> Values:
        standard = (values - np.array(self.mean)) / np.array(self.scale)
        return np.asarray(self.intercept + _terms(standard, degree) @ np.array(self.weights), np.float64)


class AccuracyForecast:
    """Forecast of accuracy from metrics of runs whose accuracy is known.

    Least squares with a ridge on the standardized weights: ``ridge`` times the number of runs times the sum of their
    squares is added to the sum of squared errors, the intercept not included. Signs are learned: a lower loss is not
    taken for a better one. The interval is the jackknife+ of Barber, Candès, Ramdas and Tibshirani, *Predictive
    Inference with the Jackknife+*, Annals of Statistics 2021: it needs no assumption about the errors but that the new
    run comes from where the runs came from. Its coverage is then at least ``2 level - 1``, and in practice about
    `level`. With groups, each residual is of a fit without the run's whole group (their CV+).

    Args:
        features: Names of the metrics, each a column of the runs.
        degree: 1 for a linear function, 2 for one with squares and products too.
        ridge: Penalty, above 0; it keeps weights finite where metrics say the same.
        level: Share of new runs that the interval is to cover. Where runs are fewer than ``1 / (1 - level) - 1``, no
            interval is short enough to be backed, and it is 0..1.

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> runs = [{"auc": 0.6 + 0.02 * i, "loss": -0.9, "knn": 0.8 - 0.03 * i} for i in range(12)]
        >>> forecast = AccuracyForecast(("auc", "loss")).fit(runs)
        >>> found = forecast.predict([{"auc": 0.7, "loss": -0.9}])
        >>> round(float(found.accuracy[0]), 2)
        0.65
    """

    def __init__(
        self,
        features: Sequence[str] = ("auc", "loss"),
        *,
        degree: Literal[1, 2] = 1,
        ridge: float = 1e-3,
        level: float = 0.9,
    ):
        if isinstance(features, str) or not features or len(set(features)) < len(features):
            raise ValueError(f"features must be at least one name and no name twice, got {features!r}")
        if degree not in (1, 2):
            raise ValueError(f"degree must be 1 or 2, got {degree!r}")
        if not 0 < ridge < math.inf:
            raise ValueError(f"ridge must be above 0 and finite, got {ridge}; 1e-3 changes little")
        if not 0 < level < 1:
            raise ValueError(f"level must lie between 0 and 1, got {level}; 90 % is 0.9")
        self.features, self.degree, self.ridge, self.level = tuple(features), degree, float(ridge), float(level)
        self.target = "knn"
        """Column of the accuracy that was fitted."""
        self._whole: _Line | None = None
        self._folds: list[_Line] = []
        self._fold_of: list[int] = []
        self._residuals: list[float] = []

    @property
    def runs(self) -> int:
        """Number of runs that it was fitted to; 0 before."""
        return len(self._residuals)

    @property
    def weights(self) -> dict[str, float]:
        """Change of the predicted accuracy by a deviation of each metric; of ``"a*b"`` for products of two.

        Raises:
            ValueError: If it has not been fitted.
        """
        return dict(zip(_term_names(self.features, self.degree), self._fitted().weights, strict=True))

    def fit(
        self,
        runs: Sequence[Mapping[str, Any]],
        *,
        accuracy: str = "knn",
        groups: Sequence[Hashable] | None = None,
    ) -> AccuracyForecast:
        """Fit to runs, and return itself.

        Args:
            runs: Values by column, numbers or text that is a number; at least three runs.
            accuracy: Column of the measured accuracy, shares in 0..1.
            groups: A label for each run; runs with one label, such as the seeds of a configuration, are left out
                together for the residuals. By default, each run by itself.

        Raises:
            ValueError: If a value is missing or not finite, an accuracy is not a share or among the features, or runs
                or groups are too few.
        """
        check_features(self.features, accuracy)
        values, measured = self._values(runs), column(runs, accuracy)
        if len(runs) < LEAST:
            raise ValueError(f"runs must be at least {LEAST}, got {len(runs)}; add runs of other settings or seeds")
        if measured.min() < 0 or measured.max() > 1:
            raise ValueError(
                f"{accuracy} must hold shares in 0..1, got {measured.min():g} to {measured.max():g}; divide per cent "
                "by 100"
            )
        fold_of = fold_numbers(len(runs), groups)
        self.target = accuracy
        self._whole = self._line(values, measured)
        self._folds = [self._line(values[fold_of != fold], measured[fold_of != fold]) for fold in np.unique(fold_of)]
        self._fold_of = fold_of.tolist()
        residuals = np.empty(len(runs))
        for fold, line in enumerate(self._folds):
            own = fold_of == fold
            residuals[own] = np.abs(measured[own] - line(values[own], self.degree))
        self._residuals = residuals.tolist()
        return self

    def predict(self, runs: Sequence[Mapping[str, Any]]) -> Forecast:
        """Predict the accuracy of runs, with intervals; all clipped to 0..1.

        Raises:
            ValueError: If it has not been fitted, or a metric is missing or not finite.
        """
        whole, values = self._fitted(), self._values(runs)
        count = len(self._residuals)
        others = np.stack([line(values, self.degree) for line in self._folds])[self._fold_of]  # (fitted, n)
        residuals = np.array(self._residuals)[:, None]
        # The tolerance keeps 0.1 * 20 a whole number.
        low = math.floor((1 - self.level) * (count + 1) + 1e-9)
        high = math.ceil(self.level * (count + 1) - 1e-9)
        lows, highs = np.sort(others - residuals, axis=0), np.sort(others + residuals, axis=0)
        ends = (
            lows[low - 1] if low >= 1 else np.full(len(values), -np.inf),
            highs[high - 1] if high <= count else np.full(len(values), np.inf),
        )
        middle = whole(values, self.degree)
        # The prediction of all runs may lie just outside of what fits to parts of them say.
        parts = middle, np.minimum(ends[0], middle), np.maximum(ends[1], middle)
        return Forecast(*(np.clip(part, 0.0, 1.0) for part in parts))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON, replacing the file in one step.

        Raises:
            ValueError: If it has not been fitted.
            OSError: If the file cannot be written.
        """
        content = {
            "features": list(self.features),
            "degree": self.degree,
            "ridge": self.ridge,
            "level": self.level,
            "accuracy": self.target,
            "fit": asdict(self._fitted()),
            "folds": [asdict(line) for line in self._folds],
            "fold_of": self._fold_of,
            "residuals": self._residuals,
        }
        with atomic_write(Path(path), "wb") as file:
            file.write((json.dumps(content, indent=1) + "\n").encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> AccuracyForecast:
        """Read what `save` wrote.

        Raises:
            OSError: If there is no such file.
            ValueError: If it is not such a file.
        """
        content: dict[str, Any] = read_json(Path(path), dict)
        try:
            found = cls(content["features"], degree=content["degree"], ridge=content["ridge"], level=content["level"])
            terms = len(_term_names(found.features, found.degree))
            found.target = str(content["accuracy"])
            found._whole = _read_line(content["fit"], len(found.features), terms)
            found._folds = [_read_line(line, len(found.features), terms) for line in content["folds"]]
            found._fold_of = [int(fold) for fold in content["fold_of"]]
            found._residuals = _finite(content["residuals"], len(found._fold_of))
            if not found._fold_of or set(found._fold_of) != set(range(len(found._folds))):
                raise ValueError("fold_of does not name every fold")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise ValueError(f"{path} holds no accuracy forecast ({reason[:200]}); write it again with save") from error
        return found

    def _values(self, runs: Sequence[Mapping[str, Any]]) -> Values:
        if not len(runs):
            raise ValueError("runs must hold at least one run, got none")
        return np.stack([column(runs, name) for name in self.features], axis=1)

    def _fitted(self) -> _Line:
        if self._whole is None:
            raise ValueError("the forecast must be fitted before it predicts; call fit(runs)")
        return self._whole

    def _line(self, values: Values, measured: Values) -> _Line:
        mean, scale = values.mean(axis=0), _deviation(values)
        terms = _terms((values - mean) / scale, self.degree)
        center, width = terms.mean(axis=0), _deviation(terms)
        standard = (terms - center) / width
        count, size = standard.shape
        gram = standard.T @ standard + self.ridge * count * np.eye(size)
        weights = np.linalg.solve(gram, standard.T @ (measured - measured.mean())) / width
        return _Line(mean.tolist(), scale.tolist(), float(measured.mean() - center @ weights), weights.tolist())


def fold_numbers(count: int, groups: Sequence[Hashable] | None) -> NDArray[np.int64]:
    """Number of the group of each run, from 0 in the order of their first runs; each run its own without groups.

    Raises:
        ValueError: If there is not one label for each run, or but one group.
    """
    labels: Sequence[Hashable] = range(count) if groups is None else groups
    if len(labels) != count:
        raise ValueError(f"groups must be one label for each of {count} runs, got {len(labels)}")
    numbers: dict[Hashable, int] = {}
    found = np.array([numbers.setdefault(label, len(numbers)) for label in labels], np.int64)
    if len(numbers) < 2:
        raise ValueError(f"groups must be at least two, got {len(numbers)}; one is left out, and the fit is to others")
    return found


def _deviation(values: Values) -> Values:
    """Standard deviation of columns; 1 for constant ones, which then say nothing."""
    deviation = values.std(axis=0)
    constant = deviation <= 1e-12 * np.abs(values).max(axis=0)
    return np.where(constant, 1.0, deviation)


def _terms(standard: Values, degree: int) -> Values:
    if degree == 1:
        return standard
    first, second = np.triu_indices(standard.shape[1])
    return np.concatenate([standard, standard[:, first] * standard[:, second]], axis=1)


def _term_names(features: Sequence[str], degree: int) -> list[str]:
    products = [f"{first}*{second}" for first, second in combinations_with_replacement(features, 2)]
    return [*features, *(products if degree == 2 else [])]


def _read_line(content: Any, features: int, terms: int) -> _Line:
    scale = _finite(content["scale"], features)
    if min(scale) <= 0:
        raise ValueError(f"scale must be above 0, got {min(scale)}")
    return _Line(
        _finite(content["mean"], features),
        scale,
        _finite([content["intercept"]], 1)[0],
        _finite(content["weights"], terms),
    )


def _finite(values: Any, count: int) -> list[float]:
    found = [float(value) for value in values]
    if len(found) != count or not all(map(math.isfinite, found)):
        raise ValueError(f"expected {count} finite numbers, got {len(found)}: {str(found)[:80]}")
    return found
