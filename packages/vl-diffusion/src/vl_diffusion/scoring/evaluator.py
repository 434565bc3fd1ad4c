"""The denoising errors of many (image, draw, text) jobs: noise is made, shown to the network, and made again.

Noise belongs to the (image, draw) pair and is never stored: what a noisy image is made with is made again to compare
the network's output with. The network may compute in half precision; levels, targets and means are float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from vl_core.kernels import diffuse, noise_error
from vl_core.noise import make_keys

from vl_diffusion.models.denoiser import Condition, Denoiser, condition_rows, learns_variance
from vl_diffusion.models.schedule import Prediction
from vl_diffusion.scoring.losses import Objective, variational_term

# Noisy images are made for this many values at a time (64 MiB in float32), and outputs compared for this many: small
# images would otherwise take more time in calls than in arithmetic.
_NOISY_VALUES = 2**24
_COMPARED_VALUES = 2**20


@dataclass(frozen=True, eq=False)
class EvaluationBatch:
    """Evaluations laid end to end, a draw's texts next to one another, so that each noisy image is made once.

    Attributes:
        image: int64 ``(P,)``, which image each (image, draw) pair is of.
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
    """A denoiser with all that decides what its error is.

    Attributes:
        denoiser: The model.
        condition: What it is given for each text, ``R`` rows.
        texts: The R names or prompts, for errors.
        steps: int64 ``(M,)``, the schedule's step of each draw.
        objective: The error's form.
        error_space: The quantity whose error it is.
        seed: Seed of the noise.
        batch_size: Evaluations in one call of the network.
        compile: Compile the network; every batch then has the same size, the last one filled up.
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

    def __post_init__(self) -> None:
        """Raise ValueError if the network says nothing of the quantity at a step, as of the image in pure noise."""
        schedule = self.denoiser.schedule
        scale = schedule.error_scale(self.error_space, *schedule.levels(self.steps))
        if self.objective != "vlb" and not bool(scale.isfinite().all()):
            step = int(self.steps[int((~scale.isfinite()).nonzero()[0])])
            raise ValueError(
                f"the error of {self.error_space!r} is not defined at time step {step} of {len(schedule)}, where a "
                f"prediction of {schedule.prediction!r} says nothing of it; leave the step out with time_range, or "
                "choose another error_space"
            )

    @cached_property
    def _network(self) -> Callable[[Tensor, Tensor, Condition], Tensor]:
        predict = self.denoiser.predict
        return torch.compile(predict, dynamic=False) if self.compile else predict

    def __call__(
        self,
        latents: Tensor,
        image_ids: np.ndarray,
        jobs: EvaluationBatch,
        advance: Callable[[int], object] = lambda n: None,
    ) -> np.ndarray:
        """The error of each job.

        Args:
            latents: ``(B, c, h, w)``, the clean images.
            image_ids: int64 ``(B,)``; the noise of an image depends on its id, the seed and the draw alone.
            jobs: What to evaluate.
            advance: Called with the number of evaluations done, after each batch.

        Returns:
            float32 ``(J,)``.

        Raises:
            ValueError: If the network's output has another shape than the image, or is NaN or infinite.
        """
        size = latents[0].numel()
        device = self.denoiser.device
        found = []
        for first, last in _blocks(len(jobs.draw), max(1, _NOISY_VALUES // size)):
            block = _Block.of(self, latents, image_ids, jobs.image[first:last], jobs.draw[first:last])
            within = slice(*np.searchsorted(jobs.pair, [first, last]))
            pair = torch.from_numpy(jobs.pair[within] - first).to(device)
            row = torch.from_numpy(jobs.row[within]).to(device)
            batches = max(1, _COMPARED_VALUES // (size * self.batch_size))
            for start, stop in _blocks(len(row), batches * self.batch_size):
                output = self._predict(block, pair[start:stop], row[start:stop], advance)
                found.append(self._compare(output, block, pair[start:stop]))
        errors: np.ndarray = torch.cat(found).cpu().numpy()
        # NaN would win the search, and it stands for "not evaluated".
        if not np.isfinite(errors).all():
            job = int(np.flatnonzero(~np.isfinite(errors))[0])
            dtype = str(output.dtype).removeprefix("torch.")
            raise ValueError(
                f"the error of {self.texts[jobs.row[job]]!r} at time step {self.steps[jobs.draw[jobs.pair[job]]]} must "
                f"be finite, got {errors[job]} from a network in {dtype}; "
                + ("use float32 or bfloat16, or " if dtype == "float16" else "")
                + "check the model's weights"
            )
        return errors

    def _predict(self, block: _Block, pair: Tensor, row: Tensor, advance: Callable[[int], object]) -> Tensor:
        outputs = []
        for start, stop in _blocks(len(pair), self.batch_size):
            of, text = pair[start:stop], row[start:stop]
            if self.compile and len(of) < self.batch_size:
                # Any row will do to fill up the batch: what comes of it is cut off.
                more = self.batch_size - len(of)
                of, text = torch.cat([of, of[-1:].expand(more)]), torch.cat([text, text[-1:].expand(more)])
            shown = block.x_t[of]
            output = self._network(shown, block.time[of], condition_rows(self.condition, text))
            self._check_shape(output, shown)
            outputs.append(output[: stop - start])
            advance(stop - start)
        return torch.cat(outputs)

    def _check_shape(self, output: Tensor, shown: Tensor) -> None:
        channels = shown.shape[1] * (2 if learns_variance(self.denoiser) else 1)
        if output.shape != (len(shown), channels, *shown.shape[2:]):
            wanted = (len(shown), channels, *shown.shape[2:])
            raise ValueError(f"predict() must return {wanted}, got {tuple(output.shape)}")

    def _compare(self, output: Tensor, block: _Block, pair: Tensor) -> Tensor:
        schedule = self.denoiser.schedule
        if self.objective == "vlb":
            steps = self.steps[block.draw[pair.cpu().numpy()]]
            return variational_term(output, block.x_t[pair], block.latents[block.image[pair]], steps, schedule)
        return noise_error(
            output[:, : block.x_t.shape[1]],
            block.keys[pair],
            target=schedule.prediction,
            x0=block.latents,
            image=block.image[pair],
            alpha=block.alpha[pair],
            sigma=block.sigma[pair],
            scale=block.scale[pair],
            loss=self.objective,
        )


@dataclass(frozen=True, eq=False)
class _Block:
    """Noisy images and all that belongs to them, a row an (image, draw) pair."""

    latents: Tensor  # [B, c, h, w]
    image: Tensor  # [P]
    draw: np.ndarray  # [P]
    keys: Tensor  # [P, 2]
    alpha: Tensor  # [P]
    sigma: Tensor  # [P]
    scale: Tensor  # [P]
    time: Tensor  # [P]
    x_t: Tensor  # [P, c, h, w]

    @classmethod
    def of(
        cls, errors: ErrorEvaluator, latents: Tensor, image_ids: np.ndarray, image: np.ndarray, draw: np.ndarray
    ) -> _Block:
        device, schedule = errors.denoiser.device, errors.denoiser.schedule
        keys = make_keys(errors.seed, torch.from_numpy(image_ids[image]), torch.from_numpy(draw)).to(device)
        alpha, sigma = (level.to(device) for level in schedule.levels(errors.steps[draw]))
        images = torch.from_numpy(image).to(device)
        return cls(
            latents=latents,
            image=images,
            draw=draw,
            keys=keys,
            alpha=alpha,
            sigma=sigma,
            scale=schedule.error_scale(errors.error_space, alpha, sigma),
            time=schedule.network_times(errors.steps[draw]).to(device),
            x_t=diffuse(latents, keys, alpha, sigma, image=images),
        )


def _blocks(total: int, size: int) -> Iterator[tuple[int, int]]:
    """Cut 0 ... total into runs of at most `size`."""
    for start in range(0, total, size):
        yield start, min(start + size, total)
