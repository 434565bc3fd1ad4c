"""Identity of a run of `pretrain`, as plain values: a folder of another one is not resumed."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from vl_ssl.backbones.backbone import Backbone
from vl_ssl.methods.method import SiameseMethod
from vl_ssl.schedules.schedule import Samples, Schedule
from vl_ssl.training.images import PairAugmentation, images_digest
from vl_ssl.training.settings import PretrainSettings
from vl_ssl.training.watching import Monitor

# Settings of how the work is done, which may change when a run is resumed.
_FREE = ("workers", "augment_on")
# Settings of the optimizer, which says itself what it is, and may be another one.
_OF_OPTIMIZER = ("optimizer", "momentum", "betas", "weight_decay")
# Options of groups that the settings of the run set, or that change how an optimizer works and not what it computes.
_FREE_OPTIONS = ("params", "param_names", "lr", "initial_lr", "foreach", "fused", "capturable", "differentiable")


@runtime_checkable
class Described(Protocol):
    """Something that is known by its arguments."""

    def describe(self) -> Mapping[str, Any]:
        """Arguments by name, as JSON keeps them."""
        ...


def run_config(
    method: SiameseMethod,
    dataset: Tensor | Samples,
    settings: PretrainSettings,
    *,
    schedule: Schedule,
    augmentation: PairAugmentation,
    on_device: bool,
    optimizer: torch.optim.Optimizer,
    monitor: Monitor | None,
) -> dict[str, Any]:
    """Arguments of `pretrain` by which a run is known again.

    A monitor is known by its arguments only where it has ``describe()``; an augmentation by that, by its fields as a
    dataclass, or else by the name of its class.
    """
    return {
        "pretrain": {name: value for name, value in asdict(settings).items() if name not in _FREE + _OF_OPTIMIZER},
        "method": {"name": type(method).__name__, **_hyperparameters(method)},
        "backbone": _backbone(getattr(method.backbone, "_orig_mod", method.backbone)),
        "weights": _layout(method),
        "optimizer": _optimizer(optimizer),
        "schedule": schedule.describe(),
        "augmentation": _augmentation(augmentation),
        "augment_on": "device" if on_device else "workers",
        "images": images_digest(dataset),
        **({"monitor": dict(monitor.describe())} if isinstance(monitor, Described) else {}),
    }


def _backbone(backbone: nn.Module) -> dict[str, Any]:
    """Configuration and normalization of a `Backbone`; the class of another network."""
    if not isinstance(backbone, Backbone):
        return {"class": type(backbone).__name__}
    built = {"class": type(backbone.network).__name__}
    if backbone.config is not None:
        built = {**asdict(backbone.config), "options": _plain(backbone.config.options)}
    # Statistics of images differ in their last digits with the number of threads.
    moments = {
        name: [float(f"{value:.6g}") for value in values] for name, values in asdict(backbone.normalization).items()
    }
    return {**built, **moments}


def _optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Options and number of tensors of each group, under the name of the class."""
    groups = {}
    for number, group in enumerate(optimizer.param_groups):
        options = {name: _plain(value) for name, value in group.items() if name not in _FREE_OPTIONS}
        groups[f"group {number}"] = {"tensors": len(group["params"]), **options}
    return {type(optimizer).__name__: groups}


def _augmentation(augmentation: PairAugmentation) -> Any:
    name = type(augmentation).__name__
    if isinstance(augmentation, Described):
        return {"name": name, **augmentation.describe()}
    return {"name": name, **asdict(augmentation)} if is_dataclass(augmentation) else name


def _hyperparameters(method: nn.Module) -> dict[str, Any]:
    """Arguments of the method that change no weight's shape, such as a temperature or a momentum."""
    found = {name: getattr(method, name, None) for name in inspect.signature(type(method)).parameters}
    return {name: value for name, value in found.items() if isinstance(value, bool | int | float | str | tuple)}


def _layout(method: nn.Module) -> str:
    """The first 16 hexadecimal digits of a SHA-256 over names and shapes of weights: the architecture of a run."""
    shapes = sorted((name, tuple(value.shape)) for name, value in method.state_dict().items())
    return hashlib.sha256(repr(shapes).encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """Numbers, texts and containers of them; the name of anything else, such as a layer's class or a function."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Tensor):
        return _plain(value.tolist())
    return getattr(value, "__qualname__", type(value).__qualname__)
