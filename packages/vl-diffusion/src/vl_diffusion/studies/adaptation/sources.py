"""The classifier before adaptation: ours or one of transformers, by name or from a folder, possibly one per seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from vl_core.data import fit_image

from vl_diffusion.adaptation.models import Preprocessing
from vl_diffusion.checks import checked_classes
from vl_diffusion.models.small_cnn import SmallCNN


@dataclass(frozen=True, eq=False)
class Source:
    """A classifier as it was trained."""

    model: nn.Module
    """From a batch of prepared images to logits ``(B, K)``."""

    preprocess: Callable[[Tensor], Tensor]
    """Prepares an image ``(C, H, W)`` in [0, 1]."""

    classes: tuple[str, ...]
    """Names of the logits, in their order."""

    @torch.no_grad()
    def check(self, image: Tensor) -> None:
        """Run it on one image.

        Raises:
            ValueError: If it does not return one logit per class.
        """
        device = next(self.model.parameters()).device
        output = self.model(self.preprocess(image)[None].to(device))
        shape = tuple(getattr(output, "logits", output).shape)
        if shape != (1, len(self.classes)):
            raise ValueError(
                f"classes must name the source's logits, {shape[-1]} of them, in their order; got "
                f"{len(self.classes)}: {', '.join(self.classes[:5])}{' ...' if len(self.classes) > 5 else ''}"
            )


def load_source(folder: Path, classes: Sequence[str] | None = None) -> Source:
    """Load a :class:`SmallCNN`, or an image classifier of transformers with its processor, in evaluation mode.

    Args:
        folder: Written by ``save_pretrained``; safetensors only, nothing is unpickled.
        classes: Names of its logits, in their order; by default those of its configuration.

    Raises:
        OSError: If a file is missing or cannot be read.
        ValueError: If the folder holds neither, or is damaged.
    """
    if SmallCNN.is_in(folder):
        model = SmallCNN.from_pretrained(folder)
        names = checked_classes(model.classes if classes is None else classes)
        return Source(model, partial(fit_image, size=model.image_size, channels=1), names)
    return _of_transformers(folder, classes)


def _of_transformers(folder: Path, classes: Sequence[str] | None) -> Source:
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    try:
        model = AutoModelForImageClassification.from_pretrained(folder, use_safetensors=True, local_files_only=True)
        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)  # type: ignore[no-untyped-call]
    # transformers raises nearly anything for files that are damaged, missing or of another kind.
    except Exception as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"{folder} holds neither a SmallCNN nor an image classifier of transformers with its processor: {reason}"
        ) from error
    labels = model.config.id2label
    names = tuple(labels[i] for i in sorted(labels)) if classes is None else tuple(classes)
    return Source(model.eval(), Preprocessing.of(processor), checked_classes(names))
