"""Evaluate a model on a task: raw scores first, metrics after, and two baselines beside them."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vl_vlm.evaluation.intervals import check_settings
from vl_vlm.evaluation.predictions import Predictions, computed, rounded
from vl_vlm.evaluation.results import EvaluationResult, make_result
from vl_vlm.evaluation.scorers.baselines import ConstantBaseline, UnigramBaseline
from vl_vlm.evaluation.scorers.scorer import as_scorer
from vl_vlm.evaluation.tasks.task import Task, digest

# Baselines are computed in blocks of this size; they hold no model.
_BASELINE = {"batch_size": 64, "text_batch_size": 4096}


def predict(
    model: Any,
    task: Task,
    out: str | os.PathLike[str],
    *,
    blind: Any = None,
    name: str = "model",
    batch_size: int = 32,
    text_batch_size: int = 256,
    progress: bool = False,
) -> tuple[str, ...]:
    """Score every item that has no stored scores yet, and store them; rerun to resume.

    Args:
        model: Anything with ``score(images, texts)``, or such a function.
        task: What to score.
        out: Folder for ``model/part-*.parquet`` and, with ``blind``, ``blind/part-*.parquet``: a row for each item with
            its id and raw scores.
        blind: A scorer that ignores its images, such as a language model; without it the blind row is a
            `UnigramBaseline`, which needs no storing.
        name: Name of the model; a folder belongs to one.
        batch_size: Images (or items of pairs) scored and stored together.
        text_batch_size: Texts that the model is asked about at once.
        progress: Show a bar.

    Returns:
        What was found damaged, in sentences; only those items were scored again.

    Raises:
        TypeError: If the model cannot score, or gives something else than real numbers.
        ValueError: If scores have another shape or are NaN, ``out`` belongs to another task or model, or a size is not
            positive; what was stored before stays.

    Example:
        >>> from vl_vlm import SugarCrepeTask
        >>> task = SugarCrepeTask([0, 1], ["a cat", "a dog"], ["a dog", "a cat"])
        >>> with TemporaryDirectory() as folder:
        ...     notes = predict(lambda images, texts: [[len(text) for text in texts] for _ in images], task, folder)
    """
    if name in ("blind", "constant") or not name:
        raise ValueError(f"name must not be empty, nor that of a baseline, got {name!r}; rows are told apart by it")
    for argument, size in (("batch_size", batch_size), ("text_batch_size", text_batch_size)):
        if size < 1:
            raise ValueError(f"{argument} must be at least 1, got {size}")
    scorers = {"model": (as_scorer(model), name)}
    if blind is not None:
        scorers["blind"] = (as_scorer(blind, "blind"), "blind")
    notes: list[str] = []
    for folder, (scorer, owner) in scorers.items():
        predictions = Predictions(Path(out) / folder, task, owner)
        predictions.complete(scorer, batch_size=batch_size, text_batch_size=text_batch_size, progress=progress)
        notes += predictions.notes
    return tuple(notes)


def rescore(
    task: Task,
    out: str | os.PathLike[str],
    *,
    name: str = "model",
    decimals: int | None = None,
    samples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> EvaluationResult:
    """Compute metrics from stored scores alone; other labels or other ``ks`` need no new ones.

    Args:
        task: The task that was predicted.
        out: The folder of `predict`.
        name: The model's name there.
        decimals: Round scores before comparing them, so that what differs by rounding errors counts as a tie.
        samples: Draws of the bootstrap.
        level: Of its intervals.
        seed: Of the draws.

    Returns:
        Rows for the model, the blind and the constant baseline.

    Raises:
        ValueError: If scores are missing, or belong to another task or model.

    Example:
        See ``docs/evaluation.md``.
    """
    check_settings(samples, level)
    folder = Path(out)
    stored = {"model": name} | ({"blind": "blind"} if (folder / "blind").is_dir() else {})
    if not (folder / "model").is_dir():
        raise ValueError(f"out must be a folder of predict, {folder} holds no scores; run predict first")
    measures, notes = {}, []
    for part, owner in stored.items():
        predictions = Predictions(folder / part, task, owner)
        if missing := predictions.missing():
            first = task.item_ids[missing[0]]
            raise ValueError(
                f"out must hold scores of every item, {folder / part} lacks {len(missing)} of {len(task.item_ids)}, "
                f"the first is {first!r}; run predict again, which scores only these"
            )
        measures[owner] = tuple(task.measures(rounded(predictions.blocks, decimals)))
        notes += predictions.notes
    if "blind" not in stored:
        blind = computed(task, UnigramBaseline(task.texts()), **_BASELINE)
        measures["blind"] = tuple(task.measures(rounded(blind, decimals)))
    measures["constant"] = tuple(task.measures(computed(task, ConstantBaseline(), **_BASELINE)))
    settings: dict[str, Any] = {"samples": samples, "level": level, "seed": seed, "notes": tuple(notes)}
    return make_result(task.kind, digest(task, truth=True), measures, **settings)


def evaluate(
    model: Any,
    task: Task,
    *,
    out: str | os.PathLike[str] | None = None,
    blind: Any = None,
    name: str = "model",
    batch_size: int = 32,
    text_batch_size: int = 256,
    decimals: int | None = None,
    samples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    progress: bool = False,
) -> EvaluationResult:
    """Evaluate a model: `predict`, then `rescore`.

    Every metric comes as three numbers: its expectation over random orders of ties, the official one by strict
    comparison, and the tie rate. A blind and a constant model stand beside the evaluated one.

    Args:
        model: Anything with ``score(images, texts)``, or such a function.
        task: A `ClassificationTask`, `RetrievalTask`, `WinogroundTask` or `SugarCrepeTask`.
        out: Folder for the raw scores; without it they are not kept.
        blind: A scorer that ignores its images; by default a `UnigramBaseline` of the task's own texts.
        name: Name of the model in the rows.
        batch_size: Images (or items of pairs) scored and stored together.
        text_batch_size: Texts that the model is asked about at once.
        decimals: Round scores before comparing them.
        samples: Draws of the bootstrap.
        level: Of its intervals.
        seed: Of the draws.
        progress: Show a bar.

    Returns:
        Rows and item-by-item measures; print it for a table.

    Raises:
        TypeError: As `predict` does.
        ValueError: As `predict` does.

    Example:
        >>> from vl_vlm import WinogroundTask
        >>> task = WinogroundTask([(0, 1), (2, 3)], [("a b", "b a"), ("c d", "d c")])
        >>> result = evaluate(lambda images, texts: [[0.0] * len(texts)] * len(images), task)
        >>> row = result.row("group score")
        >>> round(row.value, 4), row.official, row.tie_rate
        (0.1667, 0.0, 1.0)
    """
    check_settings(samples, level)
    if out is None:
        with TemporaryDirectory(prefix="vl-vlm-") as folder:
            return evaluate(
                model, task, out=folder, blind=blind, name=name, batch_size=batch_size,
                text_batch_size=text_batch_size, decimals=decimals, samples=samples, level=level, seed=seed,
                progress=progress,
            )  # fmt: skip
    notes = predict(
        model, task, out, blind=blind, name=name, batch_size=batch_size, text_batch_size=text_batch_size,
        progress=progress,
    )  # fmt: skip
    result = rescore(task, out, name=name, decimals=decimals, samples=samples, level=level, seed=seed)
    merged = getattr(task, "merged", 0)
    said = (f"{merged} captions equal an earlier one and are merged with it",) if merged else ()
    return EvaluationResult(result.task, result.digest, result.rows, result.measures, (*notes, *result.notes, *said))
