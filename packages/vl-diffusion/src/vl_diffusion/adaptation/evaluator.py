"""What a diffusion model says of some images under conditions that depend on a prediction, differentiably."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint
from vl_core.kernels import diffuse, noise_error
from vl_core.noise import make_keys

from vl_diffusion.adaptation.selection import Weights
from vl_diffusion.models.denoiser import Condition, Denoiser, condition_rows, network_of


@dataclass(frozen=True)
class Passes:
    """Rows that went through the denoising network for each image."""

    forward: Tensor
    """int64 ``(B,)``, evaluations."""

    backward: Tensor
    """int64 ``(B,)``, evaluations that a gradient was taken of."""

    @classmethod
    def of(cls, images: int) -> Passes:
        """None so far."""
        return cls(torch.zeros(images, dtype=torch.long), torch.zeros(images, dtype=torch.long))


@dataclass(frozen=True)
class Draws:
    """Time steps and noise that every image of a batch is looked at with, ``n`` an image.

    Attributes:
        steps: int64 ``(n,)``, steps of the schedule, or ``(B, n)``.
        numbers: int64 ``(n,)``, which draws of an image's noise they are.
    """

    steps: np.ndarray
    numbers: np.ndarray

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, part: slice) -> Draws:
        return Draws(self.steps[..., part], self.numbers[part])


@dataclass(eq=False)
class DifferentiableEvaluator:
    """Images as a diffusion model sees them.

    Attributes:
        denoiser: The model.
        latents: ``(B, c, h, w)``, what it denoises.
        image_ids: int64 ``(B,)``; noise depends on id, seed and draw alone.
        seed: Seed of the noise.
        batch_size: Rows in one call of the network.
        passes: What each image has cost; shared with whatever these images were selected from.
        place: int64 ``(B,)``, where the images stand there.
        weights: Gives the network's weights by name where they move; None if it is frozen.
        autocast: Precision of the network under autocast; None to compute as it is.
        checkpointing: Compute the network again in the backward pass rather than keep its activations.
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
        self._network = _Network(self.denoiser)
        self._frozen = {name: value.detach() for name, value in self._network.named_parameters()}

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

    def parts(self, draws: Draws, rows_a_draw: int = 1) -> Iterator[Draws]:
        """The draws in parts: as many as fit into one call with all images and their `rows_a_draw`, at least one."""
        size = max(1, self.batch_size // (len(self) * rows_a_draw))
        for start in range(0, len(draws), size):
            yield draws[start : start + size]

    def outputs(self, conditions: Condition, image: Sequence[int] | Tensor, draws: Draws) -> tuple[Tensor, _Noisy]:
        """The network's output for every draw of every row.

        Args:
            conditions: R rows.
            image: int64 ``(R,)``, the image that each is about.
            draws: n draws.

        Returns:
            ``(R * n, c, h, w)``, a row's draws next to one another, and what was shown.
        """
        noisy = self._noisy(torch.as_tensor(image, device=self.latents.device), draws)
        count = noisy.row.numel()
        repeated = condition_rows(conditions, noisy.row)
        floats = [repeated] if isinstance(repeated, Tensor) else list(repeated.values())
        differentiates = torch.is_grad_enabled() and (
            self.weights is not None or any(value.requires_grad for value in floats)
        )
        self.count(noisy.image, differentiates)
        device = self.latents.device.type
        amp = nullcontext() if self.autocast is None else torch.autocast(device, self.autocast)
        moved = {} if self.weights is None else self.weights()
        weights = self._frozen | {f"network.{name}": value for name, value in moved.items()}
        with amp:
            outputs = [
                self._call(noisy.rows(rows), condition_rows(repeated, rows), weights, differentiates)
                for rows in torch.split(torch.arange(count, device=self.latents.device), self.batch_size)
            ]
        return torch.cat(outputs)[:, : self.latents.shape[1]], noisy

    def errors(self, conditions: Condition, image: Sequence[int] | Tensor, draws: Draws) -> Tensor:
        """Mean squared errors of the noise under each of R conditions, float32 ``(R, n)``; see :meth:`outputs`."""
        output, noisy = self.outputs(conditions, image, draws)
        return self.compare(output, noisy).view(-1, len(draws))

    def compare(self, output: Tensor, noisy: _Noisy) -> Tensor:
        """Mean squared errors of the noise, ``(R * n,)``, of what the network said of `noisy`."""
        schedule = self.denoiser.schedule
        return noise_error(
            output,
            noisy.keys,
            target=schedule.prediction,
            x0=self.latents,
            image=noisy.image,
            alpha=noisy.alpha,
            sigma=noisy.sigma,
            scale=schedule.error_scale("epsilon", noisy.alpha, noisy.sigma),
        )

    def count(self, image: Tensor, differentiates: bool = False) -> None:
        """Charge an evaluation to each of these images, int64 ``(n,)``, and one that is differentiated."""
        evaluations = torch.bincount(image.cpu(), minlength=len(self))
        self.passes.forward[self.place] += evaluations
        if differentiates:
            self.passes.backward[self.place] += evaluations

    def _call(self, noisy: _Noisy, condition: Condition, weights: Weights, differentiates: bool) -> Tensor:
        def predict() -> Tensor:
            output: Tensor = functional_call(self._network, weights, (noisy.x_t, noisy.time, condition))
            return output

        if not (self.checkpointing and differentiates):
            return predict()
        # What is computed again in the backward pass is computed with the same weights.
        output: Tensor = checkpoint(predict, use_reentrant=False)
        return output

    def _noisy(self, image: Tensor, draws: Draws) -> _Noisy:
        count, device, schedule = len(draws), self.latents.device, self.denoiser.schedule
        row = torch.arange(len(image), device=device).repeat_interleave(count)
        of = image[row]
        number = np.tile(draws.numbers, len(image))
        steps = np.broadcast_to(draws.steps, (len(self), count))[image.cpu().numpy()].reshape(-1)
        ids = torch.from_numpy(self.image_ids)[of.cpu()]
        keys = make_keys(self.seed, ids, torch.from_numpy(number)).to(device)
        alpha, sigma = (level.to(device) for level in schedule.levels(steps))
        time = schedule.network_times(steps).to(device)
        return _Noisy(row, of, keys, alpha, sigma, time, diffuse(self.latents, keys, alpha, sigma, image=of))


@dataclass(frozen=True, eq=False)
class _Noisy:
    """Noisy images and all that belongs to them, a row a draw of a condition."""

    row: Tensor  # [R * n], the condition
    image: Tensor  # [R * n]
    keys: Tensor
    alpha: Tensor
    sigma: Tensor
    time: Tensor
    x_t: Tensor

    def rows(self, rows: Tensor) -> _Noisy:
        """Some of the rows."""
        return _Noisy(*(getattr(self, part.name)[rows] for part in fields(self)))


class _Network(nn.Module):
    """A denoiser as a module, so that it can be called with other weights than its own."""

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.network = network_of(denoiser)
        self._predict = denoiser.predict

    def forward(self, x_t: Tensor, time: Tensor, condition: Condition) -> Tensor:
        return self._predict(x_t, time, condition)
