"""Denoising errors of images under conditions that depend on a model's prediction, with gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from vl_diffusion.adaptation.draws import Draws
from vl_diffusion.adaptation.selection import Weights
from vl_diffusion.models.denoiser import Condition, Denoiser, network_of
from vl_diffusion.scoring.noisy_images import Network, NoisyImages


@dataclass(frozen=True)
class Passes:
    """Rows that went through the denoising network for each image."""

    forward: Tensor
    """int64 ``(B,)``, evaluations."""

    backward: Tensor
    """int64 ``(B,)``, evaluations that a gradient was taken of."""

    @classmethod
    def zeros(cls, images: int) -> Passes:
        """No passes yet for this many images."""
        return cls(torch.zeros(images, dtype=torch.long), torch.zeros(images, dtype=torch.long))


@dataclass(eq=False)
class DifferentiableEvaluator:
    """B images, their denoiser, and what evaluating it has cost.

    Attributes:
        denoiser: The model.
        latents: ``(B, c, h, w)``, the clean images as it denoises them.
        image_ids: int64 ``(B,)``; noise depends on id, seed and draw alone.
        seed: Seed of the noise.
        batch_size: Rows in one call of the network.
        passes: Cost of each image; shared with the evaluator that these images were selected from.
        place: int64 ``(B,)``, the images' indices there.
        weights: Gives the network's adapted weights by name; None if it is frozen.
        autocast: Precision of the network under autocast; None to compute in its own.
        checkpointing: Recompute the network in the backward pass rather than keep its activations.
    """

    denoiser: Denoiser
    latents: Tensor
    image_ids: np.ndarray
    seed: int
    batch_size: int
    passes: Passes
    place: Tensor
    weights: Callable[[], Weights] | None = None
    autocast: torch.dtype | None = None
    checkpointing: bool = False

    def __post_init__(self) -> None:
        self._module = _DenoiserModule(self.denoiser)
        self._frozen = {name: value.detach() for name, value in self._module.named_parameters()}

    def __len__(self) -> int:
        return len(self.latents)

    def select(self, images: Tensor) -> DifferentiableEvaluator:
        """Some of the images, int64 ``(n,)``."""
        images = images.cpu()
        return replace(
            self,
            latents=self.latents[images.to(self.latents.device)],
            image_ids=self.image_ids[images.numpy()],
            place=self.place[images],
        )

    def split(self, draws: Draws, rows_per_draw: int = 1) -> Iterator[Draws]:
        """Parts of the draws, each for one call with all images and their `rows_per_draw`; one draw at least."""
        size = max(1, self.batch_size // (len(self) * rows_per_draw))
        for start in range(0, len(draws), size):
            yield draws[start : start + size]

    def predict(
        self, conditions: Condition, image: Sequence[int] | Tensor, draws: Draws
    ) -> tuple[Tensor, NoisyImages, Tensor]:
        """The network's predictions for every draw of every condition.

        Args:
            conditions: R rows.
            image: int64 ``(R,)``, the image that each is about.
            draws: n draws.

        Returns:
            Predictions ``(R * n, c, h, w)``, a condition's draws next to one another; the noisy images, ``B * n`` pairs
            with an image's draws next to one another; and the pair of each prediction, int64 ``(R * n,)``.
        """
        device, count = self.latents.device, len(draws)
        image = torch.as_tensor(image, device=device)
        row = torch.arange(len(image), device=device).repeat_interleave(count)
        pair = image[row] * count + torch.arange(count, device=device).repeat(len(image))
        noisy = NoisyImages.make(
            self.denoiser,
            self.latents,
            self.image_ids,
            image=np.arange(len(self)).repeat(count),
            draw=np.tile(draws.numbers, len(self)),
            steps=np.broadcast_to(draws.steps, (len(self), count)).reshape(-1),
            seed=self.seed,
        )
        values = [conditions] if isinstance(conditions, Tensor) else list(conditions.values())
        differentiated = torch.is_grad_enabled() and (
            self.weights is not None or any(value.requires_grad for value in values)
        )
        self.count(image[row], differentiated)
        network = self._network(recompute=self.checkpointing and differentiated)
        output = noisy.predict(network, conditions, pair, row, batch_size=self.batch_size, autocast=self.autocast)
        return output[:, : self.latents.shape[1]], noisy, pair

    def errors(
        self, conditions: Condition, image: Sequence[int] | Tensor, draws: Draws, error: Literal["l2", "l1"] = "l2"
    ) -> Tensor:
        """Mean squared or absolute errors of the noise under each of R conditions, float32 ``(R, n)``.

        Args:
            conditions: As for :meth:`predict`.
            image: As for :meth:`predict`.
            draws: As for :meth:`predict`.
            error: ``"l2"`` or ``"l1"``.
        """
        output, noisy, pair = self.predict(conditions, image, draws)
        return noisy.errors(output, pair, error).view(-1, len(draws))

    def count(self, image: Tensor, differentiated: bool = False) -> None:
        """Count an evaluation of each of these images, int64 ``(n,)``, and one in the backward pass."""
        evaluations = torch.bincount(image.cpu(), minlength=len(self))
        self.passes.forward[self.place] += evaluations
        if differentiated:
            self.passes.backward[self.place] += evaluations

    def _network(self, recompute: bool) -> Network:
        adapted = {} if self.weights is None else self.weights()
        weights = self._frozen | {f"network.{name}": value for name, value in adapted.items()}

        def network(x_t: Tensor, time: Tensor, condition: Condition) -> Tensor:
            def predict() -> Tensor:
                output: Tensor = functional_call(self._module, weights, (x_t, time, condition))
                return output

            if not recompute:
                return predict()
            # The backward pass recomputes with the same weights.
            output: Tensor = checkpoint(predict, use_reentrant=False)
            return output

        return network


class _DenoiserModule(nn.Module):
    """A denoiser as a module, so that it can be called with other weights than its own."""

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.network = network_of(denoiser)
        self._predict = denoiser.predict

    def forward(self, x_t: Tensor, time: Tensor, condition: Condition) -> Tensor:
        return self._predict(x_t, time, condition)
