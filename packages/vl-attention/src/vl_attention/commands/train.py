"""`vl-attention train`: compare attention transfer with fine-tuning and training from scratch."""

from __future__ import annotations

import sys
from dataclasses import asdict
from math import isnan
from pathlib import Path

import numpy as np
from torch import nn
from vl_core.cli import note_on_interruption
from vl_core.data import ImageDataset, UndividedError, balanced_order, open_dataset
from vl_core.runs import RunFolder
from vl_core.runs.processes import current_process
from vl_core.tables import text_table, write_rows

from vl_attention.analysis.maps import class_attention
from vl_attention.analysis.similarity import map_similarity
from vl_attention.charts.maps import draw_attention
from vl_attention.charts.similarity import draw_layer_similarity
from vl_attention.charts.transfer import draw_transfer
from vl_attention.classifiers.saved_models import load_classifier, load_model
from vl_attention.commands._images import at_most, describe, labeled, open_images, tensors
from vl_attention.commands._models import check_takes, fingerprint, input_size
from vl_attention.commands._options import RESUME
from vl_attention.commands.settings.train import UNDIVIDED, Train
from vl_attention.comparison.compare import compare, run_folder
from vl_attention.comparison.methods import ENSEMBLE
from vl_attention.comparison.summary import Interval, Summary, summarize
from vl_attention.models.layout import ViTLayout
from vl_attention.models.normalization import Normalization

# Methods with attention maps of their own, in the order in which they are drawn after the teacher.
_SHOWN = ("fine-tune", "distill", "distill_q", "distill_k", "distill_v", "output", "relations", "scratch")
# Options that do not change the rows. Images and the teacher are identified by content, not by name.
_NOT_KEPT = (
    *("out", "seeds", "methods", "map_layer", "workers", "compile"),
    *("images", "test_images", "teacher"),
)
_DRAWN = 6  # images
_COMPARED = 200  # images whose maps are compared


def run(settings: Train) -> None:
    """Run what `settings.out` does not contain yet, and write the table and the charts.

    Raises:
        ValueError: If an argument, an image or a model is invalid, or the folder holds rows of other settings.
        OSError: If a file or a model is missing or cannot be read.
    """
    settings.check()
    methods = settings.chosen_methods()
    train_set, test_set = _images(settings)
    teacher = load_model(settings.teacher)
    labels = _labels(settings.labels, train_set)
    size, channels = input_size(teacher), len(Normalization.of(teacher).mean)
    check_takes(settings.teacher, teacher, size, channels)
    depth = ViTLayout.of(teacher).depth
    if not -depth <= settings.map_layer < depth:
        raise ValueError(f"--map-layer must be from {-depth} to {depth - 1}, got {settings.map_layer}")
    for method in methods:
        # Find what does not fit together before anything is trained.
        method.build(teacher, len(train_set.classes), seed=0)
    if current_process().is_main:
        _open_folder(settings, labels, train_set, test_set)
        _report_conversion(train_set, size, channels)
    with note_on_interruption(RESUME):
        rows = compare(
            teacher,
            train_set,
            test_set,
            methods,
            settings.out,
            labels=labels,
            seeds=list(dict.fromkeys(settings.seeds)),
            size=size,
            channels=channels,
        )
    if not current_process().is_main:
        return
    summaries = summarize(rows, settings.out)
    print(_table(summaries))
    title = f"{Path(train_set.name).name}, {int(rows[0]['labels']):,} labels, {len(test_set):,} test images"
    draw_transfer(settings.out / "transfer.png", summaries, rows, title=title)
    written = ["transfer.csv", "transfer.png", *_draw_maps(settings, teacher, test_set, size, channels)]
    print(f"wrote {', '.join(written)} and the trained models to {settings.out}")


def _images(settings: Train) -> tuple[ImageDataset, ImageDataset]:
    """Training and test set, with the same classes."""
    source = settings.test_images or settings.images
    train_set = _open(settings, settings.images, "train")
    test_set = _open(settings, source, "test")
    if describe(settings.images, train_set) == describe(source, test_set):
        raise ValueError(f"--test-images must differ from the training images, got all of {source} for both")
    test_set = at_most(labeled(test_set), settings.limit)
    known = {train_set.classes[label] for label in train_set.labels.tolist() if label >= 0}
    if len(known) < 2 or train_set.classes != test_set.classes:
        raise ValueError(
            f"training and test images must have the same classes, at least two; got {sorted(known)} and "
            f"{list(test_set.classes)}; put each class into a folder of its name"
        )
    return train_set, test_set


def _open(settings: Train, spec: str, split: str) -> ImageDataset:
    """A split of a data set, or all of a set without splits if --test-images is given."""
    if settings.test_images is not None:
        return open_images(spec, None, default_split=split, out=settings.out)
    try:
        return open_dataset(spec, split=split, exclude=settings.out)
    except UndividedError as error:
        open_images(spec, None, out=settings.out)  # raises if there is no image at all
        raise ValueError(UNDIVIDED.format(spec)) from error


def _labels(requested: int, dataset: ImageDataset) -> int | None:
    """Number of labels, a multiple of the number of classes; None for all.

    Raises:
        ValueError: If a class has too few images.
    """
    if not requested:
        return None
    counts = np.bincount(dataset.labels[dataset.labels >= 0], minlength=len(dataset.classes))
    fewest = min(np.flatnonzero(counts).tolist(), key=lambda label: int(counts[label]))
    num_classes = int((counts > 0).sum())
    each, rest = divmod(requested, num_classes)
    if not each:
        raise ValueError(
            f"--labels must be at least {num_classes}, one per class, or 0 for all images; got {requested}"
        )
    if counts[fewest] < each:
        raise ValueError(
            f"--labels {requested} needs {each} images of each class, and {dataset.classes[fewest]!r} has "
            f"{counts[fewest]} training images; --labels {num_classes * counts[fewest]} is the maximum, and "
            "--labels 0 takes all images"
        )
    if rest and current_process().is_main:
        print(
            f"--labels {requested} is not a multiple of {num_classes} classes; {requested - rest} are kept",
            file=sys.stderr,
        )
    return requested - rest


def _report_conversion(dataset: ImageDataset, size: tuple[int, int], channels: int) -> None:
    """Report on standard error if images do not have the size and channels that the teacher takes."""
    first = dataset[0][0]
    found, wanted = (*first.size, 1 if first.mode == "L" else 3), (size[1], size[0], channels)
    if found != wanted:
        own, theirs = (f"{w}x{h} pixels in {'gray' if c == 1 else 'color'}" for w, h, c in (found, wanted))
        print(f"images are converted to {theirs} for the teacher; the first has {own}", file=sys.stderr)


def _open_folder(settings: Train, labels: int | None, train_set: ImageDataset, test_set: ImageDataset) -> None:
    """Create the folder, or check that it holds a comparison with the same images, teacher and settings."""
    config = {name: value for name, value in asdict(settings).items() if name not in _NOT_KEPT}
    config |= {"layers": settings.chosen_layers(), "labels": labels, "teacher_sha256": fingerprint(settings.teacher)}
    config["images"] = describe(settings.images, train_set)
    config["test_images"] = describe(settings.test_images or settings.images, test_set)
    RunFolder(settings.out, config).close()


def _draw_maps(
    settings: Train, teacher: nn.Module, test_set: ImageDataset, size: tuple[int, int], channels: int
) -> list[str]:
    """Draw the maps of the teacher and of the trained models with maps of their own, and measure their similarity."""
    seed = settings.seeds[0]
    models: dict[str, nn.Module] = {"teacher": teacher}
    for name in _SHOWN:
        folder = run_folder(settings.out, name, seed) / "model"
        if folder.exists():
            models[name] = load_classifier(folder).student
    if len(models) < 2:
        return []
    order = balanced_order(test_set.labels.tolist())
    first = order[: min(_DRAWN, len(test_set.classes))]
    images, _ = tensors(test_set.subset(first), size, channels)
    maps = {name: class_attention(model, images, settings.map_layer) for name, model in models.items()}
    names = [test_set.classes[int(test_set.labels[index])] for index in first]
    draw_attention(settings.out / "maps.png", images, maps, labels=names)
    others = [("teacher", name) for name in models if name != "teacher"]
    compared, _ = tensors(test_set.subset(order[:_COMPARED]), size, channels)
    similarity = map_similarity(models, compared, pairs=others)
    write_rows(settings.out / "similarity.csv", [asdict(row) for row in similarity])
    draw_layer_similarity(settings.out / "similarity.png", similarity)
    return ["maps.png", "similarity.csv", "similarity.png"]


def _table(summaries: list[Summary]) -> str:
    rows = []
    for summary in summaries:
        rows.append(
            [
                summary.method,
                str(len(summary.seeds)),
                _interval(summary.accuracy),
                "" if summary.gain is None else _interval(summary.gain, sign="+"),
                "" if summary.share_of_gap is None else f"{100 * summary.share_of_gap:.0f} %",
                # The ensemble needs no training.
                "" if summary.method == ENSEMBLE else f"{summary.seconds:.0f}",
                "" if summary.method == ENSEMBLE else f"{summary.peak_mb:.0f}",
            ]
        )
    return text_table(["method", "seeds", "accuracy, %", "over scratch", "of the gap", "seconds", "MB"], rows)


def _interval(interval: Interval, sign: str = "") -> str:
    mean = f"{100 * interval.mean:{sign}.1f}"
    if isnan(interval.low):
        return mean
    return f"{mean} ({100 * interval.low:{sign}.1f} to {100 * interval.high:{sign}.1f})"
