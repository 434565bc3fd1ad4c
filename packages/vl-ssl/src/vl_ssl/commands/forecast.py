"""`vl-ssl forecast`: accuracy of runs from their collapse metrics and training loss, beside baselines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from vl_core.tables import percent, text_table, write_rows

from vl_ssl.charts.forecast import draw_forecast
from vl_ssl.commands.settings.forecast import ForecastRuns
from vl_ssl.forecast.accuracy import AccuracyForecast
from vl_ssl.forecast.evaluation import FORECASTS, HeldOut, compare_forecasts
from vl_ssl.forecast.runs import as_number

_SHOWN = 40  # runs in the table on the terminal
_WORDS = {"auc": "AUC", "rankme": "RankMe"}


def run(settings: ForecastRuns) -> None:
    """Fit, test on held-out runs, predict, and write tables, figure and the fitted forecast.

    Raises:
        ValueError: If the runs cannot be used.
        OSError: If there is no such file.
    """
    settings.check()
    known, new, groups = settings.read()
    chosen = " and ".join(_WORDS.get(name, name) for name in settings.features)
    forecasts: dict[str, tuple[str, ...]] = {chosen: settings.features}
    # A baseline needs its column, with a finite number in every run.
    baselines = {name: own for name, own in FORECASTS.items() if len(own) == 1 and own != settings.features}
    forecasts |= {
        name: own for name, own in baselines.items() if all(_finite(row.get(column)) for row in known for column in own)
    }
    options: dict[str, Any] = {"degree": settings.degree, "ridge": settings.ridge, "level": settings.level}
    found = compare_forecasts(
        known,
        forecasts,
        groups=groups,
        accuracy=settings.accuracy,
        repetitions=settings.samples,
        seed=settings.seed,
        **options,
    )
    fitted = AccuracyForecast(settings.features, **options)
    fitted.fit(known, accuracy=settings.accuracy, groups=groups)
    rows = _predictions(known, found[chosen]) + (_new(new, fitted) if new else [])
    settings.out.mkdir(parents=True, exist_ok=True)
    write_rows(settings.out / "forecast.csv", rows)
    write_rows(settings.out / "scores.csv", [_score(name, own) for name, own in found.items()])
    fitted.save(settings.out / "forecast.json")
    what = f"{len(known)} runs in {len(set(groups))} groups, each predicted from the others"
    draw_forecast(settings.out / "forecast.png", found, level=settings.level, title=what)
    print(what)
    print(_scores(found))
    print(_runs(rows))
    if len(rows) > _SHOWN:
        print(f"and {len(rows) - _SHOWN} more in forecast.csv")
    weights = ", ".join(f"{name} {100 * weight:+.1f}" for name, weight in fitted.weights.items())
    print(f"points of accuracy by a deviation of each metric: {weights}")
    print(
        f"intervals of 95 % that draw groups; prediction intervals of {100 * settings.level:g} %; a forecast that "
        "knows nothing has a negative correlation"
    )
    print(f"wrote forecast.csv, scores.csv, forecast.json and forecast.png to {settings.out}")


def _finite(cell: Any) -> bool:
    value = as_number(cell)
    return value is not None and math.isfinite(value)


def _predictions(known: Sequence[Mapping[str, Any]], result: HeldOut) -> list[dict[str, Any]]:
    parts = zip(known, result.groups, result.measured, *result.forecast, strict=True)
    return [
        {
            "run": row.get("run", number),
            "group": int(group) + 1,
            "measured": float(measured),
            "predicted": float(accuracy),
            "low": float(low),
            "high": float(high),
        }
        for number, (row, group, measured, accuracy, low, high) in enumerate(parts, 1)
    ]


def _new(new: Sequence[Mapping[str, Any]], fitted: AccuracyForecast) -> list[dict[str, Any]]:
    parts = zip(new, *fitted.predict(new), strict=True)
    return [
        {
            "run": row.get("run", f"new {number}"),
            "group": "",
            "measured": "",
            "predicted": float(accuracy),
            "low": float(low),
            "high": float(high),
        }
        for number, (row, accuracy, low, high) in enumerate(parts, 1)
    ]


def _score(name: str, own: HeldOut) -> dict[str, Any]:
    return {
        "forecast": name,
        "runs": len(own.measured),
        "groups": int(own.groups.max()) + 1,
        "spearman": own.spearman.estimate,
        "spearman_low": own.spearman.low,
        "spearman_high": own.spearman.high,
        "error": own.error.estimate,
        "error_low": own.error.low,
        "error_high": own.error.high,
        "coverage": own.coverage,
        "width": float(np.mean(own.forecast.high - own.forecast.low)),
    }


def _scores(found: Mapping[str, HeldOut]) -> str:
    cells = [
        [
            name,
            f"{own.spearman.estimate:+.2f}",
            f"{own.spearman.low:+.2f} to {own.spearman.high:+.2f}",
            percent(own.error.estimate),
            f"{percent(own.error.low)} to {percent(own.error.high)}",
            f"{percent(own.coverage)} %",
            percent(float(np.mean(own.forecast.high - own.forecast.low))),
        ]
        for name, own in found.items()
    ]
    head = ["forecast", "Spearman", "interval", "error, points", "interval", "covered", "width, points"]
    return text_table(head, cells)


def _runs(rows: Sequence[Mapping[str, Any]]) -> str:
    """New runs first, then by predicted accuracy."""
    ordered = sorted(rows, key=lambda row: (row["measured"] != "", -row["predicted"]))[:_SHOWN]
    cells = [
        [
            str(row["run"]),
            str(row["group"]),
            percent(row["measured"]) if row["measured"] != "" else "",
            percent(row["predicted"]),
            f"{percent(row['low'])} to {percent(row['high'])}",
        ]
        for row in ordered
    ]
    return text_table(["run", "group", "measured, %", "predicted, %", "interval"], cells)
