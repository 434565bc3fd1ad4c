"""Classifying many pictures: on one process or several, with what is finished on disk, so that it goes on."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm.auto import tqdm
from vl_core.runs import RunFolder

from vl_diffusion.calibration import with_temperature
from vl_diffusion.classifier import DiffusionClassifier
from vl_diffusion.commands.settings import WITHOUT_EFFECT, ClassifierSettings
from vl_diffusion.fingerprint import file_sha256, fingerprint
from vl_diffusion.images import content_id, to_tensor
from vl_diffusion.journal import Finished, Journal
from vl_diffusion.loading import local_folder
from vl_diffusion.pictures import Pictures, describe
from vl_diffusion.processes import launched
from vl_diffusion.result import Classification


@dataclass(frozen=True, eq=False)
class Task:
    """Pictures, their ids, and the folder that holds their results."""

    pictures: Pictures
    image_ids: list[int]
    out: Path
    config: dict[str, object]


def run_task(task: Task, classifier: DiffusionClassifier) -> Classification | None:
    """Classify what the folder does not hold yet, and return all results in the order of the pictures.

    Under ``accelerate launch`` each process takes its share of the pictures and keeps results of its own; the number of
    processes may change from one start to the next. Only the first process returns results.

    Whatever ends it before that gets a note that says how much is kept.
    """
    processes = launched()
    if processes.is_main:
        RunFolder(task.out, task.config).close()
    processes.wait()
    finished = Finished(task.out, classifier.classes)
    # Nobody writes before all have read.
    processes.wait()
    first = {image_id: i for i, image_id in reversed(list(enumerate(task.image_ids)))}
    todo = sorted(i for image_id, i in first.items() if image_id not in finished)
    if len(todo) < len(first) and processes.is_main:
        print(f"{len(first) - len(todo)} of {len(first)} pictures are finished in {task.out}", file=sys.stderr)
    mine = todo[processes.index :: processes.count]
    waiting = Pictures([task.pictures.pictures[i] for i in mine])
    ids = [task.image_ids[i] for i in mine]
    try:
        if mine:
            with Journal(task.out / Journal.name(processes.index)) as journal:
                for _, result in classifier.stream(waiting, image_ids=ids, progress=processes.is_main):
                    journal.append(result)
        processes.wait()
    except (Exception, KeyboardInterrupt) as error:
        finished = Finished(task.out, classifier.classes)
        kept = sum(image_id in finished for image_id in first)
        error.add_note(
            f"{kept} of {len(first)} pictures are kept in {task.out}, and the same command goes on from there"
        )
        raise
    if not processes.is_main:
        return None
    result = Finished(task.out, classifier.classes).collect(task.image_ids)
    # What is kept may have been made with another temperature, if nothing else depends on it.
    return result if _temperature_decides(classifier) else with_temperature(result, classifier.temperature)


def read_ids(pictures: Pictures) -> list[int]:
    """Decode every picture once, each process its share: what cannot be read is named before anything is computed."""
    processes = launched()
    quiet = not processes.is_main or len(pictures) < 1000
    places = tqdm(range(processes.index, len(pictures), processes.count), desc="read", unit="image", disable=quiet)
    shares = processes.gather([content_id(to_tensor(_named(pictures, i))) for i in places])
    return [shares[i % processes.count][i // processes.count] for i in range(len(pictures))]


def what_decides(
    settings: ClassifierSettings,
    classes: Sequence[str],
    images: Sequence[str],
    split: str | None,
    without: Iterable[str] = (),
) -> dict[str, object]:
    """The pictures, and the settings that a result depends on; a folder holds results of one combination of them.

    Files count by what is in them. Where no prompts are mixed, the temperature only decides the probabilities, which
    are made anew every time.
    """
    config = asdict(settings)
    if not _temperature_decides(settings):
        config.pop("temperature")
    for irrelevant in (*WITHOUT_EFFECT, "out", "limit", "tree", *without):
        config.pop(irrelevant, None)
    # A hub id stands for itself: what the hub gives for it is taken to stay the same.
    folder = local_folder(settings.model)
    sha256 = None if folder is None else fingerprint(folder)
    return config | {
        "images": describe(images),
        "split": split,
        "classes": list(classes),
        "model_sha256": sha256,
        "tree_sha256": None if settings.tree is None else file_sha256(settings.tree),
    }


def check_model(model: str, out: Path, config: dict[str, object]) -> None:
    """Say in words, before the folder says it in checksums, that the model is another one in the same place."""
    path = out / "config.json"
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
        before, sha256 = old["model"], old["model_sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if before == model and sha256 != config["model_sha256"]:
        raise ValueError(
            f"the model in {local_folder(model)} has changed since the results in {out} were made; choose another --out"
        )


def judged(pictures: Pictures, classes: Sequence[str]) -> Pictures:
    """The pictures without truths that are none of the classes, which a line on standard error names."""
    known, strangers = pictures.judged_by(classes)
    if strangers and launched().is_main:
        some = ", ".join(strangers[:5]) + (f" and {len(strangers) - 5} more" if len(strangers) > 5 else "")
        count = sum(picture.truth is not None for picture in known.pictures)
        over = f"accuracy is over the other {count}" if count else "no accuracy"
        print(f"folders or labels {some} are none of the classes; {over}", file=sys.stderr)
    return known


def _temperature_decides(chosen: ClassifierSettings | DiffusionClassifier) -> bool:
    """Whether more than the probabilities depends on the temperature: how prompts of a class are mixed does."""
    return chosen.prompt_combination == "logsumexp"


def _named(pictures: Pictures, index: int) -> object:
    """The decoded picture; an error that does not say which picture it is about gets its name."""
    name = pictures.pictures[index].name
    try:
        image = pictures[index]
        to_tensor(image)
    except ValueError as error:
        if name in str(error):
            raise
        raise ValueError(f"{name}: {error}") from error
    return image
