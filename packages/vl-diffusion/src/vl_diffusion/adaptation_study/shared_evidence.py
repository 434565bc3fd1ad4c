"""Class evidence whose errors are computed once, however many classifiers and methods ask for them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from vl_diffusion.adaptation.draws import place_draws
from vl_diffusion.adaptation.evidence import ClassEvidence
from vl_diffusion.adaptation.objectives import Context
from vl_diffusion.denoiser import Denoiser
from vl_diffusion.errors import DenoisingErrors, Jobs


@dataclass(eq=False)
class SharedErrors:
    """Errors of some pictures under every class, on the draws of an evidence, each picture asked for once.

    The network is shown all classes whenever a picture comes up for the first time, since the methods that are compared
    ask for most of them between them. What they are charged for is what each asked for.

    Args:
        denoiser: A class- or text-conditional model.
        classes: Its texts for the K classes.
        evidence: Whose draws they are.
        seed: Of the noise.
        batch_size: Rows in one call of the network.
        autocast: Precision of the network under autocast.
        compile: Compile the network.
    """

    denoiser: Denoiser
    classes: Sequence[str]
    evidence: ClassEvidence
    seed: int
    batch_size: int = 64
    autocast: torch.dtype | None = None
    compile: bool = False
    evaluations: int = field(init=False, default=0)
    """Errors that were computed."""

    cpu_seconds: float = field(init=False, default=0.0)
    """CPU time of this process that computing them took."""

    def __post_init__(self) -> None:
        schedule, evidence = self.denoiser.schedule, self.evidence
        places = place_draws(
            schedule, evidence.draws, update=0, time_range=evidence.time_range, image_ids=np.zeros(1, np.int64)
        )
        self._ask = DenoisingErrors(
            self.denoiser,
            self.denoiser.encode_classes(tuple(self.classes)),
            tuple(self.classes),
            places.steps,
            "l2",
            "epsilon",
            self.seed,
            self.batch_size,
            self.compile,
        )
        self._found: dict[int, np.ndarray] = {}

    @property
    def seconds_per_evaluation(self) -> float:
        """CPU seconds that an error took."""
        return self.cpu_seconds / max(1, self.evaluations)

    def forget(self) -> None:
        """Drop all errors, as when ids begin to stand for other pictures."""
        self._found.clear()

    def of(self, latents: Tensor, image_ids: np.ndarray) -> np.ndarray:
        """Errors ``(B, K, draws)``, float32, of pictures ``(B, c, h, w)`` as the denoiser sees them."""
        new = [place for place, image_id in enumerate(image_ids) if int(image_id) not in self._found]
        if new:
            start = time.process_time()
            for image_id, errors in zip(image_ids[new], self._compute(latents[new], image_ids[new]), strict=True):
                self._found[int(image_id)] = errors
            self.cpu_seconds += time.process_time() - start
            self.evaluations += len(new) * len(self.classes) * self.evidence.draws
        return np.stack([self._found[int(image_id)] for image_id in image_ids])

    @torch.no_grad()
    def _compute(self, latents: Tensor, image_ids: np.ndarray) -> np.ndarray:
        images, classes, draws = len(latents), len(self.classes), self.evidence.draws
        pairs = np.arange(images * draws)
        jobs = Jobs(
            image=pairs // draws, draw=pairs % draws, pair=pairs.repeat(classes), row=np.tile(np.arange(classes), len(pairs))
        )
        device = torch.device(self.denoiser.device).type
        with nullcontext() if self.autocast is None else torch.autocast(device, self.autocast):
            errors = self._ask(latents, image_ids, jobs)
        return np.moveaxis(errors.reshape(images, draws, classes), 1, 2)


@dataclass(frozen=True)
class SharedEvidence(ClassEvidence):
    """Class evidence that looks its errors up; the same numbers as its base class computes."""

    shared: SharedErrors = field(kw_only=True, repr=False, compare=False)

    def errors(self, candidates: Tensor, context: Context) -> Tensor:
        feedback = context.feedback
        found = torch.from_numpy(self.shared.of(feedback.latents, feedback.image_ids)).to(candidates.device)
        feedback.count(torch.arange(len(feedback)).repeat_interleave(candidates.shape[1] * self.draws))
        return found.gather(1, candidates[:, :, None].expand(-1, -1, self.draws))
