"""Runs many images' searches side by side, in full batches, with noise that belongs to the (image, draw) pair.

A job is one evaluation of the network: an image, a draw and a class. All jobs that the open searches ask for are laid
end to end, a draw's classes next to one another, so that each noisy image is made once and shown to every class. Noise
is never stored: what a noisy image is made with is made again to compare the network's output with.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from vl_core.kernels import diffuse, noise_error
from vl_core.noise import make_keys

from vl_diffusion.denoiser import Denoiser
from vl_diffusion.objectives import Objective
from vl_diffusion.search import Problem, Request, Search

# Noisy images are made for this many values at a time (64 MiB in float32), and outputs compared for this many: small
# images would otherwise take more time in calls than in arithmetic.
_NOISY_VALUES = 2**24
_COMPARED_VALUES = 2**20


@dataclass
class Trial:
    """One image's search: what it wants next, what it has seen, and in the end what it found.

    Attributes:
        errors: float32 ``(K, M)``; NaN where a class was not evaluated on a draw.
        prediction: Index of the class found; -1 while the search is open.
    """

    image: int
    errors: np.ndarray
    search: Generator[Request, np.ndarray, int]
    request: Request | None = field(init=False)
    prediction: int = -1

    def __post_init__(self) -> None:
        self.request = next(self.search)

    def receive(self, answer: np.ndarray) -> None:
        """Record the errors ``(classes, draws)`` that were asked for and let the search go on."""
        assert self.request is not None
        classes, draws = self.request
        self.errors[classes[:, None], draws] = answer
        try:
            self.request = self.search.send(answer)
        except StopIteration as end:
            self.request, self.prediction = None, end.value


@dataclass(frozen=True)
class Engine:
    """A denoiser prepared for a list of classes.

    Attributes:
        denoiser: The model.
        classes: The K class names, for errors.
        condition: ``(K, ...)``, what the model is given for each class.
        objective: The error's form.
        seed: Seed of the noise.
        batch_size: Evaluations in one call of the network.
    """

    denoiser: Denoiser
    classes: tuple[str, ...]
    condition: Tensor
    objective: Objective
    seed: int
    batch_size: int

    @torch.no_grad()
    def run(
        self, latents: Tensor, image_ids: np.ndarray, search: Search, advance: Callable[[int], object] = lambda n: None
    ) -> list[Trial]:
        """Search all of these images.

        Args:
            latents: ``(B, c, h, w)``, the clean images.
            image_ids: int64 ``(B,)``; the noise of an image depends on its id, the seed and the draw alone.
            search: How to spend the evaluations.
            advance: Called with the number of evaluations done, after each batch.

        Raises:
            ValueError: If the network's output has another shape than the image, or is NaN or infinite.
        """
        num_classes = len(self.condition)
        problem = Problem(num_classes)
        timesteps = self.denoiser.schedule.timesteps(search.num_draws)
        trials = [
            Trial(i, np.full((num_classes, search.num_draws), np.nan, np.float32), search.requests(problem))
            for i in range(len(latents))
        ]
        while waiting := [(trial, trial.request) for trial in trials if trial.request is not None]:
            image = np.concatenate([np.full(len(draws), trial.image) for trial, (_, draws) in waiting])
            draw = np.concatenate([draws for _, (_, draws) in waiting])
            # Jobs of an image run draw by draw, all its classes in turn.
            sizes = [len(classes) for _, (classes, draws) in waiting for _ in draws]
            pair = np.repeat(np.arange(len(draw)), sizes)
            label = np.concatenate([np.tile(classes, len(draws)) for _, (classes, draws) in waiting])
            errors = self._errors(latents, image_ids, timesteps, image, draw, pair, label, advance)
            start = 0
            for trial, (classes, draws) in waiting:
                stop = start + len(classes) * len(draws)
                trial.receive(errors[start:stop].reshape(len(draws), len(classes)).T)
                start = stop
        return trials

    def _errors(
        self,
        latents: Tensor,  # [B, c, h, w]
        image_ids: np.ndarray,  # [B]
        timesteps: np.ndarray,  # [M]
        image: np.ndarray,  # [P] image of each (image, draw) pair
        draw: np.ndarray,  # [P]
        pair: np.ndarray,  # [J] pair of each job, ascending
        label: np.ndarray,  # [J]
        advance: Callable[[int], object],
    ) -> np.ndarray:  # [J]
        device, schedule, size = self.denoiser.device, self.denoiser.schedule, latents[0].numel()
        found = []
        for first, last in _blocks(len(draw), max(1, _NOISY_VALUES // size)):
            image_id = torch.from_numpy(image_ids[image[first:last]])
            keys = make_keys(self.seed, image_id, torch.from_numpy(draw[first:last])).to(device)
            step = timesteps[draw[first:last]]
            signal, level = (t.to(device) for t in schedule.levels(step))
            scale = schedule.epsilon_scale(signal, level)
            of = torch.from_numpy(image[first:last]).to(device)
            x_t = diffuse(latents, keys, signal, level, image=of)
            timestep = torch.from_numpy(step).to(device)
            jobs = slice(*np.searchsorted(pair, [first, last]))
            pair_in_block = torch.from_numpy(pair[jobs] - first).to(device)
            classes = torch.from_numpy(label[jobs]).to(device)
            batches = max(1, _COMPARED_VALUES // (size * self.batch_size))
            for start, stop in _blocks(len(classes), batches * self.batch_size):
                row = pair_in_block[start:stop]
                output = self._predict(x_t, timestep, row, classes[start:stop], advance)
                error = noise_error(
                    output,
                    keys[row],
                    target=schedule.prediction,
                    x0=latents,
                    image=of[row],
                    alpha=signal[row],
                    sigma=level[row],
                    scale=scale[row],
                    loss=self.objective,
                )
                found.append(error)
        errors: np.ndarray = torch.cat(found).cpu().numpy()
        # NaN would win the search, and it stands for "not evaluated".
        if not np.isfinite(errors).all():
            job = int(np.flatnonzero(~np.isfinite(errors))[0])
            dtype = str(output.dtype).removeprefix("torch.")
            raise ValueError(
                f"the error of class {self.classes[label[job]]!r} at time step {timesteps[draw[pair[job]]]} must be "
                f"finite, got {errors[job]} from a network in {dtype}; "
                + ("use float32 or bfloat16, or " if dtype == "float16" else "")
                + "check the model's weights"
            )
        return errors

    def _predict(
        self,
        x_t: Tensor,  # [P, c, h, w]
        timestep: Tensor,  # [P]
        pair: Tensor,  # [J] row of both for each job
        label: Tensor,  # [J]
        advance: Callable[[int], object],
    ) -> Tensor:  # [J, c, h, w]
        outputs = []
        for start, stop in _blocks(len(pair), self.batch_size):
            row = pair[start:stop]
            shown = x_t[row]
            output = self.denoiser.predict(shown, timestep[row], self.condition[label[start:stop]])
            if output.shape != shown.shape:
                raise ValueError(f"predict() must return {tuple(shown.shape)}, got {tuple(output.shape)}")
            outputs.append(output)
            advance(stop - start)
        return torch.cat(outputs)


def _blocks(total: int, size: int) -> Iterator[tuple[int, int]]:
    """Cut 0 ... total into runs of at most `size`."""
    for start in range(0, total, size):
        yield start, min(start + size, total)
