"""From clean images to denoising errors: choose a noise level, diffuse, predict, compare.

Classification, test-time adaptation and error maps all score images here. Noise belongs to an (image, draw) pair and is
never stored: its keys make it once for the noisy image and again for the comparison. The network may compute in half
precision; levels, targets and errors are float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from vl_core.kernels import diffuse, noise_error
from vl_core.noise import gaussian, make_keys

from vl_diffusion.models.denoiser import Condition, Denoiser, condition_rows, learns_variance
from vl_diffusion.models.schedule import Prediction
from vl_diffusion.scoring.losses import variational_map
from vl_diffusion.scoring.objectives import Objective

Network = Callable[[Tensor, Tensor, Condition], Tensor]
"""From noisy images, times and rows of a condition to predictions, as ``Denoiser.predict``."""


@dataclass(frozen=True, eq=False)
class NoisyImages:
    """Noisy images of P (image, draw) pairs, made from B clean ones.

    Attributes:
        denoiser: The model that they are made for.
        x0: ``(B, c, h, w)``, the clean images.
        image: int64 ``(P,)``, the clean image of each pair.
        steps: int64 ``(P,)``, its step of the schedule.
        keys: int64 ``(P, 2)``, the keys of its noise.
        alpha: float32 ``(P,)``, its signal level.
        sigma: float32 ``(P,)``, its noise level.
        time: ``(P,)``, the time that the network is given.
        x_t: ``(P, c, h, w)``, ``alpha * x0 + sigma * noise``.
    """

    denoiser: Denoiser
    x0: Tensor
    image: Tensor
    steps: np.ndarray
    keys: Tensor
    alpha: Tensor
    sigma: Tensor
    time: Tensor
    x_t: Tensor

    @classmethod
    def make(
        cls,
        denoiser: Denoiser,
        x0: Tensor,
        image_ids: np.ndarray,
        *,
        image: np.ndarray,
        draw: np.ndarray,
        steps: np.ndarray,
        seed: int,
    ) -> NoisyImages:
        """Diffuse images.

        Args:
            denoiser: The model.
            x0: ``(B, c, h, w)``, the clean images.
            image_ids: int64 ``(B,)``; an image's noise depends on its id, the draw and the seed alone.
            image: int64 ``(P,)``, the image of each pair.
            draw: int64 ``(P,)``, the number of its draw.
            steps: int64 ``(P,)``, its step of the schedule.
            seed: Seed of the noise.
        """
        device, schedule = denoiser.device, denoiser.schedule
        keys = make_keys(seed, torch.from_numpy(image_ids[image]), torch.from_numpy(draw)).to(device)
        alpha, sigma = (level.to(device) for level in schedule.levels(steps))
        of = torch.from_numpy(image).to(device)
        return cls(
            denoiser=denoiser,
            x0=x0,
            image=of,
            steps=steps,
            keys=keys,
            alpha=alpha,
            sigma=sigma,
            time=schedule.network_times(steps).to(device),
            x_t=diffuse(x0, keys, alpha, sigma, image=of),
        )

    def predict(
        self,
        network: Network,
        condition: Condition,
        pair: Tensor,
        row: Tensor,
        *,
        batch_size: int,
        autocast: torch.dtype | None = None,
        pad: bool = False,
        advance: Callable[[int], object] = lambda count: None,
    ) -> Tensor:
        """The network's outputs for J pairs under J rows of a condition, a batch at a time.

        Args:
            network: The denoiser's `predict`, or a variant of it.
            condition: R rows.
            pair: int64 ``(J,)``, which pairs.
            row: int64 ``(J,)``, the row of the condition for each.
            batch_size: Evaluations in one call of the network.
            autocast: Precision of the network under autocast; None to compute in its own.
            pad: Fill up the last batch, as a compiled network wants one size.
            advance: Called with the number of evaluations done, after each batch.

        Returns:
            ``(J, c, h, w)``, or ``(J, 2c, h, w)`` from a model that learns its variance.

        Raises:
            ValueError: If the output has another shape.
        """
        outputs = []
        with nullcontext() if autocast is None else torch.autocast(torch.device(self.denoiser.device).type, autocast):
            for start, stop in blocks(len(pair), batch_size):
                of, text = pair[start:stop], row[start:stop]
                if pad and len(of) < batch_size:
                    # Any row will do: its output is cut off.
                    more = batch_size - len(of)
                    of, text = torch.cat([of, of[-1:].expand(more)]), torch.cat([text, text[-1:].expand(more)])
                output = network(self.x_t[of], self.time[of], condition_rows(condition, text))
                self._check_shape(output, len(of))
                outputs.append(output[: stop - start])
                advance(stop - start)
        return torch.cat(outputs)

    def errors(
        self, output: Tensor, pair: Tensor, objective: Objective = "l2", error_space: Prediction = "epsilon"
    ) -> Tensor:
        """Mean errors over the values of an image, float32 ``(J,)``.

        Args:
            output: ``(J, c or 2c, h, w)`` from :meth:`predict`; differentiable for l2, l1 and huber.
            pair: int64 ``(J,)``, the pairs that it predicts.
            objective: The error's form.
            error_space: The quantity whose error it is.
        """
        if objective == "vlb":
            return self._variational(output, pair).flatten(1).mean(1)
        if objective == "l2+vlb":
            nats = self._variational(output, pair).flatten(1).mean(1)
            return self.errors(output, pair, "l2", error_space) + nats / math.log(2)
        alpha, sigma, schedule = self.alpha[pair], self.sigma[pair], self.denoiser.schedule
        return noise_error(
            output[:, : self.x_t.shape[1]],
            self.keys[pair],
            target=schedule.prediction,
            x0=self.x0,
            image=self.image[pair],
            alpha=alpha,
            sigma=sigma,
            scale=schedule.error_scale(error_space, alpha, sigma),
            loss=objective,
        )

    def error_maps(
        self, output: Tensor, pair: Tensor, objective: Objective = "l2", error_space: Prediction = "epsilon"
    ) -> Tensor:
        """Errors averaged over channels alone, float32 ``(J, h, w)``; arguments as for :meth:`errors`."""
        if objective == "vlb":
            return self._variational(output, pair).mean(1)
        if objective == "l2+vlb":
            nats = self._variational(output, pair).mean(1)
            return self.error_maps(output, pair, "l2", error_space) + nats / math.log(2)
        schedule, x0 = self.denoiser.schedule, self.x0[self.image[pair]]
        noise = gaussian(self.keys[pair], tuple(x0.shape[1:]))
        alpha, sigma = (level[pair].view(-1, 1, 1, 1) for level in (self.alpha, self.sigma))
        target = {
            "epsilon": noise,
            "v_prediction": alpha * noise - sigma * x0,
            "flow_prediction": noise - x0,
            "sample": x0,
        }[schedule.prediction]
        difference = output[:, : x0.shape[1]].float() - target
        difference = schedule.error_scale(error_space, alpha, sigma) * difference
        if objective == "l2":
            return difference.square().mean(1)
        if objective == "l1":
            return difference.abs().mean(1)
        return F.huber_loss(difference, torch.zeros_like(difference), reduction="none").mean(1)

    def _variational(self, output: Tensor, pair: Tensor) -> Tensor:
        steps = self.steps[pair.cpu().numpy()]
        return variational_map(output, self.x_t[pair], self.x0[self.image[pair]], steps, self.denoiser.schedule)

    def _check_shape(self, output: Tensor, count: int) -> None:
        channels, *size = self.x_t.shape[1:]
        expected = (count, channels * (2 if learns_variance(self.denoiser) else 1), *size)
        if output.shape != expected:
            raise ValueError(f"predict() must return {expected}, got {tuple(output.shape)}")


def blocks(total: int, size: int) -> Iterator[tuple[int, int]]:
    """Cut 0 ... total into runs of at most `size`."""
    for start in range(0, total, size):
        yield start, min(start + size, total)
