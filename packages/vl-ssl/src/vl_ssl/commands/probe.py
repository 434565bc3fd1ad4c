"""`vl-ssl probe`: accuracy of a frozen backbone, beside raw pixels and random weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from vl_core.data import image_to_tensor
from vl_core.devices import find_device
from vl_core.results import wilson_interval
from vl_core.tables import percent, text_table, write_rows

from vl_ssl.backbones.backbone import Backbone
from vl_ssl.backbones.building import build_backbone
from vl_ssl.backbones.saving import load_backbone
from vl_ssl.commands.settings.probe import ProbeModel
from vl_ssl.probes.images import ImageTensors, image_tensors
from vl_ssl.probes.offline import KNNProbe, LinearProbe, ProbeAccuracy
from vl_ssl.training.study import divided_images

_SMALL = 14  # pixels, for which the random network is built
_LARGEST = 224


def run(settings: ProbeModel) -> None:
    """Probe the backbone and its baselines, and write the table.

    Raises:
        ValueError: If the model or the images cannot be used.
        OSError: If a file is missing or damaged.
    """
    settings.check()
    splits = divided_images(settings.images)
    trained = None if settings.folder is None else load_backbone(settings.folder)
    pixels = image_to_tensor(splits[0][0][0]).shape
    size = settings.size or _size(trained, min(pixels[1:]))
    channels = len(trained.mean) if trained is not None else 1 if pixels[0] == 1 else 3
    if channels not in (1, 3):
        raise ValueError(
            f"MODEL must take images of 1 or 3 channels, which images of the commands have, got {channels}; in Python, "
            "KNNProbe and LinearProbe take ImageTensors of any number"
        )
    limits = settings.limit, settings.test_limit
    train, test = (
        image_tensors(each, size=size, channels=channels, limit=limit, seed=settings.seed)
        for each, limit in zip(splits, limits, strict=True)
    )
    if max(settings.k) > len(train):
        raise ValueError(f"k must be at most the {len(train)} labeled training images, got {max(settings.k)}")
    torch.manual_seed(settings.seed)
    new = random_baseline(_random(trained, channels, size), train, settings.batch_size)
    networks: dict[str, nn.Module] = {"raw pixels": nn.Flatten(), "random weights": new}
    if trained is not None:
        networks["backbone"] = trained
    device = find_device(settings.device)
    found = {name: _probed(network.eval().to(device), train, test, settings) for name, network in networks.items()}
    rows = [_row(name, own) for name, probes in found.items() for own in probes]
    settings.out.mkdir(parents=True, exist_ok=True)
    write_rows(settings.out / "probe.csv", rows)
    what = f"{len(train):,} training and {len(test):,} test images of {size} pixels of {settings.images}"
    print(f"{settings.model}, {what}")
    print(_table(rows))
    if trained is None:
        print("no trained backbone was given: these are the baselines that one has to beat")
    print("random weights: the same network, all blocks at work, with batch statistics of the training images")
    print(f"intervals of 95 % over test images; wrote probe.csv to {settings.out}")


def _size(trained: Backbone | None, side: int) -> int:
    if trained is None:
        return _SMALL
    return (trained.config.image_size if trained.config is not None else None) or min(side, _LARGEST)


def _random(trained: Backbone | None, channels: int, size: int) -> nn.Module:
    """The network with new weights; without one, a small residual network."""
    if trained is None or trained.config is None:
        return build_backbone("small_resnet", channels=channels, image_size=size, depth="10", stem_stride=2)
    config = trained.config
    return build_backbone(
        config.name,
        channels=config.channels,
        image_size=config.image_size,
        normalization=trained.normalization,
        **config.options,
    )


@torch.no_grad()
def random_baseline(network: nn.Module, images: ImageTensors, batch_size: int) -> nn.Module:
    """A new network as the baseline that it can be: all blocks at work, and batch statistics of these images.

    Scales of normalization that begin at zero, the last of a residual block, are set to one: with them zero, strided
    shortcuts see little more than a corner of a small image. Statistics that begin at mean 0 and variance 1 become the
    means over the batches of the images.
    """
    norms = [part for part in network.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        if norm.affine and not norm.weight.any():
            norm.weight.fill_(1)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    for start in range(0, len(images), batch_size):
        # A batch of one has no variance.
        if len(images) - start > 1:
            network(images.batch(slice(start, start + batch_size)))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return network.eval()


def _probed(network: nn.Module, train: ImageTensors, test: ImageTensors, settings: ProbeModel) -> list[ProbeAccuracy]:
    options: dict[str, Any] = {"batch_size": settings.batch_size, "seed": settings.seed}
    found = [KNNProbe(train, test, k=k, temperature=settings.temperature, **options)(network) for k in settings.k]
    return [*found, LinearProbe(train, test, regularization=settings.regularization, **options)(network)]


def _row(name: str, own: ProbeAccuracy) -> dict[str, Any]:
    low, high = wilson_interval(round(own.accuracy * own.test_size), own.test_size)
    return {
        "features": name,
        "probe": own.probe,
        "k": own.k or "",
        "temperature": own.temperature or "",
        "regularization": own.regularization or "",
        "normalization": own.normalization,
        "accuracy": own.accuracy,
        "low": low,
        "high": high,
        "bank_size": own.bank_size,
        "test_size": own.test_size,
        "num_classes": own.num_classes,
    }


def _table(rows: list[dict[str, Any]]) -> str:
    cells = [
        [
            row["features"],
            row["probe"],
            row["normalization"],
            *(f"{row[name]:g}" if row[name] else "" for name in ("k", "temperature", "regularization")),
            f"{percent(row['accuracy'])} %",
            f"{percent(row['low'])} to {percent(row['high'])}",
        ]
        for row in rows
    ]
    head = ["features", "probe", "normalization", "k", "temperature", "regularization", "accuracy", "interval"]
    return text_table(head, cells, left=3)
