"""`vl-attention ensemble`: accuracy of classifiers and of their ensemble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import comb

import torch
from torch import Tensor
from vl_core.data import ImageDataset, balanced_order
from vl_core.devices import find_device
from vl_core.results import wilson_interval
from vl_core.tables import percent, text_table, write_rows

from vl_attention.classifiers.ensemble import best_weight, mix
from vl_attention.commands._images import (
    at_most,
    labeled,
    match_classes,
    open_images,
    tensors,
)
from vl_attention.commands._models import GivenModel, load_classifiers
from vl_attention.commands.settings.ensemble import EnsembleModels

ENSEMBLE = "ensemble"
FITTED = "ensemble (fitted)"


def run(settings: EnsembleModels) -> None:
    """Evaluate all models, and write and print the tables.

    Raises:
        ValueError: If an argument, a model or an image is invalid.
        OSError: If a file or a model is missing or cannot be read.
        ModuleNotFoundError: If a data set needs an extra that is not installed.
    """
    settings.check()
    device = find_device(settings.device)
    measured, fitted = _images(settings)
    models = load_classifiers(settings.models, settings.teacher, device)
    columns = _columns(models, measured)
    names = [given.name for given in models]
    log_probabilities = _log_probabilities(models, columns, measured, settings.batch_size, device)
    truth = torch.as_tensor(measured.labels.copy())
    equal = [1 / len(models)] * len(models)
    correct_by_name = {name: own.argmax(-1) == truth for name, own in zip(names, log_probabilities, strict=True)}
    correct_by_name[ENSEMBLE] = _correct(log_probabilities, equal, truth)
    weights: dict[str, Sequence[float]] = {ENSEMBLE: equal}
    if fitted is not None:
        theirs = _log_probabilities(models, columns, fitted, settings.batch_size, device)
        weight = best_weight(theirs, torch.as_tensor(fitted.labels.copy()))
        weights[FITTED] = weight, 1 - weight
        correct_by_name[FITTED] = _correct(log_probabilities, weights[FITTED], truth)
    accuracies = _accuracies(correct_by_name, dict(zip(names, weights.get(FITTED, equal), strict=True)))
    most = max(int(correct_by_name[name].sum()) for name in names)
    best = [name for name in names if int(correct_by_name[name].sum()) == most]
    pairs = [*combinations(names, 2), *((name, best[0]) for name in weights)]
    agreements = [_agreement(*pair, correct_by_name) for pair in pairs]
    write_rows(settings.out / "ensemble.csv", accuracies)
    write_rows(settings.out / "agreement.csv", agreements)
    _show(accuracies, agreements, _most_accurate(best, len(names)), fitted)
    print(f"wrote ensemble.csv and agreement.csv to {settings.out}")


def mcnemar_p(only_first: int, only_second: int) -> float:
    """McNemar's exact test (1947): the probability that two equally accurate classifiers differ this much, or more.

    Under the null hypothesis, each image that only one of the two classifies correctly falls to either with probability
    one half.

    Args:
        only_first: Number of images that only the first classifies correctly.
        only_second: Number of images that only the second classifies correctly.

    Returns:
        The two-sided p-value; 1 if they never differ.

    Example:
        >>> mcnemar_p(0, 4)
        0.125
    """
    total, fewer = only_first + only_second, min(only_first, only_second)
    return min(1.0, 2 * sum(comb(total, k) for k in range(fewer + 1)) / (1 << total))


def _images(settings: EnsembleModels) -> tuple[ImageDataset, ImageDataset | None]:
    """Images to evaluate, and images to fit the weights on; they are disjoint."""
    given = open_images(settings.images, settings.split, out=settings.out)
    if not settings.fit:
        return at_most(labeled(given), settings.limit), None
    others = open_images(settings.images, settings.fit_split, default_split="train", out=settings.out)
    # The same split twice, or a set without splits: divide its images.
    if (others.names, others.labels.tolist()) != (given.names, given.labels.tolist()):
        others = labeled(others)
        if settings.fit > len(others):
            raise ValueError(
                f"--fit must be at most {len(others)}, the number of images in its split; got {settings.fit}"
            )
        return at_most(labeled(given), settings.limit), at_most(others, settings.fit)
    given = labeled(given)
    if settings.fit >= len(given):
        raise ValueError(
            f"--fit must be less than {len(given)} to leave images to evaluate, got {settings.fit}; choose another "
            "--fit-split"
        )
    order = balanced_order(given.labels.tolist())
    kept = given.subset(sorted(order[settings.fit :]))
    return at_most(kept, settings.limit), given.subset(sorted(order[: settings.fit]))


def _columns(models: Sequence[GivenModel], dataset: ImageDataset) -> list[list[int]]:
    """Column order that brings the logits of all models to the same class order.

    Raises:
        ValueError: If the models have different classes.
    """
    first = models[0]
    orders = [match_classes(given.name, given.classes, given.num_classes, dataset) for given in models]
    for given in models[1:]:
        same = given.num_classes == first.num_classes
        if not same or (given.classes and first.classes and set(given.classes) != set(first.classes)):
            raise ValueError(
                f"models must have the same classes, and {first.name} and {given.name} differ: they have "
                f"{first.num_classes} and {given.num_classes}; pass models trained on the same classes"
            )
    rest = [name for name in first.classes if name not in dataset.classes]
    for index, given in enumerate(models):
        if given.classes and first.classes:
            orders[index] = [given.classes.index(name) for name in (*dataset.classes, *rest)]
    return orders


@torch.no_grad()
def _log_probabilities(
    models: Sequence[GivenModel],
    columns: Sequence[Sequence[int]],
    dataset: ImageDataset,
    batch_size: int,
    device: str,
) -> Tensor:
    """Log probabilities of the models, float64 ``(models, N, num_classes)`` on the CPU."""
    found = []
    for given, chosen in zip(models, columns, strict=True):
        images, _ = tensors(dataset, given.size, given.channels)
        logits = [given.model(part.to(device)).logits.cpu().double() for part in torch.split(images, batch_size)]
        found.append(torch.cat(logits)[:, list(chosen)].log_softmax(-1))
    return torch.stack(found)


def _correct(log_probabilities: Tensor, weights: Sequence[float], truth: Tensor) -> Tensor:
    mixed = mix(log_probabilities, torch.tensor(weights, dtype=torch.float64))
    return mixed.argmax(-1) == truth


def _accuracies(correct_by_name: Mapping[str, Tensor], weights: Mapping[str, float]) -> list[dict[str, object]]:
    """A row per model and ensemble; models have their fitted or equal weights."""
    rows: list[dict[str, object]] = []
    for name, own in correct_by_name.items():
        correct, total = int(own.sum()), len(own)
        low, high = wilson_interval(correct, total)
        share = {"accuracy": correct / total, "low": low, "high": high}
        rows.append({"member": name, "weight": weights.get(name, ""), "correct": correct, "total": total, **share})
    return rows


def _agreement(first: str, second: str, correct_by_name: Mapping[str, Tensor]) -> dict[str, object]:
    ours, theirs = correct_by_name[first], correct_by_name[second]
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
    comparison: str,
    fitted: ImageDataset | None,
) -> None:
    table = []
    for row in accuracies:
        share, low, high = (percent(float(str(row[name]))) for name in ("accuracy", "low", "high"))
        weight = f"{row['weight']:.2f}" if row["weight"] != "" else ""
        table.append([str(row["member"]), weight, f"{row['correct']} of {row['total']}", share, f"{low} to {high}"])
    print(text_table(["member", "weight", "correct", "accuracy, %", "95 %"], table))
    if fitted is not None:
        print(f"weights fitted on {len(fitted)} other images; the row {ENSEMBLE!r} has equal weights")
    print("\nnumber of images that each pair classifies correctly (p: McNemar's exact test, two-sided)")
    cells = [[f"{v:.2g}" if isinstance(v, float) else str(v) for v in row.values()] for row in agreements]
    print(text_table([name.replace("_", " ") for name in agreements[0]], cells, left=2))
    print(f"{comparison}, measured on these images")


def _most_accurate(best: Sequence[str], members: int) -> str:
    """Name the most accurate models."""
    if len(best) == members:
        return "all members are equally accurate" if members > 2 else "both members are equally accurate"
    if len(best) > 1:
        return f"{', '.join(best[:-1])} and {best[-1]} are the most accurate members, equally accurate"
    return f"{best[0]} is the {'most' if members > 2 else 'more'} accurate member"
