"""Results in folders: what was found for every item, from which tables and comparisons are made without a model."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet
from vl_core.files import read_json
from vl_core.runs import atomic_write
from vl_core.tables import write_parquet

from vl_vlm.evaluation.results import EvaluationResult, make_result
from vl_vlm.evaluation.tasks.task import Measure


def save_result(result: EvaluationResult, folder: str | os.PathLike[str]) -> None:
    """Write ``items.parquet`` (a row for each item, metric and model) and ``result.json`` (what they belong to).

    Args:
        result: What `evaluate` or `rescore` returned.
        folder: Created if it is missing.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    columns: dict[str, list[Any]] = {name: [] for name in ("model", "metric", "item", "group", *_VALUES)}
    for model, measures in result.measures.items():
        for measure in measures:
            columns["model"] += [model] * len(measure.ids)
            columns["metric"] += [measure.name] * len(measure.ids)
            columns["item"] += measure.ids
            columns["group"] += measure.groups.tolist()
            for name in _VALUES:
                columns[name] += getattr(measure, name).tolist()
    write_parquet(target / "items.parquet", columns)
    facts = {"task": result.task, "digest": result.digest, "models": list(result.measures), "notes": result.notes}
    with atomic_write(target / "result.json") as file:
        json.dump(facts, file, indent=2)


def load_result(
    folder: str | os.PathLike[str], *, samples: int = 1000, level: float = 0.95, seed: int = 0
) -> EvaluationResult:
    """Read what `save_result` wrote, and compute its intervals.

    Args:
        folder: Folder with ``items.parquet`` and ``result.json``.
        samples: Draws of the bootstrap.
        level: Of its intervals.
        seed: Of the draws.

    Raises:
        ValueError: If the folder holds no result, or a file is damaged.

    Example:
        ``compare(load_result("first/retrieval"), load_result("second/retrieval"))``
    """
    source = Path(folder)
    for name in ("items.parquet", "result.json"):
        if not (source / name).is_file():
            raise ValueError(f"{source} holds no result: {name} is missing; write one with save_result")
    facts = read_json(source / "result.json", dict)
    try:
        with pa.OSFile(str(source / "items.parquet"), "rb") as file:
            table: Any = parquet.ParquetFile(file).read()
        columns = {name: np.array(table[name].to_pylist()) for name in ("model", "metric", "item", "group", *_VALUES)}
        measures = {str(model): _measures(columns, columns["model"] == model) for model in facts["models"]}
        if not all(measures.values()):
            raise ValueError("a model has no row")
        return make_result(
            str(facts["task"]),
            str(facts["digest"]),
            measures,
            samples=samples,
            level=level,
            seed=seed,
            notes=tuple(map(str, facts["notes"])),
        )
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise ValueError(f"{source} holds a damaged result ({str(error).splitlines()[0]}); write it again") from error


_VALUES = ("expected", "official", "tied")


def _measures(columns: dict[str, Any], rows: Any) -> tuple[Measure, ...]:
    """Measures of one model in the order in which they were written."""
    metrics = columns["metric"][rows]
    found = []
    for metric in dict.fromkeys(metrics.tolist()):
        own = np.flatnonzero(rows)[metrics == metric]
        found.append(
            Measure(
                str(metric),
                tuple(columns["item"][own].tolist()),
                columns["group"][own].astype(np.int64),
                columns["expected"][own].astype(np.float64),
                columns["official"][own].astype(np.float64),
                columns["tied"][own].astype(np.bool_),
            )
        )
    return tuple(found)
