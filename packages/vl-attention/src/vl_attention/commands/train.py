"""`vl-attention train`: what a teacher's attention is worth, beside fine-tuning it and doing without it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import isnan
from pathlib import Path
from typing import Any, Literal

import tyro
from torch import nn
from vl_core.data import ImageDataset, open_dataset
from vl_core.runs import RunFolder

from vl_attention.charts.maps import draw_attention
from vl_attention.charts.similarity import draw_layer_similarity
from vl_attention.charts.transfer import draw_transfer
from vl_attention.commands._models import fingerprint, input_size
from vl_attention.commands._options import check_at_least
from vl_attention.commands._pictures import at_most, balanced_order, labelled, tensors
from vl_attention.commands._tables import text_table, write_rows
from vl_attention.comparison.methods import Method, method_of
from vl_attention.comparison.record import compare, run_folder
from vl_attention.comparison.summary import Interval, Summary, summarize
from vl_attention.maps import class_attention
from vl_attention.normalization import Normalization
from vl_attention.pairing import Layers
from vl_attention.saved_models import load_classifier, load_model
from vl_attention.similarity import map_similarity
from vl_attention.training.processes import is_main_process

# Whose maps are their own, in the order in which they are shown beside the teacher's.
_SHOWN = ("fine-tune", "distill", "output", "relations", "scratch")
_DRAWN = 6  # pictures
_COMPARED = 200  # pictures whose maps are compared


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train students from a teacher's attention, beside a fine-tuned teacher and a student without one.

    Without arguments: a small teacher that ships with the package and a few labels of pictures of clothes, some minutes
    on two cores. An interrupted command goes on where it stopped; with more methods or seeds a finished one goes on,
    too. Start it with `accelerate launch -m vl_attention train` for several GPUs.
    """

    images: tyro.conf.Positional[str] = "fashion"
    """An image folder with a folder a class, an .npz or .parquet file, or the name of a built-in set."""

    test_images: str | None = None
    """The pictures that accuracy is measured on; default: the test split of the same set."""

    teacher: str = "fashion_teacher"
    """A model that is built in, a folder of timm's, such as `vl-attention pretrain` writes, or a hub id."""

    recipe: Literal["small_pictures", "vit_base", "vit_large"] = "small_pictures"
    """Settings of training, those that are not given below."""

    labels: int = 2000
    """How many pictures keep their label, over all classes and as many of each; 0 for all pictures as they are."""

    seeds: tuple[int, ...] = (0,)
    """Of the labels, the weights and the order of pictures."""

    methods: tuple[str, ...] = ("scratch", "copy", "distill", "fine-tune")
    """Any of scratch, copy, distill, fine-tune, copy_q, copy_k, copy_v, output and relations; with distill and
    fine-tune comes their ensemble."""

    layers: str | None = None
    """Which layers are transferred: "all", "first:18", "first:75%", "last:6", "0,3,5"; default: the recipe's."""

    limit: int | None = None
    """At most this many test pictures, all classes in proportion."""

    epochs: int | None = None
    """How often each labelled picture is seen; default: the recipe's."""

    warmup_epochs: float | None = None
    """Epochs over which the learning rate rises; default: the recipe's share of the epochs."""

    batch_size: int | None = None
    """Pictures an update, over all processes and accumulated passes."""

    accumulation: int | None = None
    """In how many passes a process computes its share of an update."""

    base_learning_rate: float | None = None
    """For 256 pictures an update."""

    precision: Literal["float32", "bfloat16"] | None = None
    """bfloat16: autocast."""

    compile: bool = False
    """Compile the blocks: a minute at the start of each run, faster afterwards."""

    workers: int = 0
    """Processes that prepare pictures, for each process that trains."""

    map_layer: int = -1
    """Whose maps are drawn; negative numbers count from the last."""

    out: Path = Path("vl-attention-train")
    """Folder for transfer.csv, transfer.png, maps.png, similarity.csv and similarity.png, and runs/ with the models."""


def run(settings: Train) -> None:
    """Run what `settings.out` does not hold yet, and write the table and the pictures.

    Raises:
        ValueError: If an argument, a picture or a model is not what it must be.
        OSError: If a file or a model is missing or cannot be read.
    """
    methods = [_method(settings, name) for name in dict.fromkeys(settings.methods)]
    if not methods or not settings.seeds:
        raise ValueError("--methods and --seeds must name at least one each; leave them out for the defaults")
    train_set, test_set = _pictures(settings)
    teacher = load_model(settings.teacher)
    size, channels = input_size(teacher), len(Normalization.of(teacher).mean)
    for method in methods:
        # What does not fit together is found out before anything is trained.
        method.build(teacher, len(train_set.classes), seed=0)
    if is_main_process():
        _open_folder(settings)
    rows = compare(
        teacher,
        train_set,
        test_set,
        methods,
        settings.out,
        labels=settings.labels or None,
        seeds=list(dict.fromkeys(settings.seeds)),
        size=size,
        channels=channels,
    )
    if not is_main_process():
        return
    summaries = summarize(rows, settings.out)
    title = f"{Path(train_set.name).name}, {rows[0]['labels']} labels, {len(test_set)} test pictures"
    draw_transfer(settings.out / "transfer.png", summaries, rows, title=title)
    written = ["transfer.csv", "transfer.png", *_draw_maps(settings, teacher, test_set, size, channels)]
    print(_table(summaries))
    print(f"wrote {', '.join(written)} and the trained models to {settings.out}")


def _method(settings: Train, name: str) -> Method:
    changes: dict[str, Any] = {"workers": settings.workers, "compile": settings.compile}
    for field in ("epochs", "warmup_epochs", "batch_size", "accumulation", "base_learning_rate", "precision"):
        if (value := getattr(settings, field)) is not None:
            changes[field] = value
    if settings.epochs is not None and settings.warmup_epochs is None:
        own = method_of(settings.recipe, name).settings
        changes["warmup_epochs"] = settings.epochs * own.warmup_epochs / own.epochs
    return method_of(settings.recipe, name, layers=_layers(settings.layers), **changes)


def _layers(text: str | None) -> Layers | None:
    if text is None or not text.replace(",", "").replace("-", "").isdigit():
        return text
    return [int(number) for number in text.split(",")]


def _pictures(settings: Train) -> tuple[ImageDataset, ImageDataset]:
    """Training and test set, of the same classes."""
    train_set = open_dataset(settings.images, split="train", exclude=settings.out)
    source = settings.test_images or settings.images
    test_set = open_dataset(source, split="test", exclude=settings.out)
    check_at_least("--limit", settings.limit, 1)
    test_set = at_most(labelled(test_set), settings.limit)
    if not train_set.classes or train_set.classes != test_set.classes:
        raise ValueError(
            f"training and test pictures must have the same classes, at least two; got {list(train_set.classes)} and "
            f"{list(test_set.classes)}; put each class into a folder of its name"
        )
    return train_set, test_set


def _open_folder(settings: Train) -> None:
    """Make the folder, or check that it holds a comparison of the same pictures, teacher and settings."""
    config = asdict(settings)
    for name in ("out", "seeds", "methods", "map_layer", "workers", "compile"):
        config.pop(name)
    RunFolder(settings.out, {**config, "teacher_sha256": fingerprint(settings.teacher)}).close()


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
                f"{summary.seconds:.0f}",
                f"{summary.peak_mb:.0f}",
            ]
        )
    return text_table(["method", "seeds", "right, %", "over scratch", "of the gap", "seconds", "MB"], rows)


def _interval(interval: Interval, sign: str = "") -> str:
    mean = f"{100 * interval.mean:{sign}.1f}"
    if isnan(interval.low):
        return mean
    return f"{mean} ({100 * interval.low:{sign}.1f} to {100 * interval.high:{sign}.1f})"
