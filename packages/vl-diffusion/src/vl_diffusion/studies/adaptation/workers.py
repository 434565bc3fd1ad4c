"""Methods at work: what a stream asks of one, an adapter as that, and the diffusion model itself as a classifier."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from vl_diffusion.adaptation.adapter import TestTimeAdapter
from vl_diffusion.adaptation.evidence import ClassEvidence
from vl_diffusion.adaptation.tasks import ClassificationTask
from vl_diffusion.classification.encoding import encode
from vl_diffusion.models.denoiser import Denoiser
from vl_diffusion.scoring.cached_errors import CachedErrors
from vl_diffusion.studies.adaptation.record import Outcome
from vl_diffusion.studies.adaptation.shared_evidence import (
    SharedEvidence,
    cached_evidence_errors,
    errors_of_classes,
)
from vl_diffusion.studies.adaptation.sources import Source


@dataclass(frozen=True, eq=False, kw_only=True)
class Setup:
    """What every method is given."""

    source: Source
    """The classifier."""

    denoiser: Denoiser
    """The diffusion model."""

    errors: CachedErrors
    """What methods that weigh classes ask; for one denoiser and one seed of noise, all methods share them."""

    seed: int
    """Of the method's noise."""

    batch_size: int = 64
    """Rows in one call of the denoising network."""

    autocast: torch.dtype | None = None
    """Precision of the denoising network under autocast."""

    prompt_template: str = "a photo of a {}."
    """For text-conditional denoisers."""

    def evidence(self) -> SharedEvidence:
        """The default objective, on the shared errors."""
        return SharedEvidence(shared=self.errors)

    def adapter(self, **settings: Any) -> TestTimeAdapter:
        """An adapter with these settings, and its own defaults for the others."""
        return TestTimeAdapter(
            self.source.model,
            self.denoiser,
            classes=self.source.classes,
            preprocess=self.source.preprocess,
            seed=self.seed,
            batch_size=self.batch_size,
            autocast=self.autocast,
            prompt_template=self.prompt_template,
            **settings,
        )


def set_up(
    source: Source,
    denoiser: Denoiser,
    *,
    seed: int,
    errors: CachedErrors | None = None,
    batch_size: int = 64,
    autocast: torch.dtype | None = None,
    compile: bool = False,
    prompt_template: str = "a photo of a {}.",
) -> Setup:
    """A setup; with the errors of another that has the same denoiser, classes and seed, or with errors of its own."""
    if errors is None:
        texts = ClassificationTask(denoiser, source.classes, prompt_template).texts
        errors = cached_evidence_errors(
            denoiser, texts, ClassEvidence(), seed, batch_size=batch_size, autocast=autocast, compile=compile
        )
    return Setup(
        source=source,
        denoiser=denoiser,
        errors=errors,
        seed=seed,
        batch_size=batch_size,
        autocast=autocast,
        prompt_template=prompt_template,
    )


class Worker(Protocol):
    """A method at work on a stream of images."""

    @property
    def together(self) -> int:
        """Images that are looked at together."""
        ...

    @property
    def goes_on(self) -> bool:
        """Whether what was learned goes on to the next group of images, so that their order counts."""
        ...

    @property
    def settings(self) -> dict[str, object]:
        """What its outcomes depend on, as JSON keeps it."""
        ...

    def __call__(self, images: Sequence[Tensor], image_ids: Sequence[int]) -> list[Outcome]:
        """What it makes of a group of images ``(C, H, W)`` in [0, 1]."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What was learned; empty if nothing was."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there; from an empty state, begin anew."""
        ...


class Adapting:
    """A :class:`~vl_diffusion.TestTimeAdapter` at work."""

    def __init__(self, adapter: TestTimeAdapter, errors: CachedErrors) -> None:
        self.adapter, self._errors = adapter, errors
        self.together = adapter.images_at_once
        self.goes_on = adapter.mode != "episodic"

    @property
    def settings(self) -> dict[str, object]:
        names = ["mode", "objective", "gate", "optimizer", "learning_rate", "steps", "batch_norm", "online_rate"]
        # What shares no update is the same in a group of any size.
        names += ["images_at_once"] if self.goes_on else []
        return {name: _plain(getattr(self.adapter, name)) for name in names} | {
            "parameters": len(self.adapter.parameter_names)
        }

    def __call__(self, images: Sequence[Tensor], image_ids: Sequence[int]) -> list[Outcome]:
        bill = Bill(self._errors)
        result = self.adapter(images, image_ids=image_ids)
        looks = isinstance(self.adapter.objective, SharedEvidence)
        seconds = bill.total(int(result.forward_passes.sum()) if looks else 0) / len(images)
        return [
            Outcome(
                prediction=int(result.predictions[i]),
                adapted=bool(result.adapted[i]),
                forward_passes=int(result.forward_passes[i]),
                backward_passes=int(result.backward_passes[i]),
                cpu_seconds=seconds,
            )
            for i in range(len(result))
        ]

    def state_dict(self) -> dict[str, Any]:
        return self.adapter.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.adapter.load_state_dict(state)


class Classifying:
    """The diffusion model itself as the classifier, on the draws of the evidence: nothing is adapted, nor asked."""

    together, goes_on = 16, False

    def __init__(self, setup: Setup) -> None:
        self._denoiser, self._errors = setup.denoiser, setup.errors

    @property
    def settings(self) -> dict[str, object]:
        return {"draws": len(self._errors.evaluator.steps)}

    def __call__(self, images: Sequence[Tensor], image_ids: Sequence[int]) -> list[Outcome]:
        bill = Bill(self._errors)
        classes = np.arange(len(self._errors.evaluator.texts))
        ids = np.asarray(image_ids, dtype=np.int64)
        everything = np.tile(classes, (len(images), 1))
        errors = errors_of_classes(self._errors, encode(self._denoiser, images), ids, everything)
        evaluations = len(classes) * len(self._errors.evaluator.steps)
        seconds = bill.total(evaluations * len(images)) / len(images)
        return [Outcome(int(one), True, evaluations, 0, seconds) for one in errors.mean(2).argmin(1)]

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


class Bill:
    """CPU time from now on: what others had computed before is charged for, and what is computed for others is not."""

    def __init__(self, errors: CachedErrors) -> None:
        self._errors, self._start, self._network = errors, time.process_time(), errors.cpu_seconds

    def total(self, evaluations: int) -> float:
        """Seconds with so many shared errors, each at its mean price."""
        own = time.process_time() - self._start - (self._errors.cpu_seconds - self._network)
        return own + self._errors.seconds(evaluations)


def _plain(value: object) -> object:
    """As JSON keeps it, and the same in every process: an object's address is none of its settings."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
