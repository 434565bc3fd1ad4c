"""Classify many images in one or several processes, saving finished results so that a run can resume."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vl_core.data import ImageFault
from vl_core.files import read_json
from vl_core.runs import RunFolder, file_sha256
from vl_core.runs.processes import current_process

from vl_diffusion.classification.calibration import apply_temperature
from vl_diffusion.classification.classifier import DiffusionClassifier
from vl_diffusion.classification.result import Classification
from vl_diffusion.commands.settings.classifier import WITHOUT_EFFECT, ClassifierSettings
from vl_diffusion.commands.settings.model import ModelSettings
from vl_diffusion.models.folders import local_folder
from vl_diffusion.runs.fingerprint import fingerprint
from vl_diffusion.runs.image_collection import ImageCollection, describe
from vl_diffusion.runs.reading import ReadImages, read_images
from vl_diffusion.runs.result_log import ResultIndex, ResultLog


@dataclass(frozen=True, eq=False)
class Task:
    """Images to classify, and the folder for their results."""

    images: ReadImages
    out: Path
    config: dict[str, object]
    strict: bool


@dataclass(frozen=True, eq=False)
class Outcome:
    """Results of a task, and the images that they are of: all but those that cannot be read."""

    images: ReadImages
    result: Classification

    @property
    def names(self) -> list[str]:
        """Names of the images."""
        return [entry.name for entry in self.images.collection.entries]

    @property
    def truths(self) -> list[str | None]:
        """Their classes, where known."""
        return [entry.truth for entry in self.images.collection.entries]


def make_task(
    settings: ClassifierSettings,
    out: Path,
    classifier: DiffusionClassifier,
    collection: ImageCollection,
    images: tuple[str, ...],
    split: str | None,
    without: tuple[str, ...] = (),
) -> Task:
    """Identify the images and the configuration that their results depend on, and check it against the folder."""
    read = read_images(collection, strict=settings.strict)
    config = run_config(settings, classifier, images, split, without=without)
    check_model(settings.model, out, config)
    return Task(read, out, config, settings.strict)


def run_task(task: Task, classifier: DiffusionClassifier) -> Outcome | None:
    """Classify the images that the folder has no results for, and return all results in the order of the images.

    Under ``accelerate launch`` each process classifies a part of the images and writes its own file; the number of
    processes may change between runs. Only the main process returns results. An image that can no longer be read is
    left out, unless the task is strict.

    Exceptions get a note with the number of finished images.
    """
    images = task.images
    processes = current_process()
    if processes.is_main:
        RunFolder(task.out, task.config).close()
    processes.wait()
    finished = ResultIndex(task.out, classifier.classes)
    # No process writes before all have read.
    processes.wait()
    first = {image_id: i for i, image_id in reversed(list(enumerate(images.image_ids)))}
    todo = sorted(i for image_id, i in first.items() if image_id not in finished)
    if len(todo) < len(first) and processes.is_main:
        print(f"{len(first) - len(todo)} of {len(first)} images are finished in {task.out}", file=sys.stderr)
    mine = todo[processes.index :: processes.count]
    waiting = ImageCollection([images.collection.entries[i] for i in mine])
    ids = [images.image_ids[i] for i in mine]
    failed: list[tuple[int, str]] = []

    def leave_out(index: int, error: Exception) -> None:
        failed.append((ids[index], ImageFault.of(waiting.entries[index].name, error).reason))

    try:
        if mine:
            settings: dict[str, Any] = {
                "image_ids": ids,
                "progress": processes.is_main,
                "on_error": None if task.strict else leave_out,
            }
            with ResultLog(task.out / ResultLog.name(processes.index)) as journal:
                for _, result in classifier.stream(waiting, **settings):
                    journal.append(result)
        failed = [one for share in processes.gather(failed) for one in share]
    except (Exception, KeyboardInterrupt) as error:
        finished = ResultIndex(task.out, classifier.classes)
        kept = sum(image_id in finished for image_id in first)
        error.add_note(f"{kept} of {len(first)} images are kept in {task.out}; rerun the command to resume")
        raise
    if not processes.is_main:
        return None
    images = images.without(failed)
    result = ResultIndex(task.out, classifier.classes).collect(images.image_ids)
    result = replace(result, timestep_embedding=classifier.timestep_embedding)
    # Saved results may have another temperature, unless results depend on it.
    if not _temperature_decides(classifier):
        result = apply_temperature(result, classifier.temperature)
    return Outcome(images, result)


def run_config(
    settings: ClassifierSettings,
    classifier: DiffusionClassifier,
    images: Sequence[str],
    split: str | None,
    without: Iterable[str] = (),
) -> dict[str, object]:
    """The configuration that results depend on: a folder has results of one configuration only.

    Files are identified by checksums. Unless prompts are mixed, the temperature is left out, since it only affects the
    probabilities, which are recomputed every time.
    """
    config = asdict(settings)
    if not _temperature_decides(settings):
        config.pop("temperature")
    for irrelevant in (*WITHOUT_EFFECT, "out", "limit", "tree", "strict", *without):
        config.pop(irrelevant, None)
    # Folders of older versions do not have these.
    for name, default in (("trials", 1), ("noise", "independent")):
        if config.get(name) == default:
            del config[name]
    return config | {
        "images": describe(images),
        "split": split,
        "classes": list(classifier.classes),
        "model_sha256": model_sha256(settings),
        # The one that is used, not the choice of it.
        "timestep_embedding": classifier.timestep_embedding,
        "tree_sha256": None if settings.tree is None else file_sha256(settings.tree),
    }


def model_sha256(settings: ModelSettings) -> str | None:
    """Checksum of the files of a model and of its configuration; None on the hub, where they are assumed to stay."""
    folder = local_folder(settings.model)
    config = None if settings.model_config is None else local_folder(settings.model_config)
    return None if folder is None else fingerprint(folder, config)


def check_model(model: str, out: Path, config: dict[str, object]) -> None:
    """Raise a readable error if the model in the same folder has changed since the results were made."""
    path = out / "config.json"
    try:
        old = read_json(path)
        before, sha256 = old["model"], old["model_sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if before == model and sha256 != config["model_sha256"]:
        raise ValueError(
            f"the model in {local_folder(model)} has changed since the results in {out} were made; choose another --out"
        )


def drop_unknown_labels(collection: ImageCollection, classes: Sequence[str]) -> ImageCollection:
    """Remove labels that are not classes, naming them on standard error."""
    known, strangers = collection.judged_by(classes)
    if strangers and current_process().is_main:
        some = ", ".join(strangers[:5]) + (f" and {len(strangers) - 5} more" if len(strangers) > 5 else "")
        # Not how many are left: some of them may be unreadable.
        before, after = (sum(image.truth is not None for image in these.entries) for these in (collection, known))
        over = f"accuracy leaves out their {before - after} images" if after else "no accuracy"
        print(f"folders or labels {some} are none of the classes; {over}", file=sys.stderr)
    return known


def _temperature_decides(chosen: ClassifierSettings | DiffusionClassifier) -> bool:
    """True if predictions depend on the temperature, which they do for mixtures of prompts."""
    return chosen.prompt_combination == "logsumexp"
