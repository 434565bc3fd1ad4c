"""`evaluate_scenes`: a model on every factor of procedural scenes, in one table."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vl_core.tables import percent, text_table, write_rows

from vl_vlm.evaluation.evaluate import evaluate
from vl_vlm.evaluation.results import EvaluationResult
from vl_vlm.evaluation.tasks.scenes import TASKS, scene_tasks
from vl_vlm.scenes.vocabulary import Split

_SHOWN = (
    *("top-1 accuracy", "image-to-text recall@1", "text-to-image recall@1"),
    *("text score", "image score", "group score"),
)


@dataclass(frozen=True)
class SceneReport:
    """Results by factor; printed as a table with the baselines beside the model."""

    split: str
    """Split of the scenes."""
    results: Mapping[str, EvaluationResult]
    """Result of each task, for `compare` with those of another model."""

    def save_csv(self, path: str | os.PathLike[str]) -> None:
        """Write all metrics of the model and of both baselines to a CSV file."""
        rows = [
            {"split": self.split, "task": name, **asdict(row)}
            for name, result in self.results.items()
            for row in result.rows
        ]
        write_rows(Path(path), rows)

    def __str__(self) -> str:
        """Table of percentages: first places of the model with their intervals, and the same of the baselines."""
        cells = []
        for name, result in self.results.items():
            for metric in dict.fromkeys(row.metric for row in result.rows):
                if metric not in _SHOWN:
                    continue
                row = result.row(metric)
                interval = f"{percent(row.low)} % to {percent(row.high)} %"
                values = (row.value, *(result.row(metric, model).value for model in ("blind", "constant")))
                value, *baselines = (f"{percent(share)} %" for share in values)
                cells.append([name, metric, value, interval, *baselines])
        head = ["task", "metric", "value", "interval", "blind", "constant"]
        return text_table(head, cells, left=2)


def evaluate_scenes(
    model: Any,
    count: int = 200,
    *,
    size: int = 32,
    seed: int = 0,
    split: Split = "test",
    tasks: Sequence[str] = TASKS,
    out: str | os.PathLike[str] | None = None,
    blind: Any = None,
    name: str = "model",
    batch_size: int = 32,
    text_batch_size: int = 256,
    decimals: int | None = None,
    samples: int = 1000,
    level: float = 0.95,
) -> SceneReport:
    """Evaluate a model on every factor of procedural scenes.

    A high accuracy of classification with scores of swaps near the constant model's says that colors and shapes are
    seen, and not which belongs to which. The difference between the splits ``"test"`` and ``"held_out"`` says what
    holds for new combinations.

    Args:
        model: Anything with ``score(images, texts)``, or such a function; images are PIL images.
        count: Images or pairs of a task, at least 2.
        size: Width and height of the images in pixels.
        seed: Seed of the scenes.
        split: ``"train"``, ``"test"`` or ``"held_out"``, as in `make_scenes`.
        tasks: Names of tasks, as in `scene_tasks`.
        out: Folder for the raw scores, one folder a task; with it a stopped evaluation resumes.
        blind: As in `evaluate`.
        name: As in `evaluate`.
        batch_size: As in `evaluate`.
        text_batch_size: As in `evaluate`.
        decimals: As in `evaluate`.
        samples: As in `evaluate`.
        level: As in `evaluate`.

    Returns:
        Results by task; print it for a table.

    Raises:
        TypeError: As `evaluate` does.
        ValueError: As `evaluate` and `scene_tasks` do.

    Example:
        >>> report = evaluate_scenes(lambda images, texts: [[0.0] * len(texts)] * len(images), 4, tasks=["shape"])
        >>> print(report)  # a constant model
        task   metric           value          interval   blind  constant
        -----  --------------  ------  ----------------  ------  --------
        shape  top-1 accuracy  11.1 %  11.1 % to 11.1 %  11.1 %    11.1 %
    """
    results = {
        task: evaluate(
            model,
            made,
            out=None if out is None else Path(out) / task.replace(" ", "-"),
            blind=blind,
            name=name,
            batch_size=batch_size,
            text_batch_size=text_batch_size,
            decimals=decimals,
            samples=samples,
            level=level,
        )
        for task, made in scene_tasks(count, size=size, seed=seed, split=split, tasks=tasks).items()
    }
    return SceneReport(split, results)
