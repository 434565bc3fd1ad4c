"""`vl-attention train`: what a teacher's attention is worth, beside fine-tuning it and doing without it."""

from __future__ import annotations

import re
import sys
from dataclasses import asdict, dataclass
from math import isnan
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from torch import nn
from vl_core.cli import note_on_interruption
from vl_core.data import ImageDataset, UndividedError, open_dataset
from vl_core.runs import RunFolder
from vl_core.runs.processes import current_process
from vl_core.tables import text_table, write_rows

from vl_attention.analysis.maps import class_attention
from vl_attention.analysis.similarity import map_similarity
from vl_attention.attention.pairing import Layers
from vl_attention.charts.maps import draw_attention
from vl_attention.charts.similarity import draw_layer_similarity
from vl_attention.charts.transfer import draw_transfer
from vl_attention.classifiers.saved_models import load_classifier, load_model
from vl_attention.commands._images import at_most, balanced_order, describe, labeled, open_images, tensors
from vl_attention.commands._models import check_takes, fingerprint, input_size
from vl_attention.commands._options import RESUME, check_above_zero, check_at_least, check_update
from vl_attention.comparison.compare import compare, run_folder
from vl_attention.comparison.methods import ENSEMBLE, Method, method_of
from vl_attention.comparison.summary import Interval, Summary, summarize
from vl_attention.models.layout import ViTLayout
from vl_attention.models.normalization import Normalization

# Whose maps are their own, in the order in which they are shown beside the teacher's.
_SHOWN = ("fine-tune", "distill", "output", "relations", "scratch")
# What may be said instead of the recipe.
_OVERRIDES = (
    *("epochs", "warmup_epochs", "batch_size", "accumulation"),
    *("base_learning_rate", "min_learning_rate", "transfer_weight", "precision"),
)
# What makes no other rows. Images and the teacher are kept by what they are, and not by how they were named.
_NOT_KEPT = (
    *("out", "seeds", "methods", "map_layer", "workers", "compile"),
    *("images", "test_images", "teacher"),
)
_DRAWN = 6  # images
_COMPARED = 200  # images whose maps are compared


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train students from a teacher's attention, beside a fine-tuned teacher and a student without one.

    Without arguments: a small teacher that ships with the package and a few labels of images of clothes, some twelve
    minutes on two cores. An interrupted command goes on where it stopped; with more methods or seeds a finished one
    goes on, too. Start it with `accelerate launch -m vl_attention train` for several GPUs.
    """

    images: tyro.conf.Positional[str] = "fashion"
    """An image folder with train/ and test/, and in both of them a folder a class; a folder with nothing but a folder a
    class, which then needs --test-images; an .npz or .parquet file with splits, or the name of a built-in set."""

    test_images: str | None = None
    """The images that accuracy is measured on, of the same classes: the test split of this set, or all of it where it
    has no splits; default: the test split of the same set as above."""

    teacher: str = "fashion_teacher"
    """A model that is built in, a folder of timm's, such as `vl-attention pretrain` writes, or a hub id."""

    recipe: Literal["small_images", "vit_base", "vit_large"] = "small_images"
    """Settings of training, those that are not given below."""

    labels: int = 2000
    """How many images keep their label, over all classes and as many of each, so that a remainder is left out; 0 for
    all images as they are."""

    seeds: tuple[int, ...] = (0,)
    """Of the labels, the weights and the order of images."""

    methods: tuple[str, ...] = ("scratch", "copy", "distill", "fine-tune")
    """Any of scratch, copy, distill, fine-tune, copy_q, copy_k, copy_v, output and relations; with distill and
    fine-tune comes their ensemble."""

    layers: str | None = None
    """Which layers are transferred: "all", "first:18", "first:75%", "last:6", "0,3,5"; default: the recipe's."""

    transfer_weight: float | None = None
    """What the transfer's loss, a sum over layers, is multiplied by; default: the recipe's, or the method's."""

    limit: int | None = None
    """At most this many test images, all classes in proportion."""

    epochs: int | None = None
    """How often each labeled image is seen; default: the recipe's."""

    warmup_epochs: float | None = None
    """Epochs over which the learning rate rises; default: the recipe's share of the epochs."""

    batch_size: int | None = None
    """Images an update, over all processes and accumulated passes."""

    accumulation: int | None = None
    """In how many passes a process computes its share of an update."""

    base_learning_rate: float | None = None
    """For 256 images an update."""

    min_learning_rate: float | None = None
    """Where the rate ends; default: the recipe's, which may be too much for small updates."""

    precision: Literal["float32", "bfloat16"] | None = None
    """bfloat16: autocast."""

    compile: bool = False
    """Compile the blocks: a minute at the start of each run, faster afterwards."""

    workers: int = 0
    """Processes that prepare images, for each process that trains."""

    map_layer: int = -1
    """Whose maps are drawn; negative numbers count from the last."""

    out: Path = Path("vl-attention-train")
    """Folder for transfer.csv, transfer.png, maps.png, similarity.csv and similarity.png, and runs/ with the models."""


def run(settings: Train) -> None:
    """Run what `settings.out` does not hold yet, and write the table and the images.

    Raises:
        ValueError: If an argument, an image or a model is not what it must be, or the folder's rows are of others.
        OSError: If a file or a model is missing or cannot be read.
    """
    _check_options(settings)
    layers = _layers(settings.layers)
    methods = [_method(settings, name, layers) for name in dict.fromkeys(settings.methods)]
    for method in methods:
        check_update(method.settings)
    train_set, test_set = _images(settings)
    teacher = load_model(settings.teacher)
    labels = _labels(settings.labels, train_set)
    size, channels = input_size(teacher), len(Normalization.of(teacher).mean)
    check_takes(settings.teacher, teacher, size, channels)
    depth = ViTLayout.of(teacher).depth
    if not -depth <= settings.map_layer < depth:
        raise ValueError(f"--map-layer must be from {-depth} to {depth - 1}, got {settings.map_layer}")
    for method in methods:
        # What does not fit together is found out before anything is trained.
        method.build(teacher, len(train_set.classes), seed=0)
    if current_process().is_main:
        _open_folder(settings, layers, labels, train_set, test_set)
        _tell_of_conversion(train_set, size, channels)
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
    title = f"{Path(train_set.name).name}, {rows[0]['labels']} labels, {len(test_set)} test images"
    draw_transfer(settings.out / "transfer.png", summaries, rows, title=title)
    written = ["transfer.csv", "transfer.png", *_draw_maps(settings, teacher, test_set, size, channels)]
    print(f"wrote {', '.join(written)} and the trained models to {settings.out}")


def _check_options(settings: Train) -> None:
    """Numbers that are wrong whatever the recipe; a folder keeps them, so they must be found out before."""
    if not settings.methods or not settings.seeds:
        raise ValueError("--methods and --seeds must name at least one each; leave them out for the defaults")
    check_at_least("--labels", settings.labels, 0)
    check_at_least("--limit", settings.limit, 1)
    check_at_least("--epochs", settings.epochs, 1)
    check_at_least("--warmup-epochs", settings.warmup_epochs, 0)
    check_at_least("--batch-size", settings.batch_size, 1)
    check_at_least("--accumulation", settings.accumulation, 1)
    check_above_zero("--base-learning-rate", settings.base_learning_rate)
    check_at_least("--min-learning-rate", settings.min_learning_rate, 0)
    check_at_least("--transfer-weight", settings.transfer_weight, 0)
    check_at_least("--workers", settings.workers, 0)


def _method(settings: Train, name: str, layers: Layers | None) -> Method:
    changes: dict[str, Any] = {"workers": settings.workers, "compile": settings.compile}
    for field in _OVERRIDES:
        if (value := getattr(settings, field)) is not None:
            changes[field] = value
    if settings.epochs is not None and settings.warmup_epochs is None:
        own = method_of(settings.recipe, name).settings
        changes["warmup_epochs"] = settings.epochs * own.warmup_epochs / own.epochs
    return method_of(settings.recipe, name, layers=layers, **changes)


def _layers(text: str | None) -> Layers | None:
    """What `pair_layers` takes.

    Raises:
        ValueError: If it is neither a list of numbers nor one of the names.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if all(re.fullmatch(r"-?[0-9]+", part) for part in parts):
        return [int(part) for part in parts]
    if not re.fullmatch(r"all|spread|(first|last):[0-9]+%?", text.strip()):
        raise ValueError(
            "--layers must be all, first:K or last:K, where K is a number or a share such as 75%, or numbers such as "
            f"0,3,5; got {text!r}"
        )
    return text.strip()


def _images(settings: Train) -> tuple[ImageDataset, ImageDataset]:
    """Training and test set, of the same classes."""
    source = settings.test_images or settings.images
    train_set = _open(settings, settings.images, "train")
    test_set = _open(settings, source, "test")
    if describe(settings.images, train_set) == describe(source, test_set):
        raise ValueError(f"--test-images must be other images than those to train on, got all of {source} for both")
    test_set = at_most(labeled(test_set), settings.limit)
    known = {train_set.classes[label] for label in train_set.labels.tolist() if label >= 0}
    if len(known) < 2 or train_set.classes != test_set.classes:
        raise ValueError(
            f"training and test images must have the same classes, at least two; got {sorted(known)} and "
            f"{list(test_set.classes)}; put each class into a folder of its name"
        )
    return train_set, test_set


def _open(settings: Train, spec: str, split: str) -> ImageDataset:
    """A split of a set, or all of a set that has none, where test images are named apart."""
    if settings.test_images is not None:
        return open_images(spec, None, default_split=split, out=settings.out)
    try:
        return open_dataset(spec, split=split, exclude=settings.out)
    except UndividedError as error:
        open_images(spec, None, out=settings.out)  # which says so where there is no image at all
        raise ValueError(
            f"{spec} is not divided into training and test images; move its folders of classes into train/ and "
            "test/, or say with --test-images where test images are"
        ) from error


def _labels(asked: int, dataset: ImageDataset) -> int | None:
    """How many labels are kept, a multiple of the number of classes; None for all.

    Raises:
        ValueError: If a class has too few images.
    """
    if not asked:
        return None
    counts = np.bincount(dataset.labels[dataset.labels >= 0], minlength=len(dataset.classes))
    fewest = min(np.flatnonzero(counts).tolist(), key=lambda label: int(counts[label]))
    classes = int((counts > 0).sum())
    each, rest = divmod(asked, classes)
    if not each:
        raise ValueError(
            f"--labels must be at least {classes}, one a class, or 0 for all images as they are; got {asked}"
        )
    if counts[fewest] < each:
        raise ValueError(
            f"--labels {asked} needs {each} images of each class, and {dataset.classes[fewest]!r} has "
            f"{counts[fewest]} to train on; --labels {classes * counts[fewest]} is the most that can be had, and "
            "--labels 0 takes all images as they are"
        )
    if rest and current_process().is_main:
        print(f"--labels {asked} is no multiple of {classes} classes; {asked - rest} are kept", file=sys.stderr)
    return asked - rest


def _tell_of_conversion(dataset: ImageDataset, size: tuple[int, int], channels: int) -> None:
    """A line on standard error, if images are not of the size and the colors that the teacher takes."""
    first = dataset[0][0]
    found, wanted = (*first.size, 1 if first.mode == "L" else 3), (size[1], size[0], channels)
    if found != wanted:
        own, theirs = (f"{w}x{h} pixels in {'gray' if c == 1 else 'color'}" for w, h, c in (found, wanted))
        print(f"images are brought to {theirs}, which the teacher takes; the first has {own}", file=sys.stderr)


def _open_folder(
    settings: Train, layers: Layers | None, labels: int | None, train_set: ImageDataset, test_set: ImageDataset
) -> None:
    """Make the folder, or check that it holds a comparison of the same images, teacher and settings."""
    config = {name: value for name, value in asdict(settings).items() if name not in _NOT_KEPT}
    config |= {"layers": layers, "labels": labels, "teacher_sha256": fingerprint(settings.teacher)}
    config["images"] = describe(settings.images, train_set)
    config["test_images"] = describe(settings.test_images or settings.images, test_set)
    RunFolder(settings.out, config).close()


def _draw_maps(
    settings: Train, teacher: nn.Module, test_set: ImageDataset, size: tuple[int, int], channels: int
) -> list[str]:
    """Maps of the teacher and of what has maps of its own, side by side, and how far they are apart."""
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
                # The ensemble trains nothing.
                "" if summary.method == ENSEMBLE else f"{summary.seconds:.0f}",
                "" if summary.method == ENSEMBLE else f"{summary.peak_mb:.0f}",
            ]
        )
    return text_table(["method", "seeds", "right, %", "over scratch", "of the gap", "seconds", "MB"], rows)


def _interval(interval: Interval, sign: str = "") -> str:
    mean = f"{100 * interval.mean:{sign}.1f}"
    if isnan(interval.low):
        return mean
    return f"{mean} ({100 * interval.low:{sign}.1f} to {100 * interval.high:{sign}.1f})"
