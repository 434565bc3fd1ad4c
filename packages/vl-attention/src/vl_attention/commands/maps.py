"""`vl-attention maps`: attention maps of several models and their similarity."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations

import numpy as np
import torch
from torch import Tensor
from vl_core.data import ImageDataset, balanced_order
from vl_core.devices import find_device
from vl_core.tables import text_table, write_rows

from vl_attention.analysis.maps import class_attention
from vl_attention.analysis.similarity import layer_means, map_similarity
from vl_attention.charts.maps import draw_attention
from vl_attention.charts.similarity import draw_head_similarity, draw_layer_similarity
from vl_attention.commands._images import at_most, open_images, tensors
from vl_attention.commands._models import GivenModel, load_models
from vl_attention.commands.settings.maps import Maps

# Files written in addition to the maps if there are models to compare.
_OF_PAIRS = ("layers.png", "heads.png", "similarity.csv")


def run(settings: Maps) -> None:
    """Draw the maps, and compare them pairwise.

    Raises:
        ValueError: If an argument, a model or an image is invalid, a layer or head does not exist, or there is nothing
            to compare and the folder holds comparisons from an earlier call.
        OSError: If a file or a model is missing or cannot be read.
        ModuleNotFoundError: If a data set needs an extra that is not installed.
    """
    settings.check()
    device = find_device(settings.device)
    dataset = open_images(settings.images, settings.split, out=settings.out)
    models = load_models(settings.models, device)
    shown = dataset.subset(_of_different_classes(dataset.labels.tolist(), settings.count))
    maps = {given.name: _class_attention(given, shown, settings, device) for given in models}
    pairs = _comparable([given.name for given in models], maps)
    if not pairs and (former := [name for name in _OF_PAIRS if (settings.out / name).exists()]):
        raise ValueError(
            f"{settings.out} holds {', '.join(former)} of other models, and these models produce maps.png only; choose "
            "another --out"
        )
    settings.out.mkdir(parents=True, exist_ok=True)
    labels = [dataset.classes[label] if label >= 0 else "" for label in shown.labels.tolist()]
    which = f"layer {settings.layer}" if settings.layer >= 0 else f"layer {settings.layer} (from the last)"
    over = "mean over heads" if settings.head is None else f"head {settings.head}"
    draw_attention(
        settings.out / "maps.png",
        _images_to_show(shown, models),
        maps,
        head=settings.head,
        labels=labels if any(labels) else None,
        title=f"{'last layer' if settings.layer == -1 else which}, {over}",
    )
    if not pairs:
        print(f"no two models to compare; wrote maps.png to {settings.out}")
        return
    compared = at_most(dataset, settings.limit)
    inputs: dict[tuple[tuple[int, int], int], Tensor] = {}
    for given in models:
        if (given.size, given.channels) not in inputs:
            inputs[given.size, given.channels] = tensors(compared, given.size, given.channels)[0].to(device)
    rows = map_similarity(
        {given.name: given.model for given in models},
        {given.name: inputs[given.size, given.channels] for given in models},
        pairs=pairs,
        batch_size=settings.batch_size,
    )
    write_rows(settings.out / "similarity.csv", [asdict(row) for row in rows])
    draw_layer_similarity(settings.out / "layers.png", rows)
    draw_head_similarity(settings.out / "heads.png", rows)
    print(f"Jensen-Shannon divergence of the maps in nats, mean over heads and {len(compared)} images, by layer")
    found, matrix = layer_means(rows)
    cells = [
        [f"{first}, {second}", *("" if np.isnan(value) else f"{value:#.3g}" for value in values)]
        for (first, second), values in zip(found, matrix, strict=True)
    ]
    print(text_table(["models", *map(str, range(matrix.shape[1]))], cells))
    print(f"wrote maps.png, layers.png, heads.png and similarity.csv to {settings.out}")


def _of_different_classes(labels: Sequence[int], count: int) -> list[int]:
    """Choose images: one of each class, then a second of each, and so on; indices sorted by class."""
    ranked: list[tuple[int, int, int]] = []
    seen: dict[int, int] = {}
    for order, index in enumerate(balanced_order(labels)):
        rank = seen[labels[index]] = seen.get(labels[index], -1) + 1
        ranked.append((rank, order, index))
    chosen = [index for _, _, index in sorted(ranked)[:count]]
    return sorted(chosen, key=lambda index: (labels[index], index))


@torch.no_grad()
def _class_attention(given: GivenModel, dataset: ImageDataset, settings: Maps, device: str) -> Tensor:
    images, _ = tensors(dataset, given.size, given.channels)
    parts = torch.split(images.to(device), settings.batch_size)
    try:
        found = torch.cat([class_attention(given.model, part, settings.layer).cpu() for part in parts])
    except ValueError as error:
        raise ValueError(f"{given.name}: {error}") from error
    if settings.head is not None and settings.head not in range(found.shape[1]):
        raise ValueError(
            f"--head must be from 0 to {found.shape[1] - 1}, the heads of {given.name}, got {settings.head}"
        )
    return found


def _images_to_show(dataset: ImageDataset, models: Sequence[GivenModel]) -> Tensor:
    """Images at the size of the model with the largest input; in color if any image has color."""
    largest = max((given.size for given in models), key=lambda size: size[0] * size[1])
    color = any(dataset[index][0].mode != "L" for index in range(len(dataset)))
    return tensors(dataset, largest, 3 if color else 1)[0]


def _comparable(names: Sequence[str], maps: dict[str, Tensor]) -> list[tuple[str, str]]:
    """Pairs of models with the same patch grid; the others are reported on standard error."""
    pairs = list(combinations(names, 2))
    same = [pair for pair in pairs if maps[pair[0]].shape[-2:] == maps[pair[1]].shape[-2:]]
    for first, second in pairs:
        if (first, second) not in same:
            ours, theirs = ("x".join(map(str, maps[name].shape[-2:])) for name in (first, second))
            print(
                f"{first} and {second} divide images into {ours} and {theirs} patches and are not compared",
                file=sys.stderr,
            )
    return same
