"""`vl-diffusion classify`: name what pictures show."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from vl_core.runs import RunFolder, atomic_write

from vl_diffusion.chart import draw_classification
from vl_diffusion.classifier import DiffusionClassifier
from vl_diffusion.fingerprint import fingerprint
from vl_diffusion.images import content_id, to_tensor
from vl_diffusion.journal import Journal
from vl_diffusion.loading import load_denoiser, local_folder
from vl_diffusion.objectives import Objective
from vl_diffusion.pictures import Pictures, describe, gather
from vl_diffusion.result import Classification
from vl_diffusion.search import Exhaustive, Grid, Search, Staged


@dataclass(frozen=True)
class Classify:
    """Name what pictures show, by the error with which a diffusion model predicts the noise added to them.

    Without arguments: 32 held-out pictures of clothes and the small model that ships with the package. An interrupted
    command goes on where it stopped when it is given again.
    """

    images: tyro.conf.Positional[tuple[str, ...]] = ()
    """Image files, image folders, .npz or .parquet files, or names of built-in sets."""

    model: str = "fashion"
    """"fashion" (built in), the folder of a diffusers pipeline or network, or a hub id."""

    classes: tuple[str, ...] | None = None
    """Class names; default: the model's own, else those of the pictures' data set."""

    out: Path = Path("vl-diffusion-classify")
    """Folder for classify.csv, classify.png and the record of what is finished; its own pictures are not classified."""

    limit: int | None = None
    """Classify at most this many pictures, evenly spread over those given."""

    split: str | None = None
    """Split of the data sets that are given; default: all of them."""

    search: Literal["staged", "exhaustive"] = "staged"
    """Give up the worst classes in stages, or show every class every draw."""

    draws: tuple[int, ...] = (8, 24, 72)
    """Draws a class has seen at the end of each stage; exhaustive: one number."""

    keep: tuple[int, ...] = (4, 2, 1)
    """Classes that survive each stage."""

    grid: Grid = "nested"
    """How a stage's draws are placed in time: nested in one another, or the paper's literal grids."""

    objective: Objective = "l2"
    """Squared, absolute or Huber error."""

    prompt_template: str = "a photo of a {}."
    """For text-conditional models: the prompt, with {} for the class name."""

    seed: int = 0
    """Seed of the noise."""

    batch_size: int = 64
    """Evaluations in one call of the network; results do not depend on it."""

    device: str = "auto"
    """"cpu", "cuda", ..., or "auto": a GPU if there is one."""


def run(settings: Classify) -> None:
    """Classify, resuming what `settings.out` already holds, and write the table and the picture.

    All input is checked before the folder is made.

    Raises:
        ValueError: If an argument or a picture is not what it must be.
        OSError: If a file or a model is missing or cannot be read.
        ModuleNotFoundError: If a data set needs an extra that is not installed.
        KeyboardInterrupt: If it is interrupted; the message says how much is kept.
    """
    gathered, classifier = prepare(settings)
    pictures, strangers = gathered.judged_by(classifier.classes)
    image_ids = [content_id(to_tensor(_named(pictures, i))) for i in range(len(pictures))]
    if strangers:
        print(_without_truth(pictures, strangers), file=sys.stderr)
    config = _what_decides(settings, classifier)
    _check_model(settings, config)
    with RunFolder(settings.out, config):
        journal = Journal(settings.out / "results.jsonl", classifier.classes)
        first = {image_id: i for i, image_id in reversed(list(enumerate(image_ids)))}
        todo = [i for image_id, i in first.items() if image_id not in journal]
        if len(todo) < len(first):
            print(f"{len(first) - len(todo)} of {len(first)} pictures are finished in {settings.out}", file=sys.stderr)
        waiting = Pictures([pictures.pictures[i] for i in sorted(todo)])
        try:
            for _, part in classifier.stream(waiting, progress=True):
                journal.append(part)
        except KeyboardInterrupt:
            kept = sum(image_id in journal for image_id in first)
            raise KeyboardInterrupt(
                f"{kept} of {len(first)} pictures are kept in {settings.out}, and the same command goes on from there"
            ) from None
        result = journal.collect(image_ids)
        _write_csv(settings.out / "classify.csv", pictures, result)
        truths = [picture.truth for picture in pictures.pictures]
        draw_classification(settings.out / "classify.png", pictures, result, truths)
    print(_table(pictures, result))
    print(f"wrote {settings.out / 'classify.csv'} and {settings.out / 'classify.png'}")


def prepare(settings: Classify) -> tuple[Pictures, DiffusionClassifier]:
    """Find the pictures and load the model; writes nothing."""
    if settings.limit is not None and settings.limit < 1:
        raise ValueError(f"--limit must be at least 1, got {settings.limit}")
    search, device = _search(settings), _device(settings.device)
    images, split, at_most = _asked_for(settings)
    pictures = gather(images, split=split, at_most=at_most, exclude=settings.out)
    denoiser = load_denoiser(settings.model)
    classes = settings.classes
    if classes is None and denoiser.class_names is None:
        classes = pictures.classes or None
    classifier = DiffusionClassifier(
        denoiser,
        classes,
        search=search,
        objective=settings.objective,
        prompt_template=settings.prompt_template,
        seed=settings.seed,
        batch_size=settings.batch_size,
        device=device,
    )
    return pictures, classifier


def _asked_for(settings: Classify) -> tuple[tuple[str, ...], str | None, int | None]:
    """Where the pictures are, their split, and how many; files of the results' own folder do not count."""
    if not settings.images:
        return ("fashion",), settings.split or "test", settings.limit or 32
    out = settings.out.resolve()
    images = tuple(s for s in settings.images if not (Path(s).is_file() and Path(s).resolve().parent == out))
    if not images:
        raise ValueError(f"no pictures but those in {settings.out}, the folder of the results; choose another --out")
    return images, settings.split, settings.limit


def _search(settings: Classify) -> Search:
    if settings.search == "staged":
        return Staged(settings.draws, settings.keep, settings.grid)
    if not settings.draws:
        raise ValueError("--draws needs the number of draws, got none")
    return Exhaustive(settings.draws[-1])


def _device(name: str) -> str:
    """What "auto" stands for, or the name itself once a number has been there and back."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).item()
    # torch says in many ways that a device is unknown, absent, or without memory ("meta").
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).splitlines()[0].partition(". ")[0]
        raise ValueError(
            f"--device must be auto or a device of this machine, such as cpu, got {name!r} ({reason})"
        ) from error
    return name


def _without_truth(pictures: Pictures, strangers: Sequence[str]) -> str:
    """Why there is no accuracy, or only one over some of the pictures."""
    some = ", ".join(strangers[:5]) + (f" and {len(strangers) - 5} more" if len(strangers) > 5 else "")
    judged = sum(picture.truth is not None for picture in pictures.pictures)
    over = f"accuracy is over the other {judged}" if judged else "no accuracy"
    return f"folders or labels {some} are none of the classes; {over}"


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


def _what_decides(settings: Classify, classifier: DiffusionClassifier) -> dict[str, object]:
    """The pictures, and the settings that a result depends on; a folder holds results of one combination of them."""
    config = asdict(settings)
    # With another limit the table has other rows, but results that are there stay good.
    for irrelevant in ("limit", "out", "batch_size", "device"):
        del config[irrelevant]
    images, split, _ = _asked_for(settings)
    config |= {"images": describe(images), "split": split}
    # A hub id stands for itself: what the hub gives for it is taken to stay the same.
    folder = local_folder(settings.model)
    sha256 = None if folder is None else fingerprint(folder)
    return config | {"classes": list(classifier.classes), "model_sha256": sha256}


def _check_model(settings: Classify, config: dict[str, object]) -> None:
    """Say in words, before the folder says it in checksums, that the model is another one in the same place."""
    path = settings.out / "config.json"
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
        model, sha256 = old["model"], old["model_sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if model == settings.model and sha256 != config["model_sha256"]:
        raise ValueError(
            f"the model in {local_folder(settings.model)} has changed since the results in {settings.out} were made; "
            "choose another --out"
        )


def _write_csv(path: Path, pictures: Pictures, result: Classification) -> None:
    columns = ["image", "true", "predicted", "margin", "margin_standard_error", "probability", "evaluations"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, *(f"error: {name}" for name in result.classes)])
    for i, picture in enumerate(pictures.pictures):
        writer.writerow(
            [
                picture.name,
                picture.truth or "",
                result.labels[i],
                f"{result.margins[i]:.6g}",
                f"{result.margin_standard_errors[i]:.6g}",
                f"{result.probabilities[i, result.predictions[i]]:.6g}",
                result.evaluations[i].sum(),
                *(f"{error:.8g}" for error in result.errors[i]),
            ]
        )
    with atomic_write(path, "wb") as file:
        # A byte of a file name that is no UTF-8 is written as \udc.., so that the file as a whole stays UTF-8.
        file.write(text.getvalue().encode(errors="backslashreplace"))


def _table(pictures: Pictures, result: Classification) -> str:
    """What a person wants to see at once: a line a picture, and the share that is right."""
    names = [picture.name for picture in pictures.pictures]
    truths = [picture.truth for picture in pictures.pictures]
    widths = [max(len("picture"), *map(len, names)), max(len("predicted"), *map(len, result.classes))]
    head = (
        f"{'picture':{widths[0]}}  {'true':{widths[1]}}  {'predicted':{widths[1]}}  {'margin ± s.e.':>19}  evaluations"
    )
    lines = [head, "-" * len(head)]
    for i, (name, truth, label) in enumerate(zip(names, truths, result.labels, strict=True)):
        margin = f"{result.margins[i]:.5f} ± {result.margin_standard_errors[i]:.5f}"
        mark = "" if truth in (None, label) else "  wrong"
        evaluations = result.evaluations[i].sum()
        lines.append(
            f"{name:{widths[0]}}  {truth or '':{widths[1]}}  {label:{widths[1]}}  {margin:>19}  {evaluations:>11}{mark}"
        )
    right = [truth == label for truth, label in zip(truths, result.labels, strict=True) if truth is not None]
    if right:
        lines.append(f"{sum(right)} of {len(right)} right ({100 * np.mean(right):.1f} %)")
    return "\n".join(lines)
