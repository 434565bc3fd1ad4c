"""A small convolutional classifier for gray images, the source model of the adaptation studies.

It uses group normalization, so that the logits of an image do not depend on its batch.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from safetensors.torch import save_file
from torch import Tensor, nn
from vl_core.files import check_sizes, limit_network, read_json, read_tensors
from vl_core.runs import atomic_write

from vl_diffusion.checks import checked_classes
from vl_diffusion.models.folders import PRETRAINED

_CHANNELS_A_GROUP = 8
_CONFIG, _WEIGHTS = "config.json", "model.safetensors"


class SmallCNN(nn.Module):
    """Five 3x3 convolutions with group normalization, two max poolings, global average pooling, and a linear layer.

    Args:
        width: Channels of the first two convolutions, a multiple of 8; the next two have twice as many, the last four
            times. A width of 32 gives 140 thousand parameters.
        classes: Class names, in the order of the logits.
        image_size: Height and width of the training images, in pixels; the network accepts any size.

    Raises:
        ValueError: If the width or the class names are invalid.
    """

    def __init__(self, width: int = 32, *, classes: Sequence[str], image_size: int = 28) -> None:
        super().__init__()
        if width < 1 or width % _CHANNELS_A_GROUP:
            raise ValueError(f"width must be a multiple of {_CHANNELS_A_GROUP}, got {width}")
        self.width, self.classes, self.image_size = width, checked_classes(classes), image_size
        self.features = nn.Sequential(
            *_layer(1, width),
            *_layer(width, width),
            nn.MaxPool2d(2),
            *_layer(width, 2 * width),
            *_layer(2 * width, 2 * width),
            nn.MaxPool2d(2),
            *_layer(2 * width, 4 * width),
        )
        self.head = nn.Linear(4 * width, len(self.classes))

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(B, K)`` of gray images ``(B, 1, H, W)`` in [0, 1]."""
        logits: Tensor = self.head(self.features(2 * images - 1).mean((2, 3)))
        return logits

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``config.json`` and ``model.safetensors`` to a folder, creating it if necessary."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        config = {
            "architecture": "SmallCNN",
            "width": self.width,
            "image_size": self.image_size,
            "classes": list(self.classes),
        }
        weights = {name: value.contiguous() for name, value in self.state_dict().items()}
        save_file(weights, folder / _WEIGHTS)
        with atomic_write(folder / _CONFIG, "w") as file:
            file.write(json.dumps(config, indent=2) + "\n")

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Load a model saved by :meth:`save_pretrained`, in evaluation mode.

        Args:
            folder: A folder, or a built-in model: ``"fashion_few/seed-0"``, ``seed-1`` or ``seed-2``.

        Raises:
            OSError: If a file is missing or cannot be read.
            ValueError: If a file is damaged, or weights and configuration do not match.
        """
        folder = Path(folder)
        if not folder.is_dir() and (PRETRAINED / folder).is_dir():
            folder = PRETRAINED / folder
        try:
            config = read_json(folder / _CONFIG)
            check_sizes(config, folder / _CONFIG)
            with limit_network(folder):
                model = cls(config["width"], classes=config["classes"], image_size=config.get("image_size", 28))
        except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            raise ValueError(
                f"{folder / _CONFIG} must describe a {cls.__name__} with its width and classes ({error!r})"
            ) from error
        try:
            model.load_state_dict(read_tensors(folder / _WEIGHTS))
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(
                f"{folder / _WEIGHTS} does not match the {_CONFIG} in the same folder: {reason}"
            ) from error
        return model.eval()

    @staticmethod
    def is_in(folder: str | Path) -> bool:
        """True if the folder's ``config.json`` describes a `SmallCNN`."""
        try:
            config = read_json(Path(folder) / _CONFIG)
        except (OSError, ValueError):
            return False
        return isinstance(config, dict) and config.get("architecture") == "SmallCNN"


def _layer(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.GroupNorm(outputs // _CHANNELS_A_GROUP, outputs),
        nn.ReLU(),
    )
