"""The signature of learners, and the one that learns nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from PIL import Image
from vl_core.files import read_json
from vl_core.runs import atomic_write

from vl_explorer.rewards.encoder import ImageEncoder

STATE = "learner.json"
"""File that a saved learner has at last, so that a folder without it is not whole."""


class TrainingImages(Protocol):
    """Images by position, such as a list; `names` tell one collection from another."""

    @property
    def names(self) -> Sequence[str]:
        """A name for each image, equal for equal images."""

    def __len__(self) -> int: ...

    def __getitem__(self, position: int, /) -> Image.Image: ...


class Learner(Protocol):
    """Anything that learns from images without labels, iteration after iteration.

    What it is after a training is a function of what it was before, of the images and of the iteration's number.
    """

    @property
    def updates(self) -> int:
        """Updates so far."""

    def describe(self) -> Mapping[str, Any]:
        """Settings by name, as JSON keeps them: the same for a learner that is made again."""

    def encoder(self) -> ImageEncoder:
        """Scores images: a frozen copy of the network as it is now, or what stands for it."""

    def network(self) -> ImageEncoder:
        """A frozen copy of the network that is trained, as it is now."""

    def train(self, images: TrainingImages, iteration: int, folder: Path, *, progress: bool = False) -> None:
        """Train on images; rerun with the same arguments after a kill to resume.

        Args:
            images: To be trained on.
            iteration: Its number, from which random numbers are drawn.
            folder: For checkpoints; may be removed afterwards.
            progress: Show a progress bar.
        """

    def save(self, folder: Path) -> None:
        """Write the learner's state, whole or not at all."""

    def load(self, folder: Path) -> None:
        """Take over a state that was saved."""


class FixedLearner:
    """A learner that learns nothing, for explorations whose images are all that is wanted.

    Args:
        encoder: Scores images from the first iteration to the last.
    """

    updates = 0

    def __init__(self, encoder: ImageEncoder) -> None:
        self._encoder = encoder

    def describe(self) -> dict[str, Any]:
        """The name of the encoder."""
        return {"learner": "fixed", "encoder": self._encoder.name}

    def encoder(self) -> ImageEncoder:
        """The encoder."""
        return self._encoder

    def network(self) -> ImageEncoder:
        """The encoder."""
        return self._encoder

    def train(self, images: TrainingImages, iteration: int, folder: Path, *, progress: bool = False) -> None:
        """Do nothing."""

    def save(self, folder: Path) -> None:
        """Write the description."""
        write_state(folder, self.describe(), 0)

    def load(self, folder: Path) -> None:
        """Check that the folder is of this learner.

        Raises:
            ValueError: If it is of another one.
        """
        read_state(folder, self.describe())


def write_state(folder: Path, description: Mapping[str, Any], updates: int) -> None:
    """Say that a saved learner is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / STATE) as file:
        file.write(json.dumps({**description, "updates": updates}, indent=1) + "\n")


def read_state(folder: Path, description: Mapping[str, Any]) -> int:
    """Number of updates of a saved learner.

    Raises:
        OSError: If a file is missing.
        ValueError: If it is a learner of other settings, or damaged.
    """
    found: dict[str, Any] = read_json(folder / STATE, dict)
    updates = found.pop("updates", None)
    if not isinstance(updates, int) or found != json.loads(json.dumps(description)):
        raise ValueError(f"{folder} must be of the learner {dict(description)}, got {found}; give another folder")
    return updates
