"""Settings of the runs of a study, and grids of them. Nothing here imports torch, so commands check input with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import product
from typing import Any, Literal, TypeAlias, get_args

StudyMethod: TypeAlias = Literal["simsiam", "byol", "moco-v3", "nnsiam", "simclr", "vicreg"]
"""Methods of a study."""
Ablation: TypeAlias = Literal["none", "no-predictor", "no-stop-gradient"]
"""Part of a method that is left out, which makes it collapse."""
StudySchedule: TypeAlias = Literal["multi-epoch", "continual", "hybrid"]
"""All images in each epoch; chunk after chunk; or chunks first, and all images from the switch on."""

ABLATED = ("simsiam", "byol")
"""Methods that have a predictor and a stop-gradient to leave out."""


@dataclass(frozen=True)
class StudyRun:
    """Settings of one run of `run_study`: a small residual network on small images, by SGD at a constant rate.

    Raises:
        ValueError: If a value is out of range, or values do not go together.

    Example:
        >>> StudyRun(width=4, share=0.5).updates
        320
    """

    method: StudyMethod = "simsiam"
    """Method."""
    ablation: Ablation = "none"
    """Part that is left out."""
    base_learning_rate: float = 0.12
    """Learning rate for a batch of 256; that of the run is in proportion to its batch size."""
    width: int = 8
    """Channels of the first stage, even; features are eight times as wide."""
    schedule: StudySchedule = "multi-epoch"
    """Images of each epoch."""
    switch_at: float = 0.4
    """Share of the run at which a hybrid schedule switches; 0.4 as in the paper."""
    triggered: bool = False
    """True lets an alarm before that switch a hybrid schedule at once."""
    share: float = 1.0
    """Share of the images that is trained on, for as many updates as with all."""
    batch_size: int = 64
    """Images of an update."""
    epochs: int = 10
    """Epochs, and chunks of the schedules that have some."""
    epoch_length: int | None = None
    """Positions of an epoch, which a smaller share fills by repetition; None for `limit`."""
    seed: int = 0
    """Seed of weights, order and views."""
    images: str = "fashion"
    """Images, as `vl_core.data.open_dataset` takes them, with labels for k-NN."""
    limit: int = 2048
    """Largest number of images, a random choice with all classes in proportion."""
    image_size: int = 14
    """Height and width in pixels."""

    def __post_init__(self) -> None:
        least = {"width": 2, "batch_size": 2, "epochs": 1, "limit": 2, "image_size": 8, "seed": 0}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"{name} must be at least {bound}, got {getattr(self, name)}")
        if self.width % 2:
            raise ValueError(f"width must be even, got {self.width}")
        if not 0 < self.base_learning_rate < float("inf"):
            raise ValueError(f"base_learning_rate must be above 0 and finite, got {self.base_learning_rate}")
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, got {self.share}")
        if self.epoch_length is not None and self.epoch_length < 1:
            raise ValueError(f"epoch_length must be at least 1, got {self.epoch_length}")
        if not 0 <= self.switch_at <= 1:
            raise ValueError(f"switch_at must lie in 0..1, got {self.switch_at}")
        if self.triggered and self.schedule != "hybrid":
            raise ValueError(f"triggered must be for the hybrid schedule, got {self.schedule}; leave it out")
        for name, kind in (("method", StudyMethod), ("ablation", Ablation), ("schedule", StudySchedule)):
            if getattr(self, name) not in get_args(kind):
                raise ValueError(f"{name} must be one of {', '.join(get_args(kind))}, got {getattr(self, name)!r}")
        if self.ablation != "none" and self.method not in ABLATED:
            raise ValueError(
                f"ablation {self.ablation} must be for {' or '.join(ABLATED)}, got {self.method}; leave it out"
            )
        if self.updates < 1:
            raise ValueError(
                f"batch_size must be at most the run's {self.epochs * self.length} positions ({self.epochs} epochs of "
                f"{self.length}), got {self.batch_size}"
            )
        if self.schedule != "multi-epoch" and self.epochs > self.limit * self.share:
            raise ValueError(
                f"epochs must be at most the {self.limit * self.share:g} images of the share, so that each chunk has "
                f"one, got {self.epochs}"
            )

    @property
    def length(self) -> int:
        """Positions of an epoch."""
        return self.limit if self.epoch_length is None else self.epoch_length

    @property
    def updates(self) -> int:
        """Updates of the run."""
        return self.epochs * self.length // self.batch_size

    @property
    def name(self) -> str:
        """12 hexadecimal digits of all settings: the name of the run's folder in a sweep."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]

    def row(self) -> dict[str, Any]:
        """Settings by column."""
        return asdict(self)


def study_grid(choices: Mapping[str, Sequence[Any]]) -> list[StudyRun]:
    """Runs of all combinations, the last choice fastest; an ablation only where the method has the part.

    Args:
        choices: Values by field of `StudyRun`; fields without choices keep their defaults.

    Raises:
        ValueError: If a field does not exist or has no value, a value is out of range, or no run is left.

    Example:
        >>> [(run.method, run.seed) for run in study_grid({"method": ["simsiam", "byol"], "seed": [0, 1]})]
        [('simsiam', 0), ('simsiam', 1), ('byol', 0), ('byol', 1)]
    """
    known = [field.name for field in fields(StudyRun)]
    for name, values in choices.items():
        if name not in known:
            raise ValueError(f"choices must be among {', '.join(known)}, got {name!r}")
        if not len(values):
            raise ValueError(f"{name} must have at least one value, got none")
    found = []
    for values in product(*choices.values()):
        settings = dict(zip(choices, values, strict=True))
        if settings.get("ablation", "none") != "none" and settings.get("method", "simsiam") not in ABLATED:
            continue
        found.append(StudyRun(**settings))
    if not found:
        raise ValueError(f"ablation must leave at least one run, got none for methods other than {', '.join(ABLATED)}")
    return list(dict.fromkeys(found))
