"""`vl-attention evaluate`: accuracy of classifiers on unchanged and shifted images."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from vl_core.corruptions import SHIFTS
from vl_core.data import ImageDataset
from vl_core.devices import find_device
from vl_core.progress import progress_bar
from vl_core.results import append_row, read_rows
from vl_core.runs import RunFolder
from vl_core.tables import percent, text_table

from vl_attention.analysis.shift_accuracy import ShiftAccuracy, evaluate_shifts
from vl_attention.charts.shifts import draw_shifts
from vl_attention.commands._images import (
    at_most,
    describe,
    labeled,
    match_classes,
    open_images,
    tensors,
)
from vl_attention.commands._models import GivenModel, load_classifiers
from vl_attention.commands.settings.evaluate import NONE, Cell, Evaluate
from vl_attention.models.folders import unique_names


def run(settings: Evaluate) -> None:
    """Measure what `settings.out` does not contain yet, and write the table and the chart.

    Raises:
        ValueError: If an argument, a model or an image is invalid, or the folder holds results of other inputs.
        OSError: If a file or a model is missing or cannot be read.
        ModuleNotFoundError: If a data set needs an extra that is not installed.
        KeyboardInterrupt: If it is interrupted; a note says how many results are kept.
    """
    settings.check()
    cells = settings.cells()
    device = find_device(settings.device)
    names = unique_names(settings.images, "--images")
    sets = {
        name: at_most(labeled(open_images(spec, settings.split, out=settings.out)), settings.limit)
        for name, spec in zip(names, settings.images, strict=True)
    }
    models = load_classifiers(settings.models, settings.teacher, device)
    columns = {
        (given.name, name): match_classes(given.name, given.classes, given.num_classes, dataset)
        for given in models
        for name, dataset in sets.items()
    }
    _open_folder(settings, models, sets)
    record = Record(settings.out / "evaluate.csv")
    todo = [
        (given.name, name, *cell)
        for name in sets
        for given in models
        for cell in cells
        if (given.name, name, *cell) not in record.rows
    ]
    total = len(models) * len(sets) * len(cells)
    if len(todo) < total:
        print(f"{total - len(todo)} of {total} results are already in {settings.out}", file=sys.stderr)
    try:
        with progress_bar(total=total, initial=total - len(todo), desc="evaluate", unit="result", disable=None) as bar:
            _measure(todo, models, sets, columns, settings, device, record, bar)
    except (Exception, KeyboardInterrupt) as error:
        kept = sum((given.name, name, *cell) in record.rows for given in models for name in sets for cell in cells)
        error.add_note(f"{kept} of {total} results are kept in {settings.out}")
        raise
    keys = [(given.name, name) for given in models for name in sets]
    rows = {key: [record.rows[*key, *cell] for cell in cells] for key in keys}
    print(_table(rows, cells, several=len(sets) > 1))
    draw_shifts(settings.out / "evaluate.png", rows, unshifted=NONE)
    print(f"wrote evaluate.csv and evaluate.png to {settings.out}")


class Record:
    """The results in a folder, by model, data set, shift and severity."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows: dict[tuple[str, str, str, int], ShiftAccuracy] = {}
        for row in read_rows(path) if path.exists() else []:
            try:
                model, images, shift, severity = row["model"], row["images"], row["shift"], int(row["severity"])
                correct, total = int(row["correct"]), int(row["total"])
                shares = [float(row[name]) for name in ("accuracy", "low", "high")]
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{path} has a row that is not an evaluation result: {row}; remove it") from error
            self.rows[model, images, shift, severity] = ShiftAccuracy(shift, severity, correct, total, *shares)

    def add(self, model: str, images: str, row: ShiftAccuracy) -> None:
        """Store one result in memory and on disk."""
        accuracy, low, high = (f"{share:.6g}" for share in (row.accuracy, row.low, row.high))
        append_row(
            self._path,
            {
                "model": model,
                "images": images,
                "shift": row.shift,
                "severity": row.severity,
                "correct": row.correct,
                "total": row.total,
                "accuracy": accuracy,
                "low": low,
                "high": high,
            },
        )
        self.rows[model, images, row.shift, row.severity] = row


def _open_folder(settings: Evaluate, models: Sequence[GivenModel], sets: Mapping[str, ImageDataset]) -> None:
    """Create the folder, or check that its results are for the same images, models and shifts.

    More models, data sets, shifts and severities may be added.
    """
    config = {"split": settings.split, "limit": settings.limit, "seed": settings.seed}
    RunFolder(settings.out, {"command": "evaluate", **config}).close()
    kept = [("models", given.name, {"sha256": given.sha256}) for given in models]
    kept += [("images", name, describe(spec, sets[name])) for name, spec in zip(sets, settings.images, strict=True)]
    for kind, name, what in kept:
        try:
            RunFolder(settings.out / "kept" / kind / name.replace("/", "+"), what).close()
        except ValueError as error:
            raise ValueError(
                f"{settings.out} holds results of other {kind} named {name!r}, or these have changed since; choose "
                "another --out"
            ) from error


def _measure(
    todo: Sequence[tuple[str, str, str, int]],
    models: Sequence[GivenModel],
    sets: Mapping[str, ImageDataset],
    columns: Mapping[tuple[str, str], list[int]],
    settings: Evaluate,
    device: str,
    record: Record,
    bar: Any,
) -> None:
    """Measure the missing results, in the order given."""
    by_name = {given.name: given for given in models}
    opened: tuple[object, Tensor, Tensor] | None = None
    for model, images, shift, severity in todo:
        given, chosen = by_name[model], columns[model, images]
        wanted = images, given.size, given.channels
        if opened is None or opened[0] != wanted:
            opened = wanted, *tensors(sets[images], given.size, given.channels)

        def predict(dataset: Tensor, given: GivenModel = given, chosen: list[int] = chosen) -> Tensor:
            logits: Tensor = given.model(dataset.to(device)).logits
            return logits[:, chosen]

        kinds = {shift: SHIFTS.get(shift, _unchanged)}
        (row,) = evaluate_shifts(
            predict, opened[1], opened[2], kinds, [severity], settings.seed, batch_size=settings.batch_size
        )
        record.add(model, images, row)
        bar.update()


def _unchanged(image: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    return image


def _table(rows: Mapping[tuple[str, str], Sequence[ShiftAccuracy]], cells: Sequence[Cell], *, several: bool) -> str:
    """Tables of accuracy on unchanged images with intervals, and by shift and severity; in percent."""
    keys = [[model, *([images] if several else [])] for model, images in rows]
    head = ["model", *(["images"] if several else [])]
    plain = [
        [*key, f"{own[0].correct} of {own[0].total}", percent(own[0].accuracy),
         f"{percent(own[0].low)} to {percent(own[0].high)}"]
        for key, own in zip(keys, rows.values(), strict=True)
    ]  # fmt: skip
    text = text_table([*head, "correct", "accuracy, %", "95 %"], plain, left=len(head))
    severities = sorted({severity for _, severity in cells})
    shifts = list(dict.fromkeys(shift for shift, _ in cells if shift != NONE))
    if not shifts:
        return text
    shifted = []
    for shift in shifts:
        for key, own in zip(keys, rows.values(), strict=True):
            found = {row.severity: percent(row.accuracy) for row in own if row.shift in (shift, NONE)}
            shifted.append([shift, *key, *(found.get(severity, "") for severity in severities)])
    table = text_table(["shift", *head, *map(str, severities)], shifted, left=len(head) + 1)
    return f"{text}\n\naccuracy, %, by severity\n{table}"
