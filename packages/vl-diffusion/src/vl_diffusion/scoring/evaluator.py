"""Denoising errors of many (image, draw, text) evaluations, without gradients and in large blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from vl_diffusion.models.denoiser import Condition, Denoiser
from vl_diffusion.models.schedule import Prediction
from vl_diffusion.scoring.noisy_images import Network, NoisyImages, blocks
from vl_diffusion.scoring.objectives import NoiseSharing, Objective

# Noisy images are made for this many values at a time (64 MiB in float32), and outputs compared for this many: small
# images would otherwise take more time in calls than in arithmetic.
_NOISY_VALUES = 2**24
_COMPARED_VALUES = 2**20


@dataclass(frozen=True, eq=False)
class EvaluationBatch:
    """J evaluations of P (image, draw) pairs, those of a pair side by side, so that each noisy image is made once.

    Attributes:
        image: int64 ``(P,)``, the image of each pair.
        draw: int64 ``(P,)``, its draw.
        pair: int64 ``(J,)``, the pair of each evaluation, ascending.
        row: int64 ``(J,)``, its row of the condition.
    """

    image: np.ndarray
    draw: np.ndarray
    pair: np.ndarray
    row: np.ndarray

    def __len__(self) -> int:
        return len(self.pair)


@dataclass(frozen=True, eq=False)
class ErrorEvaluator:
    """A denoiser with all settings that its errors depend on.

    Attributes:
        denoiser: The model.
        condition: The condition of each text, ``R`` rows.
        texts: The R names or prompts, for error messages.
        steps: int64 ``(M,)``, the schedule's step of each draw.
        objective: The error's form.
        error_space: The quantity whose error it is.
        seed: Seed of the noise.
        batch_size: Evaluations in one call of the network.
        compile: Compile the network; every batch then has the same size, the last one filled up.
        autocast: Precision of the network under autocast; None to compute in its own.
        noise: The draws, or images, that share their noise.
        trials: Number of consecutive draws at one time step.
    """

    denoiser: Denoiser
    condition: Condition
    texts: tuple[str, ...]
    steps: np.ndarray
    objective: Objective
    error_space: Prediction
    seed: int
    batch_size: int
    compile: bool = False
    autocast: torch.dtype | None = None
    noise: NoiseSharing = "independent"
    trials: int = 1

    def __post_init__(self) -> None:
        """Raise ValueError if the error is undefined at a step, such as that of the image in pure noise."""
        schedule = self.denoiser.schedule
        scale = schedule.error_scale(self.error_space, *schedule.levels(self.steps))
        if self.objective != "vlb" and not bool(scale.isfinite().all()):
            step = int(self.steps[int((~scale.isfinite()).nonzero()[0])])
            raise ValueError(
                f"the error of {self.error_space!r} is not defined at time step {step} of {len(schedule)}, where a "
                f"prediction of {schedule.prediction!r} does not determine it; leave the step out with time_range, or "
                "choose another error_space"
            )

    @cached_property
    def _network(self) -> Network:
        predict = self.denoiser.predict
        return torch.compile(predict, dynamic=False) if self.compile else predict

    def __call__(
        self,
        latents: Tensor,
        image_ids: np.ndarray,
        batch: EvaluationBatch,
        advance: Callable[[int], object] = lambda n: None,
    ) -> np.ndarray:
        """The error of each evaluation.

        Args:
            latents: ``(B, c, h, w)``, the clean images.
            image_ids: int64 ``(B,)``; the noise of an image depends on its id, the seed and the draw alone, and on
                fewer of them where it is shared.
            batch: The evaluations.
            advance: Called with the number of evaluations done, after each call of the network.

        Returns:
            float32 ``(J,)``.

        Raises:
            ValueError: If the network's output has another shape than the image, or is NaN or infinite.
        """
        return self._evaluate(latents, image_ids, batch, advance, NoisyImages.errors)

    def maps(
        self,
        latents: Tensor,
        image_ids: np.ndarray,
        batch: EvaluationBatch,
        advance: Callable[[int], object] = lambda n: None,
    ) -> np.ndarray:
        """The error of each pixel, float32 ``(J, h, w)``, whose means are the errors; as :meth:`__call__`."""
        return self._evaluate(latents, image_ids, batch, advance, NoisyImages.error_maps)

    @torch.no_grad()
    def _evaluate(
        self,
        latents: Tensor,
        image_ids: np.ndarray,
        batch: EvaluationBatch,
        advance: Callable[[int], object],
        compare: Callable[[NoisyImages, Tensor, Tensor, Objective, Prediction], Tensor],
    ) -> np.ndarray:
        size, device = latents[0].numel(), self.denoiser.device
        found = []
        for first, last in blocks(len(batch.draw), max(1, _NOISY_VALUES // size)):
            image, draw = batch.image[first:last], batch.draw[first:last]
            noisy = NoisyImages.make(
                self.denoiser,
                latents,
                np.zeros_like(image_ids) if self.noise == "images" else image_ids,
                image=image,
                draw=draw % self.trials if self.noise == "timesteps" else draw,
                steps=self.steps[draw],
                seed=self.seed,
            )
            within = slice(*np.searchsorted(batch.pair, [first, last]))
            pairs = torch.from_numpy(batch.pair[within] - first).to(device)
            rows = torch.from_numpy(batch.row[within]).to(device)
            calls = max(1, _COMPARED_VALUES // (size * self.batch_size))
            for start, stop in blocks(len(rows), calls * self.batch_size):
                pair = pairs[start:stop]
                output = noisy.predict(
                    self._network,
                    self.condition,
                    pair,
                    rows[start:stop],
                    batch_size=self.batch_size,
                    autocast=self.autocast,
                    pad=self.compile,
                    advance=advance,
                )
                found.append(compare(noisy, output, pair, self.objective, self.error_space))
        errors: np.ndarray = torch.cat(found).cpu().numpy()
        self._check_finite(errors, batch, output.dtype)
        return errors

    def _check_finite(self, errors: np.ndarray, batch: EvaluationBatch, dtype: torch.dtype) -> None:
        # NaN would win the search, and it stands for "not evaluated".
        finite = np.isfinite(errors)
        if finite.all():
            return
        place = tuple(np.argwhere(~finite)[0])
        job = place[0]
        name = str(dtype).removeprefix("torch.")
        raise ValueError(
            f"the error of {self.texts[batch.row[job]]!r} at time step {self.steps[batch.draw[batch.pair[job]]]} must "
            f"be finite, got {errors[place]} from a network in {name}; "
            + ("use float32 or bfloat16, or " if name == "float16" else "")
            + "check the model's weights"
        )
