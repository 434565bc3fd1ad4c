"""Log-probabilities of any number of images in bounded memory, and mutation for background densities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from vl_core.data import image_batch

from vl_density.models.density import AutoregressiveDensity


class RememberedDensity:
    """A density that remembers the log-probabilities of sets of images, for several scores of the same ones.

    Sets are told apart by identity, so their values must not change.

    Args:
        model: The density.
    """

    def __init__(self, model: AutoregressiveDensity):
        self.model = model
        self._found: dict[int, tuple[Any, NDArray[np.float64]]] = {}

    def log_probs(self, images: Any) -> NDArray[np.float64]:
        """Log-probabilities, computed once for each set, nats ``(B,)``."""
        if id(images) not in self._found:
            # With the images, lest another set takes their place in memory.
            self._found[id(images)] = (images, log_probs(self.model, images))
        return self._found[id(images)][1]


Density: TypeAlias = AutoregressiveDensity | RememberedDensity


def network_of(density: Density) -> AutoregressiveDensity:
    """The density itself."""
    return density.model if isinstance(density, RememberedDensity) else density


@torch.no_grad()
def log_probs(
    model: Density, images: Any, *, condition: int | None = None, batch_size: int = 64
) -> NDArray[np.float64]:
    """Log-probabilities in float64, in portions; the model is in evaluation mode meanwhile.

    Args:
        model: The density.
        images: As for its `log_prob`.
        condition: Class of all images, for a model with classes.
        batch_size: Images at once.

    Returns:
        Nats ``(B,)``.
    """
    if isinstance(model, RememberedDensity):
        return model.log_probs(images)
    return _mapped(model, images, condition, batch_size, lambda found: found.flatten(1).sum(1))


@torch.no_grad()
def log_prob_maps(model: Density, images: Any, *, batch_size: int = 64) -> NDArray[np.float64]:
    """Log-probability of each value in float64, nats ``(B, C, H, W)``, in portions and in evaluation mode."""
    return _mapped(network_of(model), images, None, batch_size, lambda found: found)


def _mapped(
    model: AutoregressiveDensity,
    images: Any,
    condition: int | None,
    batch_size: int,
    reduce: Callable[[Tensor], Tensor],
) -> NDArray[np.float64]:
    """Reduced maps of log-probability; the model is in evaluation mode meanwhile."""
    training = model.training
    model.eval()
    try:
        parts = torch.split(image_batch(images), batch_size)
        found = [reduce(model.log_prob_map(part, condition).double()).cpu() for part in parts]
    finally:
        model.train(training)
    return torch.cat(found).numpy()


def mutate(images: Tensor, rate: float, levels: int = 256, *, generator: torch.Generator | None = None) -> Tensor:
    """Replace values by uniform ones with a probability, for a background density (Ren et al., 2019, section 4).

    Args:
        images: On the grid k / (levels - 1), any shape.
        rate: Probability that a value is drawn anew; it may be drawn as it was.
        levels: Number of gray values.
        generator: Source of the random numbers, on the images' device.

    Returns:
        The same shape and dtype.

    Raises:
        ValueError: If `rate` is not within 0..1.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"rate must lie between 0 and 1, got {rate}")
    chosen = torch.rand(images.shape, generator=generator, device=images.device) < rate
    drawn = torch.randint(levels, images.shape, generator=generator, device=images.device)
    return torch.where(chosen, drawn.to(images.dtype) / (levels - 1), images)
