"""Training by maximum likelihood, in the loop of vl_core: any number of processes, exact resume."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from vl_core.data import image_to_tensor
from vl_core.training import Shuffled, TrainingSettings, fit

from vl_density.models.density import AutoregressiveDensity
from vl_density.ood.likelihoods import mutate
from vl_density.quantization import bits_per_dim, quantize


class _TensorImages:
    """Items of a data set as tensors: the image, and its class where there is one."""

    def __init__(self, dataset: Any):
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Any:
        item = self._dataset[index]
        if isinstance(item, tuple) and len(item) > 1:
            return image_to_tensor(item[0]), item[1]
        return image_to_tensor(item[0] if isinstance(item, tuple) else item)


def train_density(
    model: AutoregressiveDensity,
    dataset: Any,
    settings: TrainingSettings,
    out: str | os.PathLike[str],
    *,
    mutation_rate: float = 0.0,
    order_seed: int = 0,
    config: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> None:
    """Minimize the bits per dimension of a data set, in place; rerun with the same arguments to resume.

    The model is in evaluation mode at the end, so that its log-probabilities are exact.

    Args:
        model: The density.
        dataset: Map-style, of images as `vl_core.data.image_to_tensor` takes them, or of pairs of image and class for
            a model with classes; `vl_core.data.open_dataset` gives one. Images are rounded to the model's levels.
        settings: How to train; see `vl_core.training.TrainingSettings`.
        out: Folder of the run.
        mutation_rate: Share of values that are replaced by uniform ones, for a background density; see `mutate`.
        order_seed: Seed of the order of images.
        config: What else makes the run what it is, kept in its folder.
        progress: Show a progress bar.

    Raises:
        ValueError: If an image has another size than the model, or the folder holds another run.

    Example:
        >>> settings = TrainingSettings(updates=1000, batch_size=32)
        >>> train_density(model, open_dataset("fashion", split="train"), settings, "runs/fashion")
    """

    def loss(density: nn.Module, batch: Any, number: int) -> Tensor:
        images, classes = batch if isinstance(batch, list | tuple) else (batch, None)
        images = quantize(images, model.levels)
        if mutation_rate:
            generator = torch.Generator(images.device).manual_seed(settings.seed * 1_000_003 + number)
            images = mutate(images, mutation_rate, model.levels, generator=generator)
        log_prob: Tensor = density(images, classes if model.num_classes else None)
        return bits_per_dim(log_prob, model.dimensions).mean()

    fit(
        model,
        Shuffled(_TensorImages(dataset), order_seed),
        loss,
        settings,
        out,
        config={
            "density": {"kind": type(model).__name__, "arguments": model._hub_mixin_config},
            "mutation_rate": mutation_rate,
            "order_seed": order_seed,
            **(config or {}),
        },
        progress=progress,
        description="train a density",
    )
    model.eval()
