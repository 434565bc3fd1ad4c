"""`vl-attention ensemble`: classifiers, and what they are together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from pathlib import Path

import torch
import tyro
from torch import Tensor
from vl_core.data import ImageDataset
from vl_core.devices import find_device
from vl_core.results import wilson_interval
from vl_core.tables import percent, text_table, write_rows

from vl_attention.classifiers.ensemble import best_weight, mix
from vl_attention.commands._images import (
    at_most,
    balanced_order,
    labeled,
    match_classes,
    open_images,
    tensors,
)
from vl_attention.commands._models import GivenModel, load_classifiers
from vl_attention.commands._options import check_at_least

ENSEMBLE = "ensemble"
FITTED = "ensemble (fitted)"


@dataclass(frozen=True, kw_only=True)
class EnsembleModels:
    """Say how often classifiers are right, and how often the mean of their probabilities is.

    Without arguments: a student that learned from its teacher's attention and the fine-tuned teacher, on 2,000 held-out
    images of clothes.
    """

    models: tyro.conf.Positional[tuple[str, ...]] = ("fashion_distilled", "fashion_fine_tuned")
    """Two or more: names of built-in models, folders, or hub ids of timm's models."""

    teacher: str | None = None
    """For students that copy their attention: the model that they copy it from."""

    images: str = "fashion"
    """An image folder with a folder a class, an .npz or .parquet file, or the name of a built-in set."""

    split: str | None = None
    """Which of its splits; default: test, where it is divided into splits."""

    limit: int | None = None
    """At most this many images, all classes in proportion; default: all."""

    fit: int = 0
    """So many other images, all classes in proportion, choose the weights of two members; 0: none, and equal
    weights. They are best such that no member was trained on."""

    fit_split: str | None = None
    """The split that they are from; default: train, or where the set is not divided, the images themselves, which are
    then left out of what is measured."""

    batch_size: int = 100
    """Images in one call of a model."""

    device: str = "auto"
    """"cpu", "cuda", ..., or "auto": a GPU if there is one."""

    out: Path = Path("vl-attention-ensemble")
    """Folder for ensemble.csv (accuracies) and agreement.csv (on how many images two of them are right)."""


def run(settings: EnsembleModels) -> None:
    """Ask all members, and write and print the tables.

    Raises:
        ValueError: If an argument, a model or an image is not what it must be.
        OSError: If a file or a model is missing or cannot be read.
        ModuleNotFoundError: If a data set needs an extra that is not installed.
    """
    check_at_least("--limit", settings.limit, 1)
    check_at_least("--batch-size", settings.batch_size, 1)
    check_at_least("--fit", settings.fit, 0)
    if len(settings.models) < 2:
        raise ValueError(f"models must be two or more, got {len(settings.models)}")
    if settings.fit and len(settings.models) != 2:
        raise ValueError(f"--fit weighs two members, got {len(settings.models)}; leave it out for equal weights")
    device = find_device(settings.device)
    measured, fitted = _images(settings)
    models = load_classifiers(settings.models, settings.teacher, device)
    columns = _columns(models, measured)
    names = [given.name for given in models]
    answers = _ask(models, columns, measured, settings.batch_size, device)
    truth = torch.as_tensor(measured.labels.copy())
    equal = [1 / len(models)] * len(models)
    right = {given.name: answer.argmax(-1) == truth for given, answer in zip(models, answers, strict=True)}
    right[ENSEMBLE] = _right(answers, equal, truth)
    weights: dict[str, Sequence[float]] = {ENSEMBLE: equal}
    if fitted is not None:
        theirs = _ask(models, columns, fitted, settings.batch_size, device)
        weight = best_weight(theirs, torch.as_tensor(fitted.labels.copy()))
        weights[FITTED] = weight, 1 - weight
        right[FITTED] = _right(answers, weights[FITTED], truth)
    accuracies = _accuracies(right, dict(zip(names, weights.get(FITTED, equal), strict=True)))
    most = max(int(right[name].sum()) for name in names)
    best = [name for name in names if int(right[name].sum()) == most]
    pairs = [*combinations(names, 2), *((name, best[0]) for name in weights)]
    agreements = [_agreement(*pair, right) for pair in pairs]
    write_rows(settings.out / "ensemble.csv", accuracies)
    write_rows(settings.out / "agreement.csv", agreements)
    _show(accuracies, agreements, _verdict(best, len(names)), fitted)
    print(f"wrote ensemble.csv and agreement.csv to {settings.out}")


def mcnemar_p(only_first: int, only_second: int) -> float:
    """McNemar's exact test (1947): the probability that chance alone makes two classifiers differ so much, or more.

    Where both are equally good, each image that one of the two gets right falls to either with probability one half.

    Args:
        only_first: How many images only the first gets right.
        only_second: The same of the second.

    Returns:
        The two-sided p-value; 1 where they never differ.

    Example:
        >>> mcnemar_p(0, 4)
        0.125
    """
    total, fewer = only_first + only_second, min(only_first, only_second)
    return min(1.0, 2 * sum(comb(total, k) for k in range(fewer + 1)) / (1 << total))


def _images(settings: EnsembleModels) -> tuple[ImageDataset, ImageDataset | None]:
    """Those that are measured, and those that choose the weights, which have none in common."""
    given = open_images(settings.images, settings.split, out=settings.out)
    if not settings.fit:
        return at_most(labeled(given), settings.limit), None
    others = open_images(settings.images, settings.fit_split, default_split="train", out=settings.out)
    # One split twice, or a set that has none: its images are divided.
    if (others.names, others.labels.tolist()) != (given.names, given.labels.tolist()):
        others = labeled(others)
        if settings.fit > len(others):
            raise ValueError(f"--fit must be at most {len(others)}, the images there are for it; got {settings.fit}")
        return at_most(labeled(given), settings.limit), at_most(others, settings.fit)
    given = labeled(given)
    if settings.fit >= len(given):
        raise ValueError(
            f"--fit must leave images to be measured and be less than {len(given)}, got {settings.fit}; give another "
            "--fit-split"
        )
    order = balanced_order(given.labels.tolist())
    kept = given.subset(sorted(order[settings.fit :]))
    return at_most(kept, settings.limit), given.subset(sorted(order[: settings.fit]))


def _columns(models: Sequence[GivenModel], dataset: ImageDataset) -> list[list[int]]:
    """Each member's logits in one order for all.

    Raises:
        ValueError: If members tell apart different classes.
    """
    first = models[0]
    orders = [match_classes(given.name, given.classes, given.num_classes, dataset) for given in models]
    for given in models[1:]:
        same = given.num_classes == first.num_classes
        if not same or (given.classes and first.classes and set(given.classes) != set(first.classes)):
            raise ValueError(
                f"models must tell apart the same classes, and {first.name} and {given.name} do not: they have "
                f"{first.num_classes} and {given.num_classes}; train them on the same"
            )
    rest = [name for name in first.classes if name not in dataset.classes]
    for index, given in enumerate(models):
        if given.classes and first.classes:
            orders[index] = [given.classes.index(name) for name in (*dataset.classes, *rest)]
    return orders


@torch.no_grad()
def _ask(
    models: Sequence[GivenModel],
    columns: Sequence[Sequence[int]],
    dataset: ImageDataset,
    batch_size: int,
    device: str,
) -> Tensor:
    """Logarithms of the members' probabilities, float64 ``(models, N, classes)`` on the CPU."""
    found = []
    for given, chosen in zip(models, columns, strict=True):
        images, _ = tensors(dataset, given.size, given.channels)
        logits = [given.model(part.to(device)).logits.cpu().double() for part in torch.split(images, batch_size)]
        found.append(torch.cat(logits)[:, list(chosen)].log_softmax(-1))
    return torch.stack(found)


def _right(answers: Tensor, weights: Sequence[float], truth: Tensor) -> Tensor:
    mixed = mix(answers, torch.tensor(weights, dtype=torch.float64))
    return mixed.argmax(-1) == truth


def _accuracies(right: Mapping[str, Tensor], weights: Mapping[str, float]) -> list[dict[str, object]]:
    """A row a member and ensemble; members have the weight that was fitted, or equal ones."""
    rows: list[dict[str, object]] = []
    for name, own in right.items():
        correct, total = int(own.sum()), len(own)
        low, high = wilson_interval(correct, total)
        share = {"accuracy": correct / total, "low": low, "high": high}
        rows.append({"member": name, "weight": weights.get(name, ""), "correct": correct, "total": total, **share})
    return rows


def _agreement(first: str, second: str, right: Mapping[str, Tensor]) -> dict[str, object]:
    ours, theirs = right[first], right[second]
    counts = {
        "both": int((ours & theirs).sum()),
        "only_first": int((ours & ~theirs).sum()),
        "only_second": int((~ours & theirs).sum()),
        "neither": int((~ours & ~theirs).sum()),
    }
    return {"first": first, "second": second, **counts, "p": mcnemar_p(counts["only_first"], counts["only_second"])}


def _show(
    accuracies: Sequence[Mapping[str, object]],
    agreements: Sequence[Mapping[str, object]],
    verdict: str,
    fitted: ImageDataset | None,
) -> None:
    table = []
    for row in accuracies:
        share, low, high = (percent(float(str(row[name]))) for name in ("accuracy", "low", "high"))
        weight = f"{row['weight']:.2f}" if row["weight"] != "" else ""
        table.append([str(row["member"]), weight, f"{row['correct']} of {row['total']}", share, f"{low} to {high}"])
    print(text_table(["member", "weight", "right", "%", "95 %"], table))
    if fitted is not None:
        print(f"weights fitted on {len(fitted)} other images; the row {ENSEMBLE!r} has equal ones")
    print("\non how many images two are right (p: McNemar's exact test, two-sided)")
    cells = [[f"{v:.2g}" if isinstance(v, float) else str(v) for v in row.values()] for row in agreements]
    print(text_table([name.replace("_", " ") for name in agreements[0]], cells, left=2))
    print(f"{verdict}, by these same images")


def _verdict(best: Sequence[str], members: int) -> str:
    """Who is right most often."""
    if len(best) == members:
        return "all members are equally good" if members > 2 else "both members are equally good"
    if len(best) > 1:
        return f"{', '.join(best[:-1])} and {best[-1]} are the best members and equally good"
    return f"{best[0]} is the {'best' if members > 2 else 'better'} member"
