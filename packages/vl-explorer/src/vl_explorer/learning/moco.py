"""MoCo-v3 of `vl_ssl`, continued from iteration to iteration; the paper's learner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor
from vl_core.data import fit_image, image_to_tensor
from vl_core.files import read_tensors
from vl_core.runs import atomic_write
from vl_ssl import Backbone, MoCoV3, MultiEpoch
from vl_ssl.training.pretrain import pretrain
from vl_ssl.training.settings import PretrainSettings

from vl_explorer.learning.learner import TrainingImages, read_state, write_state
from vl_explorer.rewards.encoder import ImageEncoder
from vl_explorer.rewards.encoders import NetworkEncoder

_IN_MEMORY = 2**30  # bytes of images that are held at the network's size
_SEEDS = 2**31
_WEIGHTS = "learner.safetensors"


class MoCoLearner:
    """Trains a backbone by MoCo-v3; a `Learner`.

    Weights of both branches go on from iteration to iteration; the momentum of the optimizer begins anew.

    Args:
        backbone: Network of `vl_ssl.build_backbone` or `vl_ssl.load_backbone`, trained in place.
        image_size: Height and width in pixels of what it is shown, in training and for rewards.
        settings: How to train in one iteration; their seed is that of the run. By default those of
            `paper_training`.
        updates: Updates of an iteration, whatever the number of images; None for the epochs of the settings.
        name: Of the network, as the run's settings keep it.
        scorer: Scores images in place of the network, from the first iteration to the last: for networks that do not
            tell anything yet.
        options: Of `vl_ssl.MoCoV3`, such as ``hidden`` or ``temperature``. By default the paper's temperature 1 and
            momentum 0.9985, which does not rise.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        image_size: int,
        settings: PretrainSettings | None = None,
        updates: int | None = None,
        name: str = "network",
        scorer: ImageEncoder | None = None,
        **options: Any,
    ) -> None:
        if updates is not None and updates < 1:
            raise ValueError(f"updates must be at least 1, got {updates}; None trains for the epochs of the settings")
        if image_size < 8:
            raise ValueError(f"image_size must be at least 8 pixels, got {image_size}")
        self._settings = paper_training() if settings is None else settings
        self._options = {"temperature": 1.0, "momentum": 0.9985, "momentum_schedule": "constant", **options}
        # The heads begin from the run's seed, whatever was drawn before.
        with torch.random.fork_rng():
            torch.manual_seed(self._settings.seed)
            self._method = MoCoV3(backbone, **self._options)
        self._name, self._image_size, self._each, self._scorer = name, image_size, updates, scorer
        self._channels = int(next(weight for weight in backbone.parameters() if weight.ndim == 4).shape[1])
        self.updates = 0

    @property
    def method(self) -> MoCoV3:
        """The method, with the network as it is now; `MoCoV3.export` gives the network alone."""
        return self._method

    def describe(self) -> dict[str, Any]:
        """Settings by name."""
        return {
            "learner": "moco-v3",
            "encoder": self._name,
            "scorer": None if self._scorer is None else self._scorer.name,
            "image_size": self._image_size,
            "updates_each": self._each,
            **self._options,
            "training": {name: value for name, value in asdict(self._settings).items() if name != "workers"},
        }

    def encoder(self) -> ImageEncoder:
        """The scorer, or a frozen copy of the backbone as it is now."""
        return self.network() if self._scorer is None else self._scorer

    def network(self) -> ImageEncoder:
        """A frozen copy of the backbone as it is now."""
        name = f"{self._name} after {self.updates} updates" if self.updates else self._name
        return NetworkEncoder(self._method.backbone, image_size=self._image_size, name=name)

    def train(self, images: TrainingImages, iteration: int, folder: Path, *, progress: bool = False) -> None:
        """Train on images for an iteration; see `Learner.train`.

        Raises:
            ValueError: If there are fewer than two images, or the loss is not finite.
        """
        own = self._settings
        seed = (own.seed * 1_000_003 + iteration) % _SEEDS
        length = max(len(images), own.batch_size)
        if self._each is not None:
            length = -(-self._each * own.batch_size // own.epochs)
        settings = replace(own, seed=seed)
        schedule = MultiEpoch(len(images), settings.epochs, length=length, seed=seed)
        size = len(images) * self._channels * self._image_size**2
        shown: Any = self._in_memory(images) if size <= _IN_MEMORY else images
        pretrain(self._method, shown, settings, folder, schedule=schedule, channels=self._channels, progress=progress)
        self.updates += settings.loop(schedule.length).updates

    def _in_memory(self, images: TrainingImages) -> Tensor:
        """All images as bytes ``(N, C, S, S)``."""
        found = torch.empty(len(images), self._channels, self._image_size, self._image_size, dtype=torch.uint8)
        for place in range(len(images)):
            fitted = fit_image(image_to_tensor(images[place]), self._image_size, self._channels)
            found[place] = (fitted * 255).round().to(torch.uint8)
        return found

    def save(self, folder: Path) -> None:
        """Write both branches, heads, and the number of updates."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: value.detach().cpu().contiguous() for name, value in self._method.state_dict().items()}
        with atomic_write(folder / _WEIGHTS, "wb") as file:
            file.write(save(tensors))
        write_state(folder, self.describe(), self.updates)

    def load(self, folder: Path) -> None:
        """Take over a state that was saved.

        Raises:
            OSError: If a file is missing.
            ValueError: If it is a learner of other settings, or damaged.
        """
        updates = read_state(folder, self.describe())
        tensors: Mapping[str, Tensor] = read_tensors(folder / _WEIGHTS)
        try:
            self._method.load_state_dict(tensors, strict=True)
        except RuntimeError as error:
            raise ValueError(f"{folder / _WEIGHTS} does not fit the network: {str(error)[:300]}") from error
        self.updates = updates


def paper_training(**changes: Any) -> PretrainSettings:
    """Training of an iteration in the paper: LARS, learning rate 0.8 for 256 images, constant, 10 epochs of 224 images.

    Li, Brown, Efros and Pathak (2023), table 6. Not run at that size here.

    Args:
        changes: Fields with other values.

    Example:
        >>> round(paper_training().learning_rate, 6)
        0.7
    """
    settings = PretrainSettings(
        epochs=10, batch_size=224, optimizer="lars", base_learning_rate=0.8, weight_decay=1e-6, decay_share=0.0
    )
    return replace(settings, **changes)


def small_training(**changes: Any) -> PretrainSettings:
    """Training of an iteration for a small network on a CPU: SGD at a constant rate.

    Args:
        changes: Fields with other values.
    """
    settings = PretrainSettings(epochs=1, batch_size=64, base_learning_rate=0.1, weight_decay=5e-4, decay_share=0.0)
    return replace(settings, **changes)
