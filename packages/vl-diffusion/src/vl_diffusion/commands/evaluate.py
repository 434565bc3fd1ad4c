"""`vl-diffusion evaluate`: how well a model names labeled images, what it costs, and how far its word goes."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from vl_core.results import wilson_interval
from vl_core.runs import atomic_write

from vl_diffusion.charts.evaluation import draw_evaluation
from vl_diffusion.classification.calibration import expected_calibration_error, negative_log_likelihood
from vl_diffusion.classification.classifier import DiffusionClassifier
from vl_diffusion.classification.result import Classification
from vl_diffusion.commands.classify import make_task
from vl_diffusion.commands.running import Task, drop_unknown_labels, run_task
from vl_diffusion.commands.settings import ClassifierSettings, build_classifier
from vl_diffusion.runs.image_collection import ImageCollection, gather
from vl_diffusion.runs.processes import current_process
from vl_diffusion.runs.tables import write_csv, write_parquet, write_rows


@dataclass(frozen=True, kw_only=True)
class Evaluate(ClassifierSettings):
    """Name labeled images and say how often that is right, what it costs, and whether probabilities can be believed.

    Without arguments: 100 held-out images of clothes. An interrupted command goes on where it stopped when it is
    given again; under `accelerate launch` processes share the images.
    """

    images: tyro.conf.Positional[tuple[str, ...]] = ()
    """Image folders with a folder a class, .npz or .parquet files, or names of built-in sets."""

    out: Path = Path("vl-diffusion-evaluate")
    """Folder for evaluate.csv (the figures), predictions.csv, results.parquet, report.png and what is finished."""

    limit: int | None = None
    """Evaluate at most this many images, spread over those given and their classes; a larger limit keeps them."""

    split: str | None = None
    """Split of the data sets that are given; default: test, where they are divided into splits."""

    bins: int = 15
    """Bins of the calibration error."""


@dataclass(frozen=True)
class Figures:
    """What an evaluation says in numbers; a row of evaluate.csv."""

    images: int
    """Labeled images."""

    accuracy: float
    """Share named right."""

    accuracy_low: float
    """Lower end of its 95 % interval, Wilson's."""

    accuracy_high: float
    """Upper end."""

    mean_per_class_accuracy: float
    """Mean of the classes' own accuracies, over classes that have images."""

    evaluations_per_image: float
    """Calls of the network, a row of the batch each."""

    expected_calibration_error: float
    """Mean distance of confidence from accuracy over bins of equal width."""

    negative_log_likelihood: float
    """Mean over the true classes, in nats, a class that was never evaluated counting as 1e-6."""

    temperature: float
    """What the probabilities were made with."""


def run(settings: Evaluate) -> None:
    """Evaluate, resuming what `settings.out` already holds, and write the figures and the report.

    Raises:
        ValueError: If an argument or an image is not what it must be, or no image has a label.
        OSError: If a file or a model is missing or cannot be read.
        ModuleNotFoundError: If a data set needs an extra that is not installed.
        KeyboardInterrupt: If it is interrupted; a note says how much is kept.
    """
    classifier, collection, task = prepare(settings, default_split="test")
    result = run_task(task, classifier)
    if result is None:
        return
    labels = labels_of(collection, classifier.classes)
    figures = measure(result, labels, temperature=settings.temperature, bins=settings.bins)
    names, truths = [p.name for p in collection.entries], [p.truth for p in collection.entries]
    write_rows(settings.out / "evaluate.csv", [figures])
    write_csv(settings.out / "predictions.csv", names, truths, result)
    write_parquet(settings.out / "results.parquet", names, truths, result)
    draw_evaluation(settings.out / "report.png", result, labels, figures, bins=settings.bins)
    shares = (figures.accuracy, figures.accuracy_low, figures.accuracy_high, figures.mean_per_class_accuracy)
    right, low, high, per_class = (f"{100 * share:.2f}" for share in shares)
    print(f"{right} % of {figures.images} images right (95 %: {low} to {high} %), mean per class {per_class} %")
    print(
        f"{figures.evaluations_per_image:.1f} evaluations an image; at temperature {figures.temperature:g} the "
        f"calibration error is {100 * figures.expected_calibration_error:.1f} %, the negative log-likelihood "
        f"{figures.negative_log_likelihood:.3f}"
    )
    print(f"wrote evaluate.csv, predictions.csv, results.parquet and report.png to {settings.out}")


def measure(result: Classification, labels: np.ndarray, *, temperature: float, bins: int = 15) -> Figures:
    """The figures of a classification with known labels, int64 ``(B,)``."""
    right = result.predictions == labels
    low, high = wilson_interval(int(right.sum()), len(right))
    return Figures(
        images=len(labels),
        accuracy=float(right.mean()),
        accuracy_low=low,
        accuracy_high=high,
        mean_per_class_accuracy=float(np.mean([right[labels == k].mean() for k in np.unique(labels)])),
        evaluations_per_image=float(result.total_evaluations.mean()),
        expected_calibration_error=expected_calibration_error(result.probabilities, labels, bins=bins),
        negative_log_likelihood=negative_log_likelihood(result, labels),
        temperature=temperature,
    )


def prepare(settings: Evaluate, *, default_split: str) -> tuple[DiffusionClassifier, ImageCollection, Task]:
    """The classifier, the labeled images, and what is to be done with them."""
    if settings.limit is not None and settings.limit < 1:
        raise ValueError(f"--limit must be at least 1, got {settings.limit}")
    if settings.bins < 1:
        raise ValueError(f"--bins must be at least 1, got {settings.bins}")
    images = settings.images or ("fashion",)
    limit = settings.limit or (None if settings.images else 100)
    given = gather(images, split=settings.split, default_split=default_split, at_most=limit, exclude=settings.out)
    given = labeled(given)
    classifier = build_classifier(settings, given.classes)
    collection = with_truth(drop_unknown_labels(given, classifier.classes))
    split = settings.split or default_split
    return classifier, collection, make_task(settings, settings.out, classifier, collection, images, split, ("bins",))


def labeled(collection: ImageCollection) -> ImageCollection:
    """Those that come with a label; a line on standard error counts the others.

    Raises:
        ValueError: If there is none.
    """
    known = with_truth(collection)
    if len(known) < len(collection) and current_process().is_main:
        left_out = len(collection) - len(known)
        print(f"{left_out} of {len(collection)} images have no label and are left out", file=sys.stderr)
    return known


def with_truth(collection: ImageCollection) -> ImageCollection:
    """Those whose class is known.

    Raises:
        ValueError: If there is none.
    """
    known = [image for image in collection.entries if image.truth is not None]
    if not known:
        raise ValueError("no image has a label that is one of the classes; give folders named like the classes")
    return ImageCollection(known)


def labels_of(collection: ImageCollection, classes: tuple[str, ...]) -> np.ndarray:
    """Index of each image's class, int64 ``(B,)``."""
    return np.array([classes.index(image.truth or "") for image in collection.entries], np.int64)


def write_json(path: Path, content: object) -> None:
    """Write an object as JSON, whole or not at all."""
    with atomic_write(path, "w") as file:
        file.write(json.dumps(content, indent=2) + "\n")
