"""`vl-vlm evaluate`: a model on a task, beside models that see nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from vl_core.cli import note_on_interruption
from vl_core.data import balanced_order, open_dataset
from vl_core.devices import find_device

from vl_vlm.captions.images import DatasetImages
from vl_vlm.captions.open import open_captions
from vl_vlm.commands._evaluation import draw_models, draw_results, evaluate_groups, result_table, write_results
from vl_vlm.commands._models import open_model
from vl_vlm.commands.settings.evaluate import Evaluate
from vl_vlm.evaluation.tasks.classification import ClassificationTask
from vl_vlm.evaluation.tasks.files import read_sugarcrepe, read_winoground
from vl_vlm.evaluation.tasks.retrieval import RetrievalTask
from vl_vlm.evaluation.tasks.scenes import scene_tasks
from vl_vlm.evaluation.tasks.task import Task


def run(settings: Evaluate) -> None:
    """Score what `settings.out` does not contain yet, and write the table and the figure.

    Raises:
        ValueError: If the model or the data cannot be used, or the folder holds scores of another model or task.
        OSError: If a file is missing or damaged.
    """
    settings.check()
    model = open_model(settings.model, find_device(settings.device))
    options = {
        "name": model.name,
        "batch_size": settings.batch_size,
        "decimals": settings.decimals,
        "samples": settings.samples,
        "seed": settings.seed,
    }
    with note_on_interruption("rerun to resume"):
        found = evaluate_groups(model.scorer, _tasks(settings, model.image_size), settings.out, **options)
    results = [result for group in found.values() for result in group.values()]
    print(result_table(found))
    write_results(found, settings.out / "results.csv")
    if len(results) == 1:
        title = f"{settings.model} on {Path(settings.data or '').name}"
        draw_models(results[0], settings.out / "results.png", title=title)
    else:
        title = f"{settings.model}, by {settings.limit} images or pairs a task"
        draw_results(found, settings.out / "results.png", title=title)
    for note in dict.fromkeys(note for result in results for note in result.notes):
        print(note, file=sys.stderr)
    print("blind: sees texts alone; constant: sees nothing; ties count as chance; intervals of 95 %")
    print(f"wrote results.csv, results.png and the scores of each task to {settings.out}")


def _tasks(settings: Evaluate, size: int) -> dict[str, dict[str, Task]]:
    """Tasks by group and name."""
    if settings.task == "scenes":
        splits = ["test", "held_out"] if settings.split is None else [settings.split]
        return {split: _scenes(settings, size, split) for split in splits}
    data = settings.data or ""
    if settings.task == "winoground":
        return {"pairs": {"winoground": read_winoground(data, settings.images or "")}}
    if settings.task == "sugarcrepe":
        return {"pairs": {"sugarcrepe": read_sugarcrepe(data, settings.images or "")}}
    if settings.task == "retrieval":
        captions = open_captions(
            data, split=settings.split, default_split="test", limit=settings.limit, exclude=settings.out
        )
        return {
            "captions": {"retrieval": RetrievalTask(DatasetImages(captions), captions.captions, ids=captions.names)}
        }
    dataset = open_dataset(data, split=settings.split, default_split="test")
    labeled = [index for index, label in enumerate(dataset.labels) if label >= 0]
    order = balanced_order([int(dataset.labels[index]) for index in labeled], seed=settings.seed)
    images = dataset.subset(labeled[place] for place in order[: settings.limit])
    classification = ClassificationTask(
        DatasetImages(images),
        [int(label) for label in images.labels],
        [name.replace("_", " ") for name in images.classes],
        templates=settings.templates,
        ids=images.names,
    )
    return {"images": {"classification": classification}}


def _scenes(settings: Evaluate, size: int, split: Any) -> dict[str, Task]:
    return scene_tasks(settings.limit, size=max(size, 16), seed=settings.seed, split=split)
